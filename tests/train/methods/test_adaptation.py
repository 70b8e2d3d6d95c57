"""A network's answer averaged over views: every place of the photograph has its own answer back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from retinamatch.keypoints import RetinaDenseOutput, sample_descriptors
from train.methods.adaptation import RANGES, average_over_views, draw_adaptations


HEIGHT, WIDTH, STRIDE = 96, 128, 4
PLACES = [(30, 40), (64, 48), (100, 25), (90, 80)]  # (x, y)


class Spots:
    """Stands in for a network: its heat map is what is bright, its descriptors are how bright it is around."""

    descriptor_head = SimpleNamespace(stride=STRIDE, offset=(STRIDE - 1) / 2)

    def __init__(self):
        self.calls = 0

    def sample_descriptors(self, descriptor_map, places):
        return sample_descriptors(descriptor_map, places, STRIDE, self.descriptor_head.offset)

    def run(self, pixels):
        self.calls += 1
        cells = torch.nn.functional.avg_pool2d(pixels, STRIDE)
        return RetinaDenseOutput(
            heatmap_logits=12 * pixels - 6, descriptor_map=torch.cat([cells + 1, torch.ones_like(cells)], 1)
        )


@pytest.fixture
def image():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    spots = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8) for a, b in PLACES)
    return torch.from_numpy(spots).float()[None, None]


def test_views_are_the_same_every_time_and_the_first_is_the_photograph():
    first, again = draw_adaptations(9, HEIGHT, WIDTH), draw_adaptations(9, HEIGHT, WIDTH)
    assert all(np.array_equal(a, b) and c == d for (a, c), (b, d) in zip(first, again))
    assert np.array_equal(first[0][0], np.eye(3)) and first[0][1] == 0
    assert [np.array_equal(a, b) for (a, _), (b, _) in zip(first, draw_adaptations(3, HEIGHT, WIDTH))] == [True] * 3
    assert 0 < max(blur for _, blur in first) <= RANGES["blur"]
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1])
    for matrix, _ in first:
        assert np.allclose(matrix @ middle, middle)


@pytest.mark.parametrize("number", [1, 2, 7])
def test_every_place_has_its_own_answer_back(image, number):
    network = Spots()
    dense = average_over_views(network, network.run, image, torch.ones_like(image), number)
    assert network.calls == number
    assert dense.heatmap_logits.shape == image.shape
    assert dense.descriptor_map.shape == (1, 2, HEIGHT // STRIDE, WIDTH // STRIDE)
    assert torch.allclose(dense.descriptor_map.norm(dim=1), torch.ones(()), atol=1e-5)
    for x, y in PLACES:
        around = dense.heatmap_logits[0, 0, y - 8 : y + 9, x - 8 : x + 9].sigmoid()
        offsets = torch.arange(-8.0, 9)
        center = torch.stack([(around.sum(axis) * offsets).sum() / around.sum() for axis in (0, 1)])
        assert around.max() > 0.8 and center.abs().max() < 0.5, (x, y, center)


def test_the_answer_of_several_views_is_near_that_of_one(image):
    network = Spots()
    field = torch.zeros_like(image)
    field[..., 4:-4, 4:-4] = 1
    one, average = (average_over_views(network, network.run, image, field, n) for n in (1, 7))
    cosine = (one.descriptor_map * average.descriptor_map).sum(1)
    assert cosine.mean() > 0.95 and not torch.equal(one.descriptor_map, average.descriptor_map)
    assert average.heatmap_logits.isfinite().all() and average.descriptor_map.isfinite().all()


def test_a_photograph_without_a_field_of_view_is_finite(image):
    network = Spots()
    dense = average_over_views(network, network.run, image, torch.zeros_like(image), 4)
    assert dense.heatmap_logits.isfinite().all() and dense.descriptor_map.isfinite().all()
