"""Losses of keypoint detection and description. Ground truth is made elsewhere; here it is only compared."""

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


def balanced_cross_entropy(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, positive_weight: float = 30.0
) -> Tensor:
    """Binary cross-entropy of a heat map in which keypoints are rare.

    The Dice loss has no gradient left once a map is empty, and a network without normalisation can fall into that
    hole in its first hundred steps; this one always pulls it out.

    Args:
        logits: (batch, 1, height, width), before the sigmoid.
        target: (batch, 1, height, width) in [0, 1].
        mask: (batch, 1, height, width), weight of every pixel; None for 1.
        positive_weight: Additional weight of a pixel with target 1.

    Returns:
        (batch,), weighted mean over the pixels.
    """
    weight = (1 + positive_weight * target) * (1 if mask is None else mask.to(logits))
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)


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


def triplet_loss(anchors: Tensor, positives: Tensor, mask: Tensor, random_index: Tensor, margin: float = 0.8) -> Tensor:
    """Hinge loss of SuperRetina on cosine distances, with one hard and one random negative.

    The mean squared cosine of the negatives is added to it.

    Args:
        anchors: (batch, n, dim), unit length.
        positives: (batch, n, dim), unit length; row i corresponds to anchor i.
        mask: (batch, n) bool, true where row i is a correspondence.
        random_index: (batch, n) int64, row of the random negative of every anchor.
        margin: Of the hinge.

    Returns:
        (batch,), the mean over the correspondences of each pair; 0 where there is none.
    """
    similarity = anchors @ positives.mT
    own = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    positive = similarity.diagonal(dim1=1, dim2=2)
    hard = similarity.masked_fill(own | ~mask[:, None, :], -1.0).amax(2)
    random = similarity.gather(2, random_index[..., None])[..., 0]
    usable = mask & mask.gather(1, random_index) & (random_index != torch.arange(mask.shape[1], device=mask.device))
    hinge = (margin + (1 - positive) - ((1 - hard) + (1 - random)) / 2).clamp_min(0)
    per_point = hinge + (hard.square() + random.square()) / 2
    return (per_point * usable).sum(1) / usable.sum(1).clamp_min(1)


def cosine_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Cosine distance between vectors that should point the same way.

    Args:
        prediction: (batch, n, dim), of any length.
        target: (batch, n, dim), of any length.
        mask: (batch, n), weight of every place.

    Returns:
        (batch,), the weighted mean over the places; 0 where no place counts.
    """
    mask = mask.to(prediction)
    distance = 1 - F.cosine_similarity(prediction, target, dim=-1)
    return (distance * mask).sum(1) / mask.sum(1).clamp_min(1)


__all__ = ["balanced_cross_entropy", "contrastive_loss", "cosine_loss", "dice_loss", "triplet_loss"]
