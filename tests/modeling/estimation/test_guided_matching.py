import numpy as np
import pytest

from retinamatch.estimation.guided_matching import guided_matches
from tests.helpers.keypoint_sets import keypoints, shifted_pair


@pytest.fixture
def pair(rng):
    return shifted_pair(rng)


def test_nothing_to_match(pair):
    empty = keypoints(np.zeros((0, 2)), np.ones((0, 16)))
    for a, b in ((empty, pair[1]), (pair[0], empty), (empty, empty)):
        assert guided_matches(a.points, a, b, 5.0, 0.9)[0].shape == (0, 2)


def test_guided_matches_are_near_and_best(pair):
    moving, fixed, order = pair
    predicted = moving.points + [5, -3]
    matches, scores = guided_matches(predicted, moving, fixed, 2.0, 0.95)
    assert len(matches) == 200 and (order[matches[:, 1]] == matches[:, 0]).all()
    assert scores.min() > 0.9
    # Displaced by more than the radius, only chance neighbors are left.
    assert len(guided_matches(predicted + 4, moving, fixed, 2.0, 0.95)[0]) < 10


def test_guided_matches_agree_with_all_pairs_of_distances(rng):
    """The cell lists find exactly the pairs that a full table of distances finds."""
    moving = keypoints(rng.uniform(-300, 1300, (300, 2)), rng.normal(size=(300, 8)), 2.0)
    fixed = keypoints(rng.uniform(0, 1000, (400, 2)), rng.normal(size=(400, 8)), 2.0)
    radius = 30.0
    near = np.linalg.norm(moving.points[:, None] - fixed.points[None], axis=2) < radius * fixed.scale
    similarity = np.where(near, moving.descriptors @ fixed.descriptors.T, -2)
    best, back = similarity.argmax(1), similarity.argmax(0)
    wanted = {(i, best[i]) for i in range(300) if back[best[i]] == i and near[i].any()}
    matches, _ = guided_matches(moving.points, moving, fixed, radius, ratio=1.0)
    assert {tuple(match) for match in matches} == wanted and len(wanted) > 50


def test_guided_ratio_knows_a_rival_from_a_second_detection():
    """The same place found twice is no rival; another place nearby that looks the same is one."""
    moving = keypoints([(100, 100)], [(1, 0.0)])
    twice = keypoints([(100, 100), (101, 100)], [(1, 0.1), (1, 0.11)])
    rival = keypoints([(100, 100), (106, 100)], [(1, 0.1), (1, 0.11)])
    assert len(guided_matches(moving.points, moving, twice, 8.0, 0.9)[0]) == 1
    assert len(guided_matches(moving.points, moving, rival, 8.0, 0.9)[0]) == 0


def test_nowhere_is_not_matched(pair):
    moving, fixed, _ = pair
    predicted = np.full_like(moving.points, np.nan)
    predicted[:5] = moving.points[:5] + [5, -3]
    assert set(guided_matches(predicted, moving, fixed, 2.0, 0.95)[0][:, 0]) == set(range(5))
