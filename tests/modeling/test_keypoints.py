import math

import pytest
import torch
from torch.nn import functional as F

from retinamatch.keypoints import (
    _largest_around,
    detect_keypoints,
    erode,
    find_peaks,
    mutual_nearest_matches,
    refine_peaks,
    sample_descriptors,
)


SETTINGS = {"nms_radius": 4, "threshold": 0.01, "border": 4, "max_keypoints": 100}


def blob(size, x, y, sigma=2.0):
    axis = torch.arange(size, dtype=torch.float32)
    return torch.exp(-0.5 * ((axis - x) ** 2)[None] / sigma**2 - 0.5 * ((axis - y) ** 2)[:, None] / sigma**2)


class TestFindPeaks:
    def test_keeps_the_largest_of_a_window(self):
        logits = torch.full((1, 1, 20, 20), -5.0)
        logits[0, 0, 5, 5], logits[0, 0, 5, 8], logits[0, 0, 15, 15] = 2.0, 1.0, 0.5
        peaks = find_peaks(logits, 4)
        assert peaks[0, 0, 5, 5] and peaks[0, 0, 15, 15] and not peaks[0, 0, 5, 8]

    def test_ties_keep_the_first_in_reading_order(self):
        logits = torch.zeros(2, 1, 9, 9)
        peaks = find_peaks(logits, 4)
        assert peaks[:, 0, 0, 0].all() and peaks[:, 0, :4, 1:5].sum() == 0

    def test_equal_for_equal_images_of_a_batch(self):
        logits = torch.randn(1, 1, 40, 40).round(decimals=1).expand(3, -1, -1, -1)
        peaks = find_peaks(logits, 3)
        assert (peaks[0] == peaks[1]).all() and (peaks[0] == peaks[2]).all()


class TestLargestAround:
    @pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 7, 10])
    @pytest.mark.parametrize("size", [(5, 40), (33, 17)])
    def test_is_the_maximum_over_the_window(self, radius, size):
        values = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(radius))
        pooled = F.max_pool2d(values, 2 * radius + 1, 1, radius)
        assert torch.equal(_largest_around(values, radius), pooled)


@pytest.mark.parametrize("shape", [(40, 40), (17, 90)])
@pytest.mark.parametrize("masked", [False, True])
def test_an_empty_batch_has_no_keypoints(shape, masked):
    mask = torch.ones(0, *shape) if masked else None
    keypoints, scores, valid = detect_keypoints(torch.zeros(0, 1, *shape), mask, **SETTINGS)
    assert keypoints.shape == (0, 0, 2) and scores.shape == valid.shape == (0, 0)


class TestErode:
    def test_takes_the_rim_and_the_image_border(self):
        mask = torch.ones(1, 1, 20, 30)
        mask[..., :10] = 0
        eroded = erode(mask, 3)
        assert eroded[0, 0, 3:17, 13:27].all()
        assert eroded.sum() == 14 * 14

    def test_zero_keeps_the_mask(self):
        mask = torch.randint(0, 2, (1, 1, 8, 8))
        assert (erode(mask, 0) == (mask > 0)).all()


