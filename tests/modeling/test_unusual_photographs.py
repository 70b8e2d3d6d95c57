"""Photographs that are not the usual round color picture are registered where that one is, and as exactly."""

import cv2
import numpy as np
import pytest
from PIL import Image

from retinamatch.registrar import Registrar


SIDE = 512  # of the rendered visits
NO_SHIFT = np.zeros(2)


@pytest.fixture(scope="module")
def registrar():
    return Registrar(effort="fast")


def cut(photo, top, left, height, width):
    """Cut a full frame, retina to its corners, out of a photograph; return it and where its corner was."""
    part = photo[round(top * SIDE) :, round(left * SIDE) :][: round(height * SIDE), : round(width * SIDE)]
    return np.ascontiguousarray(part), np.array([round(left * SIDE), round(top * SIDE)])


def ultra_wide(photo):
    """Show an ellipse of the field, eyelashes reaching into it from below."""
    shown = np.zeros(photo.shape[:2], np.uint8)
    cv2.ellipse(shown, (SIDE // 2, SIDE // 2), (round(0.47 * SIDE), round(0.36 * SIDE)), 0, 0, 360, 1, -1)
    for x in range(150, 370, 24):
        cv2.ellipse(shown, (x, 460), (60, 120), 10, 190, 260, 0, 3)
    return photo * shown[..., None], NO_SHIFT


def through_a_lens(photo):
    """Show the field in a hand-held lens: its bright rim, and skin around it, out of focus."""
    rng = np.random.default_rng(8)
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    away = np.hypot(rows, columns)[..., None] / SIDE
    skin = cv2.resize(rng.uniform(0.8, 1.1, (5, 5, 1)).astype(np.float32), (SIDE, SIDE))[..., None] * [196, 148, 122]
    picture = np.where(away < 0.44, photo, np.where(away < 0.47, [225, 222, 218], skin))
    return (picture + rng.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8), NO_SHIFT


FIELDS = {
    "square full frame": lambda photo: cut(photo, 0.18, 0.18, 0.64, 0.64),
    "wide full frame": lambda photo: cut(photo, 0.25, 0.12, 0.5, 0.76),
    "ultra-wide": ultra_wide,
    "smartphone": through_a_lens,
}


def median_error(found, visits, moving_shift, fixed_shift):
    points = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2)) * SIDE
    mapped = found.transform(points - moving_shift) + fixed_shift
    return np.nanmedian(np.linalg.norm(mapped - visits.correspond(points), axis=1))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("both", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_other_fields_register(registrar, visits, field, both):
    moving, moving_shift = FIELDS[field](visits.moving.image)
    fixed, fixed_shift = FIELDS[field](visits.fixed.image) if both else (visits.fixed.image, NO_SHIFT)
    found = registrar.register(moving, fixed)
    assert found, found.reason
    assert median_error(found, visits, moving_shift, fixed_shift) < 1.5


@pytest.mark.parametrize("field", ["square full frame", "smartphone"])
def test_other_fields_of_different_eyes_do_not(registrar, visits, other_eye, field):
    assert not registrar.register(FIELDS[field](other_eye)[0], FIELDS[field](visits.fixed.image)[0])


@pytest.mark.parametrize("deep", [False, True])
def test_one_channel_and_16_bit_files_register(registrar, visits, deep, tmp_path):
    green = visits.moving.image[..., 1]
    Image.fromarray(green.astype(np.uint16) * 257 if deep else green).save(tmp_path / "gray.png")
    found = registrar.register(tmp_path / "gray.png", visits.fixed.image)
    assert found, found.reason
    assert median_error(found, visits, NO_SHIFT, NO_SHIFT) < 1.5


@pytest.mark.parametrize("across, down", [(1.0, 0.8), (0.82, 1.0)])
@pytest.mark.parametrize("overlap", [pytest.param(1.0, marks=pytest.mark.slow), 0.6])
def test_pixels_that_are_not_square(registrar, visits, across, down, overlap):
    size = round(across * SIDE), round(down * SIDE)
    moving = cv2.resize(visits.moving.image, size, interpolation=cv2.INTER_AREA)
    fixed = np.ascontiguousarray(visits.fixed.image[:, : round(overlap * SIDE)])
    keypoints = registrar.keypoints([moving, fixed])
    found = registrar.register_keypoints(*keypoints)
    assert found and found.evidence["start"] == "rotation of the eye"
    points = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2)) * SIDE
    mapped = found.transform((points + 0.5) * size / SIDE - 0.5)
    assert np.nanmedian(np.linalg.norm(mapped - visits.correspond(points), axis=1)) < 1.0
    (a, _), (_, d) = keypoints[0].stretch
    assert a / d == pytest.approx(across / down, abs=0.03)


@pytest.mark.parametrize("part", [(0.0, 0.0, 0.55, 1.0), (0.0, 0.35, 1.0, 1.0), (0.35, 0.3, 1.0, 1.0)])
def test_a_cut_field_is_that_of_its_camera(registrar, visits, part):
    left, top, right, bottom = (np.array(part) * SIDE).round().astype(int)
    moving, corner = np.ascontiguousarray(visits.moving.image[top:bottom, left:right]), np.array([left, top])
    (keypoints,) = registrar.keypoints([moving])
    (whole,) = registrar.keypoints([visits.moving.image])
    assert keypoints.camera == pytest.approx([*(whole.middle - corner), whole.radius], abs=0.015 * whole.radius)
    places = np.random.default_rng(0).uniform(0, 200, (20, 2))
    assert keypoints.from_camera(keypoints.to_camera(places)) == pytest.approx(places)
    found = registrar.register(moving, visits.fixed.image)
    assert found, found.reason
    # What the cut took away lies where the rotation of the eye says.
    points = np.random.default_rng(0).uniform(0.25, 0.75, (200, 2)) * SIDE
    error = np.linalg.norm(found.transform(points - corner) - visits.correspond(points), axis=1)
    shown = ((points > corner) & (points < [right, bottom])).all(1)
    assert np.nanmedian(error[shown]) < 1.5 and np.nanmedian(error[~shown]) < 6
