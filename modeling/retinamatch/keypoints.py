"""From dense maps to keypoints, descriptors and matches; shared by every network of the package.

Pixels are those of the network's input; the center of the top-left pixel is (0, 0). All steps run in float32 (bf16
heat maps make ties) and are deterministic. Results of a batch are padded with zeros and carry a mask.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.utils import ModelOutput


# For fields that are always filled: `ModelOutput` asks for the default None all the same.
_FILLED: Any = None


@dataclass
class RetinaDenseOutput(ModelOutput):
    """Dense output of a network.

    Args:
        heatmap_logits (`torch.FloatTensor` of shape `(batch_size, 1, height, width)`):
            Heat map of keypoints before the sigmoid, one value per input pixel.
        descriptor_map (`torch.FloatTensor` of shape `(batch_size, descriptor_dim, map_height, map_width)`):
            Descriptors of the cells, not normalized; see `sample_descriptors` for where a cell lies.
    """

    heatmap_logits: Tensor = _FILLED
    descriptor_map: Tensor = _FILLED


@dataclass
class RetinaKeypointOutput(ModelOutput):
    """Keypoints of a batch of images, zero-padded to the largest number.

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when `labels` is given):
            Soft Dice loss of the heat map.
        keypoints (`torch.FloatTensor` of shape `(batch_size, num_keypoints, 2)`):
            Relative (x, y): `(pixel + 0.5) / size` of the original photograph when `image_frames` is given, else of
            the input.
        scores (`torch.FloatTensor` of shape `(batch_size, num_keypoints)`):
            Heat-map values in (0, 1), falling.
        descriptors (`torch.FloatTensor` of shape `(batch_size, num_keypoints, descriptor_dim)`):
            Descriptors of unit length.
        mask (`torch.IntTensor` of shape `(batch_size, num_keypoints)`):
            1 where there is a keypoint, 0 where there is padding.
        descriptor_map (`torch.FloatTensor` of shape `(batch_size, descriptor_dim, map_height, map_width)`, *optional*):
            The dense descriptors, as in `RetinaDenseOutput`; returned with `output_descriptor_map=True`.
        heatmap (`torch.FloatTensor` of shape `(batch_size, 1, height, width)`, *optional*):
            The heat map in (0, 1); returned with `output_heatmap=True`.
    """

    loss: Tensor | None = None
    keypoints: Tensor = _FILLED
    scores: Tensor = _FILLED
    descriptors: Tensor = _FILLED
    mask: Tensor = _FILLED
    descriptor_map: Tensor | None = None
    heatmap: Tensor | None = None


@dataclass
class RetinaMatchingOutput(ModelOutput):
    """Keypoints and matches of a batch of pairs.

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when `labels` is given):
            Contrastive loss of the descriptors at the given correspondences.
        matches (`torch.LongTensor` of shape `(batch_size, 2, num_keypoints)`):
            For every keypoint of either image the index of its match in the other one, -1 for none.
        matching_scores (`torch.FloatTensor` of shape `(batch_size, 2, num_keypoints)`):
            Scores of the matches in (0, 1), 0 for none.
        keypoints (`torch.FloatTensor` of shape `(batch_size, 2, num_keypoints, 2)`):
            Relative (x, y), as in `RetinaKeypointOutput`.
        scores (`torch.FloatTensor` of shape `(batch_size, 2, num_keypoints)`):
            Heat-map values.
        descriptors (`torch.FloatTensor` of shape `(batch_size, 2, num_keypoints, descriptor_dim)`):
            Descriptors of unit length.
        mask (`torch.IntTensor` of shape `(batch_size, 2, num_keypoints)`):
            1 where there is a keypoint, 0 where there is padding.
    """

    loss: Tensor | None = None
    matches: Tensor = _FILLED
    matching_scores: Tensor = _FILLED
    keypoints: Tensor = _FILLED
    scores: Tensor = _FILLED
    descriptors: Tensor = _FILLED
    mask: Tensor = _FILLED


def find_peaks(logits: Tensor, radius: int) -> Tensor:
    """Mark the pixels that are the largest within a square window.

    Of several equal maxima within one window the first in reading order stays, so the result never depends on chance.

    Args:
        logits: (batch, 1, height, width).
        radius: Half the side of the window in pixels.

    Returns:
        (batch, 1, height, width) bool.
    """
    peaks = _largest_around(logits, radius) == logits
    shape = logits.shape[1:]
    exact = torch.float32 if shape.numel() < 2**24 else torch.float64
    order = torch.arange(shape.numel(), 0, -1, device=logits.device, dtype=exact).view(shape) * peaks
    return peaks & (_largest_around(order, radius) == order)


def _largest_around(values: Tensor, radius: int) -> Tensor:
    """Take the maximum over a square window, one axis after the other.

    A running maximum over windows that double: several times faster on a CPU than pooling, with the same result.
    """
    for _ in range(2):
        values = _running_maximum(F.pad(values, (radius, radius), value=-torch.inf), 2 * radius + 1).mT.contiguous()
    return values


def _running_maximum(values: Tensor, window: int) -> Tensor:
    """Take the maximum over `window` neighbors along the last axis, which gets shorter by `window - 1`."""
    width = 1
    while 2 * width <= window:
        values, width = torch.maximum(values[..., :-width], values[..., width:]), 2 * width
    rest = window - width
    return torch.maximum(values[..., : values.shape[-1] - rest], values[..., rest:])


def erode(mask: Tensor, border: int) -> Tensor:
    """Shrink a mask by `border` pixels; everything outside the image counts as outside the mask.

    Args:
        mask: (batch, 1, height, width), true inside.
        border: Pixels to take away.

    Returns:
        (batch, 1, height, width) bool.
    """
    if border == 0:
        return mask > 0
    outside = F.pad((mask <= 0).float(), (border,) * 4, value=1.0)
    return _largest_around(outside, border)[..., border:-border, border:-border] == 0


def refine_peaks(logits: Tensor, index: Tensor) -> Tensor:
    """Move peaks to the maximum of the quadratic through their 3x3 neighborhood.

    Args:
        logits: (batch, height, width).
        index: (batch, num_keypoints), flat indices of the peaks.

    Returns:
        (batch, num_keypoints, 2), (x, y) in pixels, at most half a pixel from the peak along each axis.
    """
    height, width = logits.shape[-2:]
    x, y = index % width, index // width

    def value(dx: int, dy: int) -> Tensor:
        at = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
        return logits.flatten(1).gather(1, at)

    center = value(0, 0)
    gx, gy = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    hxx, hyy = value(1, 0) + value(-1, 0) - 2 * center, value(0, 1) + value(0, -1) - 2 * center
    hxy = (value(1, 1) + value(-1, -1) - value(1, -1) - value(-1, 1)) / 4
    determinant = hxx * hyy - hxy.square()
    concave = (determinant > 1e-9) & (hxx < 0)
    determinant = determinant.where(concave, torch.ones_like(determinant))
    shift = torch.stack([(hxy * gy - hyy * gx) / determinant, (hxy * gx - hxx * gy) / determinant], -1)
    shift = shift.where(concave[..., None], torch.zeros_like(shift)).clamp(-0.5, 0.5)
    return torch.stack([x, y], -1) + shift


def detect_keypoints(
    logits: Tensor, mask: Tensor | None, *, nms_radius: int, threshold: float, border: int, max_keypoints: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the keypoints of a heat map: peaks above the threshold, away from the rim, sub-pixel, the highest first.

    Args:
        logits: (batch, 1, height, width), heat map before the sigmoid.
        mask: (batch, height, width), non-zero inside the field of view; None for everywhere.
        nms_radius: See `find_peaks`.
        threshold: Smallest value after the sigmoid.
        border: See `erode`.
        max_keypoints: Most keypoints per image.

    Returns:
        Keypoints (batch, num_keypoints, 2) in pixels, scores (batch, num_keypoints), mask (batch, num_keypoints) bool;
        zero-padded to the largest number in the batch.
    """
    logits = logits.float()
    mask = torch.ones_like(logits) if mask is None else mask[:, None]
    allowed = find_peaks(logits, nms_radius) & erode(mask, border)
    scores = logits.sigmoid().where(allowed, torch.zeros_like(logits)).flatten(1)
    scores, index = scores.topk(min(max_keypoints, scores.shape[1]), dim=1)
    valid = scores > threshold
    kept = int(valid.sum(1).max()) if len(valid) else 0
    scores, index, valid = scores[:, :kept], index[:, :kept], valid[:, :kept]
    keypoints = refine_peaks(logits[:, 0], index)
    return keypoints * valid[..., None], scores * valid, valid


