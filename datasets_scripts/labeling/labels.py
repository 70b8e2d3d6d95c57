"""From a file of a source to a labeled photograph on the canvas that all of them share."""

from pathlib import Path

import numpy as np

from retinamatch.field_of_view import FieldOfView, find_field_of_view
from retinamatch.photographs import PhotographError, read_photograph

from ..format.annotations import Annotation, in_words, read_annotation
from ..format.rows import LabeledPhotograph
from ..sources import PhotographFile, open_image
from .canvas import on_canvas
from .junctions import find_junctions


class LabelingError(ValueError):
    """A photograph or its labels cannot be used; the message is one sentence for the user."""


def label(photograph: PhotographFile, size: int, correction: Path | None = None) -> LabeledPhotograph:
    """Read a photograph, find or read its keypoints, and put both on the canvas.

    Args:
        photograph: File of a source.
        size: Side of the square canvas in pixels: the field of view is cropped and scaled to it.
        correction: Annotation to take instead of its own labels, made on the photograph or on its canvas in a former
            build of this size. Who names it vouches for its terms.

    Raises:
        LabelingError: The image or its vessel map is missing, unreadable or does not fit, or the correction is of
            another size.
        AnnotationError: The annotation or the correction cannot be used.
    """
    photo = read(photograph)
    view = find_field_of_view(photo)
    labels, canvas_labels = {}, {}
    license, redistributable = photograph.license, photograph.redistributable
    if correction is not None:
        labels, canvas_labels = read_correction(correction, photo.shape[:2], size)
    elif has_labels(photograph):
        labels = find_labels(photograph, photo, view)
        redistributable &= photograph.labels_redistributable
        if photograph.label_license and photograph.label_license != license:
            license = f"{license}; labels: {photograph.label_license}"
    pixels, mask, labels = on_canvas(photo, view, labels, size)
    return LabeledPhotograph(
        name=photograph.name,
        image=pixels,
        mask=mask,
        source=photograph.source,
        patient=photograph.patient,
        eye=photograph.eye,
        license=license,
        redistributable=redistributable,
        **(canvas_labels or labels),
    )


def read(photograph: PhotographFile) -> np.ndarray:
    """Read the image of a photograph, (H, W, 3) uint8.

    Raises:
        LabelingError: It cannot be read.
    """
    try:
        if photograph.path.suffix != ".gz":
            return read_photograph(photograph.path)
        with open_image(photograph.path) as image:
            return read_photograph(image)
    except (PhotographError, OSError) as error:
        raise LabelingError(f"The photograph {photograph.path} cannot be read: {error}") from error


def has_labels(photograph: PhotographFile) -> bool:
    """Tell whether a photograph has a vessel map or an annotation; a draft of an annotation does not count.

    Raises:
        AnnotationError: The annotation cannot be read.
    """
    if photograph.annotation is not None and photograph.annotation.suffix == ".json":
        return read_annotation(photograph.annotation).complete
    return photograph.annotation is not None or photograph.vessels is not None


def read_correction(path: Path, shape: tuple[int, int], size: int) -> tuple[dict, dict]:
    """Read an annotation that takes the place of what the source says.

    Args:
        path: JSON of the annotation page.
        shape: Height and width of the photograph.
        size: Side of the canvas.

    Returns:
        Labels in pixels of the photograph, and labels in pixels of the canvas; one of them is empty.

    Raises:
        LabelingError: It was made on a picture of neither size.
        AnnotationError: It cannot be read.
    """
    annotation = read_annotation(path)
    labels = _from_annotation(annotation)
    if annotation.size == (size, size):
        return {}, labels
    if annotation.size == shape[::-1]:
        return labels, {}
    raise LabelingError(
        f"{path} was made on a picture of {in_words(annotation.size)} pixels; the photograph has "
        f"{in_words(shape[::-1])}, its canvas {size} x {size}."
    )


def _from_annotation(annotation: Annotation) -> dict:
    return {
        "keypoints": annotation.points,
        "types": annotation.types,
        "widths": annotation.widths,
        "directions": [np.zeros(0)] * len(annotation),
        "labeled_by": annotation.annotator or "annotator",
    }


def find_labels(photograph: PhotographFile, photo: np.ndarray, view: FieldOfView) -> dict:
    """Take keypoints from the annotation of a photograph, or find them in its vessel map.

    Returns:
        `keypoints`, `types`, `widths`, `directions` in pixels of the photograph, and `labeled_by`.

    Raises:
        LabelingError: It has neither, or its vessel map does not fit.
        AnnotationError: The annotation cannot be used.
    """
    if photograph.annotation is not None:
        return _from_annotation(read_annotation(photograph.annotation, size=(photo.shape[1], photo.shape[0])))
    junctions = find_junctions(read_vessels(photograph, photo.shape[:2]), field_width=view.box[2] - view.box[0])
    return {
        "keypoints": junctions.points,
        "types": junctions.types,
        "widths": junctions.widths,
        "directions": junctions.directions,
        "labeled_by": "vessel map",
    }


def read_vessels(photograph: PhotographFile, size: tuple[int, int]) -> np.ndarray:
    """Read the vessel map of a photograph.

    Args:
        photograph: Whose map.
        size: Height and width that it must have.

    Returns:
        Map (H, W), bool.

    Raises:
        LabelingError: It is missing, unreadable, or of another size than its image.
    """
    path = photograph.vessels
    if path is None or not path.is_file():
        raise LabelingError(f"Labels of {photograph.path} were asked for, but it has no vessel map and no annotation.")
    try:
        with open_image(path) as image:
            pixels = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise LabelingError(f"The vessel map {path} cannot be read as an image.") from error
    if pixels.shape != size:
        raise LabelingError(
            f"The vessel map {path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {photograph.path} has "
            f"{size[1]} x {size[0]}; they must agree."
        )
    return pixels > int(pixels.max()) // 2


__all__ = [
    "LabelingError",
    "find_labels",
    "has_labels",
    "label",
    "read",
    "read_vessels",
]
