"""Registrations that were kept: read again, chained, turned round, and applied to images, masks and points."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.registrar import Registrar
from retinamatch.registration import Registration
from retinamatch.results import RECORD, write_registration
from retinamatch.transforms import TRANSFORMS, Affine, Chain, Homography, Quadratic, Similarity, Transform


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.fixture(scope="module")
def registrar():
    return Registrar("rootsift", effort="fast")


@pytest.fixture(scope="module")
def kept(registrar, visits, other_eye, tmp_path_factory):
    """The folder of a registration, of that of a refused pair, and of what belongs to the photographs."""
    folder = tmp_path_factory.mktemp("kept")
    registration = registrar.register(visits.moving.image, visits.fixed.image, "quadratic")
    write_registration(registration, visits.moving.image, visits.fixed.image, folder)
    write_registration(registrar.register(other_eye, visits.fixed.image), other_eye, visits.fixed.image, folder / "no")
    Image.fromarray(visits.moving.image).save(folder / "moving.png")
    labels = (visits.moving.vessels > 0.5).astype(np.uint8) * 7
    Image.fromarray(labels).save(folder / "mask.png")
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([0, 0, 0] * 7 + [250, 10, 10])
    palette.save(folder / "palette.png")
    Image.fromarray(labels.astype(np.uint16) * 1000).save(folder / "deep.png")
    return folder


def fitted(kind, rng, size=512):
    """A transform of a class that is not far from the identity, and points of the moving photograph."""
    points = rng.uniform(40, size - 40, (40, 2))
    u = (points - size / 2) / size
    curve = np.stack([u[:, 0] ** 2 - u[:, 1] * u[:, 0], u[:, 1] ** 2], -1) * 20
    matrix = np.array([[0.99, -0.08], [0.08, 0.99]])
    return kind.fit(points, points @ matrix.T + (12, -7) + curve), points


class TestTransforms:
    @pytest.mark.parametrize("name", TRANSFORMS)
    def test_inverted_and_chained(self, name, rng):
        one, points = fitted(TRANSFORMS[name], rng)
        back = one.inverted()
        assert np.allclose(back(one(points)), points, atol=1e-5)
        assert np.allclose(one.then(back)(points), points, atol=1e-5)
        assert np.allclose(back.inverse(points), one(points))
        both = one.then(fitted(Quadratic, rng)[0]).then(one)
        assert isinstance(both, Chain) and len(both.parts) == 3
        assert np.allclose(both.inverted()(both(points)), points, atol=1e-5)
        step = 1e-4
        slopes = [(both(points + d) - both(points - d)) / (2 * step) for d in step * np.eye(2)]
        assert np.allclose(both.jacobian(points), np.stack(slopes, -1), atol=1e-5)
        assert np.allclose(back.jacobian(one(points)) @ one.jacobian(points), np.eye(2), atol=1e-5)
        for transform in (back, both):
            again = Transform.from_dict(json.loads(json.dumps(transform.to_dict())))
            assert np.array_equal(again(points), transform(points))

    @pytest.mark.parametrize(
        "first, second, wanted",
        [(Similarity, Similarity, Similarity), (Similarity, Affine, Affine), (Homography, Affine, Homography)],
    )
    def test_matrices_become_one_of_the_wider_class(self, first, second, wanted, rng):
        (a, points), (b, _) = fitted(first, rng), fitted(second, rng)
        assert type(a.then(b)) is wanted
        assert np.allclose(a.then(b)(points), b(a(points)))

    def test_warping_with_the_inverse_undoes_warping(self, rng):
        transform, _ = fitted(Quadratic, rng)
        y, x = np.mgrid[:512, :512].astype(np.float32)
        there = transform.warp(x + y, fill=np.nan)
        back = transform.inverted().warp(there, fill=np.nan)
        inner = np.isfinite(back)
        assert inner.mean() > 0.7 and np.abs(back - x - y)[inner].max() < 0.1


class TestRecord:
    def test_round_trip(self, kept, registrar, visits):
        registration = registrar.register(visits.moving.image, visits.fixed.image, "quadratic")
        read = Registration.load(kept / RECORD)
        assert read and read.to_dict() | {"timings": {}} == registration.to_dict() | {"timings": {}}
        assert np.array_equal(read.warp(visits.moving.image), registration.warp(visits.moving.image))
        assert np.allclose(read.moving_points, registration.moving_points, atol=1e-3)
        assert np.array_equal(Transform.load(kept / RECORD)([[3, 4]]), registration.transform([[3, 4]]))

    def test_a_refused_pair_stays_refused(self, kept):
        read = Registration.load(kept / "no" / RECORD)
        assert not read and read.reason and read.to_dict() == json.loads((kept / "no" / RECORD).read_text())
        with pytest.raises(ValueError, match="no transform: no reliable match"):
            Transform.load(kept / "no" / RECORD)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"transform": 3}', '{"transform": {"class": "affine"}}', "\xff"])
    def test_what_is_no_record_says_so(self, tmp_path, text):
        (tmp_path / "file.json").write_text(text, encoding="latin-1")
        for read in (Transform.load, Registration.load):
            with pytest.raises(ValueError, match="file.json"):
                read(tmp_path / "file.json")


class TestApply:
    def test_an_image_becomes_the_aligned_one(self, kept, tmp_path):
        assert run("apply", kept / RECORD, "--image", kept / "moving.png", "--out", tmp_path / "a.png").exit_code == 0
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(kept / "aligned.png")))

    @pytest.mark.parametrize("name", ["mask", "palette", "deep"])
    def test_a_mask_keeps_its_values(self, kept, tmp_path, name, visits):
        done = run("apply", kept / RECORD, "--mask", kept / f"{name}.png", "--out", tmp_path / "m.png")
        assert done.exit_code == 0, done.output
        mask, source = Image.open(tmp_path / "m.png"), Image.open(kept / f"{name}.png")
        assert mask.mode == source.mode and set(np.unique(mask)) == set(np.unique(source))
        if name == "palette":
            assert mask.getpalette()[21:24] == [250, 10, 10]
        transform = Transform.load(kept / RECORD)
        rows, columns = np.nonzero(np.asarray(mask))
        places = transform.inverse(np.stack([columns, rows], -1)).round().astype(int)
        assert (np.asarray(source)[places[:, 1], places[:, 0]] > 0).mean() > 0.99

    def test_points_there_and_back(self, kept, tmp_path, rng):
        points = rng.uniform(100, 400, (5, 2)).round(3)
        rows = [["name", "Y", "X"], *[[f"p{n}", y, x] for n, (x, y) in enumerate(points)]]
        (tmp_path / "p.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
        there = run("apply", kept / RECORD, "--points", tmp_path / "p.csv", "--out", tmp_path / "q.csv")
        assert there.exit_code == 0, there.output
        read = list(csv.reader((tmp_path / "q.csv").open()))
        assert read[0] == rows[0] and read[3][0] == "p2"
        mapped = Transform.load(kept / RECORD)(points)
        assert np.allclose([[float(x), float(y)] for _, y, x in read[1:]], mapped, atol=1e-3)
        run("apply", kept / RECORD, "--points", tmp_path / "q.csv", "--inverse", "--out", tmp_path / "r.csv")
        again = [[float(x), float(y)] for _, y, x in list(csv.reader((tmp_path / "r.csv").open()))[1:]]
        assert np.allclose(again, points, atol=5e-3)

    def test_several_registrations_are_one_after_the_other(self, kept, tmp_path):
        (tmp_path / "p.csv").write_text("200,220\n")
        run("apply", kept / RECORD, kept / RECORD, "--points", tmp_path / "p.csv", "--out", tmp_path / "q.csv")
        transform = Transform.load(kept / RECORD)
        written = [float(value) for value in (tmp_path / "q.csv").read_text().split(",")]
        assert np.allclose(written, transform(transform([[200, 220]]))[0], atol=1e-3)

    @pytest.mark.parametrize(
        "words, message",
        [
            (["{k}/registration.json"], "One of --image"),
            (["{k}/registration.json", "--image", "{k}/moving.png", "--mask", "{k}/mask.png"], "got 2"),
            (["{k}/no/registration.json", "--image", "{k}/moving.png"], "no reliable match"),
            (["{k}/registration.json", "--image", "{k}/matches.png"], "the registered one has 512 x 512"),
            (["{k}/registration.json", "--points", "{k}/registration.json"], "Rows x,y"),
            (["{k}/missing.json", "--image", "{k}/moving.png"], "missing.json"),
        ],
    )
    def test_bad_input_is_one_sentence(self, kept, tmp_path, words, message):
        done = run("apply", *(word.format(k=kept) for word in words), "--out", tmp_path / "x.png")
        assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "x.png").exists()

    def test_a_mask_is_never_written_with_losses(self, kept, tmp_path):
        done = run("apply", kept / RECORD, "--mask", kept / "mask.png", "--out", tmp_path / "x.jpg")
        assert done.exit_code == 2 and ".png" in done.stderr

    def test_an_input_is_never_touched(self, kept):
        before = (kept / "moving.png").read_bytes()
        done = run("apply", kept / RECORD, "--image", kept / "moving.png", "--out", kept / "moving.png")
        assert done.exit_code == 2 and (kept / "moving.png").read_bytes() == before
