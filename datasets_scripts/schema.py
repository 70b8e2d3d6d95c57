"""What the data set consists of: its configurations, their columns, and one photograph in memory.

All coordinates are pixels (x, y) of the image in the same row; the centre of the top-left pixel is (0, 0). Null means
"does not apply" or "not known"; an empty list means "looked for, none found".
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Features, Image, List, Value
from PIL import Image as PillowImage

from retinamatch.transforms import TRANSFORMS

from .junctions import TYPE_NAMES


SPLITS = ("train", "validation", "test")
EYES = ("left", "right", "unknown")
POINT_KINDS = ("keypoints", "grid", "control points")
POINTS = List(List(Value("float32"), length=2))
EXACT_POINTS = List(List(Value("float64"), length=2))

_ORIGIN = {
    "source": Value("string"),
    "patient": Value("string"),
    "eye": ClassLabel(names=list(EYES)),
    "licence": Value("string"),
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
            "labelled_by": Value("string"),
            **_ORIGIN,
        }
    ),
    "unlabelled": Features({"name": Value("string"), "image": Image(), "mask": Image(), **_ORIGIN}),
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
    "labelled_by": "`vessel map` (found in a manual vessel map), `rendering` (known from drawing) or the annotator",
    "fixed_points, moving_points": "the same places of the retina in both photographs, pixels of each",
    "points": "what these places are: labelled `keypoints`, a regular `grid`, or `control points` set by hand",
    "transform_class, transform": "the mapping from the moving to the fixed photograph: its class, and its numbers as "
    "JSON for `retinamatch.transforms.Transform.from_dict`; null where only the points are known",
    "category": "what makes the pair hard, or the provider's class of the pair",
    "grade": "1 (mild) to 3 (strong); 0 where nobody graded it",
    "overlap": "share of the fixed field of view that the moving photograph shows too",
    "curvature": "largest distance in pixels between the mapping and the best affine one, over the overlap",
    "blur": "standard deviation in pixels of the blur of the moving photograph",
    "light": "strength of the change of light, 0 to 1",
    "lesions": "number of lesions that only the moving photograph shows",
    "source, patient, eye": "data set, person (unique within the source; no person is in two splits), side",
    "licence, redistributable": "terms of this row, and whether they allow to pass it on",
    "index": "number that `identity_pairs` refers to",
    "first, second, genuine": "two photographs of `identity`, and whether they show one eye of one person",
}


@dataclass
class LabelledPhotograph:
    """A photograph with or without keypoints.

    Attributes:
        name: Unique within its source.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the field of view.
        source: Name of the data set.
        patient: Name of the person within the source; the unit of every split.
        eye: "left", "right" or "" where the source does not say.
        licence: Terms of the photograph and its labels.
        redistributable: Whether these terms allow to pass both on.
        keypoints: (N, 2), (x, y) in pixels of the image, or `None` for a photograph without labels.
        types: (N,) int8, 0 bifurcation, 1 crossing.
        widths: (N,) widths of the vessels in pixels, NaN where unknown; all unknown by default.
        directions: N arrays of angles in radians; all empty by default.
        labelled_by: Where the keypoints come from.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    source: str
    patient: str
    eye: str
    licence: str
    redistributable: bool = False
    keypoints: np.ndarray | None = None
    types: np.ndarray | None = None
    widths: np.ndarray | None = None
    directions: list[np.ndarray] | None = None
    labelled_by: str = ""

    @property
    def config(self) -> str:
        """The configuration that the photograph belongs to."""
        return "unlabelled" if self.keypoints is None else "keypoints"


class RowError(ValueError):
    """A row that does not hold what its columns promise; the message is one sentence for the user."""


def encode(photograph: LabelledPhotograph, jpeg_quality: int | None = 95) -> dict:
    """Turn a photograph into a row of `keypoints` or `unlabelled`.

    Args:
        photograph: What to store.
        jpeg_quality: Quality of the JPEG bytes (without subsampling of the colours); `None` for PNG, without loss.

    Raises:
        RowError: A keypoint lies outside the image or is not a number, or the lists of keypoints differ in length.
    """
    where = f"{photograph.source}/{photograph.name}"
    row = {
        "name": photograph.name,
        "image": encode_image(photograph.image, photograph.name, jpeg_quality),
        "mask": encode_mask(photograph.mask, photograph.name),
        **origin(photograph.source, photograph.patient, photograph.eye, photograph.licence, photograph.redistributable),
    }
    if photograph.keypoints is None:
        return row
    keypoints = np.asarray(photograph.keypoints, dtype=np.float32).reshape(-1, 2)
    types = [int(kind) for kind in photograph.types] if photograph.types is not None else None
    count = len(keypoints)
    widths = np.full(count, np.nan) if photograph.widths is None else np.asarray(photograph.widths, dtype=np.float32)
    directions = [[]] * count if photograph.directions is None else photograph.directions
    if types is None or {len(types), len(widths), len(directions)} != {count}:
        raise RowError(f"{where}: the lists of keypoints, types, widths and directions differ in length.")
    check_inside(keypoints, photograph.mask.shape, where)
    return {
        **row,
        "keypoints": keypoints.tolist(),
        "types": types,
        "widths": [float(width) for width in widths],
        "directions": [[float(angle) for angle in angles] for angles in directions],
        "labelled_by": photograph.labelled_by,
    }


