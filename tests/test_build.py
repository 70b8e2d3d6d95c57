"""Building a pack: split by patient, labels in their place, the same bytes, and one sentence for bad input."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts import build as build_module
from datasets_scripts import contact_sheet
from datasets_scripts.build import BuildError, build, split_patients
from datasets_scripts.parquet import LabelledPhotograph, ParquetError, read_split
from datasets_scripts.sources import SourceError, find_source, list_photographs


CENTER, RADIUS, WIDTH, HEIGHT = (150.0, 115.0), 100.0, 320, 240


def draw_photograph(offset=(0.0, 0.0)):
    """A round retina with a vessel that branches `offset` pixels from its centre: photograph, vessel map, the place."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disk = np.hypot(x - CENTER[0], y - CENTER[1]) <= RADIUS
    fork = np.array(CENTER) + offset
    vessels = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for angle in (180, 40, -40):
        step = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        along = np.clip((x - fork[0]) * step[0] + (y - fork[1]) * step[1], 0, 60)
        vessels |= np.hypot(x - fork[0] - along * step[0], y - fork[1] - along * step[1]) <= 2.5
    # A thick bar elsewhere takes the part of the optic disc.
    vessels |= (abs(x - CENTER[0] - 5) <= 25) & (abs(y - CENTER[1] - 75) <= 5)
    photo = np.where(disk[..., None], [180, 90, 40], 0).astype(np.uint8)
    photo[vessels & disk] = (120, 30, 10)
    return photo, vessels, fork


def write_source(root, name, stems, vessels=True):
    for folder in ("images", "vessels") if vessels else ("images",):
        (root / name / folder).mkdir(parents=True)
    forks = {}
    for number, stem in enumerate(stems):
        photo, drawn, forks[stem] = draw_photograph((number % 5 * 4.0 - 8.0, -10.0))
        Image.fromarray(photo).save(root / name / "images" / f"{stem}.jpg", quality=95)
        if vessels:
            Image.fromarray(drawn).save(root / name / "vessels" / f"{stem}.png")
    return forks


@pytest.fixture
def root(tmp_path):
    """Six people of CHASE_DB1 with both eyes, four of HRF, as small drawings."""
    write_source(tmp_path / "data", "chase_db1", [f"Image_{number:02d}{eye}" for number in range(1, 7) for eye in "LR"])
    write_source(tmp_path / "data", "hrf", ["01_h", "01_dr", "02_g", "03_h"], vessels=False)
    return tmp_path / "data"


def read(folder):
    return {split: list(read_split(folder, split)) for split in ("train", "validation")}


def test_pack_is_split_by_patient_and_labelled_where_allowed(root, tmp_path):
    counts = build(root, tmp_path / "pack", size=128, validation_share=0.34)
    pack = read(tmp_path / "pack")
    people = {split: {(one.source, one.patient) for one in rows} for split, rows in pack.items()}
    assert not people["train"] & people["validation"]
    assert sum(len(rows) for rows in pack.values()) == 16
    assert len({patient for source, patient in people["validation"] if source == "chase_db1"}) == 2
    assert counts["validation"]["chase_db1"] == 4 and counts["train"]["chase_db1"] == 8
    for one in pack["train"] + pack["validation"]:
        assert (one.keypoints is not None) == (one.source == "chase_db1")
        assert one.licence == "CC BY 4.0"
        assert one.image.shape == (128, 128, 3) and one.mask.shape == (128, 128)
        assert one.eye == {"L": "left", "R": "right"}.get(one.name[-1] if one.source == "chase_db1" else None, "")


def test_keypoints_move_with_the_crop(root, tmp_path):
    build(root, tmp_path / "pack", sources=["chase_db1"], size=256, png=True)
    for rows in read(tmp_path / "pack").values():
        for one in rows:
            assert one.types.tolist() == [0]
            # The field of view fills the canvas, and the fork is where the same zoom about its centre puts it.
            assert 0.74 < one.mask.mean() < 0.79
            number = (int(one.patient) - 1) * 2 + "LR".index(one.name[-1])
            zoom = np.sqrt(one.mask.sum() / np.pi) / RADIUS
            wanted = 127.5 + np.array([number % 5 * 4.0 - 8.0, -10.0]) * zoom
            assert np.abs(one.keypoints[0] - wanted).max() < 2.0
            # And the pixel there is a vessel.
            x, y = one.keypoints[0].round().astype(int)
            assert one.image[y, x, 0] < 150


