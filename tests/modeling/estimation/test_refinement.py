import numpy as np
import pytest

from retinamatch.estimation.refinement import SPACING, locate
from retinamatch.keypoint_set import Describe


class Field(Describe):
    """Descriptors that vary smoothly: places a few pixels apart can be told apart, to a fraction of a pixel."""

    def __init__(self, scale=1.0, seed=0):
        rng = np.random.default_rng(seed)
        self.waves, self.phases = rng.normal(0, 0.12, (2, 96)) / scale, rng.uniform(0, 2 * np.pi, 96)

    def __call__(self, points):
        values = np.cos(points @ self.waves + self.phases)
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 3.8])
def test_finds_the_exact_place(scale):
    describe = Field(scale)
    rng = np.random.default_rng(1)
    truth = rng.uniform(50, 300, (200, 2)) * scale
    predicted = truth + rng.uniform(-4, 4, truth.shape) * scale
    places, similarity, inside = locate(describe(truth), predicted, describe, scale)
    assert inside.all() and similarity.min() > 0.8
    error = np.linalg.norm(places - truth, axis=1) / scale
    assert error.mean() < 0.1 < SPACING / 2 and error.max() < 0.3


def test_a_place_beyond_the_window_is_not_claimed():
    describe = Field()
    truth = np.random.default_rng(1).uniform(50, 300, (100, 2))
    _, _, inside = locate(describe(truth), truth + [9.0, 0.0], describe, 1.0, reach=6.0)
    assert inside.mean() < 0.1


def test_nothing_to_look_for():
    places, similarity, inside = locate(np.zeros((0, 96), np.float32), np.zeros((0, 2)), Field(), 1.0)
    assert places.shape == (0, 2) and len(similarity) == len(inside) == 0
