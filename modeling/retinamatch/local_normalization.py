"""Local normalization of one photograph as an array: what the networks see.

`enhancement.local_normalize` is the same for batches of tensors, for training.
"""

import math

import cv2
import numpy as np


_CELL = 8  # pixels of the grid on which slow local statistics are kept


def normalize_locally(image: np.ndarray, mask: np.ndarray, sigma: float = 24.0, epsilon: float = 0.2) -> np.ndarray:
    """Remove uneven light and contrast: subtract the local mean, divide by the local standard deviation.

    Args:
        image: (height, width) float32, any affine range of gray values.
        mask: (height, width) bool, inside the field of view.
        sigma: Standard deviation of the Gaussian neighborhood in pixels of `image`.
        epsilon: Floor that is added to the local standard deviation, in units of the global one.

    Returns:
        (height, width) float32 in [-1, 1], 0 outside the mask.
    """
    seen = mask.astype(np.float32)
    count = max(float(np.count_nonzero(mask)), 1.0)
    mean = float(np.sum(image, where=mask, dtype=np.float64)) / count
    image = (image - np.float32(mean)) * seen
    deviation = math.sqrt(float(np.vdot(image, image)) / count)
    image /= np.float32(max(deviation, 1e-4))

    # Slow statistics: means over small cells, blurred as a mask-weighted Gaussian, brought back bilinearly.
    height, width = image.shape
    sums = np.stack([_means_of_cells(part) for part in (image, image * image, seen)], axis=-1)
    radius = max(1, math.ceil(3 * sigma / _CELL))
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (sigma / _CELL)) ** 2)
    window = (window / window.sum()).astype(np.float32)
    sums = cv2.sepFilter2D(sums, -1, window, window, borderType=cv2.BORDER_CONSTANT)
    cells = np.ascontiguousarray(sums[..., :2] / np.maximum(sums[..., 2:], 1e-3))
    size = (cells.shape[1] * _CELL, cells.shape[0] * _CELL)
    means = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    spread = np.sqrt(np.maximum(means[..., 1] - means[..., 0] ** 2, 0))
    return np.clip((image - means[..., 0]) / (spread + epsilon) / 3, -1, 1) * seen


def _means_of_cells(values: np.ndarray) -> np.ndarray:
    height, width = values.shape
    padded = np.pad(values, ((0, -height % _CELL), (0, -width % _CELL)))
    size = (padded.shape[1] // _CELL, padded.shape[0] // _CELL)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)


__all__ = ["normalize_locally"]
