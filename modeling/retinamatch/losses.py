"""Losses of the models' own heads. Ground truth is made elsewhere; here it is only compared."""

import torch
from torch import Tensor
from torch.nn import functional as F


def dice_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None, smooth: float = 1e-3) -> Tensor:
    """Soft Dice loss with squared denominators (SuperRetina, arXiv 2207.07932).

    Args:
        prediction: (batch, 1, height, width) in [0, 1].
        target: (batch, 1, height, width) in [0, 1].
        mask: (batch, 1, height, width), weight of every pixel; None for 1.
        smooth: Keeps empty maps finite.

    Returns:
        (batch,), one loss per image.
    """
    mask = torch.ones_like(prediction) if mask is None else mask.to(prediction)
    overlap = (prediction * target * mask).sum((1, 2, 3))
    total = ((prediction.square() + target.square()) * mask).sum((1, 2, 3))
    return 1 - (2 * overlap + smooth) / (total + smooth)


def contrastive_loss(
    anchors: Tensor,
    positives: Tensor,
    mask: Tensor,
    ignore: Tensor | None = None,
    temperature: float = 0.07,
) -> Tensor:
    """Symmetric cross-entropy over the cosine similarities of all keypoints of a pair (dual softmax).

    Args:
        anchors: (batch, n, dim), unit length.
        positives: (batch, n, dim), unit length; row i corresponds to anchor i.
        mask: (batch, n) bool, true where row i is a correspondence.
        ignore: (batch, n, n) bool, pairs (anchor, positive) too close to count as negatives; the diagonal is never
            ignored.
        temperature: Divides the similarities.

    Returns:
        (batch,), the mean over the correspondences of each pair; 0 where there is none.
    """
    logits = anchors @ positives.mT / temperature
    unusable = ~(mask[:, :, None] & mask[:, None, :])
    if ignore is not None:
        unusable |= ignore & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    logits = logits.masked_fill(unusable, -1e4)
    target = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    per_point = F.cross_entropy(logits.mT, target, reduction="none") + F.cross_entropy(logits, target, reduction="none")
    return (per_point * mask).sum(1) / (2 * mask.sum(1).clamp_min(1))


__all__ = [
    "contrastive_loss",
    "dice_loss",
]
