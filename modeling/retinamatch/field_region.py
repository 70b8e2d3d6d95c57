"""Regions of a picture that part from what surrounds them by color, whatever their shape: candidates for the field.

From rough guesses, two steps. Colors that are more usual inside than around decide anew what is inside, a few times
over, which is quick and forgives poor guesses. Then graph cuts with Gaussian mixtures of colors (GrabCut, Rother et
al. 2004) bring the outline to where the colors change.
"""

import cv2
import numpy as np

from .rim_evidence import Colors


_SIDE = 128  # pixels of the longer side of the copy that is parted
_SMOOTH = 1.3  # pixels of it: what is finer is texture
_LEAST, _MOST = 0.03, 0.97  # of the picture
_KEPT = 3  # regions that graph cuts refine
_LIKE = 0.9  # overlap of two regions that count as one


def find_regions(picture: np.ndarray, guesses: list[np.ndarray], within: np.ndarray | None = None) -> list[np.ndarray]:
    """Find regions that part well from what surrounds them.

    Args:
        picture: (height, width, 3) uint8, or gray.
        guesses: (height, width) bool, rough regions.
        within: (height, width) bool, the part that is looked at; None for all.

    Returns:
        (height, width) bool, those that the colors part best first.
    """
    if picture.ndim == 2:
        picture = _around_pixels(picture)
    height, width = picture.shape[:2]
    colors = Colors(picture)
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    inside = np.ones(small.shape[:2], bool) if within is None else resized(within, size)
    found: list[tuple[float, np.ndarray]] = []
    for guess in guesses:
        region = _regrown(colors, colors.classes(small), resized(guess, size) & inside, inside)
        if region is not None:
            found.append((_parted(colors, region, (width, height)), region))
    kept: list[np.ndarray] = []
    for _, region in sorted(found, key=lambda one: -one[0]):
        if all((region & other).sum() < _LIKE * (region | other).sum() for other in kept):
            kept.append(region)
        if len(kept) == _KEPT:
            break
    cuts = [region for region in (_graph_cut(small, region, inside) for region in kept) if region is not None]
    cuts.sort(key=lambda region: -_parted(colors, region, (width, height)))
    return [resized(region, (width, height)) for region in cuts]


def main_part(region: np.ndarray) -> np.ndarray | None:
    """Give the largest connected part of a region with its holes closed; None when it is too small or everything."""
    opened = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return None
    largest = (labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])).astype(np.uint8)
    contours, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(largest), contours, -1, 1, cv2.FILLED) > 0
    return filled if _LEAST < filled.mean() < _MOST else None


def _around_pixels(picture: np.ndarray) -> np.ndarray:
    """Give (height, width, 3) uint8 of a gray picture: the level, that around it, and how much it varies there."""
    level = cv2.GaussianBlur(picture, (0, 0), 3.0)
    deviation = cv2.GaussianBlur(cv2.absdiff(picture, level), (0, 0), 3.0)
    return cv2.merge([picture, level, cv2.convertScaleAbs(deviation, alpha=4)])


def _regrown(colors: Colors, classes: np.ndarray, region: np.ndarray, within: np.ndarray) -> np.ndarray | None:
    """Let the colors in and around a region decide what belongs to it."""
    for _ in range(4):
        reach = 2 * max(2, int(0.3 * np.sqrt(region.sum() / np.pi))) + 1
        around = cv2.dilate(region.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
        ratio = np.clip(colors.log_ratio(classes[region], classes[around & ~region & within]), -3, 3)
        ratio = np.where(within, ratio[classes], -3).astype(np.float32)
        grown = main_part(cv2.GaussianBlur(ratio, (0, 0), _SMOOTH) > 0)
        if grown is None:
            return None
        region = grown
    return region


def _graph_cut(picture: np.ndarray, region: np.ndarray, within: np.ndarray) -> np.ndarray | None:
    """Part a picture along its edges, beginning with a region."""
    around = within & ~region
    if not within.all():
        if not around.any():
            return None
        picture = np.where(within[..., None], picture, np.median(picture[around], 0)).astype(np.uint8)
    parts = np.where(region, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    parts[~within] = cv2.GC_BGD
    if not region.any() or region.all():
        return None
    cv2.setRNGSeed(0)  # the same picture, the same region
    cv2.grabCut(picture, parts, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return main_part((parts == cv2.GC_FGD) | (parts == cv2.GC_PR_FGD))


def _parted(colors: Colors, region: np.ndarray, size: tuple[int, int]) -> float:
    return float(colors.parted(colors.at_places(resized(region, size))[None])[0])


def resized(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a region to (width, height) pixels."""
    return cv2.resize(region.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR) > 127


__all__ = ["find_regions", "main_part", "resized"]
