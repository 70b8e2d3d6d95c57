"""Which keypoints are the same place, guided by where it should lie."""

import numpy as np

from ..keypoint_set import Keypoints


# Keypoints nearer than this to the best one, in working pixels, are the same place detected twice and no rivals of it.
SAME_PLACE = 3.0


def guided_matches(
    predicted: np.ndarray, moving: Keypoints, fixed: Keypoints, radius: float, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Match keypoints that are each other's nearest by descriptor among those near the predicted place.

    Args:
        predicted: (N, 2) where the moving keypoints should lie, in pixels of the fixed photograph; NaN for nowhere.
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        radius: Of the search, in working pixels.
        ratio: Largest ratio of the distances to the nearest and to the second nearest candidate at another place, in
            both directions. Inside the search radius there are few candidates, so the test throws away little that is
            true.

    Returns:
        (M, 2) int64 rows of the moving and of the fixed keypoints, and (M,) float32 scores, 1 for equal descriptors
        and 0 for opposite ones.
    """
    i, j = _near_pairs(predicted / fixed.scale, fixed.points / fixed.scale, radius)
    if len(i) == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    similarity = np.einsum("nd,nd->n", moving.descriptors[i], fixed.descriptors[j])
    best_of_moving = _best(similarity, i, len(moving))
    best_of_fixed = _best(similarity, j, len(fixed))
    winner = (best_of_moving[i] == np.arange(len(i))) & (best_of_fixed[j] == np.arange(len(i)))
    if ratio < 1:
        rival = np.maximum(
            _best_rival(similarity, i, j, best_of_moving, fixed.points / fixed.scale),
            _best_rival(similarity, j, i, best_of_fixed, moving.points / moving.scale),
        )
        winner &= _distance(similarity) <= ratio * _distance(rival)
    return np.stack([i[winner], j[winner]], axis=1), ((1 + similarity[winner]) / 2).astype(np.float32)


def _near_pairs(a: np.ndarray, b: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """List all pairs of rows of `a`, (N, 2), and `b`, (M, 2), with a distance below `radius`."""
    rows = np.flatnonzero(np.isfinite(a).all(1))
    if len(rows) == 0 or len(b) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # Cells of one radius: what is near lies in the 3 x 3 cells around. Points of `b` are sorted by cell.
    low = b.min(0) - 2 * radius
    cells_b = np.floor((b - low) / radius).astype(np.int64)
    columns = int(cells_b[:, 0].max()) + 3
    keys_b = cells_b[:, 1] * columns + cells_b[:, 0]
    order = np.argsort(keys_b, kind="stable")
    keys_b = keys_b[order]
    cells_a = np.floor((a[rows] - low) / radius)
    seen = ((cells_a >= 1) & (cells_a <= cells_b.max(0) + 1)).all(1)
    rows, cells_a = rows[seen], cells_a[seen].astype(np.int64)
    found_a, found_b = [], []
    for dy in (-1, 0, 1):
        keys = (cells_a[:, 1] + dy) * columns + cells_a[:, 0]
        # Three neighboring columns have consecutive keys.
        start, end = np.searchsorted(keys_b, keys - 1), np.searchsorted(keys_b, keys + 1, side="right")
        counts = end - start
        found_a.append(np.repeat(rows, counts))
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found_b.append(order[np.repeat(start, counts) + within])
    i, j = np.concatenate(found_a), np.concatenate(found_b)
    near = ((a[i] - b[j]) ** 2).sum(1) < radius**2
    return i[near], j[near]


def _best(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Give for each group the index of its largest value, or -1."""
    best = np.full(groups, -1)
    order = np.argsort(values, kind="stable")
    best[group[order]] = order
    return best


def _best_rival(
    values: np.ndarray, group: np.ndarray, member: np.ndarray, best: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Give for each pair the largest value in its group at another place than the best one's, or -1."""
    champion = member[best[group]]
    elsewhere = ((places[member] - places[champion]) ** 2).sum(1) >= SAME_PLACE**2
    rival = np.full(len(best), -1.0)
    np.maximum.at(rival, group[elsewhere], values[elsewhere])
    return rival[group]


def _distance(similarity: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * similarity, 0))


__all__ = ["guided_matches"]
