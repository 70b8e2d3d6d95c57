import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from datasets_scripts.keypoint_types import CROSSING
from datasets_scripts.rendering.examples import EXAMPLE_BYTES, write_example_pair
from datasets_scripts.rendering.exposure import Light
from datasets_scripts.rendering.eye import draw_eye, draw_lesions, grow_lesions
from datasets_scripts.rendering.fundus import render, render_visits
from datasets_scripts.rendering.view import RetinaView


PLAIN = Light(blur=0.6, noise=0.5, vignette=0.1)


@pytest.fixture(scope="module")
def eye():
    return draw_eye(7)


@pytest.fixture(scope="module")
def visits():
    return render_visits(7, size=512, overlap=0.7, difficulty=0.4)


def two_views(size):
    first = RetinaView(np.array([-3.0, -1.0]), 45, 0.97 * size, np.array([size / 2 - 3.0, size / 2 + 2]), 0.05, 0.3)
    tilt = np.array([[1.01, 0.004, 0], [-0.006, 0.99, 0], [0.01, -0.008, 1]])
    second = RetinaView(np.array([6.0, 5.0]), 43, 0.96 * size, np.array([size / 2, size / 2 - 1.0]), -0.15, 0.45, tilt)
    return first, second


def test_view_maps_there_and_back():
    for view, gaze in zip(two_views(700), ([-3, -1], [6, 5])):
        pixels = np.random.default_rng(0).uniform(0, 700, (500, 2))
        np.testing.assert_allclose(view.to_pixels(view.to_retina(pixels)), pixels, atol=1e-7)
        np.testing.assert_allclose(view.to_retina(view.center), gaze, atol=1e-9)


def test_view_has_the_scale_the_field_and_the_orientation_it_says():
    view = RetinaView(np.zeros(2), 40, 600, np.array([300.0, 310]))
    np.testing.assert_allclose(view.to_pixels(np.array([20.0, 0])), [600, 310], atol=1e-9)
    np.testing.assert_allclose(view.to_pixels(np.array([0.0, -20])), [300, 10], atol=1e-9)
    small = view.to_pixels(np.array([0.01, 0])) - view.to_pixels(np.array([-0.01, 0]))
    assert small[0] / 0.02 == pytest.approx(view.pixels_per_degree, rel=1e-4)


def test_warp_between_views_is_curved():
    first, second = two_views(700)
    moving = np.random.default_rng(0).uniform(150, 550, (200, 2))
    fixed = first.to_pixels(second.to_retina(moving))
    homography = cv2.findHomography(moving, fixed)[0]
    residual = cv2.perspectiveTransform(moving[None], homography)[0] - fixed
    assert 0.3 < np.linalg.norm(residual, axis=1).mean() < 20


def test_same_seed_same_photograph(eye):
    one, other = render(eye, 384, seed=3), render(draw_eye(7), 384, seed=3)
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert not np.array_equal(one.image, render(eye, 384, seed=4).image)


def test_other_seeds_draw_other_eyes(eye):
    eyes = [draw_eye(2), draw_eye(3), eye]
    assert len({len(one.vessels) for one in eyes}) == 3
    assert len({np.sign(one.disc[0]) for one in eyes}) == 2, "left and right eyes"


def test_photograph_is_as_described(eye):
    photo = render(eye, 384, seed=1)
    assert photo.image.shape == (384, 384, 3) and photo.image.dtype == np.uint8
    assert photo.mask.shape == (384, 384) and photo.mask.dtype == bool
    assert len(photo.keypoints) == len(photo.types) == len(photo.widths) == len(photo.indices) > 10
    assert set(photo.types) == {0, 1}
    column, row = np.round(photo.keypoints).astype(int).T
    assert photo.mask[row, column].all()


