import numpy as np
import pytest
import torch

from retinamatch.keypoints import mutual_nearest_matches
from retinamatch.matching import match_keypoints
from tests.helpers.keypoint_sets import keypoints, shifted_pair


@pytest.fixture
def pair(rng):
    return shifted_pair(rng)


def test_matches_are_right_and_scored(pair):
    moving, fixed, order = pair
    matches, scores = match_keypoints(moving, fixed, 0.9)
    assert len(matches) > 180 and matches.dtype == np.int64
    assert (order[matches[:, 1]] == matches[:, 0]).all()
    assert scores.shape == (len(matches),) and ((scores > 0.5) & (scores <= 1)).all()
    assert len(match_keypoints(moving, fixed, 0.1)[0]) < len(matches)
    assert match_keypoints(moving, fixed, 0.9, temperature=1.0)[1].max() < scores.min()


def test_mutual_means_both_ways():
    moving = keypoints([(0, 0), (1, 0)], [(1, 0.0), (1, 0.1)])
    fixed = keypoints([(0, 0), (1, 0)], [(1, 0.02), (0, 1.0)])
    assert match_keypoints(moving, fixed, 1.0)[0].tolist() == [[0, 0]]


def test_ratio_refuses_repeated_patterns():
    moving = keypoints([(0, 0), (50, 0)], [(1, 0.0), (0, 1.0)])
    fixed = keypoints([(0, 0), (50, 0), (90, 0)], [(1, 0.1), (1, -0.11), (0, 1.0)])
    assert match_keypoints(moving, fixed, 0.8)[0].tolist() == [[1, 2]]


def test_nothing_to_match(pair):
    empty = keypoints(np.zeros((0, 2)), np.ones((0, 16)))
    for a, b in ((empty, pair[1]), (pair[0], empty), (empty, empty)):
        assert match_keypoints(a, b, 0.9)[0].shape == (0, 2)


@pytest.mark.parametrize("number, other, ratio", [(200, 150, 0.95), (1, 40, 0.9), (40, 1, 0.9), (120, 120, 1.0)])
def test_the_same_matches_as_of_tensors(rng, number, other, ratio):
    descriptors = rng.normal(size=(max(number, other), 16))
    sets = [one + rng.normal(0, 0.3, one.shape) for one in (descriptors[:number], descriptors[:other])]
    moving, fixed = (keypoints(np.zeros((len(one), 2)), one) for one in sets)
    matches, scores = match_keypoints(moving, fixed, ratio, temperature=0.1)
    tensors = (torch.from_numpy(one.descriptors)[None] for one in (moving, fixed))
    wanted, wanted_scores = (one[0, 0] for one in mutual_nearest_matches(*tensors, ratio=ratio, temperature=0.1))
    matched = (wanted[:number] >= 0).nonzero()[:, 0]
    assert matches.tolist() == torch.stack([matched, wanted[matched]], 1).tolist() and len(matches) > 0
    assert scores == pytest.approx(wanted_scores[matched].numpy(), abs=1e-5)
