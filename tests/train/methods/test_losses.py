import pytest
import torch
from torch.nn import functional as F

from retinamatch.losses import dice_loss
from train.methods.losses import balanced_cross_entropy, cosine_loss, triplet_loss


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class TestBalancedCrossEntropy:
    def test_an_empty_map_still_has_a_gradient(self):
        logits = torch.full((1, 1, 16, 16), -12.0, requires_grad=True)
        target = torch.zeros(1, 1, 16, 16)
        target[0, 0, 8, 8] = 1
        dice_loss(logits.sigmoid(), target).sum().backward()
        silent, logits.grad = logits.grad.abs().max(), None
        balanced_cross_entropy(logits, target).sum().backward()
        assert logits.grad[0, 0, 8, 8] < -0.01 and silent < 1e-3

    def test_lowest_at_the_target(self):
        target = torch.rand(1, 1, 8, 8)
        right = balanced_cross_entropy(torch.logit(target), target)
        assert right < balanced_cross_entropy(torch.logit(target) + 0.5, target)
        assert right < balanced_cross_entropy(torch.logit(target) - 0.5, target)


class TestTriplet:
    def test_by_hand(self):
        # Anchor 0 and its partner agree; every other cosine is 0: distance 0 to the positive, 1 to the negatives.
        anchors = torch.eye(3)[None]
        mask = torch.ones(1, 3, dtype=torch.bool)
        random = torch.tensor([[1, 2, 0]])
        assert triplet_loss(anchors, anchors, mask, random).item() == pytest.approx(0.0)
        # Now the positive is at distance 1 and one negative at distance 0.
        swapped = anchors[:, [1, 0, 2]]
        value = triplet_loss(anchors[:, :2], swapped[:, :2], mask[:, :2], torch.tensor([[1, 0]]))
        assert value.item() == pytest.approx(0.8 + 1 - 0 + 1)

    def test_padding_is_never_a_negative(self):
        anchors = unit(1, 5, 8)
        mask = torch.tensor([[True, True, True, False, False]])
        first = triplet_loss(anchors, anchors, mask, torch.tensor([[1, 2, 0, 0, 0]]))
        other = anchors.clone()
        other[:, 3:] = anchors[:, :2]
        assert torch.allclose(first, triplet_loss(anchors, other, mask, torch.tensor([[1, 2, 0, 0, 0]])))


class TestCosine:
    def test_by_hand_and_whatever_the_length(self):
        target = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])
        prediction = torch.tensor([[[3.0, 0.0], [5.0, 0.0], [-1.0, -1.0]]])
        assert cosine_loss(prediction, target, torch.ones(1, 3)).item() == pytest.approx((0 + 1 + 2) / 3)

    def test_what_is_masked_does_not_count(self):
        prediction, target = unit(2, 4, 8).requires_grad_(), unit(2, 4, 8, seed=1)
        mask = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]])
        loss = cosine_loss(prediction, target, mask)
        assert loss[0].item() == pytest.approx(1 - float((prediction[0, 0] @ target[0, 0]).detach()), abs=1e-6)
        assert loss[1] == 0
        loss.sum().backward()
        assert prediction.grad[0, 0].abs().sum() > 0 and prediction.grad[1].abs().sum() == 0
