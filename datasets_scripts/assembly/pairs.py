"""Pairs of photographs with a known mapping between them, as rows: rendered ones, and FIRE's.

A rendered pair shows one rendered eye at two visits; the mapping is a turn of a sphere between two lenses, which a
cubic polynomial follows within a fraction of a pixel over the overlap.
"""

import json

import numpy as np

from retinamatch.evaluation import FirePair
from retinamatch.photographs import read_photograph
from retinamatch.transforms import TRANSFORMS, Affine, Cubic, Transform

from ..format.rows import encode_image, encode_mask, origin
from ..format.schema import POINT_KINDS
from ..labelling.points import look_up
from ..rendering.eye import rendered_eye_seed, rendered_person, side_of
from .rendered import RENDERED_LICENCE


GRADES = (1, 2, 3)
# Overlap and difficulty of rendered visits at grade 1 to 3.
VISITS = {1: (0.88, 0.2), 2: (0.72, 0.5), 3: (0.58, 0.9)}
# A mapping and its points may disagree by no more than this, in pixels of the fixed photograph.
TOLERANCE = 0.5


def rendered_visits(number: int, grade: int, size: int, seed: int) -> dict:
    """Photograph a rendered eye at two visits and make a row of `pairs` of it."""
    from ..rendering.fundus import render_visits

    overlap, difficulty = VISITS[grade]
    visits = render_visits(rendered_eye_seed(number, seed), size, overlap=overlap, difficulty=difficulty)
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
    moving_points, fixed_points, kind = moving_points[inside], fixed_points[inside], "keypoints"
    if len(moving_points) == 0:
        moving_points, fixed_points, kind = places[both], mapping(places[both]), "grid"
    person = rendered_person(number, seed)
    images = visits.fixed.image, visits.moving.image
    return {
        **pair_row(
            f"{person}_visits_{grade}", *images, masks, fixed_points, moving_points, kind, mapping, "visits", grade
        ),
        "blur": None,
        "light": None,
        "lesions": None,
        **origin("rendered", person, side_of(visits.eye), RENDERED_LICENCE, True),
    }


def fire_pair(pair: FirePair, licence: str) -> dict:
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
        "grade": 0,
        **dict.fromkeys(("overlap", "curvature", "blur", "light", "lesions")),
        **origin("fire", pair.name, "", licence, False),
    }


def pair_row(
    name, fixed, moving, masks, fixed_points, moving_points, kind, mapping: Transform, category, grade
) -> dict:
    """Make a row of `pairs` of two photographs, their masks, the places known in both, and the mapping."""
    overlap, curvature = _measure(mapping, masks)
    return {
        "name": name,
        "fixed": encode_image(fixed, f"{name}_fixed"),
        "moving": encode_image(moving, f"{name}_moving"),
        "fixed_mask": encode_mask(masks[0], f"{name}_fixed"),
        "moving_mask": encode_mask(masks[1], f"{name}_moving"),
        "fixed_points": np.asarray(fixed_points).tolist(),
        "moving_points": np.asarray(moving_points).tolist(),
        "points": POINT_KINDS.index(kind),
        "transform_class": list(TRANSFORMS).index(mapping.name),
        "transform": json.dumps(mapping.to_dict()),
        "category": category,
        "grade": grade,
        "overlap": overlap,
        "curvature": curvature,
    }


def _measure(mapping: Transform, masks: list[np.ndarray]) -> tuple[float, float]:
    """Overlap of a pair, and how far its mapping is from an affine one there, in pixels."""
    rows, columns = np.nonzero(masks[0][::8, ::8])
    places = np.stack([columns, rows], 1) * 8.0
    back = mapping.inverse(places)
    seen = look_up(masks[1], back)
    if seen.sum() < 3:
        return float(seen.mean()), 0.0
    affine = Affine.fit(back[seen], places[seen])
    return float(seen.mean()), float(np.linalg.norm(affine(back[seen]) - places[seen], axis=1).max())


__all__ = ["GRADES", "TOLERANCE", "fire_pair", "pair_row", "rendered_visits"]