def test_same_bytes_on_every_build_and_other_split_with_other_seed(root, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        build(root, tmp_path / name, size=96, seed=seed, validation_share=0.34)
    files = {
        name: {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())}
        for name in ("one", "two", "three")
    }
    assert files["one"] == files["two"]
    assert files["one"] != files["three"]


def test_split_of_a_source_does_not_depend_on_the_others():
    names = [f"{number:02d}" for number in range(40)]
    chosen = split_patients("hrf", names, 0.15, seed=0)
    assert len(chosen) == 6
    assert chosen == split_patients("hrf", names[::-1], 0.15, seed=0)
    assert chosen != split_patients("chase_db1", names, 0.15, seed=0)
    assert split_patients("hrf", names, 0.0, seed=0) == set()
    assert split_patients("hrf", names, 1.0, seed=0) == set(names)
    assert len(split_patients("hrf", names[:3], 0.01, seed=0)) == 1


def test_every_takes_whole_people(root, tmp_path):
    build(root, tmp_path / "pack", ["chase_db1"], size=96, every={"chase_db1": 3}, validation_share=1)
    rows = list(read_split(tmp_path / "pack", "validation"))
    assert [one.name for one in rows] == ["Image_01L", "Image_01R", "Image_04L", "Image_04R"]
    assert not list((tmp_path / "pack").glob("train-*"))


@pytest.mark.parametrize(
    "source, stem, patient, eye",
    [
        ("hrf", "01_dr", "01_dr", ""),
        ("chase_db1", "Image_01L", "01", "left"),
        ("srahim_dr", "Patient012_R", "012", "right"),
        ("srahim_dr", "Patient254-R", "254", "right"),
        ("les_av", "111", "111", ""),
        ("my_clinic", "any name", "any name", ""),
    ],
)
def test_patient_and_eye_from_the_file_name(tmp_path, source, stem, patient, eye):
    write_source(tmp_path, source, [stem], vessels=False)
    (found,) = list_photographs(tmp_path, find_source(source))
    assert (found.patient, found.eye) == (patient, eye)


def test_rendered_eyes_need_no_folder(tmp_path, monkeypatch):
    drawn = []

    def render(number, size, seed):
        drawn.append(number)
        image, mask = np.full((size, size, 3), number, dtype=np.uint8), np.ones((size, size), dtype=bool)
        place = np.array([[10.0, 10.0]])
        name = f"rendered_{number}"
        return LabelledPhotograph(
            name, image, mask, place, np.zeros(1, np.int8), "rendered", name, "left", "Apache-2.0"
        )

    monkeypatch.setattr(build_module, "render", render)
    counts = build(None, tmp_path / "pack", sources=[], labels=[], rendered=10, size=64, validation_share=0.2)
    assert sorted(drawn) == list(range(10))
    assert counts["train"]["rendered labelled"] == 8 and counts["validation"]["rendered"] == 2


def test_rendered_eye_fills_the_canvas():
    one = build_module.render(1, size=192, seed=0)
    columns = np.nonzero(one.mask.any(axis=0))[0]
    rows = np.nonzero(one.mask.any(axis=1))[0]
    assert max(np.ptp(columns), np.ptp(rows)) > 0.96 * 192
    assert len(one.keypoints) == len(one.types) > 10
    x, y = one.keypoints.round().astype(int).T
    assert one.mask[y, x].all()
    assert one.eye in ("left", "right") and one.licence == "Apache-2.0"


