"""The file of the keypoints that a person has set on a photograph.

The page `datasets_scripts.annotate` writes JSON:

    {"format": "retinamatch-annotation-1", "image": "21_training.tif", "width": 565, "height": 584, "annotator": "AB",
     "complete": true, "keypoints": [{"x": 281.25, "y": 133.5, "type": "bifurcation", "width": 6.4}, ...]}

in pixels, the center of the top-left pixel being (0, 0); `width` is that of the widest vessel, null where nobody
measured it; `complete` is false as long as the person has not called the photograph done. The numpy text of
MeDAL-Retina and SuperRetina is read as well: `x y` a line, relative to width and height, all taken for bifurcations.
"""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from retinamatch.files import OutputError, write_text

from ..keypoint_types import TYPE_NAMES


FORMAT = "retinamatch-annotation-1"
SUFFIXES = (".json", ".txt")
# A thousandth of a pixel is finer than any hand; the same keypoints then always give the same bytes.
DECIMALS = 3


class AnnotationError(ValueError):
    """A file that is no annotation, does not fit its photograph, or cannot be written; one sentence."""


@dataclass
class Annotation:
    """The keypoints of one photograph, set by one person.

    Attributes:
        image: File name of the photograph.
        size: (width, height) of the photograph in pixels.
        points: Places (N, 2), (x, y) in pixels, float64; the center of the top-left pixel is (0, 0).
        types: Kind (N,) of each keypoint, int8: 0 bifurcation, 1 crossing.
        annotator: The person.
        widths: Width (N,) of the widest vessel at each keypoint in pixels, float64, NaN where unknown.
        complete: Whether the person has called the photograph done; else this is a draft.
    """

    image: str
    size: tuple[int, int]
    points: np.ndarray
    types: np.ndarray
    annotator: str = ""
    widths: np.ndarray | None = field(default=None)
    complete: bool = True

    def __post_init__(self):
        self.size = tuple(int(side) for side in self.size)
        self.points = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        self.types = np.asarray(self.types, dtype=np.int8).reshape(-1)
        widths = np.full(len(self.points), np.nan) if self.widths is None else self.widths
        self.widths = np.asarray(widths, dtype=np.float64).reshape(-1)

    def __len__(self) -> int:
        return len(self.points)


def read_annotation(path: str | os.PathLike, size: tuple[int, int] | None = None) -> Annotation:
    """Read the annotation of one photograph.

    Args:
        path: File of the page (`.json`), or numpy text with relative places (`.txt`).
        size: (width, height) of the photograph; a text file cannot be read without, a JSON file must agree.

    Raises:
        AnnotationError: The file is missing, damaged or of another format, holds NaN, a keypoint outside the photograph
            or an unknown type, or was made on a photograph of another size.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise AnnotationError(f"{path} has an unknown ending; annotations end in {' or '.join(SUFFIXES)}.")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is not a text file.") from error
    annotation = _from_text(path, text, size) if path.suffix == ".txt" else _from_json(path, text)
    if size is not None and annotation.size != tuple(size):
        raise AnnotationError(
            f"{path} was made on {in_words(annotation.size)} pixels, but the photograph has {in_words(size)}."
        )
    _check(annotation, path)
    return annotation


def write_annotation(path: str | os.PathLike, annotation: Annotation) -> None:
    """Write the JSON of one photograph, whole or not at all: aside first, then renamed.

    Keypoints are sorted from top to bottom, so that the same keypoints give the same bytes in whatever order they were
    set.

    Raises:
        AnnotationError: The annotation is not one that `read_annotation` would read, or the file cannot be written.
    """
    path = Path(path)
    _check(annotation, path)
    keypoints = sorted(
        (
            {
                "x": round(float(x), DECIMALS) + 0.0,  # not -0.0
                "y": round(float(y), DECIMALS) + 0.0,
                "type": TYPE_NAMES[kind],
                "width": None if math.isnan(width) else round(float(width), DECIMALS),
            }
            for (x, y), kind, width in zip(annotation.points, annotation.types, annotation.widths)
        ),
        key=lambda keypoint: (keypoint["y"], keypoint["x"], keypoint["type"], keypoint["width"] or 0),
    )
    head = {
        "format": FORMAT,
        "image": annotation.image,
        "width": annotation.size[0],
        "height": annotation.size[1],
        "annotator": annotation.annotator,
        "complete": annotation.complete,
    }
    # One keypoint a line: a difference between two versions shows what was changed.
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}," for name, value in head.items()]
    rows = ",".join(f"\n    {json.dumps(keypoint)}" for keypoint in keypoints)
    _replace(path, "{\n" + "\n".join(lines) + f'\n  "keypoints": [{rows}\n  ]\n}}\n')


def list_annotations(folder: str | os.PathLike) -> dict[str, Path]:
    """List the annotations of a folder: name of the photograph without ending -> file.

    Raises:
        AnnotationError: The folder is missing or holds none, or two files are of one photograph.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AnnotationError(f"{folder} is not a folder of annotations.")
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and not path.name.startswith("."):
            if path.stem in files:
                raise AnnotationError(f"{path} and {files[path.stem].name} are of one photograph.")
            files[path.stem] = path
    if not files:
        raise AnnotationError(f"{folder} holds no annotation (.json or .txt).")
    return files


