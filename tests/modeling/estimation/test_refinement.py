import numpy as np
import pytest

from retinamatch.estimation.refinement import SPACING, locate


def field(size=64, scale=1.0, seed=0):
    """Dense descriptors that vary smoothly: places a few pixels apart can be told apart, to a fraction of a pixel."""
    rng = np.random.default_rng(seed)
    waves, phases = rng.normal(0, 0.12, (2, 96)), rng.uniform(0, 2 * np.pi, 96)

    def describe(points):
        values = np.cos(points / scale @ waves + phases)
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    return describe


@pytest.mark.parametrize("scale", [1.0, 3.8])
def test_finds_the_exact_place(scale):
    describe = field(scale=scale)
    rng = np.random.default_rng(1)
    truth = rng.uniform(50, 300, (200, 2)) * scale
    predicted = truth + rng.uniform(-4, 4, truth.shape) * scale
    places, similarity, inside = locate(describe(truth), predicted, describe, scale)
    assert inside.all() and similarity.min() > 0.8
    error = np.linalg.norm(places - truth, axis=1) / scale
    assert error.mean() < 0.1 < SPACING / 2 and error.max() < 0.3


def test_a_place_beyond_the_window_is_not_claimed():
    describe = field()
    truth = np.random.default_rng(1).uniform(50, 300, (100, 2))
    _, _, inside = locate(describe(truth), truth + [9.0, 0.0], describe, 1.0, reach=6.0)
    assert inside.mean() < 0.1


def test_nothing_to_look_for():
    places, similarity, inside = locate(np.zeros((0, 96), np.float32), np.zeros((0, 2)), field(), 1.0)
    assert places.shape == (0, 2) and len(similarity) == len(inside) == 0
