"""Dense agreement: whether two photographs look alike, place by place, where a transform lays one on the other.

Keypoints that agree are one kind of evidence. This is a second one that does not rest on keypoints at all: both
photographs, locally normalized, are compared by normalized cross-correlation in cells of one part in sixteen of the
width, 48 working pixels. The share of cells with a correlation above `ALIKE` tells a right transform from a wrong one,
whatever brought it about: a rim, a line of text or a watermark that both photographs show covers few cells.

A cell votes when enough of it is seen in both photographs and both show some structure there. What one of them hides
(an occluder, an overexposed disc) does not vote. A negative correlation is evidence as well, of reversed contrast, and
is counted apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..normalized_picture import NormalizedPicture


# The correlation from which a cell counts as alike.
ALIKE = 0.3
# Cells along the width of the picture.
CELLS_ACROSS = 16
# The least share of a cell that both photographs show.
LEAST_SEEN = 0.5
# The least standard deviation of a cell, in the units of local normalization: a plain part of the retina has less.
LEAST_STRUCTURE = 0.03
# The transform is computed at every eighth pixel and interpolated between.
_GRID_STEP = 8


@dataclass(frozen=True, eq=False)
class DenseAgreement:
    """How alike two photographs are, cell by cell.

    Attributes:
        correlation: (R, C) float32 in [-1, 1], cells of the moving picture in reading order; NaN where one does not
            vote.
    """

    correlation: np.ndarray

    @cached_property
    def votes(self) -> np.ndarray:
        """Correlations of the cells that vote, (N,)."""
        return self.correlation[np.isfinite(self.correlation)]

    @property
    def cells(self) -> int:
        """Number of cells that vote."""
        return len(self.votes)

    @property
    def share(self) -> float:
        """Share of the voting cells that are alike; 0 without any."""
        return float((self.votes > ALIKE).mean()) if self.cells else 0.0

    @property
    def reversed_share(self) -> float:
        """Share of the voting cells that are alike with the contrast reversed; 0 without any."""
        return float((self.votes < -ALIKE).mean()) if self.cells else 0.0

    @property
    def best_share(self) -> float:
        """The larger one of the two shares."""
        return max(self.share, self.reversed_share)

    @property
    def median(self) -> float:
        """Median correlation of the voting cells; 0 without any."""
        return float(np.median(self.votes)) if self.cells else 0.0


def dense_agreement(
    moving: NormalizedPicture, fixed: NormalizedPicture, transform: Callable[[np.ndarray], np.ndarray]
) -> DenseAgreement:
    """Compare two photographs under a transform.

    Args:
        moving: The moving photograph.
        fixed: The fixed photograph.
        transform: From pixels of the moving photograph, (N, 2), to pixels of the fixed one.
    """
    places = sample_transform(moving, fixed, transform)
    return DenseAgreement(_correlate(moving, *draw(fixed, places)))


def sample_transform(
    moving: NormalizedPicture, fixed: NormalizedPicture, transform: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Give for every pixel of the moving picture the place in the fixed one, (H, W, 2) float32."""
    height, width = moving.values.shape
    xs, ys = (np.arange(0, length + _GRID_STEP, _GRID_STEP, dtype=np.float64) for length in (width, height))
    nodes = np.stack(np.meshgrid(xs, ys), axis=-1)
    mapped = fixed.to_picture(transform(moving.to_photograph(nodes.reshape(-1, 2))))
    # Far outside of the picture is as good as nowhere.
    mapped = np.where(np.isfinite(mapped), mapped, -1e4).clip(-1e4, 1e4).astype(np.float32).reshape(nodes.shape)
    return _interpolate(mapped, height, width)


def draw(picture: NormalizedPicture, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a picture on another grid.

    Args:
        picture: What is drawn.
        places: (H, W, 2) float32, where in it each pixel lies.

    Returns:
        Values, (H, W) float32, and where retina is seen, (H, W) bool.
    """
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    values = cv2.remap(picture.values, x, y, cv2.INTER_LINEAR)
    seen = cv2.remap(picture.mask.astype(np.float32), x, y, cv2.INTER_LINEAR)
    return values, seen > 0.99


def _interpolate(nodes: np.ndarray, height: int, width: int) -> np.ndarray:
    top, down = np.divmod(np.arange(height), _GRID_STEP)
    left, right = np.divmod(np.arange(width), _GRID_STEP)
    down, right = (down / _GRID_STEP).astype(np.float32)[:, None, None], (right / _GRID_STEP).astype(np.float32)
    rows = nodes[top] * (1 - down) + nodes[top + 1] * down
    return rows[:, left] * (1 - right[None, :, None]) + rows[:, left + 1] * right[None, :, None]


def _correlate(moving: NormalizedPicture, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Give the normalized cross-correlation per cell, (R, C), NaN where the cell does not vote."""
    side = max(moving.values.shape[1] // CELLS_ACROSS, 1)
    both = (moving.mask & seen).astype(np.float32)
    a, b = moving.values * both, values * both
    number, *sums = (_sum_cells(part, side) for part in (both, a, b, a * a, b * b, a * b))
    mean_a, mean_b, square_a, square_b, product = (part / np.maximum(number, 1) for part in sums)
    deviation_a = np.sqrt(np.maximum(square_a - mean_a**2, 0))
    deviation_b = np.sqrt(np.maximum(square_b - mean_b**2, 0))
    correlation = (product - mean_a * mean_b) / np.maximum(deviation_a * deviation_b, 1e-9)
    votes = (number >= LEAST_SEEN * side**2) & (np.minimum(deviation_a, deviation_b) >= LEAST_STRUCTURE)
    return np.where(votes, correlation.clip(-1, 1), np.nan).astype(np.float32)


def cell_means(values: np.ndarray, seen: np.ndarray, picture: NormalizedPicture) -> np.ndarray:
    """Give the mean of values, (H, W), over what is seen, (H, W) bool, in each cell of a picture, (R, C)."""
    side = max(picture.values.shape[1] // CELLS_ACROSS, 1)
    return _sum_cells(values * seen, side) / np.maximum(_sum_cells(seen.astype(np.float32), side), 1)


def _sum_cells(values: np.ndarray, side: int) -> np.ndarray:
    rows, columns = values.shape[0] // side, values.shape[1] // side
    return values[: rows * side, : columns * side].reshape(rows, side, columns, side).sum((1, 3), dtype=np.float64)


__all__ = ["ALIKE", "CELLS_ACROSS", "DenseAgreement", "cell_means", "dense_agreement", "draw", "sample_transform"]
