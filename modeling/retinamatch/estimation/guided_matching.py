"""Which keypoints are the same place: by descriptor alone, or guided by where it should lie."""

import numpy as np


# Keypoints nearer than this to the best one, in working pixels, are the same place detected twice and no rivals of it.
SAME_PLACE = 3.0


def mutual_matches(moving, fixed, ratio: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Pairs keypoints that are each other's nearest by descriptor.

    Args:
        moving: `Keypoints` of the moving photograph.
        fixed: `Keypoints` of the fixed photograph.
        ratio: largest quotient of the distances to the nearest and to the second nearest, in both directions; 1 for no
            test.

    Returns:
        (M, 2) int64 rows of the moving and of the fixed keypoints, and (M,) float32 scores: 1 for equal descriptors, 0
        for opposite ones.
    """
    if len(moving) < 2 or len(fixed) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    similarity = moving.descriptors @ fixed.descriptors.T
    nearest, first, second = _two_best(similarity)
    back, first_back, second_back = _two_best(similarity.T)
    rows = np.arange(len(moving))
    distinct = _distance(first) <= ratio * _distance(second)
    distinct_back = _distance(first_back) <= ratio * _distance(second_back)
    chosen = (back[nearest] == rows) & distinct & distinct_back[nearest]
    return np.stack([rows[chosen], nearest[chosen]], axis=1), ((1 + first[chosen]) / 2).astype(np.float32)


def guided_matches(predicted: np.ndarray, moving, fixed, radius: float, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs keypoints that are each other's nearest by descriptor among those near the predicted place.

    Args:
        predicted: (N, 2) where the moving keypoints should lie, in pixels of the fixed photograph; NaN for nowhere.
        moving: `Keypoints` of the moving photograph.
        fixed: `Keypoints` of the fixed photograph.
        radius: of the search, in working pixels.
        ratio: largest quotient of the distances to the nearest and to the second nearest candidate at another place, in
            both directions. Inside the search radius there are few candidates, so the test throws away little that is
            true.

    Returns:
        (M, 2) int64 rows of the moving and of the fixed keypoints, and (M,) float32 scores as in `mutual_matches`.
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
    """Lists all pairs of rows of `a`, (N, 2), and `b`, (M, 2), with a distance below `radius`."""
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
        # Three neighbouring columns have consecutive keys.
        start, end = np.searchsorted(keys_b, keys - 1), np.searchsorted(keys_b, keys + 1, side="right")
        counts = end - start
        found_a.append(np.repeat(rows, counts))
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found_b.append(order[np.repeat(start, counts) + within])
    i, j = np.concatenate(found_a), np.concatenate(found_b)
    near = ((a[i] - b[j]) ** 2).sum(1) < radius**2
    return i[near], j[near]


def _best(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Gives for each group the index of its largest value, or -1."""
    best = np.full(groups, -1)
    order = np.argsort(values, kind="stable")
    best[group[order]] = order
    return best


def _best_rival(values, group, member, best, places) -> np.ndarray:
    """Gives for each pair the largest value in its group at another place than the best one's, or -1."""
    champion = member[best[group]]
    elsewhere = ((places[member] - places[champion]) ** 2).sum(1) >= SAME_PLACE**2
    rival = np.full(len(best), -1.0)
    np.maximum.at(rival, group[elsewhere], values[elsewhere])
    return rival[group]


def _two_best(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gives per row the column of the largest value, that value, and the second largest."""
    nearest = similarity.argmax(1)
    rows = np.arange(len(similarity))
    first = similarity[rows, nearest]
    others = similarity.copy()
    others[rows, nearest] = -np.inf
    return nearest, first, others.max(1)


def _distance(similarity: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * similarity, 0))


__all__ = ["guided_matches", "mutual_matches"]
