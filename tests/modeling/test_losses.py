import pytest
import torch
from torch.nn import functional as F

from retinamatch.losses import contrastive_loss, dice_loss


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class TestDice:
    def test_zero_for_equal_and_one_for_disjoint_maps(self):
        target = torch.zeros(2, 1, 8, 8)
        target[0, 0, :4], target[1, 0, 4:] = 1, 1
        assert torch.allclose(dice_loss(target, target), torch.zeros(2), atol=1e-4)
        assert torch.allclose(dice_loss(target, target.flip(0)), torch.ones(2), atol=1e-3)

    def test_half_overlap_by_hand(self):
        first, second = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4)
        first[..., :2], second[..., 1:3] = 1, 1
        assert dice_loss(first, second, smooth=0).item() == pytest.approx(1 - 2 * 1 / 4)

    def test_the_mask_hides_the_rest(self):
        first, second = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
        second[..., :2] = first[..., :2]
        mask = torch.zeros(1, 1, 4, 4)
        mask[..., :2] = 1
        assert dice_loss(first, second, mask).item() < 1e-4 < dice_loss(first, second).item()


class TestContrastive:
    def test_by_hand_for_two_points(self):
        anchors = torch.eye(2)[None]
        mask = torch.ones(1, 2, dtype=torch.bool)
        expected = -torch.log_softmax(torch.tensor([1.0, 0.0]) / 0.5, 0)[0]
        assert torch.allclose(contrastive_loss(anchors, anchors, mask, temperature=0.5), expected)

    def test_padding_and_near_points_do_not_count(self):
        anchors, positives = unit(1, 6, 8), unit(1, 6, 8, seed=1)
        mask = torch.tensor([[True] * 4 + [False] * 2])
        short = contrastive_loss(anchors[:, :4], positives[:, :4], mask[:, :4])
        assert torch.allclose(contrastive_loss(anchors, positives, mask), short)
        everything = torch.ones(1, 6, 6, dtype=torch.bool)
        assert contrastive_loss(anchors, positives, mask, ignore=everything).item() == pytest.approx(0, abs=1e-5)

    def test_no_correspondence_gives_zero_and_finite_gradients(self):
        anchors = unit(1, 4, 8).requires_grad_()
        loss = contrastive_loss(anchors, anchors, torch.zeros(1, 4, dtype=torch.bool))
        loss.sum().backward()
        assert loss.item() == 0 and torch.isfinite(anchors.grad).all()

    def test_a_pair_does_not_depend_on_its_batch(self):
        anchors, positives = unit(3, 6, 8), unit(3, 6, 8, seed=1)
        mask = torch.ones(3, 6, dtype=torch.bool)
        alone = contrastive_loss(anchors[1:2], positives[1:2], mask[1:2])
        assert torch.allclose(contrastive_loss(anchors, positives, mask)[1:2], alone)
