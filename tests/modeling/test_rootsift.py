import cv2
import numpy as np
import pytest

from retinamatch.estimation import estimate
from retinamatch.matching import match_keypoints
from retinamatch.rootsift import rootsift_keypoints


@pytest.fixture(scope="module")
def keypoints(visits):
    return rootsift_keypoints(visits.moving.image), rootsift_keypoints(visits.fixed.image)


def test_keypoints(keypoints, visits):
    for found, photo in zip(keypoints, (visits.moving.image, visits.fixed.image)):
        assert 200 < len(found) <= 2000
        assert found.points.dtype == np.float64 and found.descriptors.dtype == np.float32
        assert found.descriptors.shape == (len(found), 128) and found.scores.shape == (len(found),)
        assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-3)
        assert (np.diff(found.scores) <= 0).all()
        assert found.size == photo.shape[:2] and 0.3 < found.scale < 1
        assert np.linalg.norm(found.normalize(found.points), axis=1).max() < 1.1


def test_maximum_takes_the_strongest(visits, keypoints):
    few = rootsift_keypoints(visits.moving.image, maximum=50)
    assert len(few) == 50
    assert np.array_equal(few.points, keypoints[0].points[:50])


def test_places_do_not_depend_on_the_size_of_the_photograph(visits, keypoints):
    """Keypoints of an enlarged, padded photograph lie where those of the photograph do."""
    photo = visits.moving.image
    large = cv2.copyMakeBorder(cv2.resize(photo, None, fx=2, fy=2), 40, 60, 30, 90, cv2.BORDER_CONSTANT)
    found = rootsift_keypoints(large)
    back = (found.points - [30, 40] + 0.5) / 2 - 0.5
    distance = np.linalg.norm(back[:, None] - keypoints[0].points[None], axis=2).min(1)
    assert (distance < 1).mean() > 0.7
    # No bias: a shift by half a pixel of the enlarged photograph would show.
    nearest = np.linalg.norm(back[:, None] - keypoints[0].points[None], axis=2).argmin(1)
    close = distance < 1
    assert np.abs(np.median((back - keypoints[0].points[nearest])[close], axis=0)).max() < 0.1


def test_registers_two_visits(visits, keypoints):
    moving, fixed = keypoints
    found = estimate(moving, fixed, *match_keypoints(moving, fixed, 0.9), "quadratic")
    assert found.accepted, found.reason
    places, _ = visits.shared_keypoints()
    error = np.linalg.norm(found.transform(places) - visits.correspond(places), axis=1)
    # One pixel of 512 across the photograph; FIRE's are 2912 across.
    assert error.mean() < 1.0


def test_two_rendered_eyes_are_not_one(keypoints, other_eye):
    other = rootsift_keypoints(other_eye)
    found = estimate(other, keypoints[1], *match_keypoints(other, keypoints[1], 0.9))
    assert not found.accepted and found.reason


def test_something_else(keypoints, something_else):
    other = rootsift_keypoints(something_else)
    found = estimate(other, keypoints[1], *match_keypoints(other, keypoints[1], 0.9))
    assert not found.accepted and found.reason


@pytest.mark.parametrize("value", [0, 130])
def test_black_and_uniform(value, keypoints):
    empty = rootsift_keypoints(np.full((300, 400, 3), value, np.uint8))
    assert len(empty) == 0 and empty.points.shape == (0, 2) and empty.descriptors.shape == (0, 128)
    assert "no retina" in estimate(empty, keypoints[1], *match_keypoints(empty, keypoints[1], 0.9)).reason
