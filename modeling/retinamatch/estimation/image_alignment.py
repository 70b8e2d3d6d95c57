"""Align the pictures themselves where few keypoints tell the transform: coarse to fine, by raising their correlation.

An affine correction of the transform is found by Gauss-Newton steps on the enhanced correlation coefficient
(Evangelidis and Psarakis, PAMI 2008), first on strongly blurred pictures, whose wide basin forgives an error of many
pixels, then on sharper ones. The transform under it stays what it was, curved as the retina is; `cv2.findTransformECC`
has no place for that, nor for weights, without which what one photograph hides pulls the rest away. More free numbers
than six follow the noise of such photographs: a quadratic correction was tried, and was worse on most pairs.
"""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from ..normalized_picture import NormalizedPicture, masked_blur
from .dense_agreement import CELLS_ACROSS, dense_agreement, draw, sample_transform


Mapping = Callable[[np.ndarray], np.ndarray]

# Standard deviation of the blur in pixels of the pictures, which are two working pixels each.
LEVELS = (6.0, 3.0, 1.5)
_ITERATIONS = 8
# Where a correction grows beyond this many pixels of the picture, it has lost the place.
_FURTHEST = 24.0
_CONVERGED = 0.02
_LEAST_PIXELS = 60
_LEAST_GAIN = 2.0


def align_pictures(
    moving: NormalizedPicture, fixed: NormalizedPicture, transform: Mapping, used: np.ndarray | None = None
) -> Mapping | None:
    """Correct a transform so that the pictures agree better.

    Args:
        moving: The moving photograph.
        fixed: The fixed photograph.
        transform: From pixels of the moving photograph, (N, 2), to pixels of the fixed one; nearly right.
        used: (R, C) bool, the cells of the moving picture that are looked at; all when None.

    Returns:
        The corrected transform, or None when the correction does not converge.
    """
    places = sample_transform(moving, fixed, transform)
    correlation = dense_agreement(moving, fixed, transform).correlation
    trust = _trust(moving, correlation, np.ones_like(correlation, dtype=bool) if used is None else used)
    coefficients = np.zeros((3, 2))
    for sigma in LEVELS:
        step = max(int(sigma), 1)
        template, smooth = _blur(moving, sigma)[::step, ::step], _blur(fixed, sigma)
        slopes = [cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3, scale=1 / 8) for dx, dy in ((1, 0), (0, 1))]
        image = replace(fixed, values=smooth)
        start, weights = places[::step, ::step], trust[::step, ::step]
        basis = _basis(start.reshape(-1, 2), fixed).astype(np.float32)
        for _ in range(_ITERATIONS):
            shift = basis @ coefficients.astype(np.float32)
            here = start + shift.reshape(start.shape)
            values, seen = draw(image, here)
            both = (seen & (weights > 0.01)).ravel()
            if both.sum() < _LEAST_PIXELS or np.abs(shift[both]).max() > _FURTHEST:
                return None
            x, y = (np.ascontiguousarray(here[..., axis]) for axis in (0, 1))
            gradient = np.stack([cv2.remap(slope, x, y, cv2.INTER_LINEAR).ravel()[both] for slope in slopes], 1)
            pixels = template.ravel()[both], values.ravel()[both]
            move = _step(*pixels, gradient, basis[both], weights.ravel()[both])
            if move is None:
                return None
            coefficients += move
            if np.abs(basis[both] @ move).max() < _CONVERGED:
                break

    def corrected(pixels: np.ndarray) -> np.ndarray:
        place = fixed.to_picture(transform(pixels))
        return fixed.to_photograph(place + _basis(place, fixed) @ coefficients)

    return corrected


def align_where_better(moving: NormalizedPicture, fixed: NormalizedPicture, transform: Mapping) -> Mapping | None:
    """Align the pictures, and keep the result only where cells that were held out agree better by it.

    The cells of a checkerboard align, the others judge, and the other way around: the mean gain of their correlation
    has to be `_LEAST_GAIN` of its standard errors.

    Args:
        moving: The moving photograph.
        fixed: The fixed photograph.
        transform: From pixels of the moving photograph, (N, 2), to pixels of the fixed one.

    Returns:
        The transform of all cells, or None where it is no better.
    """
    before = dense_agreement(moving, fixed, transform).correlation
    rows, columns = (np.arange(length) for length in before.shape)
    black = (rows[:, None] + columns[None, :]) % 2 == 0
    gains = []
    for half in (black, ~black):
        aligned = align_pictures(moving, fixed, transform, half)
        if aligned is None:
            return None
        gain = (dense_agreement(moving, fixed, aligned).correlation - before)[~half]
        gains.append(gain[np.isfinite(gain)])
    gain = np.concatenate(gains)
    if len(gain) < 2 or gain.mean() < _LEAST_GAIN * gain.std(ddof=1) / np.sqrt(len(gain)):
        return None
    return align_pictures(moving, fixed, transform)


def _basis(places: np.ndarray, picture: NormalizedPicture) -> np.ndarray:
    """Give 1, x and y of places, (N, 3), about the middle of a picture, in half its size."""
    center = (np.array(picture.values.shape[::-1]) - 1) / 2
    return np.column_stack([np.ones(len(places)), ((places - center) / center).clip(-2, 2)])


def _blur(picture: NormalizedPicture, sigma: float) -> np.ndarray:
    return masked_blur(picture.values, picture.mask, sigma, least=0.1) * picture.mask


def _trust(moving: NormalizedPicture, correlation: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Give the weight of each pixel, (H, W): where the pictures do not look alike at all, there is nothing to align."""
    trust = cv2.GaussianBlur(_enlarge(np.nan_to_num(correlation).clip(0, 1) ** 2, moving), (0, 0), 10)
    return trust * _enlarge(used.astype(np.float32), moving) * moving.mask


def _enlarge(cells: np.ndarray, picture: NormalizedPicture) -> np.ndarray:
    """Give every pixel of a picture the value of its cell, (H, W); 0 beyond the last whole cell."""
    height, width = picture.values.shape
    side = max(width // CELLS_ACROSS, 1)
    pixels = np.kron(cells, np.ones((side, side), np.float32))
    return np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1])))


def _step(
    template: np.ndarray, values: np.ndarray, gradient: np.ndarray, basis: np.ndarray, weights: np.ndarray
) -> np.ndarray | None:
    """Give the step of the coefficients, (T, 2), that raises the correlation most; None when nothing determines it."""
    template, values = template - np.average(template, weights=weights), values - np.average(values, weights=weights)
    slopes = (basis[:, :, None] * gradient[:, None, :]).reshape(len(basis), -1)
    slopes -= np.average(slopes, axis=0, weights=weights)
    root = np.sqrt(weights)
    template, values, slopes = template * root, values * root, slopes * root[:, None]
    normal = (slopes.T @ slopes).astype(np.float64)
    normal += 1e-6 * np.trace(normal) * np.eye(len(normal))
    on_template, on_values = slopes.T @ template, slopes.T @ values
    try:
        by_template, by_values = np.linalg.solve(normal, np.stack([on_template, on_values], 1)).T
    except np.linalg.LinAlgError:
        return None
    numerator = values @ values - on_values @ by_values
    denominator = template @ values - on_template @ by_values
    if not (denominator > 0 and np.isfinite(numerator)):
        return None
    return (numerator / denominator * by_template - by_values).reshape(basis.shape[1], 2)


__all__ = ["align_pictures", "align_where_better"]
