import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.registrar import Registrar
from retinamatch.series import (
    SeriesError,
    list_photographs,
    pictures,
    register_series,
    register_visits,
    write_series,
)


@pytest.fixture(scope="module")
def rootsift():
    return Registrar("rootsift", transform="quadratic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, visits, other_eye):
    """Four photographs in the order of their numbers: one eye, another eye, one eye again, and a broken file."""
    folder = tmp_path_factory.mktemp("history")
    for name, photo in (("visit_2", visits.fixed.image), ("visit_9", other_eye), ("visit_10", visits.moving.image)):
        Image.fromarray(photo).save(folder / f"{name}.png")
    (folder / "visit_11.png").write_text("not a picture")
    (folder / "notes.txt").write_text("left alone")
    return folder


@pytest.fixture(scope="module")
def series(folder, rootsift):
    return register_series(list_photographs(folder), 0, rootsift)


def test_order_of_names_counts_numbers_by_value(folder):
    assert [path.stem for path in list_photographs(folder)] == ["visit_2", "visit_9", "visit_10", "visit_11"]


def test_names_in_any_digits_are_sorted(tmp_path):
    for name in ("5²3", "٣", "53", "5"):
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    assert len(list_photographs(tmp_path)) == 4


def test_failures_are_named_and_the_rest_goes_on(series):
    assert [visit.name for visit in series.registered] == ["visit_10.png"]
    assert [visit.name for visit in series.failed] == ["visit_9.png", "visit_11.png"]
    assert "agree" in series.failed[0].problem or "alike" in series.failed[0].problem
    assert "not an image" in series.failed[1].problem
    assert [series.words(i) for i in range(4)] == ["fixed", "no reliable match", "registered", "not read"]


def test_registration_is_right(series, visits):
    moving, fixed = visits.shared_keypoints()
    error = np.linalg.norm(series.registered[0].registration.transform(moving) - fixed, axis=1)
    assert np.median(error) < 1.5


@pytest.mark.slow
def test_registered_to_a_chosen_one_in_the_middle(folder, rootsift):
    paths = list_photographs(folder)
    outcome = register_series([paths[0], paths[2], paths[1]], 1, rootsift)
    assert [visit.name for visit in outcome.visits] == ["visit_2.png", "visit_10.png", "visit_9.png"]
    assert outcome.words(1) == "fixed" and outcome.words(0) == "registered"


def test_written_files(series, tmp_path, visits):
    (tmp_path / "07_mine_aligned.png").write_bytes(b"of somebody else")
    written = {path.name for path in write_series(series, tmp_path)}
    assert written == {
        "01_visit_2_aligned.png",
        "03_visit_10_aligned.png",
        "strip.png",
        "animation.gif",
        "series.json",
    }
    assert {path.name for path in tmp_path.iterdir()} == written | {"07_mine_aligned.png"}
    assert Image.open(tmp_path / "03_visit_10_aligned.png").size == visits.fixed.image.shape[1::-1]
    animation = Image.open(tmp_path / "animation.gif")
    assert animation.n_frames == 2 and animation.info["duration"] >= 334  # at most three flashes a second
    record = json.loads((tmp_path / "series.json").read_text())
    assert [visit["status"] for visit in record["visits"]] == ["fixed", "no reliable match", "registered", "not read"]
    assert record["visits"][2]["transform"]["class"] == "quadratic" and "transform" not in record["visits"][1]


def test_what_an_earlier_series_wrote_and_this_one_does_not_is_removed(series, tmp_path):
    write_series(series, tmp_path)
    (tmp_path / "07_mine_aligned.png").write_bytes(b"of somebody else")
    shorter = replace(series, visits=[series.visits[0], *(series.visits[index] for index in (1, 3, 3))])
    assert [path.name for path in write_series(shorter, tmp_path)] == ["series.json"]
    assert {path.name for path in tmp_path.iterdir()} == {"series.json", "07_mine_aligned.png"}


def test_strip_has_a_panel_for_every_visit(series):
    drawn = list(pictures(series))
    assert [name for name, _ in drawn] == ["01_visit_2_aligned", "03_visit_10_aligned", "strip", "frame", "frame"]
    panels = np.split(drawn[2][1][:480], 4, axis=1)
    assert [panel[..., 0].mean() > 60 for panel in panels] == [True, False, True, False]
    assert drawn[3][1].shape == drawn[4][1].shape and drawn[3][1].shape[1] == 512


@pytest.mark.slow
def test_nothing_registered_leaves_the_record_alone(other_eye, visits, rootsift, tmp_path):
    photographs = [visits.fixed.image, other_eye, visits.moving.image[:, ::-1]]
    outcome = register_series(photographs, 0, rootsift, names=["a", "b", "c"])
    assert not outcome.registered
    assert [path.name for path in write_series(outcome, tmp_path)] == ["series.json"]


@pytest.mark.parametrize("count, fixed, words", [(2, 0, "takes 3 photographs or more, got 2"), (3, 3, "number 4")])
def test_impossible_series(rootsift, visits, count, fixed, words):
    with pytest.raises(SeriesError, match=words):
        next(register_visits([visits.fixed.image] * count, fixed, rootsift))


def run(*arguments):
    return CliRunner().invoke(cli.app, ["series", *map(str, arguments), "--model", "rootsift"])


def test_command_line(folder, tmp_path):
    result = run(folder, "--out", tmp_path, "--fixed", "visit_10.png")
    assert result.exit_code == 0, result.output
    assert "registered: 1 of 3 photographs to visit_10.png" in result.stdout
    assert result.stderr.count("is left out: ") == 2 and "visit_11.png is left out: " in result.stderr
    assert (tmp_path / "strip.png").exists() and str(tmp_path / "animation.gif") in result.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--fixed", "visit_3.png"], "There is no visit_3.png in the series; it has: visit_2.png"),
        (["--out", "."], "another folder"),
    ],
)
def test_bad_input_is_one_sentence(folder, arguments, words, monkeypatch):
    monkeypatch.chdir(folder)
    result = run(folder, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_too_few_photographs(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 2 and "holds 0 photographs; a series takes 3 or more" in result.stderr