def sample_descriptors(descriptor_map: Tensor, keypoints: Tensor, stride: int, offset: float) -> Tensor:
    """Read the descriptor map at keypoints, bilinearly, and bring the descriptors to unit length.

    Args:
        descriptor_map: (batch, descriptor_dim, map_height, map_width).
        keypoints: (batch, num_keypoints, 2), (x, y) in input pixels.
        stride: Input pixels per cell.
        offset: Input pixel on which the center of the first cell lies, the same along both axes.

    Returns:
        (batch, num_keypoints, descriptor_dim) float32. Beyond the outermost cell centers the nearest cell is taken.
    """
    size = keypoints.new_tensor(descriptor_map.shape[:-3:-1])
    grid = ((keypoints - offset) / stride + 0.5) / size * 2 - 1
    sampled = F.grid_sample(descriptor_map.float(), grid[:, None].float(), padding_mode="border", align_corners=False)
    return F.normalize(sampled[:, :, 0].mT, dim=-1)


def mutual_nearest_matches(
    descriptors0: Tensor,
    descriptors1: Tensor,
    mask0: Tensor | None = None,
    mask1: Tensor | None = None,
    ratio: float = 0.95,
    temperature: float = 0.07,
) -> tuple[Tensor, Tensor]:
    """Match two sets of descriptors: nearest neighbors of each other that pass the ratio test in both directions.

    Args:
        descriptors0: (batch, n, dim), unit length.
        descriptors1: (batch, m, dim), unit length.
        mask0: (batch, n), non-zero for real keypoints; None for all.
        mask1: (batch, m).
        ratio: Largest ratio of the distances to the nearest and the second nearest neighbor; 1 keeps all.
        temperature: Of the dual softmax over cosine similarities that scores the matches.

    Returns:
        Matches (batch, 2, k) int64 with k = max(n, m): index in the other set or -1; scores (batch, 2, k): the
        product of the two softmax probabilities, 0 for none.
    """
    n, m = descriptors0.shape[1], descriptors1.shape[1]
    batch, width = descriptors0.shape[0], max(n, m)
    matches = torch.full((batch, 2, width), -1, dtype=torch.long, device=descriptors0.device)
    scores = torch.zeros((batch, 2, width), device=descriptors0.device)
    if n == 0 or m == 0:
        return matches, scores
    similarity = descriptors0.float() @ descriptors1.float().mT
    valid = torch.ones_like(similarity, dtype=torch.bool)
    if mask0 is not None:
        valid &= (mask0 > 0)[:, :, None]
    if mask1 is not None:
        valid &= (mask1 > 0)[:, None, :]
    similarity = similarity.masked_fill(~valid, -2.0)
    logits = (similarity / temperature).masked_fill(~valid, -1e4)
    probability = logits.softmax(1) * logits.softmax(2)

    def nearest(similarity: Tensor) -> tuple[Tensor, Tensor]:
        top = similarity.topk(min(2, similarity.shape[2]), dim=2)
        distance = (2 - 2 * top.values).clamp_min(0).sqrt()
        alone = top.values.shape[2] == 1 or ratio >= 1
        distinct = torch.full_like(valid[:, 0, :1], alone) | (distance[..., 0] < ratio * distance[..., -1])
        return top.indices[..., 0], distinct

    match0, distinct0 = nearest(similarity)
    match1, distinct1 = nearest(similarity.mT)
    index0 = torch.arange(n, device=match0.device).expand(batch, n)
    keep = (match1.gather(1, match0) == index0) & distinct0 & distinct1.gather(1, match0)
    keep &= valid.gather(2, match0[..., None])[..., 0]
    pair, first = keep.nonzero(as_tuple=True)
    second = match0[pair, first]
    value = probability[pair, first, second]
    matches[pair, 0, first], matches[pair, 1, second] = second, first
    scores[pair, 0, first], scores[pair, 1, second] = value, value
    return matches, scores


__all__ = [
    "RetinaDenseOutput",
    "RetinaKeypointOutput",
    "RetinaMatchingOutput",
    "detect_keypoints",
    "erode",
    "find_peaks",
    "mutual_nearest_matches",
    "refine_peaks",
    "sample_descriptors",
]
