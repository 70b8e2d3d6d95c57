import errno
import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts.annotation import agreement as annotations
from datasets_scripts.annotation.agreement import agreement
from datasets_scripts.format import annotations as annotation_files
from datasets_scripts.format.annotations import Annotation, AnnotationError, read_annotation, write_annotation


def made(points, types=None, size=(565, 584), **options):
    """An annotation of these points, bifurcations unless said otherwise."""
    types = [0] * len(points) if types is None else types
    return Annotation("eye.png", size, points, types, **{"annotator": "AB", **options})


def run(*arguments):
    return CliRunner().invoke(annotations.app, [str(argument) for argument in arguments])


def test_round_trip(tmp_path):
    given = made(
        [[10.125, 20.5], [564.5, 583.499], [-0.5, -0.25], [10.125, 21]],
        [0, 1, 0, 1],
        widths=[6.4, np.nan, 0, 2.5],
        annotator="Zoë",
        complete=False,
    )
    write_annotation(tmp_path / "new" / "eye.json", given)
    found = read_annotation(tmp_path / "new" / "eye.json", (565, 584))
    order = [2, 0, 3, 1]  # from top to bottom
    assert np.array_equal(found.points, given.points[order]) and found.points.dtype == np.float64
    assert np.array_equal(found.types, given.types[order]) and found.types.dtype == np.int8
    assert np.array_equal(found.widths, given.widths[order], equal_nan=True)
    assert (found.image, found.size, found.annotator, found.complete) == ("eye.png", (565, 584), "Zoë", False)
    assert os.listdir(tmp_path / "new") == ["eye.json"]


def test_no_keypoints(tmp_path):
    write_annotation(tmp_path / "eye.json", made([]))
    found = read_annotation(tmp_path / "eye.json")
    assert found.points.shape == (0, 2) and found.types.shape == found.widths.shape == (0,) and found.complete


def test_same_content_same_bytes(tmp_path, rng):
    points, types, widths = rng.uniform(0, 500, (40, 2)), rng.integers(0, 2, 40), rng.uniform(1, 9, 40)
    points[5] = points[6]  # two keypoints at one place, told apart by type or width alone
    order = rng.permutation(40)
    write_annotation(tmp_path / "a.json", made(points, types, widths=widths))
    write_annotation(tmp_path / "b.json", made(points[order], types[order], widths=widths[order]))
    first = (tmp_path / "a.json").read_bytes()
    assert first == (tmp_path / "b.json").read_bytes()
    write_annotation(tmp_path / "c.json", read_annotation(tmp_path / "a.json"))
    assert first == (tmp_path / "c.json").read_bytes()


def test_text_of_medal_and_superretina(tmp_path):
    np.savetxt(tmp_path / "eye.txt", [[0.5, 0.25], [1, 1]])
    found = read_annotation(tmp_path / "eye.txt", (200, 100))
    assert np.allclose(found.points, [[99.5, 24.5], [199.5, 99.5]])  # relative 0 and 1 are the photograph's edges
    assert found.types.tolist() == [0, 0] and np.isnan(found.widths).all()
    (tmp_path / "none.txt").write_text("# nothing\n")
    assert len(read_annotation(tmp_path / "none.txt", (200, 100))) == 0


def record(**changes):
    whole = {"format": annotation_files.FORMAT, "image": "eye.png", "width": 565, "height": 584}
    whole |= {"annotator": "AB", "complete": True}
    whole["keypoints"] = [{"x": 10.0, "y": 20.0, "type": "crossing", "width": None}]
    return json.dumps({**whole, **changes})


def keypoint(**changes):
    return record(keypoints=[{"x": 10.0, "y": 20.0, "type": "crossing", "width": None, **changes}])


