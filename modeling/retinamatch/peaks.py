"""From the heat map of one photograph to keypoints, on arrays.

`keypoints.detect_keypoints` is the same for batches of tensors; it explains the steps. Pixels are those of the heat
map; the center of the top-left pixel is (0, 0).
"""

import cv2
import numpy as np


def find_keypoints(
    logits: np.ndarray, mask: np.ndarray, *, nms_radius: int, threshold: float, border: int, max_keypoints: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the keypoints of a heat map: peaks above the threshold, away from the rim, sub-pixel, the highest first.

    Args:
        logits: (height, width) float32, heat map before the sigmoid.
        mask: (height, width) bool, inside the field of view.
        nms_radius: Half the side of the window in which a peak is the largest.
        threshold: Smallest value after the sigmoid.
        border: Pixels that a peak is away from the rim of the field of view, and of the map.
        max_keypoints: Most keypoints.

    Returns:
        (N, 2) float32 (x, y) in pixels, and (N,) float32 scores.
    """
    width = logits.shape[1]
    index = np.flatnonzero(_peaks(logits, nms_radius) & _eroded(mask, border))
    scores = 1 / (1 + np.exp(-logits.reshape(-1)[index]))
    order = np.argsort(-scores, kind="stable")[:max_keypoints]
    order = order[scores[order] > threshold]
    index, scores = index[order], scores[order]
    return np.stack([index % width, index // width], axis=1) + _shift(logits, index), scores


def _peaks(logits: np.ndarray, radius: int) -> np.ndarray:
    peaks = _largest_around(logits, radius) == logits
    # Of several equal maxima within one window the first in reading order stays.
    order = np.arange(logits.size, 0, -1, dtype=np.float32 if logits.size < 2**24 else np.float64)
    order = order.reshape(logits.shape) * peaks
    return peaks & (_largest_around(order, radius) == order)


def _largest_around(values: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(values, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))


def _eroded(mask: np.ndarray, border: int) -> np.ndarray:
    window = np.ones((2 * border + 1, 2 * border + 1), np.uint8)
    return cv2.erode(mask.astype(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0


def _shift(logits: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Give the way from peaks to the maximum of the quadratic through their 3x3 neighborhood, half a pixel at most."""
    height, width = logits.shape
    row, column = np.divmod(index, width)
    rows = np.clip(row[:, None] + (-1, 0, 1), 0, height - 1)
    columns = np.clip(column[:, None] + (-1, 0, 1), 0, width - 1)
    around = logits[rows[:, :, None], columns[:, None, :]]  # (N, 3, 3)
    center, left, right, up, down = (around[:, y, x] for y, x in ((1, 1), (1, 0), (1, 2), (0, 1), (2, 1)))
    gx, gy, hxx, hyy = (right - left) / 2, (down - up) / 2, right + left - 2 * center, down + up - 2 * center
    hxy = (around[:, 2, 2] + around[:, 0, 0] - around[:, 0, 2] - around[:, 2, 0]) / 4
    determinant = hxx * hyy - hxy**2
    concave = (determinant > 1e-9) & (hxx < 0)
    safe = np.where(concave, determinant, 1)
    shift = np.stack([(hxy * gy - hyy * gx) / safe, (hxy * gx - hxx * gy) / safe], axis=1)
    return np.where(concave[:, None], shift, 0).clip(-0.5, 0.5).astype(np.float32)


__all__ = ["find_keypoints"]
