"""Pairs of photographs with a known mapping between them, as rows: rendered ones, and FIRE's.

A rendered pair shows one rendered eye at two visits; the mapping is the rotation of a sphere between two lenses, which
a cubic polynomial follows within a fraction of a pixel over the overlap.
"""

import json
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from retinamatch.evaluation import FirePair
from retinamatch.photographs import read_photograph
from retinamatch.transforms import TRANSFORMS, Affine, Cubic, Transform

from ..format.rows import encode_image, encode_mask, origin
from ..format.schema import POINT_KINDS
from ..labeling.points import look_up
from ..rendering import RENDERED_LICENSE
from ..rendering.eye import rendered_eye_seed, rendered_person, side_of
from ..rendering.modality import MODALITIES


GRADES = (1, 2, 3)
MODALITY_NAMES = list(MODALITIES)
# Every two modalities once, color being the fixed photograph.
MODALITY_PAIRS = list(combinations(MODALITIES, 2))
# Grade -> overlap and difficulty of rendered visits.
VISITS = {1: (0.88, 0.2), 2: (0.72, 0.5), 3: (0.58, 0.9)}
# A mapping and its points may disagree by no more than this, in pixels of the fixed photograph.
TOLERANCE = 0.5


def rendered_visits(
    number: int, grade: int, size: int, seed: int, modalities: tuple[str, str] = ("color", "color")
) -> dict:
    """Photograph a rendered eye at two visits and make a row of `pairs` of it.

    Args:
        number: Of the eye, see `rendered_eye_seed`.
        grade: 1 to 3.
        size: Side of both photographs in pixels.
        seed: Of the data set.
        modalities: Those of the fixed and of the moving photograph; two different ones are a category of their own.
    """
    from ..rendering.fundus import render_visits

    overlap, difficulty = VISITS[grade]
    visits = render_visits(rendered_eye_seed(number, seed), size, overlap, difficulty, modalities)
    masks = [visits.fixed.mask, visits.moving.mask]
    y, x = np.mgrid[: size : size / 64, : size : size / 64]
    places = np.stack([x, y], -1).reshape(-1, 2)
    targets = visits.correspond(places)
    both = look_up(masks[1], places) & look_up(masks[0], targets)
    mapping = Cubic.fit(places[both], targets[both])
    moving_points, fixed_points = visits.shared_keypoints()
    inside = look_up(masks[1], moving_points) & look_up(masks[0], fixed_points)
    # Beyond the places that the fit has seen the polynomial only continues straight on.
    inside &= np.linalg.norm(mapping(moving_points) - fixed_points, axis=1) < TOLERANCE
    points, kind = (fixed_points[inside], moving_points[inside]), "keypoints"
    if not inside.any():
        points, kind = (mapping(places[both]), places[both]), "grid"
    person = rendered_person(number, seed)
    category = "visits" if modalities[0] == modalities[1] else "modalities"
    return {
        **pair_row(
            name="_".join((person, *(modalities if category == "modalities" else (category,)), str(grade))),
            images=(visits.fixed.image, visits.moving.image),
            masks=masks,
            points=points,
            kind=kind,
            mapping=mapping,
            category=category,
            grade=grade,
            modalities=modalities,
        ),
        **dict.fromkeys(("blur", "light", "lesions")),
        **origin("rendered", person, side_of(visits.eye), RENDERED_LICENSE, True),
    }


def fire_pair(pair: FirePair, license: str) -> dict:
    """Make a row of `pairs` of a pair of FIRE: its own files, its control points, no mapping."""
    images = []
    for path in (pair.fixed, pair.moving):
        read_photograph(path)  # a broken file is found here, by name
        images.append({"bytes": path.read_bytes(), "path": path.name})
    return {
        "name": f"fire_{pair.name}",
        "fixed": images[0],
        "moving": images[1],
        "fixed_mask": None,
        "moving_mask": None,
        "fixed_points": pair.fixed_points.tolist(),
        "moving_points": pair.moving_points.tolist(),
        "points": POINT_KINDS.index("control points"),
        "transform_class": None,
        "transform": None,
        "category": pair.category,
        "fixed_modality": MODALITY_NAMES.index("color"),
        "moving_modality": MODALITY_NAMES.index("color"),
        "grade": 0,
        **dict.fromkeys(("overlap", "curvature", "blur", "light", "lesions")),
        **origin("fire", pair.name, "", license, False),
    }


def pair_row(
    *,
    name: str,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    points: Sequence[np.ndarray],
    kind: str,
    mapping: Transform,
    category: str,
    grade: int,
    modalities: tuple[str, str] = ("color", "color"),
) -> dict:
    """Make a row of `pairs`, apart from the strengths of a warped pair and where it comes from.

    Args:
        name: Of the pair, unique within its source.
        images: Fixed and moving photograph (H, W, 3), uint8.
        masks: Their fields of view (H, W), bool.
        points: The same places (N, 2) in pixels of the fixed and of the moving photograph.
        kind: One of `POINT_KINDS`: what these places are.
        mapping: From the moving to the fixed photograph.
        category: What makes the pair hard.
        grade: 1 to 3.
        modalities: Kinds of the fixed and of the moving photograph.
    """
    overlap, curvature = _measure(mapping, masks)
    return {
        "name": name,
        "fixed": encode_image(images[0], f"{name}_fixed"),
        "moving": encode_image(images[1], f"{name}_moving"),
        "fixed_mask": encode_mask(masks[0], f"{name}_fixed"),
        "moving_mask": encode_mask(masks[1], f"{name}_moving"),
        "fixed_points": points[0].tolist(),
        "moving_points": points[1].tolist(),
        "points": POINT_KINDS.index(kind),
        "transform_class": list(TRANSFORMS).index(mapping.name),
        "transform": json.dumps(mapping.to_dict()),
        "category": category,
        "fixed_modality": MODALITY_NAMES.index(modalities[0]),
        "moving_modality": MODALITY_NAMES.index(modalities[1]),
        "grade": grade,
        "overlap": overlap,
        "curvature": curvature,
    }


def _measure(mapping: Transform, masks: Sequence[np.ndarray]) -> tuple[float, float]:
    """Measure the overlap of a pair, and how far its mapping is from an affine one there, in pixels."""
    rows, columns = np.nonzero(masks[0][::8, ::8])
    places = np.stack([columns, rows], 1) * 8.0
    back = mapping.inverse(places)
    seen = look_up(masks[1], back)
    if seen.sum() < 3:
        return float(seen.mean()), 0.0
    affine = Affine.fit(back[seen], places[seen])
    return float(seen.mean()), float(np.linalg.norm(affine(back[seen]) - places[seen], axis=1).max())


__all__ = ["GRADES", "MODALITY_PAIRS", "TOLERANCE", "fire_pair", "pair_row", "rendered_visits"]
