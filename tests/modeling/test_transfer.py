"""Registrations that were kept: read again, chained, turned round, and applied to images, masks and points."""

import csv
import json
import math
import struct
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

from retinamatch import cli, photographs
from retinamatch.photographs import PhotographError
from retinamatch.registrar import Registrar
from retinamatch.registration import Registration
from retinamatch.results import RECORD, write_registration
from retinamatch.transfer import MASK_SUFFIXES, LocatedTransform, carry_mask, carry_points, inside_mask, read_mask
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

    @pytest.mark.parametrize("height", [10**9, 0, -5, 63, 512.5, "512", None, True, float("inf"), 10**400])
    @pytest.mark.parametrize("name", ["moving", "fixed"])
    def test_sizes_that_no_photograph_has(self, kept, tmp_path, name, height):
        record = json.loads((kept / RECORD).read_text())
        record[name]["height"] = height
        (tmp_path / "file.json").write_text(json.dumps(record))
        for read in (LocatedTransform.load, Registration.load):
            with pytest.raises(ValueError, match=rf"file\.json .*: .*{name} photograph.*[^.]\.$"):
                read(tmp_path / "file.json")
        done = run("apply", tmp_path / "file.json", "--image", kept / "moving.png", "--out", tmp_path / "x.png")
        assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and not (tmp_path / "x.png").exists()

    @pytest.mark.parametrize(
        "transform, message",
        [
            *(({"class": name, "matrix": matrix}, "cannot be inverted")
              for name in ("similarity", "affine", "homography")
              for matrix in ([[0, 0, 0]] * 3, [[1, 2, 3], [2, 4, 6], [0, 0, 1]], [[1e-200, 0, 0], [0, 1, 0], [0, 0, 1]],
                             [[1e308, 1e308, 0], [1e308, 1e308, 0], [0, 0, 1]])),
            ({"class": "affine", "matrix": [[10**400, 0, 0], [0, 1, 0], [0, 0, 1]]}, "too large"),
            *(({"class": "quadratic", "coefficients": [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]],
                "center": [0, 0], "scale": 1, "support": [[0, 0], [9, 0], [0, 9]]} | change, message)
              for change, message in (({"scale": 0}, "scale greater than 0"), ({"scale": -3}, "scale greater than 0"),
                                      ({"scale": float("nan")}, "finite"), ({"center": [0, float("inf")]}, "finite"),
                                      ({"center": 3}, "a center"), ({"support": [[float("nan"), 0]]}, "finite"),
                                      ({"coefficients": [[float("nan")] * 2] * 6}, "finite"),
                                      ({"scale": 1e-300}, "cannot be inverted"),
                                      ({"coefficients": [[0, 0]] * 6}, "cannot be inverted"))),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("within", [None, "inverse", "chain"])
    def test_transforms_that_map_nothing_back(self, kept, tmp_path, transform, message, within):
        inner = {"inverse": {"class": "inverse", "of": transform}, "chain": {"class": "chain", "parts": [transform]}}
        record = json.loads((kept / RECORD).read_text()) | {"transform": inner.get(within, transform)}
        (tmp_path / "file.json").write_text(json.dumps(record))
        for read in (LocatedTransform.load, Registration.load, Transform.load):
            with warnings.catch_warnings(), pytest.raises(ValueError, match=rf"file\.json .*{message}"):
                warnings.simplefilter("error")
                read(tmp_path / "file.json")

    @pytest.mark.parametrize("depth", [400, 100_000])
    def test_a_record_that_is_nested_without_end(self, tmp_path, depth):
        text = '{"transform": ' + '{"class": "inverse", "of": ' * depth + "3" + "}" * (depth + 1)
        (tmp_path / "file.json").write_text(text)
        with pytest.raises(ValueError, match="file.json"):
            Transform.load(tmp_path / "file.json")

    @pytest.mark.parametrize("name", ["missing.json", ".", "x" * 300 + ".json"])
    def test_a_file_that_is_none_is_named(self, tmp_path, name):
        for read in (LocatedTransform.load, Registration.load, Transform.load):
            with pytest.raises(OSError, match=r"cannot be read: [A-Z][a-z ]+\.$"):
                read(tmp_path / name)


def shifted(values):
    """What `SHIFT` makes of a picture."""
    moved = np.zeros_like(values)
    moved[2:, 5:] = values[:-2, :-5]
    return moved


SHIFT = LocatedTransform(Affine([[1, 0, 5], [0, 1, 2], [0, 0, 1]]), (80, 90), (80, 90))


def picture_of(mode, rng):
    """A picture of a mode of PIL, with all values that it can have."""
    if mode == "1":
        return Image.fromarray(rng.random((80, 90)) > 0.5)
    empty = np.asarray(Image.new(mode, (90, 80)))
    values = rng.bytes(empty.nbytes) if mode != "F" else rng.normal(size=empty.shape).astype(np.float32).tobytes()
    picture = Image.frombytes(mode, (90, 80), values)
    if mode in ("P", "PA"):
        picture.putpalette(rng.integers(0, 256, 768).tolist())
    return picture


class TestMasks:
    @pytest.mark.parametrize(
        "dtype", ["?", "i1", "u1", "<i2", ">u2", "i4", "u4", ">i4", "i8", "u8", "f2", "f4", "f8", "c16"]
    )
    @pytest.mark.parametrize("channels", [(), (1,), (3,), (4,), (5,)])
    def test_every_type_is_moved_bit_by_bit(self, dtype, channels, rng):
        dtype = np.dtype(dtype)
        values = np.frombuffer(rng.bytes(80 * 90 * math.prod(channels) * dtype.itemsize), np.uint8)
        values = (values & 1 if dtype.kind == "b" else values).view(dtype).reshape(80, 90, *channels)
        for mask in (values, np.asfortranarray(values)):
            moved = SHIFT.warp_mask(mask)
            assert moved.dtype == dtype and moved.tobytes() == shifted(values).tobytes()

    @pytest.mark.parametrize("suffix", MASK_SUFFIXES)
    @pytest.mark.parametrize(
        "mode", ["1", "L", "P", "PA", "LA", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "HSV", "I", "F", "I;16", "I;16B"]
    )
    def test_values_are_kept_or_the_kind_of_file_is_refused(self, mode, suffix, tmp_path, rng):
        mask = picture_of(mode, rng)
        try:
            carried = carry_mask(SHIFT, mask, suffix)
        except PhotographError as error:
            kept = (mode, suffix) not in {("RGB", ".png"), ("L", ".bmp"), ("I", ".tif"), ("CMYK", ".tiff")}
            assert kept and f"(mode {mode}), which {suffix} does not keep; " in str(error)
            return
        carried.save(tmp_path / f"mask{suffix}")
        read = read_mask(tmp_path / f"mask{suffix}")
        assert np.array_equal(np.asarray(read), shifted(np.asarray(mask)))
        assert read.mode == mode or (read.mode, suffix) == ("I;16", ".png")
        assert mode != "P" or read.getpalette()[:768] == mask.getpalette()

    @pytest.mark.parametrize("label", [-7, 70001, 2**24 + 1, 2**31 - 1])
    def test_labels_that_png_does_not_hold(self, kept, tmp_path, label):
        values = np.full((512, 512), label, np.int32)
        Image.fromarray(values).save(tmp_path / "labels.tif")
        words = ["apply", kept / RECORD, "--mask", tmp_path / "labels.tif", "--out"]
        for suffix in (".png", ".bmp"):
            done = run(*words, tmp_path / f"x{suffix}")
            assert done.exit_code == 2 and ".tif does" in done.stderr and len(done.stderr.splitlines()) == 1
            assert str(label) in done.stderr and not (tmp_path / f"x{suffix}").exists()
        assert run(*words, tmp_path / "x.tif").exit_code == 0
        assert np.unique(Image.open(tmp_path / "x.tif")).tolist() == sorted([0, label])

    @pytest.mark.parametrize("label", [1, 255, 256, 40_000, 65_535])
    def test_labels_that_png_holds_have_sixteen_bit(self, label, tmp_path):
        mask = Image.fromarray(np.full((80, 90), label, np.int32))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            carry_mask(SHIFT, mask).save(tmp_path / "x.png")
        assert np.unique(Image.open(tmp_path / "x.png")).tolist() == [0, label]

    @pytest.mark.parametrize("colors, index", [(1, 0), (2, 7), (3, 255), (256, 255)])
    @pytest.mark.parametrize("suffix", MASK_SUFFIXES)
    def test_an_index_may_lie_beyond_its_palette(self, colors, index, suffix, tmp_path):
        mask = Image.fromarray(np.full((80, 90), index, np.uint8)).convert("P")
        mask.putpalette([9, 8, 7] * colors)
        carry_mask(SHIFT, mask, suffix).save(tmp_path / f"x{suffix}")
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"x{suffix}")), shifted(np.asarray(mask)))

    @pytest.mark.parametrize("channels, suffix", [(3, "png"), (4, "png"), (3, "tif"), (4, "tif")])
    def test_colors_of_sixteen_bit_are_not_cut_down(self, channels, suffix, tmp_path):
        cv2.imwrite(str(tmp_path / f"x.{suffix}"), np.full((80, 90, channels), 257, np.uint16))
        with pytest.raises(PhotographError, match="colors of 16 bit"):
            read_mask(tmp_path / f"x.{suffix}")

    @pytest.mark.parametrize("label, good", [(7, True), (2**31 - 1, True), (2**31, False), (2**32 - 1, False)])
    def test_unsigned_numbers_do_not_become_negative(self, label, good, tmp_path):
        Image.fromarray(np.full((80, 90), label, np.uint32).view(np.int32)).save(tmp_path / "x.tif")
        signed, unsigned = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 1))
        content = (tmp_path / "x.tif").read_bytes()
        assert content.count(signed) == 1
        (tmp_path / "x.tif").write_bytes(content.replace(signed, unsigned))
        if good:
            assert np.unique(read_mask(tmp_path / "x.tif")).tolist() == [label]
        else:
            with pytest.raises(PhotographError, match="above 2147483647"):
                read_mask(tmp_path / "x.tif")

    @pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif"])
    def test_a_mask_may_be_as_large_as_a_photograph(self, suffix, tmp_path, monkeypatch):
        Image.new("L", (90, 80), 3).save(tmp_path / f"x.{suffix}")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_mask(tmp_path / f"x.{suffix}").size == (90, 80)
        assert Image.MAX_IMAGE_PIXELS == 1000
        monkeypatch.setattr(photographs, "MAXIMUM_PIXELS", 7199)
        with pytest.raises(PhotographError, match="90 x 80 pixels; more than"):
            read_mask(tmp_path / f"x.{suffix}")

    @pytest.mark.parametrize(
        "mask, inside",
        [
            *((np.full((80, 90), value, dtype), value != 0 and value == value)
              for value, dtype in ((0, "u1"), (1, "u1"), (1, "u2"), (256, "u2"), (65536, "i4"), (-1, "i4"), (1, "?"),
                                   (0.123, "f4"), (1e-40, "f4"), (-0.5, "f4"), (0, "f4"), (np.nan, "f4"),
                                   (np.inf, "f4"))),
            *((Image.new(mode, (90, 80), color).convert(other), inside)
              for mode, color, other, inside in (
                  ("RGB", (0, 0, 1), "RGB", True), ("RGB", (51, 0, 0), "P", True), ("RGB", (200, 9, 9), "CMYK", True),
                  ("RGB", 0, "RGB", False), ("RGB", 0, "P", False), ("RGB", 0, "LA", False),
                  ("RGBA", (0, 0, 0, 255), "RGBA", False), ("RGBA", (255, 255, 255, 0), "RGBA", False),
                  ("RGBA", (0, 0, 3, 1), "RGBA", True), ("LA", (3, 0), "LA", False), ("LA", (3, 9), "LA", True))),
            *((ImageCms.profileToProfile(Image.new("RGB", (90, 80), color), ImageCms.createProfile("sRGB"),
                                         ImageCms.createProfile("LAB"), outputMode="LAB"), inside)
              for color, inside in (((0, 0, 0), False), ((255, 255, 255), True), ((0, 90, 0), True))),
        ],
    )  # fmt: skip
    def test_all_that_is_not_nothing_belongs_to_a_mask(self, mask, inside):
        mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        found = inside_mask(mask)
        assert found.dtype == bool and found.shape == (80, 90) and (found == inside).all()


