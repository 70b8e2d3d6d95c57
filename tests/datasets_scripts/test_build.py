"""Building the data set: split by patient, labels in their place, the same bytes, and one sentence for bad input."""

import errno

import numpy as np
import pytest
from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import DatasetCard
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts import build as build_module
from datasets_scripts.assembly.options import BuildError, BuildOptions
from datasets_scripts.build import build
from datasets_scripts.format import contact_sheet
from datasets_scripts.format.annotations import Annotation, write_annotation
from datasets_scripts.format.parquet import ParquetError, read_photographs, read_rows, tables
from datasets_scripts.format.rows import LabeledPhotograph, decode
from datasets_scripts.format.schema import CONFIGURATIONS, SPLITS
from datasets_scripts.sources import SourceError


CENTER, RADIUS, WIDTH, HEIGHT = (150.0, 115.0), 100.0, 320, 240
# Nothing rendered, so that a test takes a moment.
NONE = {"rendered": 0, "unlabeled": 0, "visits": 0, "people": 0, "measured": 0}


def draw_photograph(number):
    """A round retina with a vessel that branches near its center: photograph, vessel map, the place.

    Around it run other vessels, another pattern in every photograph: none is a copy of another one.
    """
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disk = np.hypot(x - CENTER[0], y - CENTER[1]) <= RADIUS
    fork = np.array(CENTER) + (number % 5 * 4.0 - 8.0, -10.0)
    vessels = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for angle in (180, 40, -40):
        step = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        along = np.clip((x - fork[0]) * step[0] + (y - fork[1]) * step[1], 0, 50)
        vessels |= np.hypot(x - fork[0] - along * step[0], y - fork[1] - along * step[1]) <= 2.5
    # A thick bar elsewhere takes the part of the optic disc.
    vessels |= (abs(x - CENTER[0] - 5) <= 25) & (abs(y - CENTER[1] - 75) <= 5)
    photo = np.where(disk[..., None], [180, 90, 40], 0).astype(np.uint8)
    for _ in range(40):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(60, 92)
        spot = np.hypot(x - CENTER[0] - radius * np.cos(angle), y - CENTER[1] - radius * np.sin(angle)) < 4
        photo[spot & disk] = (130, 50, 20)
    photo[vessels & disk] = (120, 30, 10)
    return photo, vessels, fork


def write_source(root, name, stems, vessels=True):
    (root / name / "images").mkdir(parents=True)
    (root / name / "vessels").mkdir()
    for number, stem in enumerate(stems):
        photo, drawn, _ = draw_photograph(number + 100 * len(name))
        Image.fromarray(photo).save(root / name / "images" / f"{stem}.jpg", quality=95)
        if vessels:
            Image.fromarray(drawn).save(root / name / "vessels" / f"{stem}.png")


@pytest.fixture
def root(tmp_path):
    """Six people of CHASE_DB1 with both eyes, four of HRF, two of LES-AV, as small drawings."""
    write_source(tmp_path / "data", "chase_db1", [f"Image_{number:02d}{eye}" for number in range(1, 7) for eye in "LR"])
    write_source(tmp_path / "data", "hrf", ["01_h", "01_dr", "02_g", "03_h"])
    write_source(tmp_path / "data", "les_av", ["11", "276"])
    return tmp_path / "data"


def options(**changes):
    return BuildOptions(**{**NONE, "size": 96, **changes})


