"""Lesions that a rendered visit has and the one before has not are found, and little else."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.change import compare_masks, draw_difference, draw_regions, find_change
from retinamatch.evaluation.changes import evaluate_changes, lesions_found, paint_lesions
from retinamatch.registrar import Registrar


@pytest.fixture(scope="module")
def registered(visits):
    """The rendered visits; the moving one has a reflection in the optics that the fixed one has not."""
    registration = Registrar("rootsift", "quadratic", effort="fast").register(visits.moving.image, visits.fixed.image)
    registration.fixed_spacing = (0.02, 0.01)
    return registration


def test_new_lesions_are_found_and_little_else(registered, visits):
    found, alarms = [], 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        photo, lesions = paint_lesions(visits.moving.image, registered.moving_keypoints, 0.6, rng)
        change = find_change(registered, photo, visits.fixed.image)
        hits = lesions_found(registered, change, lesions)
        found += hits
        alarms += len(change.regions) - sum(hits)
    assert len(found) >= 6 and np.mean(found) > 0.6 and alarms <= 3


def test_what_the_visits_differ_in_is_found_alone(registered, visits):
    (region,) = find_change(registered, visits.moving.image, visits.fixed.image).regions
    assert region.kind == "brighter" and np.linalg.norm(region.fixed_outline.mean(0) - (168, 303)) < 15


@pytest.mark.parametrize("light", ["dim", "bright", "uneven", "blurred", "noisy"])
def test_light_is_no_change(registered, visits, light):
    moving = visits.moving.image.astype(np.float32)
    changed = {
        "dim": lambda: 0.5 * moving,
        "bright": lambda: 1.3 * moving + 10 * (moving.max(-1, keepdims=True) > 20),
        "uneven": lambda: moving * np.linspace(0.5, 1.2, moving.shape[1])[None, :, None],
        "blurred": lambda: cv2.GaussianBlur(moving, (0, 0), 1.5),
        "noisy": lambda: moving + np.random.default_rng(0).normal(0, 8, moving.shape),
    }[light]()
    change = find_change(registered, changed.clip(0, 255).astype(np.uint8), visits.fixed.image)
    assert len([region for region in change.regions if region.area > 400]) <= 1


def test_areas_and_outlines(registered, visits):
    """A dark disc of known size, where the fixed photograph is compared."""
    middle = registered.transform.inverse(registered.fixed_keypoints.middle[None])[0]
    photo = visits.moving.image.copy()
    cv2.circle(photo, tuple(int(v) for v in middle.round()), 18, (60, 15, 10), -1, cv2.LINE_AA)
    change = find_change(registered, photo, visits.fixed.image)
    region = change.regions[0]
    scale = np.sqrt(np.linalg.det(registered.transform.jacobian(middle[None])[0]))
    assert region.kind == "darker" and 0.6 < region.area / (np.pi * (18 * scale) ** 2) < 1.8
    assert np.linalg.norm(region.moving_outline.mean(0) - middle) < 6
    assert change.area_mm2 == pytest.approx(change.area * 0.0002)
    assert (draw_regions(photo, [region.moving_outline], [region.kind]) != photo).any()
    assert draw_difference(change).shape == (*change.difference.shape, 3)


def test_masks():
    one, other = np.zeros((50, 60), np.uint8), np.zeros((50, 60), np.uint8)
    one[10:20, 10:30], other[10:20, 10:20] = 255, 7
    growth = compare_masks(one, other, (0.1, 0.2), 730).to_dict()
    assert (growth["moving_area_px"], growth["fixed_area_px"], growth["overlap"]) == (200, 100, 0.5)
    assert growth["growth_mm2_a_year"] == pytest.approx(100 * 0.02 / 2, rel=1e-3)
    with pytest.raises(ValueError, match="one size"):
        compare_masks(one, other[:40])


def test_command(visits, other_eye, tmp_path):
    for name, photo in {"a": visits.moving.image, "b": visits.fixed.image, "c": other_eye}.items():
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    for name, visit in (("ma", visits.moving), ("mb", visits.fixed)):
        Image.fromarray((visit.vessels > 0.5).astype(np.uint8)).save(tmp_path / f"{name}.png")

    def run(*words):
        place = ["--out", tmp_path / "out", "--model", "rootsift", "--effort", "fast"]
        return CliRunner().invoke(cli.app, ["change", *(str(word) for word in (*words, *place))])

    masks = ["--moving-mask", tmp_path / "ma.png", "--fixed-mask", tmp_path / "mb.png", "--days", "365"]
    done = run(tmp_path / "a.png", tmp_path / "b.png", *masks, "--spacing", "0.01", "0.01")
    assert done.exit_code == 0 and done.stdout.count("Not a diagnosis") == 1, done.output
    record = json.loads((tmp_path / "out" / "change.json").read_text())
    assert record["changed_area_mm2"] is not None and record["masks"]["overlap"] > 0.3
    assert record["masks"]["growth_mm2_a_year"] is not None
    assert run(tmp_path / "c.png", tmp_path / "b.png").exit_code == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"change.json"}
    assert run(tmp_path / "a.png", tmp_path / "b.png", "--moving-mask", tmp_path / "ma.png").exit_code == 2


def test_evaluation(visits, tmp_path):
    (tmp_path / "p").mkdir()
    for number, visit in enumerate((visits.fixed, visits.moving)):
        Image.fromarray(visit.image).save(tmp_path / "p" / f"{number}.png")
    figures = evaluate_changes(tmp_path, Registrar("rootsift", effort="fast"))
    assert figures["pairs"] == 1 and figures["lesions"][2]["found"] >= figures["lesions"][0]["found"]


@pytest.fixture
def idle(monkeypatch):
    """A registration that begins fails the test."""
    monkeypatch.setattr("retinamatch.commands.change.Registrar", lambda *a, **k: pytest.fail("the work has begun"))


def refused(*words):
    done = CliRunner().invoke(cli.app, ["change", *map(str, words)])
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1, done.output
    return done.stderr


@pytest.mark.parametrize(
    "spacing", [("nan", "nan"), ("inf", "inf"), ("0.01", "nan"), ("inf", "1"), ("0", "1"), ("1", "-1"), ("1e200", "1")]
)
def test_a_spacing_is_refused_before_the_work(tmp_path, idle, spacing):
    words = [tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "out", "--spacing", *spacing]
    assert "A spacing is two numbers" in refused(*words) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["difference.png", "moving_regions.png", "change.json"])
def test_a_folder_in_the_way_is_refused_before_the_work(tmp_path, idle, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    assert name in refused(tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "out")


@pytest.mark.parametrize("which", ["moving", "fixed"])
@pytest.mark.parametrize("name", ["missing.png", "text.png", "folder", "small.png"])
def test_a_mask_is_read_before_the_work(tmp_path, idle, which, name):
    Image.new("L", (512, 512)).save(tmp_path / "good.png")
    Image.new("L", (30, 512)).save(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder").mkdir()
    masks = {"moving": "good.png", "fixed": "good.png"} | {which: name}
    words = [word for side, mask in masks.items() for word in (f"--{side}-mask", tmp_path / mask)]
    assert name in refused(tmp_path / "a.png", tmp_path / "b.png", *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("which", ["moving", "fixed"])
def test_a_mask_has_the_size_of_its_photograph(visits, other_eye, tmp_path, which, registered):
    photographs = {"a": visits.moving.image if registered else other_eye, "b": visits.fixed.image}
    for name, photo in photographs.items():
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    words = []
    for side, photo in zip(("moving", "fixed"), photographs.values()):
        Image.new("L", (photo.shape[1] + 3 * (side == which), photo.shape[0])).save(tmp_path / f"{side}.png")
        words += [f"--{side}-mask", tmp_path / f"{side}.png"]
    model = ["--model", "rootsift", "--effort", "fast", "--out", tmp_path / "out"]
    message = refused(tmp_path / "a.png", tmp_path / "b.png", *words, *model)
    assert f"The mask of the {which} photograph has" in message and not (tmp_path / "out").exists()
