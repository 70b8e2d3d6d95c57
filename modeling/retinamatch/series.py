"""A history: photographs of one eye over time, all registered to one of them; those that cannot be are named.

`register_series` gives a `Series`; `write_series` puts the aligned photographs, a strip, an animation and the figures
into a folder.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .dicom import is_dicom, spacing_of
from .drawing import flicker
from .files import put_results, written_aside
from .photographs import IMAGE_SUFFIXES, PhotographError, PhotographLike, photograph_name, read_photograph
from .registrar import Registrar
from .registration import FailedRegistration, Registration
from .results import save_picture, write_animation


LEAST_PHOTOGRAPHS = 3
STRIP, ALIGNED, FRAME = "strip", "aligned", "frame"  # names of pictures
ANIMATION, RECORD = "animation.gif", "series.json"
STRIP_WIDTH = 6000  # pixels of all panels together, at most
PANEL, LEAST_PANEL = 480, 160  # the side of one of them
FRAME_SIDE = 900  # of the animation
SECONDS_A_VISIT = 0.8
BACKGROUND, INK = (16, 16, 16), (235, 235, 235)


class SeriesError(ValueError):
    """Photographs that make no series; the message is one sentence for the user."""


@dataclass
class Visit:
    """One photograph of a series.

    Attributes:
        name: What it is called.
        read: Reads it.
        registration: How it lies on the fixed photograph; None for the fixed one itself.
    """

    name: str
    read: Callable[[], np.ndarray]
    registration: Registration | FailedRegistration | None = None

    @property
    def problem(self) -> str:
        """Why it is not part of the strip, in words; "" when it is."""
        return "" if self.registration is None else self.registration.reason

    def aligned(self) -> np.ndarray:
        """Draw the photograph on the pixel grid of the fixed one, at its full resolution."""
        return self.registration.warp(self.read()) if isinstance(self.registration, Registration) else self.read()


@dataclass
class Series:
    """Photographs of one eye in order, and which of them the others were registered to."""

    visits: list[Visit]
    fixed: int

    @property
    def failed(self) -> list[Visit]:
        """The visits that could not be read or registered."""
        return [visit for visit in self.visits if visit.problem]

    @property
    def registered(self) -> list[Visit]:
        """The visits that lie on the fixed one, without it."""
        return [visit for visit in self.visits if visit.registration]

    def words(self, index: int) -> str:
        """Say what became of one visit, in a few words."""
        registration = self.visits[index].registration
        return "fixed" if registration is None else registration.status

    def to_dict(self) -> dict:
        """Put the outcome into numbers, strings, lists and dicts, ready for JSON."""
        visits = []
        for index, visit in enumerate(self.visits):
            record = {"name": visit.name, "status": self.words(index), "reason": visit.problem}
            visits.append(record | (visit.registration.to_dict() if visit.registration else {}))
        return {"fixed": self.visits[self.fixed].name, "visits": visits}


def list_photographs(folder: str | os.PathLike) -> list[Path]:
    """Photographs of a folder in the order of their names, numbers in them by value: visit_2 before visit_10.

    Raises:
        SeriesError: It is no folder, or has fewer than three.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SeriesError(f"{folder} is not a folder of photographs.")
    files = [path for path in folder.iterdir() if path.is_file()]
    found = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES or (not path.suffix and is_dicom(path))]
    found = [path for path in found if not path.name.startswith(".")]
    if len(found) < LEAST_PHOTOGRAPHS:
        raise SeriesError(f"{folder} holds {len(found)} photographs; a series takes {LEAST_PHOTOGRAPHS} or more.")
    return sorted(found, key=_natural_order)


def _natural_order(path: Path) -> list:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name.lower())]


def register_visits(
    photographs: Sequence[PhotographLike | Callable[[], np.ndarray]],
    fixed: int,
    registrar: Registrar,
    names: Sequence[str] | None = None,
    **choices: Any,
) -> Iterator[Visit]:
    """Register photographs one by one: first gives the fixed one, then the others in order.

    Args:
        photographs: Three or more: paths, or anything else that `read_photograph` reads; or functions that read one.
        fixed: Which one the others are registered to.
        registrar: What registers them.
        names: What they are called; the names of the files when None.
        **choices: For `Registrar.register_keypoints`: transform, settings.

    Yields:
        A visit for each photograph.

    Raises:
        SeriesError: There are fewer than three, or no such fixed one.
        PhotographError: The fixed one cannot be read; another one that cannot is named in its visit.
    """
    count = len(photographs)
    if count < LEAST_PHOTOGRAPHS:
        raise SeriesError(f"A series takes {LEAST_PHOTOGRAPHS} photographs or more, got {count}.")
    if not 0 <= fixed < count:
        raise SeriesError(f"There is no photograph number {fixed + 1}: the series has {count}.")
    names = names or [photograph_name(photo) or f"photograph {n}" for n, photo in enumerate(photographs, 1)]
    # Read when their turn comes, and again when they are drawn: a history of large photographs fits in no memory.
    readers = [photo if callable(photo) else partial(read_photograph, photo) for photo in photographs]
    onto = readers[fixed]()
    target, spacing = registrar.keypoints([onto])[0], spacing_of(photographs[fixed])
    yield Visit(names[fixed], readers[fixed])
    for index, (name, read) in enumerate(zip(names, readers)):
        if index == fixed:
            continue
        try:
            photograph = read()
            keypoints = registrar.keypoints([photograph])[0]
        except PhotographError as error:
            yield Visit(name, read, FailedRegistration(error))
            continue
        registration = registrar.register_keypoints(keypoints, target, photographs=(photograph, onto), **choices)
        registration.fixed_spacing = spacing
        yield Visit(name, read, registration)


