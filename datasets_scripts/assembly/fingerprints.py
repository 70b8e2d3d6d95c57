"""The same photograph under another name: found by its vessels, whatever its size, format, quality, crop or border."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from retinamatch.field_of_view import find_field_of_view
from retinamatch.photographs import read_photograph

from ..sources import PhotographFile, open_image


THRESHOLD = 0.87  # measured: see the test on real photographs

_SIDE = 80  # pixels across the field of view: the larger vessels are there, the noise of cameras and JPEG is not
_READ_SIDE = 512  # pictures are reduced to this first
_VESSELS = (0.5, 1.5)  # the band of Gaussian scales that is kept, in pixels of the small picture
_RIM = 0.06  # of the radius: what is nearer to the rim depends on where the rim was found
_DARK = 0.2  # of the bright parts: below is surround
_LEAST_NORM = 1.0  # photographs have 30 and more; rounding errors of a blank picture are no pattern
_BLOCK = 1024  # rows compared at once


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Reduce a photograph to the pattern of its larger vessels, placed relative to the field of view.

    Two patterns in a row: one relative to the circle of the retina, which survives crops that cut it, and one relative
    to the rectangle around it, which survives a change of the aspect ratio.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (N,) float32; both halves have the norm 1, or 0 where the picture shows nothing.
    """
    scale = _READ_SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    # Green shows vessels best, and is the channel that compression keeps.
    green = np.ascontiguousarray(image[..., 1]).astype(np.float32)
    patterns = [_pattern(green, mask, frame) for mask, frame in (_circle(image), _rectangle(image))]
    return np.concatenate(patterns)


Frame = tuple[float, float, float, float]  # left, top, width and height in pixel edges


def _circle(image: np.ndarray) -> tuple[np.ndarray, Frame]:
    """Find the field of view (height, width), float32, and the square around its circle."""
    view = find_field_of_view(image)
    mask = view.mask((0, 0, 1, 1), image.shape[:2]).astype(np.float32)
    x0, y0, x1, y1 = view.box
    if view.center is None:
        x, y, radius = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) / 2
    else:
        x, y, radius = view.center[0] + 0.5, view.center[1] + 0.5, view.radius
    return mask, (x - radius, y - radius, 2 * radius, 2 * radius)


def _rectangle(image: np.ndarray) -> tuple[np.ndarray, Frame]:
    """Find what is not dark (height, width), float32, and the rectangle around it.

    Nothing here knows of circles: a picture squeezed to a square shows an ellipse.
    """
    brightness = cv2.medianBlur(np.ascontiguousarray(image.max(axis=2)), 5)
    bright = brightness > _DARK * np.percentile(brightness, 95)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    if len(stats) < 2:
        return np.zeros(image.shape[:2], np.float32), (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return (labels == largest).astype(np.float32), tuple(map(float, stats[largest, :4]))


def _pattern(green: np.ndarray, mask: np.ndarray, frame: Frame) -> np.ndarray:
    """Give the vessels within a frame, with the norm 1."""
    left, top, width, height = frame
    side = 2 * _SIDE
    # Drawn at twice the size and averaged, so that the grid of the original does not show.
    matrix = np.array(
        [[width / side, 0, left + width / side / 2 - 0.5], [0, height / side, top + height / side / 2 - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(green, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = (cv2.warpAffine(mask, matrix, (side, side), flags=flags) > 0.5).astype(np.uint8)
    rim = 2 * round(_RIM * _SIDE) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim))
    inside = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(np.float32)

    def smooth(values: np.ndarray, scale: float) -> np.ndarray:
        return cv2.GaussianBlur(values * inside, (0, 0), 2 * scale) / (
            cv2.GaussianBlur(inside, (0, 0), 2 * scale) + 1e-3
        )

    fine, coarse = _VESSELS
    band = smooth(drawn, fine) - smooth(drawn, coarse)
    # By the local contrast: a bright disc or lesion must not outweigh the vessels.
    band = band / (np.sqrt(smooth(band**2, coarse)) + 1) * inside
    band = cv2.resize(band, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)[_IN_CIRCLE]
    norm = float(np.linalg.norm(band))
    return (band / norm if norm > _LEAST_NORM else 0 * band).astype(np.float32)


_OFFSET = (np.arange(_SIDE) + 0.5) / _SIDE * 2 - 1
_IN_CIRCLE = np.hypot(*np.meshgrid(_OFFSET, _OFFSET)) < 1 - _RIM


def find_duplicates(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray] | None = None, threshold: float = THRESHOLD
) -> list[tuple[int, int]]:
    """Find photographs that are the same.

    Args:
        first: Fingerprints, as a list or an array (N, D).
        second: Others to compare them with; None compares the first with each other.
        threshold: Least likeness, at most 1.

    Returns:
        Pairs of an index into `first` and one into `second`, sorted; (i, j) with i < j without `second`.
    """
    if len(first) == 0 or (second is not None and len(second) == 0):
        return []
    ours = np.asarray(first, dtype=np.float32)
    theirs = ours if second is None else np.asarray(second, dtype=np.float32)
    half = ours.shape[1] // 2
    pairs = []
    for start in range(0, len(ours), _BLOCK):
        block = ours[start : start + _BLOCK]
        alike = np.maximum(block[:, :half] @ theirs[:, :half].T, block[:, half:] @ theirs[:, half:].T)
        rows, columns = np.nonzero(alike >= threshold)
        pairs += [(int(row) + start, int(column)) for row, column in zip(rows, columns)]
    return [pair for pair in pairs if second is not None or pair[0] < pair[1]]


def fingerprint_file(path: str | os.PathLike) -> np.ndarray:
    """Read an image file, packed with gzip or not, and take its fingerprint.

    Raises:
        OSError: It is missing or no image.
        PhotographError: It is damaged or too small.
    """
    with open_image(path) as image:
        # JPEG decodes reduced copies many times faster; the copy is no smaller than what is needed.
        image.draft("RGB", (_READ_SIDE, _READ_SIDE))
        return fingerprint(read_photograph(image))


def without(
    photographs: Sequence[PhotographFile], images_to_exclude: Sequence[Path]
) -> tuple[list[PhotographFile], list[PhotographFile]]:
    """Leave out photographs that are, by content, among others: FIRE's that hide in MeDAL-Retina.

    Args:
        photographs: The photographs to sift.
        images_to_exclude: Image files.

    Returns:
        What is kept, and what is dropped, both in the order given.
    """
    if not photographs or not images_to_exclude:
        return list(photographs), []
    ours = [fingerprint_file(one.path) for one in photographs]
    hits = {index for index, _ in find_duplicates(ours, [fingerprint_file(path) for path in images_to_exclude])}
    kept = [one for index, one in enumerate(photographs) if index not in hits]
    return kept, [one for index, one in enumerate(photographs) if index in hits]


__all__ = ["THRESHOLD", "find_duplicates", "fingerprint", "fingerprint_file", "without"]
