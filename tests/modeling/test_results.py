import json
import os

import numpy as np
import pytest
from PIL import Image

from retinamatch.registrar import Registrar
from retinamatch.results import matches_text, write_animation, write_registration


PICTURES = {"aligned.png", "overlay.png", "checkerboard.png", "difference.png", "matches.png"}


@pytest.fixture(scope="module")
def registrar():
    return Registrar("rootsift")


@pytest.fixture(scope="module")
def registered(registrar, visits):
    return registrar.register(visits.moving.image, visits.fixed.image)


@pytest.fixture(scope="module")
def refused(registrar, visits, other_eye):
    return registrar.register(other_eye, visits.fixed.image)


def test_everything_is_written(registered, visits, tmp_path):
    folder = tmp_path / "new" / "folder"
    written = write_registration(registered, visits.moving.image, visits.fixed.image, folder)
    assert {path.name for path in written} == PICTURES | {"registration.json"} == set(os.listdir(folder))
    assert (np.asarray(Image.open(folder / "aligned.png")) == registered.warp(visits.moving.image)).all()
    assert json.loads((folder / "registration.json").read_text())["status"] == "registered"


def test_no_pictures_without_a_reliable_match(registered, refused, visits, other_eye, tmp_path):
    write_registration(registered, visits.moving.image, visits.fixed.image, tmp_path)
    (tmp_path / "mine.txt").write_text("stays")
    written = write_registration(refused, other_eye, visits.fixed.image, tmp_path)
    assert [path.name for path in written] == ["registration.json"]
    assert set(os.listdir(tmp_path)) == {"registration.json", "mine.txt"}
    assert json.loads(written[0].read_text()).keys() == {"status", "reason"}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_refused_pair_removes_nothing_that_an_earlier_run_has_not_written(
    registered, refused, visits, other_eye, tmp_path, name
):
    (tmp_path / name).write_text("of somebody else")
    write_registration(refused, other_eye, visits.fixed.image, tmp_path)
    assert (tmp_path / name).read_text() == "of somebody else"
    write_registration(registered, visits.moving.image, visits.fixed.image, tmp_path)
    (tmp_path / name).write_text("put there since")
    write_registration(refused, other_eye, visits.fixed.image, tmp_path)
    assert set(os.listdir(tmp_path)) == {name, "registration.json"}
    assert (tmp_path / name).read_text() == "put there since"


def test_a_failure_on_the_way_leaves_what_was_there(registered, visits, tmp_path, monkeypatch):
    (tmp_path / "overlay.png").write_text("of an earlier run")
    monkeypatch.setattr("retinamatch.drawing.draw_matches", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_registration(registered, visits.moving.image, visits.fixed.image, tmp_path)
    assert os.listdir(tmp_path) == ["overlay.png"]
    assert (tmp_path / "overlay.png").read_text() == "of an earlier run"


def test_matches_as_csv(registered):
    header, *rows = matches_text(registered).splitlines()
    assert header == "x_moving,y_moving,x_fixed,y_fixed,score,inlier"
    table = np.array([row.split(",") for row in rows], float)
    assert np.allclose(table[:, :2], registered.moving_points, atol=1e-3)
    assert np.allclose(table[:, 2:4], registered.fixed_points, atol=1e-3)
    assert (table[:, 5] == registered.inliers).all() and table[:, 5].any() and not table[:, 5].all()


def test_matches_as_json(registered, refused):
    read = json.loads(matches_text(registered, as_json=True))
    assert read["status"] == "registered" and len(read["matches"]) == len(registered.matches)
    assert read["matches"][0].keys() == {"x_moving", "y_moving", "x_fixed", "y_fixed", "score", "inlier"}
    read = json.loads(matches_text(refused, as_json=True))
    assert read["status"] == "no reliable match" and read["reason"]
    assert not any(row["inlier"] for row in read["matches"])


def test_animation_has_all_frames_and_never_flashes_fast(tmp_path):
    frames = [np.full((40, 60, 3), level, np.uint8) for level in (20, 120, 220)]
    write_animation(frames, tmp_path / "a.gif", seconds=0.01)
    animation = Image.open(tmp_path / "a.gif")
    assert animation.n_frames == 3 and animation.size == (60, 40) and animation.info["loop"] == 0
    for number, level in enumerate((20, 120, 220)):
        animation.seek(number)
        assert animation.info["duration"] >= 330
        assert np.abs(np.asarray(animation.convert("RGB")).astype(int) - level).max() <= 4
