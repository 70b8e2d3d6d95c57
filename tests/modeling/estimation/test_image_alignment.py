import numpy as np
import pytest

from retinamatch.estimation.image_alignment import align_pictures, align_where_better
from retinamatch.evaluation.degradation import degrade
from retinamatch.normalized_picture import NormalizedPicture


@pytest.fixture(scope="module")
def pictures(visits):
    return tuple(NormalizedPicture.from_photo(one.image) for one in (visits.moving, visits.fixed))


def displaced(visits, shift, angle=0.0, scale=1.0):
    """The true map of two visits, followed by a similarity about the middle of the fixed photograph."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return lambda points: (visits.correspond(points) - 256) @ turn.T + 256 + shift


def error(visits, transform):
    moving, fixed = visits.shared_keypoints()
    return np.linalg.norm(transform(moving) - fixed, axis=1).mean()


@pytest.mark.parametrize("shift, angle, scale", [((9, -6), 0, 1), ((-4, 3), 0.02, 1.0), ((0, 0), -0.02, 1.03)])
def test_finds_the_way_back(visits, pictures, shift, angle, scale):
    start = displaced(visits, shift, angle, scale)
    assert error(visits, start) > 3
    assert error(visits, align_pictures(*pictures, start)) < 1
    assert error(visits, align_where_better(*pictures, start)) < 1


def test_finds_it_in_a_poor_photograph(visits, pictures):
    poor = NormalizedPicture.from_photo(degrade(visits.moving.image, 3, "poor"))
    start = displaced(visits, (8, 5))
    assert error(visits, align_where_better(poor, pictures[1], start)) < 3


def test_what_is_right_stays(visits, pictures):
    assert align_where_better(*pictures, visits.correspond) is None


@pytest.mark.parametrize("shift", [(0, 0), (40, -20), (-70, 10)])
def test_different_eyes_are_not_aligned(pictures, other_eye, shift):
    assert align_where_better(NormalizedPicture.from_photo(other_eye), pictures[1], lambda p: p + shift) is None


def test_nothing_in_common(pictures):
    assert align_pictures(*pictures, lambda points: points + 5000) is None
    assert align_where_better(*pictures, lambda points: points + 5000) is None