class TestPoints:
    @pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "NaN", " Infinity"])
    @pytest.mark.parametrize("text", ["{},2\n", "1,{}\n", "1,2\n3,4\n5,{},rest\n", "name,y,x\na,1,2\nb,{},4\n"])
    def test_a_place_is_finite(self, text, value):
        with pytest.raises(ValueError, match=rf"two finite numbers, got .*{value}"):
            carry_points(SHIFT.transform, text.format(value))

    @pytest.mark.parametrize("text", ["", "\n", " , ,\n\n", "\r\n"])
    def test_a_table_without_rows_is_none(self, text):
        with pytest.raises(ValueError, match=r"Rows x,y .*\(there are none\)\.$"):
            carry_points(SHIFT.transform, text)

    @pytest.mark.parametrize("text", ["{},2\n", "1,2,{}\n", "x,y\n1,2\n3,{}\n", '1,"{}"\n'])
    def test_a_cell_without_end(self, text):
        with pytest.raises(ValueError, match=r"Rows x,y .*field larger than.*\.$"):
            carry_points(SHIFT.transform, text.format("5" * 140_000))

    def test_no_lesions_are_a_header_alone(self):
        assert carry_points(SHIFT.transform, "name,X,Y\n") == "name,X,Y\n"


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
            (["{k}/missing.json", "--image", "{k}/moving.png"], "missing.json cannot be read: No such file"),
            (["{k}/registration.json", "--mask", "{k}/missing.png"], "missing.png does not exist"),
            (["{k}/registration.json", "--points", "{k}/missing.csv"], "missing.csv cannot be read: No such file"),
            (["{k}/registration.json", "--points", "{k}/moving.png"], "moving.png is no text"),
            (["{k}", "--image", "{k}/moving.png"], "is a folder; a file is wanted"),
            (["{k}/registration.json", "--image", "{k}"], "is a folder; a file is wanted"),
            (["{k}/registration.json", "--points", "{k}"], "is a folder; a file is wanted"),
            (["{k}/" + "x" * 300, "--image", "{k}/moving.png"], "File name too long."),
            (["{k}/registration.json", "--points", "{k}/" + "x" * 300], "File name too long."),
        ],
    )
    def test_bad_input_is_one_sentence(self, kept, tmp_path, words, message):
        done = run("apply", *(word.format(k=kept) for word in words), "--out", tmp_path / "x.png")
        assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "x.png").exists()

    @pytest.mark.parametrize("word", ["--image", "--points"])
    def test_what_lies_in_a_folder_is_no_input(self, kept, tmp_path, word):
        (tmp_path / "x.png").write_text("before")
        done = run("apply", tmp_path, word, kept / "moving.png", "--out", tmp_path / "x.png")
        assert done.exit_code == 2 and "is a folder" in done.stderr and (tmp_path / "x.png").read_text() == "before"

    def test_a_mask_is_never_written_with_losses(self, kept, tmp_path):
        done = run("apply", kept / RECORD, "--mask", kept / "mask.png", "--out", tmp_path / "x.jpg")
        assert done.exit_code == 2 and ".png" in done.stderr

    def test_an_input_is_never_touched(self, kept):
        before = (kept / "moving.png").read_bytes()
        done = run("apply", kept / RECORD, "--image", kept / "moving.png", "--out", kept / "moving.png")
        assert done.exit_code == 2 and (kept / "moving.png").read_bytes() == before