class TestDetect:
    @pytest.mark.parametrize("x, y", [(20.0, 30.0), (20.3, 29.6), (33.45, 12.25)])
    def test_sub_pixel_place_of_a_gaussian(self, x, y):
        logits = torch.log(blob(48, x, y) + 1e-6)[None, None] + 3  # the logarithm of a Gaussian is a quadratic
        keypoints, scores, mask = detect_keypoints(logits, None, **SETTINGS)
        assert mask.shape == (1, 1)
        assert torch.allclose(keypoints[0, 0], torch.tensor([x, y]), atol=0.02)
        assert keypoints.dtype == scores.dtype == torch.float32

    def test_refinement_does_not_leave_the_pixel(self):
        logits = torch.randn(1, 30, 30)
        index = torch.arange(900)[None]
        refined = refine_peaks(logits, index)
        grid = torch.stack([index % 30, index // 30], -1)
        assert (refined - grid).abs().max() <= 0.5

    def test_nothing_on_the_rim_of_the_field_of_view(self):
        logits = torch.randn(1, 1, 64, 64)
        axis = torch.arange(64) - 31.5
        radius = (axis[None] ** 2 + axis[:, None] ** 2).sqrt()
        keypoints, _, mask = detect_keypoints(logits, (radius < 28)[None], **SETTINGS)
        distance = (keypoints[mask] - 31.5).norm(dim=-1)
        assert mask.sum() > 10 and distance.max() < 28 - 4 + 1  # one pixel of refinement and rasterization

    def test_the_highest_first_and_no_more_than_asked(self):
        logits = torch.randn(2, 1, 64, 64)
        keypoints, scores, mask = detect_keypoints(logits, None, **{**SETTINGS, "max_keypoints": 5})
        assert keypoints.shape == (2, 5, 2) and mask.all()
        assert (scores[:, :-1] >= scores[:, 1:]).all()

    def test_an_empty_heat_map_gives_no_keypoint(self):
        keypoints, scores, mask = detect_keypoints(torch.full((2, 1, 32, 32), -20.0), None, **SETTINGS)
        assert keypoints.shape == (2, 0, 2) and scores.shape == mask.shape == (2, 0)

    def test_bfloat16_maps_are_handled_in_float32(self):
        keypoints, scores, _ = detect_keypoints(torch.randn(1, 1, 64, 64).bfloat16(), None, **SETTINGS)
        assert keypoints.dtype == scores.dtype == torch.float32


class TestSampleDescriptors:
    @pytest.mark.parametrize("stride, offset, size", [(8, 11.5, (9, 13)), (4, 1.5, (17, 25))])
    def test_cells_lie_where_they_are_said_to_lie(self, stride, offset, size):
        # A map whose channels are cos and sin of the x coordinate in pixels: interpolation must give the keypoint's
        # own.
        columns = torch.arange(size[1]) * stride + offset
        angle = columns / 100
        dense = torch.stack([angle.cos(), angle.sin()])[None, :, None].expand(1, 2, *size)
        x = torch.linspace(offset, float(columns[-1]), 40)
        keypoints = torch.stack([x, torch.full_like(x, 20.0)], -1)[None]
        found = sample_descriptors(dense, keypoints, stride, offset)
        assert torch.allclose(torch.atan2(found[0, :, 1], found[0, :, 0]) * 100, x, atol=0.05)

    def test_unit_length_beyond_the_last_cell_too(self):
        found = sample_descriptors(torch.randn(1, 16, 5, 5), torch.tensor([[[0.0, 0.0], [100.0, 100.0]]]), 8, 11.5)
        assert torch.allclose(found.norm(dim=-1), torch.ones(1, 2), atol=1e-5)


class TestMatches:
    def descriptors(self, batch, n, dim=32, seed=0):
        return F.normalize(torch.randn(batch, n, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)

    def test_a_permutation_is_found(self):
        first = self.descriptors(2, 40)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
        matches, scores = mutual_nearest_matches(first, first[:, order], ratio=0.9)
        assert (order[matches[:, 0]] == torch.arange(40)).all()
        assert (matches[0, 1] == order).all() and (scores > 0.5).all()

    def test_padding_never_matches(self):
        first, second = self.descriptors(1, 10), self.descriptors(1, 12, seed=3)
        second[:, 10:] = first[:, :2]  # the best partners are padding
        mask0, mask1 = torch.ones(1, 10), torch.ones(1, 12)
        mask1[:, 10:] = 0
        matches, _ = mutual_nearest_matches(first, second, mask0, mask1, ratio=1.0)
        assert matches.shape == (1, 2, 12)
        assert (matches[0, 0] < 10).all() and (matches[0, 1, 10:] == -1).all() and (matches[0, 0, 10:] == -1).all()

    def test_the_ratio_test_drops_ambiguous_ones(self):
        first = self.descriptors(1, 1)
        second = torch.cat([first, first], 1)
        assert (mutual_nearest_matches(first, second, ratio=0.9)[0] == -1).all()

    def test_batch_and_single_agree(self):
        first, second = self.descriptors(3, 30), self.descriptors(3, 25, seed=5)
        matches, scores = mutual_nearest_matches(first, second, ratio=1.0)
        for i in range(3):
            one, value = mutual_nearest_matches(first[i : i + 1], second[i : i + 1], ratio=1.0)
            assert (one[0] == matches[i]).all() and torch.allclose(value[0], scores[i])

    @pytest.mark.parametrize("n, m", [(0, 5), (5, 0), (0, 0), (1, 1)])
    def test_few_or_no_keypoints(self, n, m):
        matches, scores = mutual_nearest_matches(self.descriptors(1, n), self.descriptors(1, m))
        assert matches.shape == scores.shape == (1, 2, max(n, m))

    def test_scores_are_probabilities(self):
        first = self.descriptors(1, 8)
        _, scores = mutual_nearest_matches(first, first, temperature=0.07)
        similarity = first[0] @ first[0].T
        weight = math.exp(1 / 0.07) / (similarity / 0.07).exp().sum(1)
        assert torch.allclose(scores[0, 0], weight**2, atol=1e-4)
