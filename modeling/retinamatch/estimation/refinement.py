"""Dense refinement: matches to a fraction of a pixel, around the place that a first transform predicts.

A keypoint of one photograph need not have been detected in the other one to have a place there: its descriptor is
compared with the dense descriptors on a small grid around the predicted place, and the top of the similarities is
the match. This gives many more matches than two detectors that must agree, evenly spread, and finer than either.
"""

import numpy as np

from ..keypoint_set import Describe


#: Half the side of the search window and the spacing of its grid, in working pixels.
REACH, SPACING = 6.0, 1.5


def locate(
    descriptors: np.ndarray, predicted: np.ndarray, describe: Describe, scale: float, reach: float = REACH
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the places whose descriptors are most similar to the given ones.

    Args:
        descriptors: (n, dim), unit length.
        predicted: (n, 2), where to look, in pixels of the photograph.
        describe: The descriptors of that photograph at any place.
        scale: Photograph pixels per working pixel.
        reach: Half the side of the square window in working pixels.

    Returns:
        Places (n, 2) in pixels of the photograph, the similarity there (n,), and whether the similarity has its
        maximum inside the window (n,): on the edge of it the true place may lie further out.
    """
    if len(predicted) == 0:
        return np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool)
    steps = int(np.ceil(reach / SPACING))
    axis = np.arange(-steps, steps + 1) * SPACING * scale
    side = len(axis)
    offsets = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    similarity = describe.similarity(descriptors, predicted[:, None] + offsets).reshape(-1, side, side)
    best = similarity.reshape(len(predicted), -1).argmax(1)
    row, column = np.divmod(best, side)
    inside = (row > 0) & (row < side - 1) & (column > 0) & (column < side - 1)
    row, column = row.clip(1, side - 2), column.clip(1, side - 2)

    n = np.arange(len(predicted))
    center = similarity[n, row, column]
    left, right = similarity[n, row, column - 1], similarity[n, row, column + 1]
    up, down = similarity[n, row - 1, column], similarity[n, row + 1, column]
    shift = np.stack([_vertex(left, center, right), _vertex(up, center, down)], 1)
    grid = np.stack([axis[column], axis[row]], 1)
    return predicted + grid + shift * SPACING * scale, center, inside


def _vertex(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Locate the top of the parabola through three equally spaced values, within half a step of the middle."""
    curvature = 2 * at - before - after
    return np.clip((after - before) / (2 * np.maximum(curvature, 1e-9)), -0.5, 0.5) * (curvature > 0)


__all__ = ["REACH", "SPACING", "locate"]
