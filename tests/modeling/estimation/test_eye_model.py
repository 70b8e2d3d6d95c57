import numpy as np
import pytest

from retinamatch.estimation.eye_model import CURVATURE, PLANE, EyeModel, drop, find_rotation, lift, refine


@pytest.fixture
def points(rng):
    return rng.uniform(-0.68, 0.68, (150, 2))


TURN = EyeModel(angle=0.2, shift=(0.6, -0.35), magnification=1.05)


@pytest.mark.parametrize("curvature", [PLANE, CURVATURE, 0.6])
def test_drop_undoes_lift(points, curvature):
    directions = lift(points, curvature)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    assert np.allclose(drop(directions, curvature), points, atol=1e-9)


def test_no_turn_is_the_identity(points):
    assert np.allclose(EyeModel(0.0, (0.0, 0.0))(points), points, atol=1e-12)
    assert np.allclose(lift(np.zeros((1, 2)), CURVATURE), [[0, 0, 1]])


def test_turn_on_a_plane_is_a_similarity(points):
    model = EyeModel(0.3, (0.4, 0.1), 1.2, PLANE)
    c, s = np.cos(0.3), np.sin(0.3)
    assert np.allclose(model(points), 1.2 * points @ np.array([[c, s], [-s, c]]) + [0.4, 0.1], atol=2e-3)


def test_turns_back(points):
    rotation = TURN.rotation()
    assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.isclose(np.linalg.det(rotation), 1)
    there = EyeModel(0.0, (0.5, 0.2))
    back = EyeModel(0.0, (-0.5, -0.2))
    assert np.allclose(back(there(points)), points, atol=1e-9)


def test_parameters(points):
    assert np.allclose(EyeModel.from_parameters(TURN.parameters())(points), TURN(points))


@pytest.mark.parametrize("wrong", [0.0, 0.6, 0.85])
def test_finds_the_turn_among_false_matches(points, rng, wrong):
    fixed = TURN(points) + rng.normal(0, 0.002, points.shape)
    false = rng.random(len(points)) < wrong
    fixed[false] = rng.uniform(-1, 1, (false.sum(), 2))
    found = find_rotation(points, fixed, radius=0.03, trials=2000)
    assert np.abs(found(points) - TURN(points)).max() < 0.04
    again = find_rotation(points, fixed, radius=0.03, trials=2000)
    assert again == found
    weights = (np.linalg.norm(found(points) - fixed, axis=1) < 0.03).astype(float)
    refined = refine(found, points, fixed, weights, noise=0.002, iterations=10)
    assert np.abs(refined(points) - TURN(points)).max() < 0.01


def test_no_turn_from_too_little():
    assert find_rotation(np.zeros((0, 2)), np.zeros((0, 2)), 0.03, 100) is None
    assert find_rotation(np.zeros((1, 2)), np.zeros((1, 2)), 0.03, 100) is None
    assert find_rotation(np.full((20, 2), 0.3), np.full((20, 2), 0.1), 0.03, 100) is None


def test_refine_learns_the_camera(points):
    """Many exact matches overrule what is known of cameras."""
    truth = EyeModel(0.1, (0.5, 0.3), 1.0, curvature=0.3, gamma=0.5)
    start = EyeModel(0.1, (0.5, 0.3))
    found = refine(start, points, truth(points), np.ones(len(points)), noise=1e-5, iterations=30)
    assert np.isclose(found.curvature, 0.3, rtol=0.01) and np.isclose(found.gamma, 0.5, rtol=0.03)
    assert np.abs(found(points) - truth(points)).max() < 1e-4


def test_refine_without_matches_stays(points):
    found = refine(TURN, points, points, np.zeros(len(points)), noise=0.01)
    assert np.allclose(found(points), TURN(points))
