"""Points (N, 2), (x, y) in pixels: what a map shows there, and which of two sets belong together."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def look_up(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Tell what a map (H, W), bool, says at the pixels nearest to points (N, 2); outside, and at NaN, False."""
    finite = np.isfinite(points).all(axis=1)
    column, row = np.where(finite[:, None], points, -1.0).round().astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < image.shape[1]) & (row < image.shape[0])
    inside[inside] = image[row[inside], column[inside]]
    return inside


def match_points(one: np.ndarray, other: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair points (N, 2) and (M, 2) one to one: as many pairs as possible within the tolerance, then the nearest.

    Returns:
        Indices (K,) into the first, (K,) into the second, distances (K,).
    """
    distances = cdist(one, other)
    near = distances <= tolerance
    # One pair too few must cost more than any sum of distances.
    rows, columns = linear_sum_assignment(np.where(near, distances, tolerance * (min(near.shape) + 1)))
    kept = near[rows, columns]
    rows, columns = rows[kept], columns[kept]
    return rows, columns, distances[rows, columns]


__all__ = ["look_up", "match_points"]
