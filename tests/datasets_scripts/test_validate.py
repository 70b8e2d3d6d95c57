"""Validation: a good data set passes, and every promise that is broken is named."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts import validate as validate_module
from datasets_scripts.assembly.identity import identity_pairs
from datasets_scripts.assembly.warped_pairs import Subject, warped_pair
from datasets_scripts.format.parquet import ParquetError, write_table
from datasets_scripts.format.rows import encode
from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from datasets_scripts.validate import MOST_ERRORS, validate
from tests.helpers.drawn_photograph import photograph


SIZE = 192


@pytest.fixture(scope="module")
def photos():
    return [render(draw_eye(seed), SIZE, seed=0) for seed in range(4)]


@pytest.fixture
def rows(photos):
    """Configuration and split -> rows of a small data set that is in order."""

    def row(number, labeled=True):
        one = photograph(number, labeled)
        one.image, one.mask, one.source = photos[number].image, photos[number].mask, "rendered"
        if labeled:
            center = np.array([photos[number].view.center])
            one.keypoints, one.types, one.widths, one.directions = center, np.zeros(1), np.ones(1), [np.zeros(3)]
        return encode(one)

    one = photograph(3)
    subject = Subject.render(900, SIZE, 0)
    found = {
        ("keypoints", "train"): [row(0), row(1)],
        ("unlabeled", "validation"): [row(2, labeled=False)],
        ("pairs", "test"): [warped_pair(subject, "light", 1, SIZE, 0)],
        ("identity", "test"): [{**row(3, labeled=False), "index": 0}, {**row(3, False), "index": 1, "name": "other"}],
    }
    found["identity_pairs", "test"] = identity_pairs([("rendered", one.patient, 0)] * 2, seed=0)
    return found


def check(rows, folder, **options):
    for (config, split), found in rows.items():
        write_table(folder, config, split, found)
    return validate(folder, **options)


def test_a_good_set_passes_and_is_counted(rows, tmp_path):
    report = check(rows, tmp_path, publishable=True)
    assert report.errors == []
    assert report.rows["keypoints", "train", "rendered"] == 2 and report.rows["identity_pairs", "test", "pairs"] == 1
    assert report.keypoints["train", "rendered", 0] == 2


def no_image(row):
    row["image"] = {"bytes": b"no image", "path": "a.jpg"}


def another_mask(row):
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 20), 255, np.uint8)).save(buffer, format="PNG")
    row["mask"] = {"bytes": buffer.getvalue(), "path": "a.png"}


def change(**values):
    return lambda row: row.update(values)


def move_points(row):
    row["fixed_points"] = [[x + 0.7, y] for x, y in row["fixed_points"]]


@pytest.mark.parametrize(
    "table, spoil, sentence",
    [
        (("keypoints", "train"), no_image, r"image: image of keypoints/train/photograph_0 does not decode"),
        (("keypoints", "train"), another_mask, r"mask: mask of .* has the shape \(20, 20\)"),
        (("keypoints", "train"), change(keypoints=[[500.0, 3.0]]), r"keypoints: .*\(500.0, 3.0\) lies outside the 192"),
        (("keypoints", "train"), change(keypoints=[[float("nan"), 3.0]]), r"keypoints: .*\(nan, 3.0\) lies outside"),
        (
            ("keypoints", "train"),
            change(keypoints=[[0.0, 0.0]]),
            r"keypoint \(0.0, 0.0\) lies outside the field of view",
        ),
        (("keypoints", "train"), change(types=[0, 1]), "keypoints: .* differ in length"),
        (("keypoints", "train"), change(patient="02"), "patient: rendered 02 is in the splits train, validation"),
        (("keypoints", "train"), change(name="photograph_1"), "name: keypoints/train/photograph_1 stands there twice"),
        (("keypoints", "train"), change(license=""), "license: .*photograph_0 carries no license"),
        (("keypoints", "train"), change(redistributable=False), "license: .*photograph_0 may not be passed on"),
        (("keypoints", "train"), change(source="ridb"), "split: .*photograph_0 is of RIDB, which is for identity only"),
        (("keypoints", "train"), change(source="les_av"), "license: .* is of LES-AV, which may not be passed on"),
        (("pairs", "test"), move_points, "pair: .*: a point and the transform lie 0.70 px apart"),
        (("pairs", "test"), change(fixed_points=[]), "pair: .* has 0 fixed and"),
        (("pairs", "test"), change(transform='{"class": "spline"}'), "pair: the transform of .* cannot be read"),
        (("identity_pairs", "test"), change(genuine=False), r"identity: the pair \(0, 1\) is called impostor wrongly"),
        (("identity_pairs", "test"), change(second=7), r"identity: the pair \(0, 7\) does not name two photographs"),
    ],
)
def test_what_is_broken_is_named(rows, tmp_path, table, spoil, sentence):
    spoil(rows[table][0])
    report = check(rows, tmp_path, publishable=True)
    assert any(re.search(sentence, error) for error in report.errors), report.errors


def test_a_photograph_under_two_names_in_two_splits(rows, tmp_path):
    with Image.open(io.BytesIO(rows["keypoints", "train"][0]["image"]["bytes"])) as image:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=80)
    copy = rows["unlabeled", "validation"][0]
    copy["image"] = {"bytes": buffer.getvalue(), "path": "copy.jpg"}
    (error,) = check(rows, tmp_path).errors
    assert error.startswith(
        "duplicate: keypoints/train/photograph_0 and unlabeled/validation/photograph_2 show the same"
    )


def test_fire_in_training_is_found_by_content(rows, tmp_path, photos):
    (tmp_path / "fire" / "Images").mkdir(parents=True)
    for number, name in ((3, "P01_1"), (1, "P01_2")):
        image = Image.fromarray(photos[number].image).resize((300, 300), Image.Resampling.BICUBIC)
        image.save(tmp_path / "fire" / "Images" / f"{name}.jpg", quality=80)
    (error,) = check(rows, tmp_path / "set", fire=tmp_path / "fire").errors
    assert error == "fire: keypoints/train/photograph_1 is FIRE's P01_2."


def test_many_errors_of_a_kind_are_cut_short(rows, tmp_path):
    rows["keypoints", "train"] = [{**rows["keypoints", "train"][0], "license": ""} for _ in range(2 * MOST_ERRORS)]
    errors = [error for error in check(rows, tmp_path).errors if error.startswith("license")]
    assert len(errors) == MOST_ERRORS + 1 and errors[-1] == "license: and more of this kind."


def test_command_line(rows, tmp_path):
    runner = CliRunner()
    check(rows, tmp_path / "set")
    result = runner.invoke(validate_module.app, [str(tmp_path / "set"), "--publishable"])
    assert result.exit_code == 0 and "Everything is as it should be" in result.output
    rows["pairs", "test"][0]["transform"] = json.dumps({"class": "spline"})
    check(rows, tmp_path / "set")
    result = runner.invoke(validate_module.app, [str(tmp_path / "set")])
    assert result.exit_code == 1 and "Rejected: pair:" in result.output
    with pytest.raises(ParquetError, match="holds no data set"):
        validate(tmp_path)
    result = runner.invoke(validate_module.app, [str(tmp_path)])
    assert result.exit_code == 2 and "holds no data set" in result.output


def test_identity_pairs_never_mix_sources_and_are_drawn_by_seed():
    eyes = [("ridb", f"{n // 3}", 0) for n in range(60)] + [("varia", "0", 0)]
    pairs = identity_pairs(eyes, seed=0, most_impostors=100)
    genuine = [pair for pair in pairs if pair["genuine"]]
    assert len(genuine) == 60 and len(pairs) == 160
    assert all(pair["second"] < 60 for pair in pairs), "photographs of two sources are never compared"
    assert pairs == identity_pairs(eyes, seed=0, most_impostors=100) != identity_pairs(eyes, seed=1, most_impostors=100)
    left_and_right = identity_pairs([("ridb", "1", 0), ("ridb", "1", 1)], seed=0)
    assert [pair["genuine"] for pair in left_and_right] == [False]