def test_mask_is_the_bright_part():
    view = RetinaView(np.zeros(2), 45, 370, np.array([190.0, 193]))
    photo = render(draw_eye(2), 384, view=view, light=Light(top=0.8, bottom=0.7, noise=0), lesions=[])
    assert not photo.image[~photo.mask].any()
    inner = cv2.erode(photo.mask.astype(np.uint8), np.ones((7, 7))) > 0
    assert photo.image[..., 0][inner].min() > 20
    rows, columns = np.nonzero(photo.mask)
    assert (columns.min(), columns.max()) == (5, 375)
    assert (rows.min(), rows.max()) == (193 - 148, 193 + 129)
    assert photo.mask.sum() < np.pi * 185**2


def test_junctions_lie_on_dark_vessels(eye):
    photo = render(eye, 768, light=PLAIN, lesions=[], seed=2)
    wide = photo.widths > 1.5
    assert wide.sum() > 20
    green = cv2.GaussianBlur(photo.image[..., 1].astype(np.float32), (0, 0), 0.8)
    surround = cv2.GaussianBlur(green, (0, 0), 12)
    column, row = np.round(photo.keypoints[wide]).astype(int).T
    assert np.mean(green[row, column] < 0.97 * surround[row, column]) > 0.95
    assert np.mean(photo.vessels[row, column] > 0.03) > 0.98


def test_keypoints_are_the_meeting_points_of_centre_lines(eye):
    points, types = eye.junctions.points, eye.junctions.types
    lines = [vessel.points for vessel in eye.vessels]

    def distance(point, line):
        start, step = line[:-1], np.diff(line, axis=0)
        along = np.clip(((point - start) * step).sum(1) / (step**2).sum(1), 0, 1)
        return np.linalg.norm(start + along[:, None] * step - point, axis=1).min()

    for number in range(0, len(points), 29):
        nearest = sorted(distance(points[number], line) for line in lines)
        assert nearest[1] < (1e-6 if types[number] == CROSSING else 0.02), "two vessels pass through it"


def test_directions_follow_the_vessels(eye):
    photo = render(eye, 768, light=PLAIN, lesions=[], seed=2)
    assert len(photo.directions) == len(photo.keypoints)
    wide = np.flatnonzero(photo.widths > 1.5)
    on, beside = [], []
    for number in wide:
        angles = photo.directions[number]
        assert (np.diff(angles) >= 0).all() and -np.pi < angles[0] and angles[-1] <= np.pi
        for turn, values in ((0.0, on), (0.5, beside)):
            places = photo.keypoints[number] + 9 * np.column_stack([np.cos(angles + turn), np.sin(angles + turn)])
            column, row = np.round(places).astype(int).T
            values += list(photo.vessels[row.clip(0, 767), column.clip(0, 767)])
    assert np.mean(np.array(on) > 0.03) > 0.93
    assert np.mean(on) > 1.5 * np.mean(beside)
    branches = np.array([len(angles) for angles in photo.directions])
    assert (branches <= 3 + photo.types).all() and np.mean(branches == 3 + photo.types) > 0.95


def test_directions_turn_with_the_camera(eye):
    view = RetinaView(np.zeros(2), 45, 500, np.array([255.5, 255.5]))
    plain = render(eye, 512, view=view, light=PLAIN, lesions=[])
    rolled = render(eye, 512, view=replace(view, roll=0.4), light=PLAIN, lesions=[])
    _, one, other = np.intersect1d(plain.indices, rolled.indices, return_indices=True)
    for first, second in zip(one, other):
        turned = np.sort(np.angle(np.exp(1j * (plain.directions[first] + 0.4))))
        np.testing.assert_allclose(turned, rolled.directions[second], atol=1e-6)


def test_branches_start_on_their_parents(eye):
    branches = [vessel for vessel in eye.vessels if vessel.parent >= 0]
    assert len(branches) > 200
    for vessel in branches:
        parent = eye.vessels[vessel.parent]
        assert parent.artery == vessel.artery
        assert np.linalg.norm(parent.points - vessel.points[0], axis=1).min() < 0.16


