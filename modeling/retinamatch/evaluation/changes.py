"""What `change` finds where nothing has changed, and of lesions that were painted into one of two photographs."""

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from ..change import Change, find_change
from ..keypoint_set import Keypoints
from ..photographs import read_photograph
from ..registrar import Registrar
from ..registration import Registration
from .identity import read_people


# How much darker or brighter the middle of a lesion is than the retina; how many are painted; radii of them, and how
# far from the middle they are at most, in radii of the field of view.
CONTRASTS = (0.15, 0.3, 0.5)
_LESIONS, _RADII, _REACH = 6, (0.015, 0.04), 0.7


def evaluate_changes(
    root: str | Path, registrar: Registrar, every: int = 1, seed: int = 0, progress: bool = False
) -> dict:
    """Measure on repeated photographs of eyes: each with the first one of its eye.

    Args:
        root: A folder per person with photographs of one eye each, taken within a short time.
        registrar: What registers them.
        every: Take every n-th pair.
        seed: Of the lesions.
        progress: Show a progress bar.

    Returns:
        Numbers of `pairs` that are registered, `false_regions` in all of them where nothing is painted, and by contrast
        how many lesions were painted where both photographs can be compared, and how many of them were found.

    Raises:
        ValueError: See `read_people`.
    """
    pairs = [(path, paths[0]) for paths in read_people(root).values() for path in paths[1:]][::every]
    rng = np.random.default_rng(seed)
    registered = regions = unchanged = 0
    painted, found = dict.fromkeys(CONTRASTS, 0), dict.fromkeys(CONTRASTS, 0)
    read = functools.lru_cache(2)(read_photograph)
    for moving, fixed in tqdm(pairs, unit="pair", disable=not progress):
        photographs = read(moving), read(fixed)
        registration = registrar.register(*photographs)
        if not registration:
            continue
        registered += 1
        alarms = len(find_change(registration, *photographs).regions)
        regions += alarms
        unchanged += alarms == 0
        for contrast in CONTRASTS:
            with_lesions, places = paint_lesions(photographs[0], registration.moving_keypoints, contrast, rng)
            hits = lesions_found(registration, find_change(registration, with_lesions, photographs[1]), places)
            painted[contrast] += len(hits)
            found[contrast] += sum(hits)
    return {
        "pairs": registered,
        "false_regions": regions,
        "pairs_without": unchanged,
        "lesions": [{"contrast": c, "painted": painted[c], "found": found[c]} for c in CONTRASTS],
    }


def paint_lesions(
    photograph: np.ndarray, keypoints: Keypoints, contrast: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paint round lesions, darker or brighter than the retina, into a photograph.

    Args:
        photograph: (H, W, 3) uint8 RGB.
        keypoints: Of it; they know its field of view.
        contrast: Of the middle of a lesion.
        rng: Draws places, sizes and signs.

    Returns:
        The photograph with lesions, and (L, 3) x, y and radius of each in its pixels.
    """
    factor, lesions = np.ones(photograph.shape[:2], np.float32), np.zeros((0, 3))
    y, x = np.mgrid[: photograph.shape[0], : photograph.shape[1]].astype(np.float32)
    while len(lesions) < _LESIONS:
        angle, reach = rng.uniform(0, 2 * np.pi), _REACH * np.sqrt(rng.uniform())
        place = keypoints.middle + keypoints.radius * reach * np.array([np.cos(angle), np.sin(angle)])
        radius = keypoints.radius * rng.uniform(*_RADII)
        if (np.linalg.norm(lesions[:, :2] - place, axis=1) < 0.2 * keypoints.radius).any():
            continue
        edge = (np.hypot(x - place[0], y - place[1]) - radius) / (0.15 * radius)
        factor *= 1 + rng.choice([-1, 1]) * contrast / (1 + np.exp(np.clip(edge, -30, 30)))
        lesions = np.vstack([lesions, [*place, radius]])
    return (photograph * factor[..., None]).clip(0, 255).astype(np.uint8), lesions


def lesions_found(registration: Registration, change: Change, lesions: np.ndarray) -> list[bool]:
    """Tell for each lesion, where both photographs can be compared, whether a region lies on it."""
    assert registration.transform is not None
    height, width = change.compared.shape
    places = np.round((registration.transform(lesions[:, :2]) + 0.5) / change.scale - 0.5)
    found = []
    for (x, y), lesion in zip(places, lesions):
        if 0 <= x < width and 0 <= y < height and change.compared[int(y), int(x)]:
            found.append(any(_touches(region.moving_outline, lesion) for region in change.regions))
    return found


def _touches(outline: np.ndarray, lesion: Sequence[float]) -> bool:
    x, y, radius = map(float, lesion)
    return cv2.pointPolygonTest(outline.astype(np.float32)[:, None], (x, y), True) > -radius


__all__ = ["CONTRASTS", "evaluate_changes", "lesions_found", "paint_lesions"]
