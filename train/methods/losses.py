"""Losses of detection and description that training alone uses, and the weights by which losses are summed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Schedule:
    """A weight that changes linearly.

    Attributes:
        start: Weight of the first step.
        end: Weight from step `steps` on.
        steps: Over so many steps.
    """

    start: float
    end: float
    steps: int = 1

    def at(self, step: float) -> float:
        """Return the weight at a step."""
        return self.start + (self.end - self.start) * min(1.0, step / self.steps)


Weight = float | Schedule


@dataclass
class LossWeights:
    """Weights of losses by their names, each a number or a `Schedule`; 0 leaves the loss out.

    Raises:
        ValueError: A weight is negative, or a schedule has no step.
    """

    def __post_init__(self):
        for name, weight in vars(self).items():
            values = vars(weight) if isinstance(weight, Schedule) else {"start": weight, "end": weight, "steps": 1}
            if min(values["start"], values["end"]) < 0 or values["steps"] < 1:
                raise ValueError(
                    f"The weight `{name}` must not be below 0, nor change over less than 1 step, got {weight}."
                )

    @property
    def active(self) -> list[str]:
        """Names of the losses that count at some step."""
        return [name for name, weight in vars(self).items() if weight != 0]

    def at(self, step: float) -> dict[str, float]:
        """Return the weights at a step, those of the end for an infinite one."""
        return {name: w.at(step) if isinstance(w, Schedule) else w for name, w in vars(self).items()}


def balanced_cross_entropy(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, positive_weight: float = 30.0
) -> Tensor:
    """Binary cross-entropy of a heat map in which keypoints are rare.

    The Dice loss has no gradient left once a map is empty, and a network without normalization can fall into that
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


__all__ = ["LossWeights", "Schedule", "Weight", "balanced_cross_entropy", "cosine_loss", "triplet_loss"]
