"""Ground truth of a pair of views: target heat maps, and places that both views show."""

import numpy as np
import torch
from torch import Tensor

from .store import Photograph
from .views import Views, project, sample_at


def pad_points(points: list[np.ndarray]) -> Tensor:
    """Stack lists of points (n, 2) of different lengths; what is padded lies far outside of everything."""
    padded = torch.full((len(points), max([len(p) for p in points] + [1]), 2), -1e3)
    for row, p in zip(padded, points, strict=True):
        row[: len(p)] = torch.from_numpy(np.asarray(p, np.float32))
    return padded


def draw_heatmap(points: list[np.ndarray], matrix: Tensor, warp, size: int, sigma: float = 2.0) -> Tensor:
    """Draw keypoints as Gaussian peaks of height 1 (13 x 13 pixels), the larger value where they overlap.

    Args:
        points: Per pair (n, 2), photograph pixels.
        matrix: (batch, 3, 3), pixels of view 0 to photograph pixels.
        warp: View 1 -> view 0 to draw in view 1; None to draw in view 0.
        size: Side of the view.
        sigma: Of the Gaussian in pixels.

    Returns:
        (batch, 1, size, size).
    """
    placed = project(torch.linalg.inv(matrix), pad_points(points).to(matrix.device))
    placed = warp.to_second(placed) if warp is not None else placed
    shown = ((placed > -0.5) & (placed < size - 0.5)).all(-1)
    placed = placed.where(shown[..., None], placed.new_tensor(0.0))
    # All pixels of all peaks at once, on a canvas with a rim of 6 pixels; the largest value of a pixel stays.
    axis = torch.arange(-6, 7, device=matrix.device)
    pixels = placed.round().long()[:, :, None] + axis[:, None]  # (batch, n, 13, 2)
    bump = torch.exp(-0.5 * ((pixels - placed[:, :, None]) / sigma) ** 2) * shown[..., None, None]
    bump = bump[..., :, None, 1] * bump[..., None, :, 0]  # (batch, n, 13, 13), rows first
    wide = size + 12
    index = (pixels[..., :, None, 1] + 6) * wide + pixels[..., None, :, 0] + 6
    maps = torch.zeros(len(points), wide * wide, device=matrix.device)
    maps.scatter_reduce_(1, index.flatten(1), bump.flatten(1), "amax")
    return maps.view(-1, 1, wide, wide)[..., 6:-6, 6:-6].contiguous()


def draw_correspondences(
    photographs: list[Photograph], labels: list[np.ndarray], keys: list[tuple], views: Views, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose places that both views show: labels first, then corners, then anywhere, in random order.

    Args:
        photographs: Of the batch.
        labels: Per photograph (n, 2), its keypoint labels.
        keys: Seeds, as for `make_views`.
        views: The pairs.
        count: Places per pair.

    Returns:
        Points of view 0 and of view 1 (batch, count, 2), mask (batch, count) bool.
    """
    size = views.images[0].shape[-1]
    chosen = []
    for photograph, known, key in zip(photographs, labels, keys, strict=True):
        rng = np.random.default_rng((*key, 1))
        height, width = photograph.mask.shape
        anywhere = rng.uniform(0, 1, (4 * count, 2)) * [width - 1, height - 1]
        pool = [rng.permutation(known)[:count], rng.permutation(photograph.corners)[: 6 * count], anywhere]
        chosen.append(np.concatenate(pool).astype(np.float32))
    padded = pad_points(chosen)
    most = padded.shape[1]
    first = project(torch.linalg.inv(views.to_photograph), padded.to(views.to_photograph.device))
    second = views.warp.to_second(first)
    inside = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
    for points, mask in ((first, views.masks[0]), (second, views.masks[1])):
        inside &= ((points >= 4) & (points <= size - 5)).all(-1)
        inside &= sample_at(mask, points)[:, 0] > 0.99
    # Of the visible places a quarter of the budget at most goes to "anywhere", the rest to labels and corners.
    rank = inside.long().cumsum(1) - 1
    origin = torch.arange(most, device=first.device).expand_as(rank)
    spare = origin >= torch.tensor([len(c) - 4 * count for c in chosen], device=first.device)[:, None]
    quota = torch.where(spare, count, count * 3 // 4)
    order = torch.where(inside & (rank < quota), origin, most).argsort(dim=1, stable=True)[:, :count]
    mask = (inside & (rank < quota)).gather(1, order)
    order = order[..., None].expand(-1, -1, 2)
    return first.gather(1, order), second.gather(1, order), mask


__all__ = ["draw_correspondences", "draw_heatmap", "pad_points"]