def register_series(
    photographs: Sequence, fixed: int = 0, registrar: Registrar | None = None, names: Sequence[str] | None = None
) -> Series:
    """Register photographs of one eye to one of them.

    Args:
        photographs: Three or more, as for `register_visits`.
        fixed: Which one the others are registered to, from 0.
        registrar: What registers them; one with the default model when None.
        names: What they are called; the names of the files when None.

    Returns:
        The visits in the order of the photographs; what could not be registered is named in `failed`.

    Raises:
        SeriesError: There are fewer than three, or no such fixed one.
        PhotographError: The fixed one cannot be read.
    """
    return gather(register_visits(photographs, fixed, registrar or Registrar(), names), fixed)


def gather(visits: Iterable[Visit], fixed: int) -> Series:
    """Put the visits that `register_visits` gives into the order of the photographs.

    Args:
        visits: The fixed one first, then the others in order.
        fixed: Which photograph is the fixed one, from 0.

    Returns:
        All visits in order.
    """
    first, *others = visits
    return Series([*others[:fixed], first, *others[fixed:]], fixed)


def write_series(series: Series, folder: str | os.PathLike) -> list[Path]:
    """Write the aligned photographs, the strip, the animation and `series.json`; see `put_results`.

    Args:
        series: The outcome.
        folder: Where to; it is made when missing.

    Returns:
        The files written; the record alone when nothing could be registered.

    Raises:
        OutputError: The folder cannot be written to.
    """
    folder = Path(folder)
    with written_aside(folder) as aside:
        names, frames = [], []
        for name, picture in pictures(series) if series.registered else ():
            if name == FRAME:
                frames.append(picture)
            else:
                names.append(f"{name}.png")
                save_picture(picture, aside / names[-1])
        if frames:
            names.append(ANIMATION)
            write_animation(frames, aside / ANIMATION, SECONDS_A_VISIT)
        return put_results(aside, folder, names, RECORD, series.to_dict())


def pictures(series: Series) -> Iterator[tuple[str, np.ndarray]]:
    """Draw all pictures of a series: the aligned photographs, the strip, and the frames of the animation.

    Yields:
        A name and the picture: "01_NAME_aligned" and so on at the resolution of the fixed photograph; "strip"; "frame"
        for each frame in order, where any visit is registered.
    """
    small: dict[int, np.ndarray] = {}
    for index, visit in enumerate(series.visits):
        if not visit.problem:
            aligned = visit.aligned()
            yield f"{index + 1:02d}_{plain_name(visit.name)}_{ALIGNED}", aligned
            small[index] = fitted(aligned, FRAME_SIDE)
    yield STRIP, _strip(series, small)
    for index, picture in small.items() if series.registered else ():
        shown = picture if index == series.fixed else flicker(small[series.fixed], picture)[1]
        yield FRAME, _captioned(shown, _caption(series, index))


def _strip(series: Series, pictures: dict[int, np.ndarray]) -> np.ndarray:
    """Draw all visits in a row; an empty panel with a cross and the reason where one could not be registered."""
    side = int(np.clip(STRIP_WIDTH // len(series.visits), LEAST_PANEL, PANEL))
    small = {index: fitted(picture, side) for index, picture in pictures.items()}
    empty = np.full_like(small[series.fixed], BACKGROUND[0])
    height, width = empty.shape[:2]
    for start, end in (((0, 0), (width, height)), ((0, height), (width, 0))):
        cv2.line(empty, start, end, (90, 90, 90), 1, cv2.LINE_AA)
    panels = [_captioned(small.get(index, empty), _caption(series, index)) for index, _ in enumerate(series.visits)]
    return np.concatenate([np.pad(panel, ((0, 0), (0, 6), (0, 0))) for panel in panels], axis=1)


def _caption(series: Series, index: int) -> str:
    return f"{index + 1}. {series.visits[index].name}\n{series.words(index)}"


def _captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """Two lines below a picture, shortened to its width."""
    size = max(12, picture.shape[1] // 32)
    font = ImageFont.load_default(size)
    canvas = Image.new("RGB", (picture.shape[1], len(picture) + round(3.2 * size)), BACKGROUND)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(text.split("\n")):
        while len(line) > 4 and draw.textlength(line, font) > picture.shape[1] - 12:
            line = line[:-2].rstrip(".") + "…"
        draw.text((6, len(picture) + (0.3 + 1.4 * number) * size), line, INK, font)
    return np.asarray(canvas)


def fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """Reduce a picture so that no side is longer than `side` pixels."""
    scale = min(1.0, side / max(picture.shape[:2]))
    width, height = (max(1, round(length * scale)) for length in picture.shape[1::-1])
    return picture if scale == 1 else cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def plain_name(name: str) -> str:
    """Make the name of a photograph part of the name of a file: without ending, plain letters, not too long."""
    return re.sub(r"[^\w.-]", "_", Path(name).stem)[:60]


__all__ = [
    "Series",
    "SeriesError",
    "Visit",
    "fitted",
    "gather",
    "list_photographs",
    "pictures",
    "plain_name",
    "register_series",
    "register_visits",
    "write_series",
]
