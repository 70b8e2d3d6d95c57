"""The measure of the labels: what it counts, and that it would notice bad labels."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from datasets_scripts.keypoint_types import BIFURCATION, CROSSING
from datasets_scripts.labeling import quality as label_quality
from datasets_scripts.labeling.drawings import drawings
from datasets_scripts.labeling.junctions import Junctions
from datasets_scripts.labeling.points import match_points
from datasets_scripts.labeling.quality import Truth, direction_error, judge, judge_drawing, measure, read_truth


CASES = ("Y", "T", "X at 55 degrees", "parallel vessels", "loop", "spur", "vessels that touch and part", "ring")


@pytest.fixture(scope="module")
def truth():
    return read_truth(999_500_001, 640)


@pytest.fixture(scope="module")
def some_drawings():
    """The first drawing of a few cases."""
    chosen = {}
    for drawing in drawings():
        if drawing.case in CASES:
            chosen.setdefault(drawing.case, drawing)
    return list(chosen.values())


@pytest.fixture
def quick(monkeypatch, some_drawings, truth):
    """Lets the measure take few drawings, and one eye whichever it asks for; lists which it asked for."""
    asked = []
    monkeypatch.setattr(label_quality, "drawings", lambda: some_drawings)
    monkeypatch.setattr(label_quality, "read_truth", lambda number, size: asked.append(number) or truth)
    return asked


def junctions(points, types, directions=None):
    points = np.array(points, dtype=np.float64).reshape(-1, 2)
    directions = [np.array([-2.0, 0.0, 2.0])] * len(points) if directions is None else directions
    return Junctions(points, np.array(types, dtype=np.int8), np.full(len(points), 4.0), directions)


def simple_truth(points, types, half_shown=()):
    """A field of view 565 pixels wide, with nothing judged in its left fifth."""
    known = junctions(points, types)
    judged = np.ones((565, 565), dtype=bool)
    judged[:, :113] = False
    half_shown = np.array(half_shown, dtype=np.float64).reshape(-1, 2)
    return Truth(judged, 565.0, known.points, known.types, known.directions, half_shown, judged)


def test_match_is_one_to_one_and_takes_as_many_as_it_can():
    # The nearest pair (1, 1) - (0, 0) alone would leave two points without a partner.
    one, other, distance = match_points(np.array([[0.0, 0], [2, 0]]), np.array([[1.2, 0], [4.5, 0]]), 3.0)
    assert list(zip(one, other)) == [(0, 0), (1, 1)]
    assert distance == pytest.approx([1.2, 2.5])
    assert len(match_points(np.zeros((2, 2)), np.zeros((1, 2)), 3.0)[0]) == 1
    assert len(match_points(np.zeros((0, 2)), np.zeros((3, 2)), 3.0)[0]) == 0
    assert len(match_points(np.zeros((1, 2)), np.array([[3.1, 0]]), 3.0)[0]) == 0


def test_judge_counts():
    truth = simple_truth([[200, 200], [300, 300], [400, 400]], [BIFURCATION, CROSSING, BIFURCATION], [[450, 100]])
    # Right; right place and wrong type; too far; at a junction shown in part; not judged; nothing there.
    found = junctions([[201, 200], [300, 302], [404, 400], [451, 100], [50, 50], [500, 500]], [0, 0, 0, 0, 0, 1])
    counts, distances, turns = judge(truth, found)
    assert (counts["true"], counts["found"], counts["matched"]) == (3, 4, 2)
    assert (counts["same_type"], counts["excused"]) == (1, 1)
    assert (counts["recalled crossing"], counts["true crossing"], counts["found crossing"]) == (1, 1, 1)
    assert (counts["confirmed bifurcation"], counts["found bifurcation"]) == (2, 3)
    assert distances == [1.0, 2.0] and turns == [0.0, 0.0]


def test_tolerance_is_in_pixels_of_the_field():
    truth = simple_truth([[300, 300]], [BIFURCATION])
    truth.field_width = 1130.0
    assert judge(truth, junctions([[305, 300]], [BIFURCATION]))[0]["matched"] == 1
    assert judge(truth, junctions([[307, 300]], [BIFURCATION]))[0]["matched"] == 0


def test_direction_error_goes_around():
    one, other = np.radians([-178.0, 0, 90]), np.radians([0.0, 90, 179])
    assert direction_error(one, other) == pytest.approx(1.0)
    assert direction_error(one, other[:2]) is None


def test_truth_lies_on_drawn_vessels_and_is_found(truth):
    assert len(truth.points) == len(truth.types) == len(truth.directions) > 20
    column, row = np.round(truth.points).astype(int).T
    assert truth.vessels[row, column].all() and truth.judged[row, column].all()
    assert [len(angles) for angles in truth.directions] == (3 + truth.types).tolist()
    perfect = Junctions(truth.points, truth.types, np.ones(len(truth.points)), truth.directions)
    counts, distances, turns = judge(truth, perfect)
    assert counts["matched"] == counts["found"] == counts["true"] == counts["same_type"]
    assert max(distances) == 0 and max(turns) == 0


def test_measure_sees_that_labels_are_good_and_that_worse_ones_are_worse(quick, monkeypatch):
    good = measure(2, seed=3)
    # Packs count from 3,000,000 upwards.
    assert quick == [3_500_000, 3_500_001]
    assert json.loads(json.dumps(good)) == good
    assert good["rendered"]["recall"] > 0.75 and good["rendered"]["precision"] > 0.7
    assert good["rendered"]["type_accuracy"] > 0.85
    assert good["rendered"]["median_error"] < 1.5 and good["rendered"]["median_direction_error_degrees"] < 6
    assert all(row["right"] == row["drawings"] == 1 for row in good["drawings"])

    finder = label_quality.find_junctions

    def half(vessels, field_width):
        found = finder(vessels, field_width)
        return Junctions(found.points[::2], 1 - found.types[::2], found.widths[::2], found.directions[::2])

    monkeypatch.setattr(label_quality, "find_junctions", half)
    worse = measure(2, seed=3)
    assert worse["rendered"]["recall"] < 0.6 and worse["rendered"]["type_accuracy"] < 0.5
    assert not all(row["right"] for row in worse["drawings"])


def test_wrong_type_extra_point_and_missing_point_fail_a_drawing(some_drawings, monkeypatch):
    fork = some_drawings[0]
    answers = {
        "right": junctions([[150, 151]], [BIFURCATION]),
        "type": junctions([[150, 151]], [CROSSING]),
        "place": junctions([[150, 154]], [BIFURCATION]),
        "extra": junctions([[150, 151], [200, 150]], [BIFURCATION] * 2),
        "none": junctions([], []),
    }
    judged = {}
    for name, answer in answers.items():
        monkeypatch.setattr(label_quality, "find_junctions", lambda vessels, width, answer=answer: answer)
        judged[name] = judge_drawing(fork)
    assert judged == {"right": True, "type": False, "place": False, "extra": False, "none": False}


def test_command_prints_and_writes(quick, tmp_path):
    out = tmp_path / "quality.json"
    answer = CliRunner().invoke(label_quality.app, ["--eyes", "0", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert "parallel vessels" in answer.output and "1 of 1" in answer.output
    assert json.loads(out.read_text())["rendered"] is None
    missing = CliRunner().invoke(label_quality.app, ["--eyes", "0", "--out", str(tmp_path / "no" / "quality.json")])
    assert missing.exit_code == 2
    assert "does not exist" in missing.output