def check_inside(points: np.ndarray, shape: tuple[int, int], where: str) -> None:
    """Refuse points (N, 2) outside an image of the shape (height, width), and NaN.

    Raises:
        RowError: There is such a point.
    """
    height, width = shape
    inside = ((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(axis=1)
    if not inside.all():
        x, y = points[~inside][0]
        raise RowError(f"{where}: the point ({x:.1f}, {y:.1f}) lies outside the {width} x {height} image.")


def origin(source: str, patient: str, eye: str, licence: str, redistributable: bool) -> dict:
    """Give the columns that say where a photograph comes from."""
    return {
        "source": source,
        "patient": patient,
        "eye": EYES.index(eye or "unknown"),
        "licence": licence,
        "redistributable": redistributable,
    }


def encode_image(pixels: np.ndarray, name: str, jpeg_quality: int | None = 95) -> dict:
    """Give the bytes of an image (H, W, 3) uint8 as the `Image` feature stores them."""
    if jpeg_quality is None:
        return {"bytes": _bytes(pixels, format="PNG"), "path": f"{name}.png"}
    return {"bytes": _bytes(pixels, format="JPEG", quality=jpeg_quality, subsampling=0), "path": f"{name}.jpg"}


def encode_mask(mask: np.ndarray, name: str) -> dict:
    """Give the bytes of a field of view (H, W) bool as the `Image` feature stores them."""
    return {"bytes": _bytes(mask.astype(np.uint8) * 255, format="PNG"), "path": f"{name}_mask.png"}


def _bytes(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, **options)
    return buffer.getvalue()


def decode_image(value: Mapping) -> np.ndarray:
    """Turn the bytes of an `Image` column back into (H, W, 3) uint8."""
    return np.asarray(PillowImage.open(io.BytesIO(value["bytes"])).convert("RGB"))


def decode_mask(value: Mapping) -> np.ndarray:
    """Turn the bytes of a mask column back into (H, W) bool."""
    return np.asarray(PillowImage.open(io.BytesIO(value["bytes"])).convert("L")) > 127


def decode(row: Mapping) -> LabelledPhotograph:
    """Turn a row of `keypoints` or `unlabelled` back into arrays."""
    labels = {}
    if row.get("keypoints") is not None:
        labels = {
            "keypoints": np.array(row["keypoints"], dtype=np.float64).reshape(-1, 2),
            "types": np.array(row["types"], dtype=np.int8),
            "widths": np.array(row["widths"], dtype=np.float64),
            "directions": [np.array(angles) for angles in row["directions"]],
            "labelled_by": row["labelled_by"],
        }
    eye = EYES[row["eye"]]
    return LabelledPhotograph(
        name=row["name"],
        image=decode_image(row["image"]),
        mask=decode_mask(row["mask"]),
        source=row["source"],
        patient=row["patient"],
        eye="" if eye == "unknown" else eye,
        licence=row["licence"],
        redistributable=row["redistributable"],
        **labels,
    )


def arrow_schema(config: str) -> pa.Schema:
    """Give the Arrow schema of a configuration, with the typed features in its metadata as `datasets` reads them."""
    return CONFIGURATIONS[config].arrow_schema


def image_columns(config: str) -> list[str]:
    """Names of the columns of a configuration that hold images."""
    return [name for name, kind in CONFIGURATIONS[config].items() if isinstance(kind, Image)]


__all__ = [
    "COLUMNS",
    "CONFIGURATIONS",
    "EYES",
    "POINT_KINDS",
    "SPLITS",
    "LabelledPhotograph",
    "RowError",
    "arrow_schema",
    "check_inside",
    "decode",
    "decode_image",
    "decode_mask",
    "encode",
    "encode_image",
    "encode_mask",
    "image_columns",
    "origin",
]
