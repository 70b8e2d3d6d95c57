"""Conditions: what each changes, and that it is the same in every run and leaves alone what it does not name."""

import cv2
import numpy as np
import pytest

from retinamatch.evaluation.conditions import CONDITIONS, AnnotatedPair, motion_blurred, overexposed, posterized


@pytest.fixture(scope="module")
def pair(visits):
    places, _ = visits.shared_keypoints()
    return AnnotatedPair("P01", visits.moving.image, visits.fixed.image, places, visits.correspond(places))


def of(photograph, name="any"):
    nowhere = np.zeros((0, 2))
    return AnnotatedPair(name, photograph, photograph, nowhere, nowhere)


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name != "clean"])
def test_a_condition_is_the_same_in_every_run_and_carries_the_places_along(pair, name):
    moving, fixed = pair.moving.copy(), pair.fixed.copy()
    once, again = CONDITIONS[name](pair), CONDITIONS[name](pair)
    assert np.array_equal(once.moving, again.moving) and not np.array_equal(once.moving, pair.moving)
    assert np.array_equal(pair.moving, moving) and np.array_equal(pair.fixed, fixed)  # the input is left alone
    if not name.startswith("both"):
        assert once.fixed is pair.fixed
    assert once.moving.dtype == np.uint8 and once.moving.ndim == 3
    assert once.moving_points.shape == once.fixed_points.shape
    height, width = once.moving.shape[:2]
    assert ((once.moving_points > -0.5) & (once.moving_points < (width - 0.5, height - 0.5))).mean() > 0.4


@pytest.mark.parametrize("length", [0.02, 0.04, 0.1])
@pytest.mark.parametrize("name", ["P01", "P02", "P03"])
def test_motion_smears_a_point_over_its_length_and_does_not_shift_it(length, name):
    photograph = np.zeros((401, 401, 3), np.uint8)
    cv2.circle(photograph, (200, 200), 6, (255, 255, 255), -1)
    smeared = motion_blurred(of(photograph, name), length).moving[..., 1].astype(float)
    y, x = np.mgrid[-200:201, -200:201]
    weights = smeared / smeared.sum()
    np.testing.assert_allclose([(weights * x).sum(), (weights * y).sum()], 0, atol=0.3)
    spread = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=weights.ravel())
    across, along = np.linalg.eigvalsh(spread)
    assert across == pytest.approx(6**2 / 4, rel=0.2)  # of the disk alone
    assert along - across == pytest.approx((length * 401) ** 2 / 12, rel=0.2)


def test_motion_differs_from_pair_to_pair(visits):
    moved = [motion_blurred(of(visits.moving.image, name), 0.03).moving for name in ("P01", "P02")]
    assert np.abs(moved[0].astype(int) - moved[1]).mean() > 0.5


def test_too_much_light_clips(visits):
    image = visits.moving.image
    bright = overexposed(of(image), 2.5).moving
    assert np.abs(bright - np.minimum(image * 2.5, 255)).max() <= 0.5


@pytest.mark.parametrize("levels", [2, 12, 40])
def test_few_levels_are_few_and_evenly_spaced(levels):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    steps = np.unique(posterized(of(ramp), levels).moving)
    assert len(steps) == levels and steps[0] == 0 and steps[-1] == 255
    assert np.ptp(np.diff(steps.astype(int))) <= 1
    assert np.abs(posterized(of(ramp), levels).moving.astype(int) - ramp).max() <= 255 / (levels - 1) / 2 + 1
