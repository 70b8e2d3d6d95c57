import json

import numpy as np
import pytest
from PIL import Image

from retinamatch.evaluation import (
    area_under_curve,
    compare_on_fire,
    degrade,
    evaluate_fire,
    evaluate_identity,
    read_fire,
    read_people,
    summarize,
)
from retinamatch.evaluation.noise import measure_noise
from retinamatch.keypoint_set import WORKING_SIZE, Keypoints
from retinamatch.registrar import Registrar


@pytest.fixture
def photo(rng):
    smooth = rng.uniform(60, 200, (12, 16, 3)).astype(np.float32)
    return np.asarray(Image.fromarray(smooth.astype(np.uint8)).resize((320, 240), Image.BICUBIC))


def test_degrade_is_deterministic_and_grows(photo):
    assert degrade(photo, 0, "P01") is photo
    differences = []
    for level in (1, 3, 6):
        worse = degrade(photo, level, "P01")
        assert worse.dtype == np.uint8 and worse.shape == photo.shape
        assert np.array_equal(worse, degrade(photo, level, "P01"))
        assert not np.array_equal(worse, degrade(photo, level, "P02"))
        differences.append(np.abs(worse.astype(float) - photo).mean())
    assert differences[0] < differences[1] < differences[2]
    with pytest.raises(ValueError, match="0 to 6, got 7"):
        degrade(photo, 7)


def test_degrade_does_what_it_says():
    """A uniform photograph: the mean falls by the contrast, the sides differ by the ramp, the noise has its size."""
    photo = np.full((600, 600, 3), 150, np.uint8)
    for level in (1, 2, 3):
        result = degrade(photo, level, "name").astype(float)
        mean = 150 / (1 + 0.35 * level)
        assert abs(result.mean() - mean) < 1
        plane = np.column_stack([np.ones(360000), *(np.indices((600, 600)).reshape(2, -1) / 299.5 - 1)])
        fit, *_ = np.linalg.lstsq(plane, result[..., 1].reshape(-1), rcond=None)
        assert abs(np.hypot(fit[1], fit[2]) - 0.25 * level * mean) < 1
        rest = result[..., 1].reshape(-1) - plane @ fit
        assert abs(rest.std() - 1.5 * level) < 0.2


def write_control_points(root, noise, pairs=40, seed=0):
    """Pairs in FIRE's layout whose control points, ten a pair, are off by so many pixels; photographs of one pixel."""
    rng = np.random.default_rng(seed)
    (root / "Images").mkdir()
    (root / "Ground Truth").mkdir()
    for k in range(pairs):
        moving = rng.uniform(300, 2600, (10, 2))
        fixed = moving * 1.02 + 1e-5 * moving[:, :1] * moving[:, 1:] + 40 + rng.normal(0, noise, (10, 2))
        np.savetxt(root / "Ground Truth" / f"control_points_P{k:02d}_1_2.txt", np.hstack([fixed, moving]))
        for side in (1, 2):
            Image.new("RGB", (1, 1)).save(root / "Images" / f"P{k:02d}_{side}.png")


def test_noise_of_control_points(tmp_path):
    """Points that are off by 2 pixels: found again, and the AUC is that of the mean of ten such errors."""
    write_control_points(tmp_path, noise=2.0)
    figures = measure_noise(tmp_path, samples=200)
    assert figures["pairs"] == 39, "all but P37"
    assert figures["noise"] == pytest.approx(2.0, rel=0.15)
    expected = 1 - (2.0 * np.sqrt(np.pi / 2) - 0.5) / 25  # thresholds are whole pixels: half of one on average
    assert figures["auc"] == pytest.approx(expected, abs=0.01)
    assert 0 < figures["deviation"] < 0.01


def test_noise_needs_more_control_points_than_coefficients(tmp_path):
    write_control_points(tmp_path, noise=2.0, pairs=1)
    (path,) = (tmp_path / "Ground Truth").iterdir()
    path.write_text("\n".join(path.read_text().splitlines()[:6]))
    with pytest.raises(ValueError, match="more than 6"):
        measure_noise(tmp_path)


def test_area_under_curve():
    assert area_under_curve([0.0]) == 1.0
    assert area_under_curve([np.inf]) == 0.0
    # Errors of 2.5 count from t = 3 on: 23 of 25 thresholds.
    assert area_under_curve([2.5]) == pytest.approx(23 / 25)
    assert area_under_curve([2.5, np.inf, 24.5, 25.0]) == pytest.approx((23 + 0 + 1 + 0) / 25 / 4)


