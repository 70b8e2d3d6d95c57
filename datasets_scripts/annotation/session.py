"""One person's work on a list of photographs.

The files on disk are the only state that counts: after a crash, a session that is started again goes on where the
former one was.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from ..format.annotations import Annotation, AnnotationError, read_annotation, write_annotation
from ..keypoint_types import TYPE_NAMES
from .pictures import Picture, propose


OPEN, DRAFT, DONE = "open", "draft", "done"
# Photographs around the one on show that stay ready for the browser.
KEPT = 2


class Session:
    """One person's work on a list of photographs.

    Args:
        pictures: What is annotated, see `list_pictures`.
        out: Folder of the annotations, one JSON a photograph.
        annotator: The person.
        how: Which proposals, see `propose`.
        detector: See `propose`.

    Raises:
        AnnotationError: The folder holds a broken annotation, one of another person, or cannot be written to.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        out: str | os.PathLike,
        annotator: str,
        how: str = "auto",
        detector: Callable | None = None,
    ):
        self.pictures, self.out, self.annotator = list(pictures), Path(out), annotator
        self.how, self.detector = how, detector
        self._ready = tempfile.TemporaryDirectory(prefix="retinamatch-annotate-")
        self._sizes = {}
        self._written: dict[int, int] = {}  # number of changes in what was written since a photograph was opened
        self._worker, self._ahead = ThreadPoolExecutor(max_workers=1), {}
        self.states = [self._read_state(number) for number in range(len(self.pictures))]
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.out).close()
        except OSError as error:
            raise AnnotationError(f"The folder {out} cannot be written to: {error.strerror}.") from error
        self.current = self._first()

    @property
    def ready(self) -> str:
        """Folder of the photographs as the browser gets them."""
        return self._ready.name

    def file(self, number: int) -> Path:
        """Name the annotation of a photograph."""
        return self.out / f"{self.pictures[number].name}.json"

    def _read_state(self, number: int) -> str:
        path = self.file(number)
        if not path.exists():
            return OPEN
        annotation = read_annotation(path)
        if annotation.annotator != self.annotator:
            raise AnnotationError(
                f"{path} was made by {annotation.annotator!r}, not by {self.annotator!r}; give each person a folder."
            )
        return DONE if annotation.complete else DRAFT

    def _first(self) -> int:
        """Choose the photograph to go on with: the draft that was changed last, or the first that is not done."""
        drafts = [number for number, state in enumerate(self.states) if state == DRAFT]
        if drafts:
            return max(drafts, key=lambda number: self.file(number).stat().st_mtime_ns)
        return self.states.index(OPEN) if OPEN in self.states else 0

    def open(self, number: int) -> dict:
        """Prepare a photograph and its keypoints for the page.

        Returns:
            What the canvas shows (see `canvas/canvas.js`), with the path of the picture as `file`. What
            cannot be read says so in `problem`.
        """
        picture = self.pictures[number]
        self.current = number
        self._written.pop(number, None)
        shown = {"number": number, "name": picture.name, "changes": 0, "points": [], "problem": "", "note": ""}
        ahead = self._ahead.pop(number, None)
        if number + 1 < len(self.pictures) and number + 1 not in self._ahead:
            self._ahead = {number + 1: self._worker.submit(self._prepare, number + 1)}
        try:
            size, file, annotation, shown["note"] = self._prepare(number) if ahead is None else ahead.result()
            if self.states[number] != OPEN:
                annotation, shown["note"] = read_annotation(self.file(number), size), ""
        except AnnotationError as error:
            return {**shown, "problem": str(error), "file": "", "width": 0, "height": 0, "state": OPEN}
        shown["points"] = [
            [float(x), float(y), int(kind), None if np.isnan(vessel) else float(vessel)]
            for (x, y), kind, vessel in zip(annotation.points, annotation.types, annotation.widths)
        ]
        return {**shown, "file": file, "width": size[0], "height": size[1], "state": self.states[number]}

    def _prepare(self, number: int) -> tuple[tuple[int, int], str, Annotation, str]:
        """Do what takes long before a photograph can be shown; for the next one it is done while a person works.

        Returns:
            Size of the photograph, its file for the browser, proposals where nobody has worked on it yet, and a note.
        """
        picture = self.pictures[number]
        photo = picture.read()
        self._sizes[number] = size = photo.shape[1::-1]
        annotation, note = Annotation(picture.image, size, [], []), ""
        if self.states[number] == OPEN:
            try:
                annotation, note = propose(picture, photo, self.how, self.detector)
            except AnnotationError as error:
                note = f"no proposals: {error}"
        return size, self._make_ready(number, photo), annotation, note

    def _make_ready(self, number: int, photo: np.ndarray) -> str:
        """Write a photograph as the browser can show it: upright, of a format that every browser knows."""
        path = Path(self.ready, f"{number}.jpg")
        if not path.exists():
            aside = path.with_suffix(f".{threading.get_ident()}")  # the worker may be at the same photograph
            Image.fromarray(photo).save(aside, format="JPEG", quality=95, subsampling=0)
            os.replace(aside, path)
        for other in Path(self.ready).glob("*.jpg"):
            if abs(int(other.stem) - self.current) > KEPT:
                other.unlink(missing_ok=True)
        return str(path)

    def save(self, shown: dict, complete: bool) -> str:
        """Write the keypoints that the page shows.

        Args:
            shown: What the canvas holds. What a browser sends may be anything, hence the checks.
            complete: Whether the person calls the photograph done; else what was not changed is not written.

        Returns:
            State of the photograph now.

        Raises:
            AnnotationError: The keypoints cannot be those of the photograph, or the file cannot be written.
        """
        try:
            number, changes, points = int(shown["number"]), int(shown["changes"]), shown["points"]
            picture = self.pictures[number]
            rows = np.array(points, dtype=np.float64).reshape(-1, 4)
            fits = number >= 0 and shown["name"] == picture.name
        except (KeyError, IndexError, TypeError, ValueError):
            fits = False
        if not fits:
            raise AnnotationError("What the page sent does not fit the photographs; reload the page.")
        # Requests may overtake each other: a draft that comes after what was made of it later is not written, nor one
        # of what is written already, which may be called done by now.
        written = self._written.get(number, 0)
        if shown.get("problem") or changes < written or (changes == written and not complete):
            return self.states[number]
        if not np.isin(rows[:, 2], range(len(TYPE_NAMES))).all():
            raise AnnotationError("What the page sent holds a keypoint of an unknown type; reload the page.")
        if number not in self._sizes:  # the page was opened by a former session
            self._sizes[number] = picture.read().shape[1::-1]
        annotation = Annotation(
            picture.image, self._sizes[number], rows[:, :2], rows[:, 2], self.annotator, rows[:, 3], complete
        )
        write_annotation(self.file(number), annotation)
        self.states[number], self._written[number] = DONE if complete else DRAFT, changes
        return self.states[number]


__all__ = ["DONE", "DRAFT", "OPEN", "Session"]
