"""One photograph in memory, and as a row of the data set."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from .schema import EYES


@dataclass(kw_only=True)
class LabeledPhotograph:
    """A photograph with or without keypoints.

    Attributes:
        name: Unique within its source.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the field of view.
        source: Name of the data set.
        patient: Name of the person within the source; the unit of every split.
        eye: "left", "right" or "" where the source does not say.
        license: Terms of the photograph and its labels.
        redistributable: Whether these terms allow to pass both on.
        keypoints: (N, 2), (x, y) in pixels of the image, or `None` for a photograph without labels.
        types: (N,) int8, 0 bifurcation, 1 crossing.
        widths: (N,) widths of the vessels in pixels, NaN where unknown; all unknown by default.
        directions: N arrays of angles in radians; all empty by default.
        labeled_by: Where the keypoints come from.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    source: str
    patient: str
    eye: str
    license: str
    redistributable: bool = False
    keypoints: np.ndarray | None = None
    types: np.ndarray | None = None
    widths: np.ndarray | None = None
    directions: list[np.ndarray] | None = None
    labeled_by: str = ""


class RowError(ValueError):
    """A row that does not hold what its columns promise; the message is one sentence for the user."""


def encode(photograph: LabeledPhotograph, jpeg_quality: int | None = 95) -> dict:
    """Turn a photograph into a row of `keypoints` or `unlabeled`.

    Args:
        photograph: What to store.
        jpeg_quality: Quality of the JPEG bytes (without subsampling of the colors); `None` for PNG, without loss.

    Raises:
        RowError: A keypoint lies outside the image or is not a number, or the lists of keypoints differ in length.
    """
    where = f"{photograph.source}/{photograph.name}"
    row = {
        "name": photograph.name,
        "image": encode_image(photograph.image, photograph.name, jpeg_quality),
        "mask": encode_mask(photograph.mask, photograph.name),
        **origin(photograph.source, photograph.patient, photograph.eye, photograph.license, photograph.redistributable),
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
        "labeled_by": photograph.labeled_by,
    }


def check_inside(points: np.ndarray, shape: tuple[int, int], where: str) -> None:
    """Reject points (N, 2) outside an image of the shape (height, width), and NaN.

    Raises:
        RowError: There is such a point.
    """
    height, width = shape
    inside = ((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(axis=1)
    if not inside.all():
        x, y = points[~inside][0]
        raise RowError(f"{where}: the point ({x:.1f}, {y:.1f}) lies outside the {width} x {height} image.")


def origin(source: str, patient: str, eye: str, license: str, redistributable: bool) -> dict:
    """Give the columns that say where a photograph comes from."""
    return {
        "source": source,
        "patient": patient,
        "eye": EYES.index(eye or "unknown"),
        "license": license,
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


def decode(row: Mapping) -> LabeledPhotograph:
    """Turn a row of `keypoints` or `unlabeled` back into arrays."""
    labels = {}
    if row.get("keypoints") is not None:
        labels = {
            "keypoints": np.array(row["keypoints"], dtype=np.float64).reshape(-1, 2),
            "types": np.array(row["types"], dtype=np.int8),
            "widths": np.array(row["widths"], dtype=np.float64),
            "directions": [np.array(angles) for angles in row["directions"]],
            "labeled_by": row["labeled_by"],
        }
    eye = EYES[row["eye"]]
    return LabeledPhotograph(
        name=row["name"],
        image=decode_image(row["image"]),
        mask=decode_mask(row["mask"]),
        source=row["source"],
        patient=row["patient"],
        eye="" if eye == "unknown" else eye,
        license=row["license"],
        redistributable=row["redistributable"],
        **labels,
    )


__all__ = [
    "LabeledPhotograph",
    "RowError",
    "check_inside",
    "decode",
    "decode_image",
    "decode_mask",
    "encode",
    "encode_image",
    "encode_mask",
    "origin",
]