def row(category, mean, largest=None, median=None):
    largest = mean if largest is None else largest
    return {
        "class": category,
        "mean_error": mean,
        "max_error": largest,
        "median_error": mean if median is None else median,
    }


def test_summarize():
    rows = [row("S", 0.5), row("P", 2.5), row("P", None), row("P", 8.0, largest=51.0), row("P", 21.0)]
    found = summarize(rows)
    assert found["failed"] == 1 and found["inaccurate"] == 2 and found["acceptable"] == 2
    assert set(found["auc"]) == {"S", "P", "mean"}
    assert found["auc"]["S"] == 1.0
    assert found["auc"]["P"] == pytest.approx((23 + 0 + 17 + 4) / 25 / 4)
    assert found["auc"]["mean"] == pytest.approx((found["auc"]["S"] + found["auc"]["P"]) / 2)


class ShiftExtractor:
    """The same keypoints in all photographs, shifted by what the first pixel says."""

    ratio, temperature = 0.9, 0.07

    def __init__(self):
        rng = np.random.default_rng(0)
        self.points, self.descriptors = rng.uniform(20, 200, (300, 2)), rng.normal(size=(300, 32)).astype(np.float32)
        self.descriptors /= np.linalg.norm(self.descriptors, axis=1, keepdims=True)

    def find(self, photographs):
        found = []
        for photo in photographs:
            shift, person = (int(v) for v in photo[0, 0, :2])
            descriptors = self.descriptors[np.random.default_rng(person).permutation(300)]
            scores, size = np.ones(300, np.float32), photo.shape[:2]
            found.append(Keypoints(self.points + shift, descriptors, scores, size, size[1] / WORKING_SIZE))
        return found


def shift_registrar():
    # As they are given alone: another view of a picture has another first pixel.
    return Registrar(ShiftExtractor(), transform="similarity", effort="fast")


def save(path, shift, person=0, size=(230, 230)):
    picture = np.zeros((*size, 3), np.uint8)
    picture[0, 0] = shift, person, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def fire(tmp_path):
    """Three pairs, the moving image 4 pixels off; P02's control points are 3 pixels wrong, S01 is another eye."""
    for name, person, wrong in (("P01", 0, 0), ("P02", 0, 3), ("S01", 1, 0), ("P37", 0, 50)):
        save(tmp_path / "Images" / f"{name}_1.png", 10)
        save(tmp_path / "Images" / f"{name}_2.png", 14, person)
        fixed = np.random.default_rng(1).uniform(30, 200, (10, 2))
        table = np.hstack([fixed, fixed + 4 + [wrong, 0]])
        (tmp_path / "Ground Truth").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "Ground Truth" / f"control_points_{name}_1_2.txt", table)
    return tmp_path


def test_evaluate_fire(fire):
    found = evaluate_fire(fire, shift_registrar())
    found = json.loads(json.dumps(found, allow_nan=False))
    pairs = {pair["name"]: pair for pair in found["pairs"]}
    assert list(pairs) == ["P01", "P02", "S01"] and found["left_out"] == ["P37"]
    assert pairs["P01"]["status"] == "registered" and pairs["P01"]["mean_error"] < 0.1
    assert pairs["P02"]["mean_error"] == pytest.approx(3, abs=0.1)
    assert pairs["P02"]["max_error"] == pytest.approx(3, abs=0.1)
    assert (
        pairs["S01"]["status"] == "no reliable match" and pairs["S01"]["mean_error"] is None and pairs["S01"]["reason"]
    )
    assert all(pair["time"] >= 0 for pair in found["pairs"])
    assert found["auc"]["P"] == pytest.approx((1 + 22 / 25) / 2, abs=0.03)
    assert found["auc"]["S"] == 0
    assert (found["failed"], found["inaccurate"], found["acceptable"]) == (1, 0, 2)


def test_evaluate_fire_degrades_the_moving_image_alone(fire, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "retinamatch.evaluation.fire.degrade", lambda photo, level, seed: seen.append((level, seed)) or photo
    )
    assert evaluate_fire(fire, shift_registrar(), degrade=2)["degrade"] == 2
    assert seen == [(2, "P01"), (2, "P02"), (2, "S01")]


