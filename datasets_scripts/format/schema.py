"""What the data set consists of: its configurations and their columns.

All coordinates are pixels (x, y) of the image in the same row; the center of the top-left pixel is (0, 0). Null means
"does not apply" or "not known"; an empty list means "looked for, none found".
"""

import pyarrow as pa
from datasets import ClassLabel, Features, Image, List, Value

from retinamatch.transforms import TRANSFORMS

from ..keypoint_types import TYPE_NAMES
from ..rendering.modality import MODALITIES


SPLITS = ("train", "validation", "test")
EYES = ("left", "right", "unknown")
POINT_KINDS = ("keypoints", "grid", "control points")
POINTS = List(List(Value("float32"), length=2))
EXACT_POINTS = List(List(Value("float64"), length=2))

_ORIGIN = {
    "source": Value("string"),
    "patient": Value("string"),
    "eye": ClassLabel(names=list(EYES)),
    "license": Value("string"),
    "redistributable": Value("bool"),
}
CONFIGURATIONS: dict[str, Features] = {
    "keypoints": Features(
        {
            "name": Value("string"),
            "image": Image(),
            "mask": Image(),
            "keypoints": POINTS,
            "types": List(ClassLabel(names=list(TYPE_NAMES))),
            "widths": List(Value("float32")),
            "directions": List(List(Value("float32"))),
            "labeled_by": Value("string"),
            **_ORIGIN,
        }
    ),
    "unlabeled": Features({"name": Value("string"), "image": Image(), "mask": Image(), **_ORIGIN}),
    "pairs": Features(
        {
            "name": Value("string"),
            "fixed": Image(),
            "moving": Image(),
            "fixed_mask": Image(),
            "moving_mask": Image(),
            "fixed_points": EXACT_POINTS,
            "moving_points": EXACT_POINTS,
            "points": ClassLabel(names=list(POINT_KINDS)),
            "transform_class": ClassLabel(names=list(TRANSFORMS)),
            "transform": Value("string"),
            "category": Value("string"),
            "fixed_modality": ClassLabel(names=list(MODALITIES)),
            "moving_modality": ClassLabel(names=list(MODALITIES)),
            "grade": Value("int8"),
            "overlap": Value("float32"),
            "curvature": Value("float32"),
            "blur": Value("float32"),
            "light": Value("float32"),
            "lesions": Value("int32"),
            **_ORIGIN,
        }
    ),
    "identity": Features(
        {"index": Value("int32"), "name": Value("string"), "image": Image(), "mask": Image(), **_ORIGIN}
    ),
    "identity_pairs": Features({"first": Value("int32"), "second": Value("int32"), "genuine": Value("bool")}),
}
# What the columns mean, for the card and for people.
COLUMNS = {
    "name": "name of the photograph or pair, unique within its source",
    "image, fixed, moving": "RGB photograph",
    "mask, fixed_mask, moving_mask": "field of view: 255 inside, 0 outside; null where the photograph is as its "
    "provider hands it out",
    "keypoints": "places (x, y) in pixels of `image`, sub-pixel",
    "types": "`bifurcation` or `crossing` of each keypoint",
    "widths": "width in pixels of the widest vessel that meets there (rendered eyes: of the thinner one); NaN where "
    "nobody measured it",
    "directions": "angles in radians, atan2(dy, dx), y downwards, of the vessels that leave the keypoint (four at a "
    "crossing); empty where nobody measured them",
    "labeled_by": "`vessel map` (found in a manual vessel map), `rendering` (known from drawing) or the annotator",
    "fixed_points, moving_points": "the same places of the retina in both photographs, pixels of each",
    "points": "what these places are: labeled `keypoints`, a regular `grid`, or `control points` set by hand",
    "transform_class, transform": "the mapping from the moving to the fixed photograph: its class, and its numbers as "
    "JSON for `retinamatch.transforms.Transform.from_dict`; null where only the points are known",
    "category": "what makes the pair hard, or the provider's class of the pair",
    "fixed_modality, moving_modality": "kind of either photograph: color, or a rendered one in other light",
    "grade": "1 (mild) to 3 (strong); 0 where nobody graded it",
    "overlap": "fraction of the fixed field of view that the moving photograph shows too",
    "curvature": "largest distance in pixels between the mapping and the best affine one, over the overlap",
    "blur": "standard deviation in pixels of the blur of the moving photograph",
    "light": "strength of the change of light, 0 to 1",
    "lesions": "number of lesions that only the moving photograph shows",
    "source, patient, eye": "data set, person (unique within the source; no person is in two splits), side",
    "license, redistributable": "terms of this row, and whether they allow to pass it on",
    "index": "number that `identity_pairs` refers to",
    "first, second, genuine": "two photographs of `identity`, and whether they show one eye of one person",
}


def arrow_schema(config: str) -> pa.Schema:
    """Give the Arrow schema of a configuration, with the typed features in its metadata as `datasets` reads them."""
    return CONFIGURATIONS[config].arrow_schema


def image_columns(config: str) -> list[str]:
    """List the columns of a configuration that hold images."""
    return [name for name, kind in CONFIGURATIONS[config].items() if isinstance(kind, Image)]


__all__ = [
    "COLUMNS",
    "CONFIGURATIONS",
    "EYES",
    "POINT_KINDS",
    "SPLITS",
    "arrow_schema",
    "image_columns",
]