def test_widths_fall_from_the_disc_to_the_tips(eye):
    widest = max(eye.vessels, key=lambda vessel: vessel.widths.max())
    assert 0.3 < widest.widths.max() < 0.6
    assert widest.widths[0] > 2 * widest.widths[-1]
    assert np.linalg.norm(widest.points[0] - eye.disc) < eye.disc_radius


def test_shared_keypoints_correspond(visits):
    moving, fixed = visits.shared_keypoints()
    assert len(moving) >= 10
    np.testing.assert_allclose(visits.correspond(moving), fixed, atol=1e-6)
    back = visits.moving.view.to_pixels(visits.fixed.view.to_retina(fixed))
    np.testing.assert_allclose(back, moving, atol=1e-6)


def test_known_map_aligns_the_pixels(eye):
    """Vessels of the moving photograph, pulled onto the fixed one, cover its vessels to a fraction of a pixel."""
    size = 640
    fixed, moving = (render(eye, size, view=view, light=PLAIN, lesions=[]) for view in two_views(size))
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)
    place = moving.view.to_pixels(fixed.view.to_retina(grid)).astype(np.float32)

    def correlation(offset):
        pull = place + np.float32(offset)
        warped = cv2.remap(moving.vessels, pull[..., 0], pull[..., 1], cv2.INTER_LINEAR)
        seen = cv2.remap(moving.mask.astype(np.uint8), pull[..., 0], pull[..., 1], cv2.INTER_NEAREST) > 0
        both = seen & fixed.mask
        assert both.mean() > 0.3
        return np.corrcoef(warped[both], fixed.vessels[both])[0, 1]

    exact = correlation((0, 0))
    assert exact > 0.95
    for offset in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        assert correlation(offset) < exact - 0.02
    # The best offset, by a parabola through three correlations, is none.
    for axis in np.eye(2):
        before, after = correlation(-0.5 * axis), correlation(0.5 * axis)
        assert abs(0.25 * (before - after) / (before - 2 * exact + after)) < 0.05


def test_disease_is_seen_and_hides_keypoints(eye):
    view = two_views(512)[0]
    rng = np.random.default_rng(0)
    lesions = [lesion for _ in range(6) for lesion in draw_lesions(rng, eye, 1.0)]
    healthy = render(eye, 512, view=view, light=PLAIN, lesions=[])
    ill = render(eye, 512, view=view, light=PLAIN, lesions=lesions)
    changed = np.abs(ill.image.astype(int) - healthy.image).max(axis=2) > 25
    assert 0.005 < changed.mean() < 0.5
    assert set(ill.indices) < set(healthy.indices)
    later = grow_lesions(rng, eye, lesions, 0.5)
    assert {lesion.seed for lesion in later} - {lesion.seed for lesion in lesions}, "new ones appear"
    assert {lesion.seed for lesion in later} & {lesion.seed for lesion in lesions}, "old ones stay"


def test_blur_hides_the_thinnest_junctions(eye):
    view = two_views(512)[0]
    sharp = render(eye, 512, view=view, light=Light(blur=0.5), lesions=[])
    blurred = render(eye, 512, view=view, light=Light(blur=4.0, contrast=0.7), lesions=[])
    assert set(blurred.indices) < set(sharp.indices)
    assert blurred.widths.min() > sharp.widths.min()


def test_example_pair_is_small_and_true(tmp_path):
    write_example_pair(tmp_path)
    for name in ("fixed", "moving"):
        assert (tmp_path / f"{name}.jpg").stat().st_size <= EXAMPLE_BYTES
        assert min(cv2.imread(str(tmp_path / f"{name}.jpg")).shape[:2]) >= 900
    points = np.array(json.loads((tmp_path / "truth.json").read_text())["points"])
    assert points.shape[0] >= 8 and points.shape[1] == 4
    assert np.isfinite(points).all() and points.min() > 0