def rows_of(folder, config):
    return {split: list(read_rows(folder, config, split)) for found, split in tables(folder) if found == config}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A build on rendered data alone, of all configurations."""
    folder = tmp_path_factory.mktemp("rendered") / "set"
    small = BuildOptions(rendered=4, unlabeled=1, visits=1, people=2, shots=2, size=160, measured=1)
    return folder, build(None, folder, small)


class TestRenderedAlone:
    def test_all_configurations_load_by_name(self, rendered, tmp_path):
        folder, record = rendered
        assert set(get_dataset_config_names(str(folder))) == set(CONFIGURATIONS) == set(record["rows"])
        for config, split in tables(folder):
            loaded = load_dataset(str(folder), config, split=split, cache_dir=str(tmp_path / "cache"))
            assert loaded.features == CONFIGURATIONS[config]
            assert len(loaded) == sum(record["rows"][config][split].values())
            first = next(iter(load_dataset(str(folder), config, split=split, streaming=True)))
            assert set(first) == set(CONFIGURATIONS[config])
            if config != "identity_pairs":
                assert first["license"] == "Apache-2.0" and first["redistributable"]

    def test_no_person_is_in_two_splits(self, rendered):
        people = {split: set() for split in SPLITS}
        for config, split in tables(rendered[0]):
            if config != "identity_pairs":
                people[split] |= {row["patient"] for row in read_rows(rendered[0], config, split, ["patient"])}
        assert all(people.values())
        assert not people["train"] & people["validation"] and not people["test"] & (
            people["train"] | people["validation"]
        )

    def test_pairs_and_people(self, rendered):
        pairs = rows_of(rendered[0], "pairs")["test"]
        # One test eye in every category, one pair of visits, and one of two modalities.
        assert sorted(row["category"] for row in pairs) == sorted(
            ["overlap", "curvature", "blur", "light", "lesions", "all", "visits", "modalities"]
        )
        people = {row["index"]: row["patient"] for row in rows_of(rendered[0], "identity")["test"]}
        compared = rows_of(rendered[0], "identity_pairs")["test"]
        assert len(people) == 4 and len(compared) == 6
        assert all(row["genuine"] == (people[row["first"]] == people[row["second"]]) for row in compared)
        assert sum(row["genuine"] for row in compared) == 2

    def test_the_card_says_what_is_there(self, rendered):
        folder, record = rendered
        card = (folder / "README.md").read_text()
        assert "- config_name: keypoints\n  default: true" in card and "license:\n- apache-2.0\n" in card
        assert "| `keypoints` | rendered | 2 | 1 | 1 |" in card
        quality = record["label_quality"]["rendered"]
        assert f"| all | {quality['keypoints']} | {quality['recall']:.3f} | {quality['precision']:.3f} |" in card
        crossings = record["keypoints"]["train"]["rendered"]
        assert f"| train | rendered | {crossings['0']} | {crossings['1']} |" in card
        # The Hub's own reader finds in it what was written.
        loaded = DatasetCard.load(folder / "README.md")
        assert str(loaded) == card and "{" not in loaded.text.split("```bibtex")[0]
        assert [(one["config_name"], [file["split"] for file in one["data_files"]]) for one in loaded.data.configs] == [
            (config, [split for name, split in tables(folder) if name == config]) for config in CONFIGURATIONS
        ]
        with Image.open(folder / "figures" / "labels.jpg") as figure:
            assert figure.width == 3 * 480

    def test_rendered_eyes_fill_the_canvas(self, rendered):
        for one in read_photographs(rendered[0], "train"):
            columns, rows = np.nonzero(one.mask.any(axis=0))[0], np.nonzero(one.mask.any(axis=1))[0]
            assert max(np.ptp(columns), np.ptp(rows)) > 0.96 * 160
            if one.keypoints is not None:
                assert len(one.keypoints) == len(one.types) > 10 and (one.widths > 0).all()
                x, y = one.keypoints.round().astype(int).T
                assert one.mask[y, x].all()


class TestSources:
    @pytest.mark.slow
    def test_the_same_bytes_with_two_processes(self, root, tmp_path):
        few = options(sources=["hrf"], rendered=1)
        contents = []
        for workers in (1, 2):
            build(root, tmp_path / "set", few, workers=workers)
            files = sorted(path for path in (tmp_path / "set").rglob("*") if path.is_file())
            contents.append({path.name: path.read_bytes() for path in files})
        assert contents[0] == contents[1] and len(contents[0]) > 4
        build(root, tmp_path / "set", options(sources=["hrf"], seed=1))
        assert (tmp_path / "set" / "pairs" / "test-00000-of-00001.parquet").read_bytes() not in contents[0].values()

    @pytest.mark.slow
    def test_labels_where_there_are_some_and_pairs_of_test_patients(self, root, tmp_path):
        record = build(root, tmp_path / "set", options(validation_fraction=0.34, test_fraction=0.2))
        assert record["options"]["sources"] == ["chase_db1", "hrf", "les_av"] and record["left_out"] == []
        keypoints = rows_of(tmp_path / "set", "keypoints")
        assert sum(len(rows) for rows in keypoints.values()) == 18
        assert {split: record["rows"]["keypoints"][split]["chase_db1"] for split in SPLITS} == {
            "train": 6,
            "validation": 4,
            "test": 2,
        }
        for rows in keypoints.values():
            for one in map(decode, rows):
                assert one.labeled_by == "vessel map" and one.image.shape == (96, 96, 3)
                assert one.eye == {"L": "left", "R": "right"}.get(one.name[-1] if one.source == "chase_db1" else "", "")
                # Its own photographs may be passed on, labels from maps without terms may not.
                assert one.redistributable == (one.source == "chase_db1")
        tests = {(row["source"], row["patient"]) for row in keypoints["test"]}
        pairs = rows_of(tmp_path / "set", "pairs")["test"]
        assert {(row["source"], row["patient"]) for row in pairs} == tests and len(pairs) == 6 * len(keypoints["test"])

    def test_a_publishable_build_leaves_out_what_may_not_be_passed_on(self, root, tmp_path):
        record = build(root, tmp_path / "set", options(publishable=True))
        assert set(record["rows"]["keypoints"]["train"]) == {"chase_db1"}
        assert set(record["rows"]["unlabeled"]["train"]) == {"hrf"}
        assert len(record["left_out"]) == 2
        assert "LES-AV" in " ".join(record["left_out"]) and "unlabeled" in " ".join(record["left_out"])
        for config, split in tables(tmp_path / "set"):
            assert all(
                row["redistributable"] for row in read_rows(tmp_path / "set", config, split, ["redistributable"])
            )
        card = (tmp_path / "set" / "README.md").read_text()
        assert all(sentence in card for sentence in record["left_out"]) and "license:\n- cc-by-4.0" in card
        assert "@" in card.split("```bibtex")[1]

    def test_keypoints_move_with_the_crop(self, root, tmp_path):
        build(root, tmp_path / "set", options(sources=["chase_db1"], size=256, png=True))
        for rows in rows_of(tmp_path / "set", "keypoints").values():
            for one in map(decode, rows):
                # The field of view fills the canvas, and the fork is where the same zoom about its center puts it.
                assert 0.74 < one.mask.mean() < 0.79
                number = (int(one.patient) - 1) * 2 + "LR".index(one.name[-1]) + 900
                zoom = np.sqrt(one.mask.sum() / np.pi) / RADIUS
                wanted = 127.5 + np.array([number % 5 * 4.0 - 8.0, -10.0]) * zoom
                nearest = np.linalg.norm(one.keypoints - wanted, axis=1).argmin()
                assert one.types.tolist() == [0] and np.abs(one.keypoints[nearest] - wanted).max() < 2.0
                assert abs(one.widths[nearest] - 5 * zoom) < 3
                turns = one.directions[nearest][:, None] - np.radians([-40, 40, 180])
                assert (np.cos(turns).max(axis=0) > 0.98).all() and len(turns) == 3
                x, y = one.keypoints[nearest].round().astype(int)
                assert one.image[y, x, 0] < 150

    def test_pairs_can_be_left_out_or_be_fewer(self, root, tmp_path):
        taken = {"sources": ["chase_db1", "hrf"], "test_fraction": 0.5}
        build(root, tmp_path / "set", options(**taken, warped=0))
        assert {config for config, _ in tables(tmp_path / "set")} == {"keypoints"}
        build(root, tmp_path / "set", options(**taken, warped=1))
        names = {(row["source"], row["patient"]) for row in rows_of(tmp_path / "set", "pairs")["test"]}
        assert sorted(source for source, _ in names) == ["chase_db1", "hrf"]

    def test_every_takes_whole_people(self, root, tmp_path):
        taken = options(sources=["chase_db1"], every={"chase_db1": 3}, validation_fraction=1, test_fraction=0)
        build(root, tmp_path / "set", taken)
        assert tables(tmp_path / "set") == [("keypoints", "validation")]
        names = [one.name for one in read_photographs(tmp_path / "set", "validation")]
        assert names == ["Image_01L", "Image_01R", "Image_04L", "Image_04R"]

    def test_own_photographs_and_annotations(self, root, tmp_path):
        own = tmp_path / "own"
        (own / "images").mkdir(parents=True)
        (own / "annotations").mkdir()
        for number, name in enumerate(("anna", "bert", "carl", "dora")):
            photo, _, fork = draw_photograph(number)
            Image.fromarray(photo).save(own / "images" / f"{name}.png")
            done = name != "dora"  # hers is a draft
            mark = Annotation(f"{name}.png", (WIDTH, HEIGHT), fork[None], np.zeros(1), "me", complete=done)
            write_annotation(own / "annotations" / f"{name}.json", mark)
        record = build(root, tmp_path / "set", options(sources=[f"plain:mine={own}"]))
        assert record["options"]["sources"] == ["mine"]
        labeled = [decode(row) for rows in rows_of(tmp_path / "set", "keypoints").values() for row in rows]
        assert len(labeled) == 3 and {one.labeled_by for one in labeled} == {"me"}
        assert all(len(one.keypoints) == 1 and np.isnan(one.widths).all() for one in labeled)
        assert sum(len(rows) for rows in rows_of(tmp_path / "set", "unlabeled").values()) == 1

    def test_annotations_replace_the_labels(self, root, tmp_path):
        taken = options(sources=["hrf", "les_av"], size=96, validation_fraction=0, test_fraction=0)
        build(root, tmp_path / "set", taken)
        before = {row["name"]: decode(row) for row in rows_of(tmp_path / "set", "keypoints")["train"]}
        marks = tmp_path / "marks"
        marks.mkdir()
        # One made on the canvas of the build, one on the photograph, one a draft.
        place = before["01_h"].keypoints[0] + 3
        write_annotation(marks / "01_h.json", Annotation("01_h.jpg", (96, 96), place[None], [1], "me"))
        write_annotation(marks / "hrf-02_g.json", Annotation("02_g.jpg", (WIDTH, HEIGHT), [CENTER], [0], "me"))
        write_annotation(marks / "11.json", Annotation("11.jpg", (96, 96), [[5, 5]], [0], "me", complete=False))
        build(root, tmp_path / "set", options(**{**vars(taken), "annotations": str(marks)}))
        after = {row["name"]: decode(row) for row in rows_of(tmp_path / "set", "keypoints")["train"]}
        assert np.allclose(after["01_h"].keypoints, [place]) and after["01_h"].types.tolist() == [1]
        assert np.abs(after["02_g"].keypoints - 47.5).max() < 0.6, "the center of the field of view"
        assert after["01_h"].labeled_by == "me" and after["01_h"].redistributable
        for name in ("01_dr", "03_h", "11", "276"):
            assert np.array_equal(after[name].keypoints, before[name].keypoints)

        write_annotation(marks / "01_h.json", Annotation("01_h.jpg", (50, 50), [[5, 5]], [1], "me"))
        with pytest.raises(BuildError, match="picture of 50 x 50 pixels; the photograph has 320 x 240, its canvas 96"):
            build(root, tmp_path / "set", options(**{**vars(taken), "annotations": str(marks)}))
        write_annotation(marks / "nobody.json", Annotation("nobody.jpg", (96, 96), [[5, 5]], [1], "me"))
        with pytest.raises(BuildError, match="nobody.json belongs to no photograph of this build"):
            build(root, tmp_path / "set", options(**{**vars(taken), "annotations": str(marks)}))

    @pytest.mark.slow
    def test_real_photographs(self, data_root, tmp_path):
        taken = options(
            sources=["chase_db1"], size=256, every={"chase_db1": 5}, validation_fraction=0.34, test_fraction=0
        )
        record = build(data_root, tmp_path / "set", taken)
        assert record["rows"]["keypoints"] == {"train": {"chase_db1": 4}, "validation": {"chase_db1": 2}}
        for one in read_photographs(tmp_path / "set", "train"):
            assert 20 <= len(one.keypoints) <= 120 and 0 < (one.types == 1).sum() < len(one.types) / 2


def split(source, names, validation, test, seed=0):
    return BuildOptions(validation_fraction=validation, test_fraction=test, seed=seed).split(source, names)


def test_split_of_a_source_does_not_depend_on_the_others():
    names = [f"{number:02d}" for number in range(40)]
    splits = split("hrf", names, 0.15, 0.1)
    assert [list(splits.values()).count(split) for split in SPLITS] == [30, 6, 4]
    assert splits == split("hrf", names[::-1], 0.15, 0.1)
    assert splits != split("chase_db1", names, 0.15, 0.1)
    assert splits != split("hrf", names, 0.15, 0.1, seed=1)
    assert set(split("hrf", names, 0.0, 0.0).values()) == {"train"}
    assert set(split("hrf", names, 1.0, 0.0).values()) == {"validation"}
    assert sorted(split("hrf", names[:3], 0.01, 0.01).values()) == ["test", "train", "validation"]
    assert set(split("hrf", names[:2], 0.1, 0.1).values()) == {"train"}


def replace(path, pixels):
    path.unlink()
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    "spoil, changes, error, sentence",
    [
        (
            lambda root: replace(root / "chase_db1/vessels/Image_01L.png", np.zeros((10, 20), np.uint8)),
            {},
            SourceError,
            "Image_01L.png has 20 x 10 pixels, its image .*Image_01L.jpg has 320 x 240",
        ),
        (lambda root: (root / "chase_db1/vessels/Image_02R.png").unlink(), {}, SourceError, "Image_02R"),
        (lambda root: (root / "hrf/images/01_h.jpg").write_bytes(b"no image"), {}, SourceError, "01_h.jpg is damaged"),
        (lambda root: None, {"sources": ["drive"]}, BuildError, "'drive' was not found under .*training"),
        (lambda root: None, {"sources": ["dirve"]}, SourceError, "'dirve' is not a known source"),
        (lambda root: None, {"sources": ["plain:hrf=somewhere"]}, BuildError, "'hrf' is taken by another source"),
        (lambda root: None, {"sources": ["plain:mine=/nowhere"]}, SourceError, "/nowhere is not a folder"),
        (lambda root: None, {"every": {"drive": 2}}, BuildError, "'drive' is not among the sources to build"),
        (lambda root: None, {"validation_fraction": 1.5}, BuildError, "between 0 and 1, got 1.5"),
        (lambda root: None, {"validation_fraction": 0.9, "test_fraction": 0.2}, BuildError, "together, got 0.9 . 0.2"),
        (lambda root: None, {"size": 32}, BuildError, "at least 64 pixels a side, got 32"),
        (lambda root: None, {"sources": []}, BuildError, "Nothing to build"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(root, tmp_path, spoil, changes, error, sentence):
    spoil(root)
    with pytest.raises(error, match=sentence) as caught:
        build(root, tmp_path / "set", options(**changes))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_full_disk_leaves_the_former_build_whole(root, tmp_path, monkeypatch):
    build(root, tmp_path / "set", options(sources=["hrf"]))
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build_module, "write_table", full)
    with pytest.raises(BuildError, match="could not be written to .*: No space left on device"):
        build(root, tmp_path / "set", options(sources=["chase_db1"]))
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "set"]


def test_what_validation_rejects_is_not_kept(root, tmp_path):
    images = root / "hrf" / "images"
    (images / "03_h.jpg").write_bytes((images / "02_g.jpg").read_bytes())  # two people, one photograph
    with pytest.raises(BuildError, match="show the same photograph"):
        build(
            root,
            tmp_path / "set",
            options(sources=["hrf"], validation_fraction=0.5, test_fraction=0.25, seed=SPLITTING),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# With this seed the two people are in two splits.
SPLITTING = next(
    seed
    for seed in range(50)
    if (lambda s: s["02_g"] != s["03_h"])(split("hrf", ["01_dr", "01_h", "02_g", "03_h"], 0.5, 0.25, seed))
)


def test_out_is_checked_before_the_work(root, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(ParquetError, match="notes.txt"):
        build(root, tmp_path / "set", options())


def test_command_line_and_contact_sheet(root, tmp_path):
    runner, folder = CliRunner(), tmp_path / "set"
    nothing = ["--rendered", "0", "--unlabeled", "0", "--visits", "0", "--people", "0", "--measured", "0"]
    words = [str(root), "--out", str(folder), "--size", "128", "--workers", "1", *nothing]
    result = runner.invoke(build_module.app, [*words, "--publishable"])
    assert result.exit_code == 0, result.output
    assert "keypoints train: chase_db1" in result.output and "Left out: LES-AV" in result.output
    sheet = tmp_path / "sheet.png"
    result = runner.invoke(
        contact_sheet.app, [str(folder), "--out", str(sheet), "--source", "chase_db1", "--side", "200", "--count", "4"]
    )
    assert result.exit_code == 0, result.output
    with Image.open(sheet) as image:
        assert image.size == (600, 2 * (200 + contact_sheet.CAPTION_HEIGHT))

    result = runner.invoke(build_module.app, [str(tmp_path / "nowhere"), "--out", str(folder)])
    assert result.exit_code == 2 and "is not a folder" in result.output
    result = runner.invoke(build_module.app, [*words, "--every", "hrf"])
    assert result.exit_code == 2 and "SOURCE=NUMBER" in result.output
    result = runner.invoke(contact_sheet.app, [str(tmp_path / "nothing")])
    assert result.exit_code == 2 and "has no file" in result.output


def test_sheet_tells_the_kinds_apart_by_shape_and_colour():
    one = LabeledPhotograph(
        name="drawn",
        image=np.zeros((200, 200, 3), dtype=np.uint8),
        mask=np.ones((200, 200), dtype=bool),
        **dict.fromkeys(("source", "patient", "eye", "license"), ""),
        keypoints=np.array([[50.0, 50.0], [150.0, 150.0]]),
        types=np.array([0, 1], dtype=np.int8),
    )
    cell = contact_sheet.draw_cell(one, 200)
    circle, square = cell[40:61, 40:61].max(axis=2) > 60, cell[140:161, 140:161].max(axis=2) > 60
    assert circle.any() and square.any() and not np.array_equal(circle, square)
    assert tuple(cell[47, 50]) != tuple(cell[146, 150])
    assert np.abs(np.argwhere(circle).mean(axis=0) - 10).max() < 1
    assert np.abs(np.argwhere(square).mean(axis=0) - 10).max() < 1


@pytest.mark.parametrize("read", ["root", "sources", "annotations"])
@pytest.mark.parametrize("place", [".", "eyes", "keypoints"])
def test_an_input_is_never_replaced_by_a_build(tmp_path, read, place):
    out = tmp_path / "set"
    (out / place).mkdir(parents=True)
    (out / "build.json").write_text("{}")
    options = {"sources": [f"plain:mine={out / place}"]} if read == "sources" else {}
    options |= {"annotations": str(out / place)} if read == "annotations" else {}
    with pytest.raises(ParquetError, match="holds the input .*; choose another one"):
        build(out / place if read == "root" else None, out, BuildOptions(**options))
    assert (out / "build.json").read_text() == "{}" and (out / place).is_dir()