def replace(path, pixels):
    path.unlink()
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    "spoil, options, error, sentence",
    [
        (
            lambda root: replace(root / "chase_db1/vessels/Image_01L.png", np.zeros((10, 20), np.uint8)),
            {},
            BuildError,
            "Image_01L.png has 20 x 10 pixels, its image .*Image_01L.jpg has 320 x 240; they must agree",
        ),
        (
            lambda root: (root / "chase_db1/vessels/Image_02R.png").unlink(),
            {},
            BuildError,
            "Image_02R.png does not exist",
        ),
        (
            lambda root: (root / "chase_db1/vessels/Image_02R.png").write_bytes(b"no image"),
            {},
            BuildError,
            "Image_02R.png cannot be read",
        ),
        (lambda root: (root / "hrf/images/01_h.jpg").write_bytes(b"no image"), {}, BuildError, "01_h.jpg"),
        (
            lambda root: (root / "chase_db1/images/cover.jpg").write_bytes(b""),
            {},
            SourceError,
            "cover.jpg is not named",
        ),
        (lambda root: None, {"sources": ["drive"], "labels": []}, SourceError, "drive/images does not exist"),
        (
            lambda root: (root / "drive/images").mkdir(parents=True),
            {"sources": ["drive"], "labels": []},
            SourceError,
            "holds no images",
        ),
        (lambda root: None, {"sources": ["hrf"]}, BuildError, "'chase_db1' is not among the sources to build"),
        (lambda root: None, {"validation_share": 1.5}, BuildError, "between 0 and 1, got 1.5"),
        (lambda root: None, {"size": 32}, BuildError, "at least 64 pixels a side, got 32"),
        (lambda root: None, {"sources": [], "labels": []}, BuildError, "Nothing to build"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(root, tmp_path, spoil, options, error, sentence):
    spoil(root)
    with pytest.raises(error, match=sentence) as caught:
        build(root, tmp_path / "pack", **{"size": 64, **options})
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_command_line_and_contact_sheet(root, tmp_path):
    runner, pack = CliRunner(), tmp_path / "pack"
    result = runner.invoke(build_module.app, [str(root), "--out", str(pack), "--size", "128"])
    assert result.exit_code == 0, result.output
    assert "chase_db1 labelled" in result.output
    sheet = tmp_path / "sheet.png"
    result = runner.invoke(
        contact_sheet.app, [str(pack), "--out", str(sheet), "--source", "chase_db1", "--side", "200", "--count", "4"]
    )
    assert result.exit_code == 0, result.output
    with Image.open(sheet) as image:
        assert image.size == (600, 2 * (200 + contact_sheet.CAPTION_HEIGHT))

    result = runner.invoke(build_module.app, ["--out", str(pack), "--sources", "hrf"])
    assert result.exit_code == 2 and "need the folder" in result.output
    result = runner.invoke(build_module.app, [str(root), "--out", str(pack), "--every", "hrf"])
    assert result.exit_code == 2 and "SOURCE=NUMBER" in result.output
    result = runner.invoke(contact_sheet.app, [str(tmp_path / "nothing")])
    assert result.exit_code == 2 and "has no file" in result.output


def test_sheet_tells_the_kinds_apart_by_shape_and_colour():
    one = LabelledPhotograph(
        "drawn",
        np.zeros((200, 200, 3), dtype=np.uint8),
        np.ones((200, 200), dtype=bool),
        np.array([[50.0, 50.0], [150.0, 150.0]]),
        np.array([0, 1], dtype=np.int8),
        *["", "", "", ""],
    )
    cell = contact_sheet.draw_cell(one, 200)
    circle, square = cell[40:61, 40:61].max(axis=2) > 60, cell[140:161, 140:161].max(axis=2) > 60
    assert circle.any() and square.any() and not np.array_equal(circle, square)
    assert tuple(cell[47, 50]) != tuple(cell[146, 150])
    assert np.abs(np.argwhere(circle).mean(axis=0) - 10).max() < 1
    assert np.abs(np.argwhere(square).mean(axis=0) - 10).max() < 1


def test_real_photographs(data_root, tmp_path):
    counts = build(
        data_root / "fundus", tmp_path / "pack", ["chase_db1"], size=256, every={"chase_db1": 7}, validation_share=0.5
    )
    assert counts["train"]["chase_db1"] == counts["validation"]["chase_db1"] == 2
    for rows in read(tmp_path / "pack").values():
        for one in rows:
            assert 20 <= len(one.keypoints) <= 90 and 0 < (one.types == 1).sum() < len(one.types) / 2


def test_out_is_checked_before_the_work(root, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "notes.txt").write_text("mine")
    with pytest.raises(ParquetError, match="notes.txt"):
        build(root, tmp_path / "pack", size=64)
