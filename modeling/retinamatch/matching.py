"""Keypoints of two photographs that look alike, by descriptor alone."""

import numpy as np

from .keypoint_set import Keypoints


def match_keypoints(
    moving: Keypoints, fixed: Keypoints, ratio: float, temperature: float = 0.07
) -> tuple[np.ndarray, np.ndarray]:
    """Match keypoints that are each other's nearest by descriptor and pass the ratio test in both directions.

    `keypoints.mutual_nearest_matches` is the same for batches of tensors.

    Args:
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        ratio: Largest ratio of the distances to the nearest and the second nearest descriptor; 1 for no test.
        temperature: Of the dual softmax over cosine similarities that scores matches.

    Returns:
        (M, 2) int64 rows of the moving and of the fixed keypoints, and (M,) float32 scores in (0, 1].
    """
    if len(moving) == 0 or len(fixed) == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    similarity = moving.descriptors.astype(np.float32) @ fixed.descriptors.astype(np.float32).T
    partner, distinct = _nearest(similarity, ratio)
    back, distinct_back = _nearest(similarity.T, ratio)
    first = np.flatnonzero((back[partner] == np.arange(len(moving))) & distinct & distinct_back[partner])
    second = partner[first]
    # Cosines are 1 at most, so no exponential is above 1.
    likeness = np.exp((similarity - 1) / temperature)
    both = likeness[first, second] ** 2
    scores = both / np.maximum(likeness.sum(1)[first] * likeness.sum(0)[second], np.finfo(np.float32).tiny)
    return np.stack([first, second], axis=1), scores.astype(np.float32)


def _nearest(similarity: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Give for each row the column that is most similar, and whether the second one is far enough from it."""
    best = similarity.argmax(1)
    if similarity.shape[1] == 1 or ratio >= 1:
        return best, np.ones(len(best), dtype=bool)
    row = np.arange(len(best))
    others = similarity.copy()
    others[row, best] = -np.inf
    distances = [np.sqrt(np.maximum(2 - 2 * top, 0)) for top in (similarity[row, best], others.max(1))]
    return best, distances[0] < ratio * distances[1]


__all__ = ["match_keypoints"]