BAD_FILES = {
    "truncated": ("json", record()[:80], "not whole JSON"),
    "empty": ("json", "", "not whole JSON"),
    "bytes": ("json", b"\xff\xd8\xff\xe0", "not a text file"),
    "something else": ("json", '{"shapes": []}', "not an annotation"),
    "list": ("json", "[1, 2]", "not an annotation"),
    "no annotator": ("json", record().replace("annotator", "author"), "lacks 'annotator'"),
    "no x": ("json", keypoint().replace('"x"', '"X"'), "lacks 'x'"),
    "NaN": ("json", keypoint(x=float("nan")), "not a finite number"),
    "infinite": ("json", keypoint(y=float("inf")), "not a finite number"),
    "null": ("json", keypoint(x=None), "not a finite number"),
    "word": ("json", keypoint(x="left"), "not a number"),
    "list of places": ("json", keypoint(x=[1, 2]), "not a number"),
    "keypoint is a list": ("json", record(keypoints=[[1, 2]]), "else than numbers"),
    "keypoints are missing": ("json", record(keypoints=None), "else than numbers"),
    "outside": ("json", keypoint(x=564.6), "outside the 565 x 584"),
    "negative": ("json", keypoint(y=-0.6), "outside the 565 x 584"),
    "type": ("json", keypoint(type="tip"), "'tip'; known are bifurcation and crossing"),
    "negative width": ("json", keypoint(width=-1.0), "negative"),
    "size": ("json", record(width=0), "0 x 584"),
    "complete is a word": ("json", record(complete="no"), '"complete" is neither true nor false'),
    "size is a word": ("json", record(width="565"), "two positive whole numbers"),
    "other size": ("json", record(width=566), "was made on 566 x 584 pixels, but the photograph has 565 x 584"),
    "text, word": ("txt", "0.5 0.5\n0.1 left\n", "not two numbers a line"),
    "text, ragged": ("txt", "0.5 0.5\n0.1\n", "not two numbers a line"),
    "text, three": ("txt", "0.5 0.5 1\n", "lines of 3 numbers"),
    "text, NaN": ("txt", "0.5 nan\n", "not a finite number"),
    "text, pixels": ("txt", "10 20\n", "go from 0 to 1"),
    "text, outside": ("txt", "1.01 0.5\n", "outside the 565 x 584"),
    "ending": ("csv", "x,y\n", "unknown ending"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(tmp_path, case):
    suffix, content, reason = BAD_FILES[case]
    path = tmp_path / f"eye.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError) as error:
        read_annotation(path, (565, 584))
    message = str(error.value)
    assert reason in message and str(path) in message
    assert "\n" not in message and message.endswith(".")


def test_missing_file_and_unknown_size(tmp_path):
    with pytest.raises(AnnotationError, match=r"nothing.json cannot be read: No such file"):
        read_annotation(tmp_path / "nothing.json")
    (tmp_path / "eye.txt").write_text("0.5 0.5\n")
    with pytest.raises(AnnotationError, match="size is not known"):
        read_annotation(tmp_path / "eye.txt")


@pytest.mark.parametrize(
    "bad",
    [
        made([[600, 1]]),
        made([[np.nan, 1]]),
        made([[1, 1]], [2]),
        made([[1, 1]], [0, 1]),
        made([[1, 1]], widths=[np.inf]),
    ],
)
def test_nothing_unreadable_is_written(tmp_path, bad):
    write_annotation(tmp_path / "eye.json", made([[5, 5]]))
    before = (tmp_path / "eye.json").read_bytes()
    with pytest.raises(AnnotationError):
        write_annotation(tmp_path / "eye.json", bad)
    assert (tmp_path / "eye.json").read_bytes() == before and os.listdir(tmp_path) == ["eye.json"]


def test_full_disk_leaves_the_former_file(tmp_path, monkeypatch):
    write_annotation(tmp_path / "eye.json", made([[5, 5]]))
    before = (tmp_path / "eye.json").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(annotation_files.os, "fsync", full)
    with pytest.raises(AnnotationError, match=r"eye.json cannot be written: No space left on device\."):
        write_annotation(tmp_path / "eye.json", made([[6, 6]]))
    assert (tmp_path / "eye.json").read_bytes() == before and os.listdir(tmp_path) == ["eye.json"]


def test_agreement_by_hand():
    first = made([[100, 100], [200, 200], [300, 300], [400, 400]], [0, 1, 0, 0])
    # Off by 1 px, off by 2 px with another type, off by 3.5 px, and one that nobody else saw.
    second = made([[101, 100], [200, 202], [303.5, 300], [50, 50], [400, 400]], [0, 0, 0, 1, 0])
    found = agreement(first, second, field_width=565)
    assert (found.matched, found.only_first, found.only_second) == (3, 1, 2)
    assert sorted(found.distances) == pytest.approx([0, 1, 2])
    assert found.precision == pytest.approx(3 / 5) and found.recall == pytest.approx(3 / 4)
    assert found.f1 == pytest.approx(6 / 9)
    assert found.median_distance == pytest.approx(1) and found.type_agreement == pytest.approx(2 / 3)
    back = agreement(second, first, field_width=565)
    assert (back.precision, back.recall, back.f1) == (found.recall, found.precision, found.f1)


def test_agreement_is_one_to_one_and_as_large_as_possible():
    # The nearest pair is (a2, b1); taking it would leave a1 and b2, 5 px apart, without a partner.
    first, second = made([[100, 100], [102.5, 100]]), made([[102, 100], [105, 100]])
    found = agreement(first, second, field_width=565)
    assert found.matched == 2 and sorted(found.distances) == pytest.approx([2, 2.5])
    twice = agreement(made([[100, 100]]), made([[100, 100], [101, 100]]), field_width=565)
    assert (twice.matched, twice.only_second) == (1, 1) and twice.distances == pytest.approx([0])


def test_agreement_is_measured_against_the_field_of_view():
    first, second = made([[500, 500]], size=(2260, 2260)), made([[511, 500]], size=(2260, 2260))
    assert agreement(first, second, field_width=2260).distances == pytest.approx([11 / 4])
    assert agreement(first, second).matched == 1  # the shorter side
    assert agreement(first, second, field_width=1130).matched == 0
    assert agreement(first, second, field_width=1130, tolerance=6).matched == 1


def test_agreement_about_nothing():
    nothing, one = made([]), made([[5, 5]])
    both = agreement(nothing, nothing)
    assert both.matched == 0 and np.isnan([both.precision, both.recall, both.f1, both.median_distance]).all()
    assert agreement(one, nothing).recall == 0 and agreement(nothing, one).only_second == 1
    with pytest.raises(AnnotationError, match="at 565 x 584 and at 5 x 5 pixels"):
        agreement(one, made([], size=(5, 5)))


@pytest.fixture
def two_people(tmp_path):
    """Folders of two annotators: two photographs in common, one of each alone, one draft."""
    for person, shift, alone in (("one", 0, "c"), ("two", 2, "d")):
        for name in ("a", "b", alone, "draft"):
            points = np.array([[100.0, 100], [300, 300], [50 + 100 * shift, 500]]) + [shift, 0]
            annotation = made(points, annotator=person, complete=name != "draft" or person == "one")
            write_annotation(tmp_path / person / f"{name}.json", annotation)
    return tmp_path / "one", tmp_path / "two"


def test_command_prints_a_table(two_people):
    result = run(*two_people)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["photograph", "a", "b", "total"]
    assert lines[1].split()[1:] == ["2", "1", "1", "0.667", "0.667", "0.667", "2.000", "1.000"]
    assert lines[3].split()[1:4] == ["4", "2", "2"]
    assert any("draft is left out" in line and "two/draft.json" in line for line in lines)
    assert any(line.startswith("c is only in") for line in lines)
    assert any(line.startswith("d is only in") for line in lines)


def test_command_measures_the_field_of_view(two_people, tmp_path):
    y, x = np.mgrid[:584, :565]
    inside = (x - 282) ** 2 + (y - 292) ** 2 < 180**2
    Image.fromarray(np.where(inside[..., None], (180, 90, 40), 0).astype(np.uint8)).save(tmp_path / "eye.png")
    # 2 px of a field 360 wide are 3.14 of one 565 wide: just too many.
    narrow = run(*two_people, "--photographs", tmp_path).stdout.splitlines()
    assert narrow[1].split()[1:4] == ["0", "3", "3"]
    wide = run(*two_people, "--photographs", tmp_path, "--tolerance", 4).stdout.splitlines()
    assert float(wide[1].split()[-2]) == pytest.approx(2 * 565 / 360, abs=0.05)


def test_command_takes_the_size_of_a_text_file_from_the_other(two_people):
    one, two = two_people
    found = read_annotation(two / "a.json")
    (two / "a.json").unlink()
    np.savetxt(two / "a.txt", (found.points + 0.5) / found.size)
    for folders in ((one, two), (two, one)):
        assert run(*folders).stdout.splitlines()[1].split()[1:4] == ["2", "1", "1"]


@pytest.mark.parametrize("case", ["missing", "empty", "nothing in common", "broken", "twice", "no photograph"])
def test_command_fails_in_one_sentence(two_people, tmp_path, case):
    one, two = two_people
    arguments = [one, two]
    if case == "missing":
        arguments[1] = tmp_path / "three"
    elif case == "empty":
        (tmp_path / "three").mkdir()
        arguments[1] = tmp_path / "three"
    elif case == "nothing in common":
        for name in ("a", "b"):
            (two / f"{name}.json").unlink()
    elif case == "broken":
        (two / "a.json").write_text("{")
    elif case == "twice":
        (two / "a.txt").write_text("0.5 0.5\n")
    else:
        arguments += ["--photographs", tmp_path]
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ") and len(result.stderr.strip().splitlines()) == 1