def test_compare_on_fire_agrees_with_evaluate_fire(fire):
    found = compare_on_fire(fire, {"stand-in": shift_registrar()}, transforms=("similarity", "quadratic"), levels=(0,))
    assert [(row["model"], row["degrade"], row["transform"]) for row in found] == [
        ("stand-in", 0, "similarity"),
        ("stand-in", 0, "quadratic"),
    ]
    assert found[0]["auc"] == evaluate_fire(fire, shift_registrar())["auc"]


def test_read_fire_maps_image_two_to_image_one(fire):
    pair = read_fire(fire)[0]
    assert pair.fixed.name == "P01_1.png" and pair.moving.name == "P01_2.png" and pair.category == "P"
    assert np.allclose(pair.moving_points - pair.fixed_points, 4)


def test_read_fire_says_what_is_missing(fire):
    truth = fire / "Ground Truth" / "control_points_P02_1_2.txt"
    truth.write_text("1 2 3\n4 5 6\n")
    with pytest.raises(ValueError, match=r"control_points_P02_1_2.txt.*four numbers.*\(2, 3\)"):
        read_fire(fire)
    truth.write_text("one two three four\n")
    with pytest.raises(ValueError, match="control_points_P02_1_2.txt is not a table"):
        read_fire(fire)
    truth.unlink()
    with pytest.raises(ValueError, match="control_points_P02_1_2.txt is missing"):
        read_fire(fire)
    (fire / "Images" / "P02_1.png").unlink()
    with pytest.raises(ValueError, match="P02_1.jpg is missing"):
        read_fire(fire)
    (fire / "Images" / "P02_2.png").unlink()
    assert [pair.name for pair in read_fire(fire)] == ["P01", "S01"]
    with pytest.raises(ValueError, match="not a folder"):
        read_fire(fire / "nowhere")
    for path in (fire / "Images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="holds no pair"):
        read_fire(fire)


def test_evaluate_identity(tmp_path):
    for person in range(3):
        for capture in range(2):
            save(tmp_path / f"person {person}" / f"{capture}.png", 10 + capture, person)
    found = json.loads(json.dumps(evaluate_identity(tmp_path, shift_registrar()), allow_nan=False))
    assert found["same"] == {"pairs": 3, "registered": 3}
    assert found["different"] == {"pairs": 12, "registered": 0}
    assert found["missed"] == found["accepted"] == []
    few = evaluate_identity(tmp_path, shift_registrar(), maximum_different=5)
    assert few["different"]["pairs"] == 5


def test_evaluate_identity_names_what_went_wrong(tmp_path):
    save(tmp_path / "a" / "0.png", 10, 0)
    save(tmp_path / "a" / "1.png", 10, 5)
    save(tmp_path / "b" / "0.png", 10, 0)
    found = evaluate_identity(tmp_path, shift_registrar())
    assert found["same"] == {"pairs": 1, "registered": 0} and found["different"] == {"pairs": 2, "registered": 1}
    assert found["missed"][0]["moving"] == "a/0.png" and found["missed"][0]["reason"]
    assert found["accepted"][0] | {"inliers": 0} == {"moving": "a/0.png", "fixed": "b/0.png", "inliers": 0}


def test_read_people_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="not a folder"):
        read_people(tmp_path / "nowhere")
    save(tmp_path / "a" / "0.png", 10)
    with pytest.raises(ValueError, match="no folder with two photographs"):
        read_people(tmp_path)


def test_real_pairs(data_root):
    pairs = read_fire(data_root / "registration" / "fire_dev")
    assert len(pairs) == 23 and {pair.category for pair in pairs} == {"P"}
    assert all(pair.fixed_points.shape == (10, 2) for pair in pairs)
    assert len(read_people(data_root / "registration" / "ridb_dev")) == 10


def test_a_comparison_agrees_with_single_evaluations(fire):
    table = compare_on_fire(fire, {"shift": shift_registrar()}, ("similarity", "homography"), (0,))
    assert [(row["model"], row["transform"], row["degrade"]) for row in table] == [
        ("shift", "similarity", 0),
        ("shift", "homography", 0),
    ]
    assert table[0]["auc"] == evaluate_fire(fire, shift_registrar())["auc"]