def _replace(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OutputError as error:
        raise AnnotationError(f"{path} cannot be written: {error.__cause__.strerror}.") from error


def _from_json(path: Path, text: str) -> Annotation:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise AnnotationError(f"{path} is not whole JSON ({error}).") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise AnnotationError(f'{path} is not an annotation: "format" is not "{FORMAT}".')
    try:
        keypoints = record["keypoints"]
        size = (record["width"], record["height"])
        strangers = [keypoint["type"] for keypoint in keypoints if keypoint["type"] not in TYPE_NAMES]
        if strangers:
            raise AnnotationError(f"{path} has the type {strangers[0]!r}; known are {' and '.join(TYPE_NAMES)}.")
        if not all(isinstance(side, int) and side > 0 for side in size):
            raise AnnotationError(f"{path} gives the size {in_words(size)}; two positive whole numbers are wanted.")
        if not isinstance(record["complete"], bool):
            raise AnnotationError(f'{path}: "complete" is neither true nor false.')
        return Annotation(
            image=str(record["image"]),
            size=size,
            points=np.array([[keypoint["x"], keypoint["y"]] for keypoint in keypoints], dtype=np.float64),
            types=np.array([TYPE_NAMES.index(keypoint["type"]) for keypoint in keypoints], dtype=np.int8),
            annotator=str(record["annotator"]),
            # None becomes NaN.
            widths=np.array([keypoint.get("width") for keypoint in keypoints], dtype=np.float64),
            complete=record["complete"],
        )
    except KeyError as error:
        raise AnnotationError(f"{path} lacks {error.args[0]!r}.") from error
    except (TypeError, AttributeError) as error:
        raise AnnotationError(f"{path} holds something else than numbers for places and widths.") from error
    except AnnotationError:
        raise
    except ValueError as error:
        raise AnnotationError(f"{path} holds a place or width that is not a number ({error}).") from error


def _from_text(path: Path, text: str, size: tuple[int, int] | None) -> Annotation:
    if size is None:
        raise AnnotationError(f"{path} gives places relative to the photograph, whose size is not known.")
    rows = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    try:
        relative = np.array([[float(value) for value in row] for row in rows if row], dtype=np.float64)
    except ValueError as error:
        raise AnnotationError(f"{path} is not two numbers a line ({error}).") from error
    if len(relative) and (relative.ndim != 2 or relative.shape[1] != 2):
        raise AnnotationError(f"{path} has lines of {relative.shape[-1]} numbers; two, x and y, are wanted.")
    if (relative > 1.5).any():
        raise AnnotationError(f"{path} holds {relative.max():g}; places relative to the photograph go from 0 to 1.")
    points = relative.reshape(-1, 2) * size - 0.5
    return Annotation(path.name, size, points, np.zeros(len(points)))


def _check(annotation: Annotation, path: Path) -> None:
    points, upper = annotation.points, np.array(annotation.size) - 0.5
    if not len(points) == len(annotation.types) == len(annotation.widths):
        raise AnnotationError(
            f"{path}: {len(points)} keypoints, {len(annotation.types)} types and {len(annotation.widths)} widths are "
            "not of one number."
        )
    if not np.isfinite(points).all():
        raise AnnotationError(f"{path}: a keypoint's place is not a finite number.")
    outside = ~((points >= -0.5) & (points <= upper)).all(axis=1)
    if outside.any():
        x, y = points[outside][0]
        raise AnnotationError(
            f"{path}: the keypoint ({x:g}, {y:g}) lies outside the {in_words(annotation.size)} photograph."
        )
    if not np.isin(annotation.types, range(len(TYPE_NAMES))).all():
        raise AnnotationError(f"{path}: types are 0 (bifurcation) and 1 (crossing), not {int(annotation.types.max())}.")
    widths = annotation.widths
    if np.isinf(widths).any() or (widths < 0).any():
        raise AnnotationError(f"{path}: a vessel's width is negative or not finite.")


def in_words(size: Iterable) -> str:
    """Say a size as (width) x (height)."""
    return " x ".join(str(side) for side in size)


__all__ = [
    "SUFFIXES",
    "Annotation",
    "AnnotationError",
    "in_words",
    "list_annotations",
    "read_annotation",
    "write_annotation",
]
