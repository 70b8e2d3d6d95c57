"""One eye in other light: the geometry is that of the color photograph, what shines and what is dark is not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from datasets_scripts.rendering.exposure import Light
from datasets_scripts.rendering.eye import Lesion, draw_eye
from datasets_scripts.rendering.fundus import draw_view, render, render_visits
from datasets_scripts.rendering.modality import MODALITIES
from datasets_scripts.rendering.view import RetinaView


SIZE = 320
VIEW = RetinaView(np.array([3.0, 1.0]), 45, 0.97 * SIZE, np.full(2, (SIZE - 1) / 2))
PLAIN = Light(blur=0.6, noise=0.3, vignette=0.1)


@pytest.fixture(scope="module")
def eye():
    return draw_eye(7)


@pytest.fixture(scope="module")
def photos(eye):
    return {name: render(eye, SIZE, VIEW, [], PLAIN, modality=name) for name in MODALITIES}


def contrast(photo):
    """Brightness of wide vessels against their surround."""
    green = photo.image[..., 1].astype(np.float32)
    surround = cv2.medianBlur(photo.image[..., 1], 25).astype(np.float32)
    vessels = (photo.vessels > 0.3) & (cv2.erode(photo.mask.astype(np.uint8), np.ones((15, 15))) > 0)
    assert vessels.sum() > 500
    return float((green / np.maximum(surround, 1))[vessels].mean()) - 1


def test_vessels_shine_in_an_angiogram_alone(photos):
    found = {name: contrast(photo) for name, photo in photos.items()}
    assert found["angiogram"] > 0.5
    assert all(value < -0.1 for name, value in found.items() if name != "angiogram"), found
    assert found["red-free"] < 1.5 * found["infrared"] < 0, "infrared light passes blood"


def test_the_geometry_is_that_of_the_color_photograph(photos):
    color = photos["color"]
    for name, photo in photos.items():
        _, one, other = np.intersect1d(color.indices, photo.indices, return_indices=True)
        assert len(one) > 20, name
        np.testing.assert_array_equal(color.keypoints[one], photo.keypoints[other])
        np.testing.assert_array_equal(color.vessels, photo.vessels)


def test_gray_ones_have_one_channel_three_times(photos):
    gray = {name for name, photo in photos.items() if (photo.image == photo.image[..., :1]).all()}
    assert gray == {"red-free", "infrared", "angiogram"}


def test_frames(eye):
    for name, modality in MODALITIES.items():
        view = draw_view(np.random.default_rng(1), eye, SIZE, modality)
        low, high = modality.field or (28, 60)
        assert low <= view.field <= high
        mask = render(eye, SIZE, view, [], Light(top=1, bottom=1), modality=name).mask
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        filled = mask.sum() / (np.ptp(rows) * np.ptp(columns))
        if modality.frame == "square":
            assert mask.all()
        else:
            assert abs(filled - np.pi / 4) < 0.02
            assert abs(np.ptp(rows) / np.ptp(columns) - (0.75 if modality.frame == "ellipse" else 1)) < 0.02


def test_lashes_darken_the_lower_rim_and_hide_what_lies_there(eye):
    view = replace(VIEW, frame="ellipse")
    bare = render(eye, SIZE, view, [], PLAIN)
    behind = render(eye, SIZE, view, [], PLAIN, modality="ultra-wide")
    height = SIZE // 2 + int(0.3 * SIZE)
    share = [
        photo.image[height : height + 20, 120:200, 1].mean() / photo.image[150:170, 120:200, 1].mean()
        for photo in (bare, behind)
    ]
    assert share[1] < 0.6 * share[0]
    assert not (behind.keypoints[:, 1] > height + 10).any() and (bare.keypoints[:, 1] > height - 20).any()


def test_lesions_look_as_the_light_makes_them(eye):
    # Places of the retina away from its vessels.
    place = np.array([[6.0, 3.5], [8.0, -3.0], [1.0, 6.0]])
    kinds = ("hemorrhage", "microaneurysm", "exudate")
    lesions = [Lesion(kind, where, 0.5, 6) for kind, where in zip(kinds, place)]
    change = {}
    for name in ("color", "angiogram"):
        with_, without = (render(eye, SIZE, VIEW, which, PLAIN, modality=name).image[..., 1] for which in (lesions, []))
        x, y = VIEW.to_pixels(place).round().astype(int).T
        change[name] = with_[y, x].astype(int) - without[y, x]
        # Dye that leaks glows beyond the microaneurysm, 6 being a multiple of three.
        beside = VIEW.to_pixels(place[1] + np.array([1.2, 0.0])).round().astype(int)
        glow = int(with_[beside[1], beside[0]]) - int(without[beside[1], beside[0]])
        assert glow > 20 if name == "angiogram" else abs(glow) < 10
    assert (change["color"][:2] < -20).all() and change["color"][2] > 20
    assert change["angiogram"][0] < -10 and change["angiogram"][1] > 40


def test_visits_in_two_modalities_correspond():
    visits = render_visits(5, 224, overlap=0.8, difficulty=0.3, modalities=("color", "ultra-wide"))
    assert visits.moving.view.frame == "ellipse" and visits.moving.view.field > 1.4 * visits.fixed.view.field
    moving, fixed = visits.shared_keypoints()
    assert len(moving) > 5
    np.testing.assert_allclose(visits.correspond(moving), fixed, atol=1e-6)


def test_an_unknown_modality_is_rejected(eye):
    with pytest.raises(ValueError, match="'octa' is not a known modality; known are color, red-free"):
        render(eye, 64, modality="octa")
