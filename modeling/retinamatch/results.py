"""The results of a pair on disk: pictures, matches as a table, the record; and animations."""

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from .drawing import PICTURES, pictures
from .estimation.estimator import check_points
from .files import put_results, written_aside
from .registration import Registration


RECORD = "registration.json"
#: What `write_registration` may write.
FILES = (*(f"{name}.png" for name in PICTURES), RECORD)
MATCH_COLUMNS = ("x_moving", "y_moving", "x_fixed", "y_fixed", "score", "inlier")


def matches_text(registration: Registration, as_json: bool = False) -> str:
    """Put the matches into CSV, or into JSON with status and reason.

    The columns are x_moving, y_moving, x_fixed, y_fixed in pixels of the two photographs, score, and inlier (1 or 0).
    No match of a pair that is not registered counts as an inlier.
    """
    table = registration.match_table()
    if as_json:
        rows = [dict(zip(MATCH_COLUMNS, row)) for row in table]
        record = {"status": registration.status, "reason": registration.reason, "matches": rows}
        return json.dumps(record, indent=2) + "\n"
    return "".join(",".join(map(str, row)) + "\n" for row in (MATCH_COLUMNS, *table))


def read_points(path: str | os.PathLike) -> np.ndarray:
    """Read places that a person set from CSV: x_moving, y_moving, x_fixed, y_fixed, with or without that header.

    Returns:
        (P, 4) float64.

    Raises:
        ValueError: The file holds no such table, or fewer than three rows.
        OSError: The file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        rows = [line.split(",") for line in text.splitlines() if line.strip()]
        if rows and [name.strip() for name in rows[0][:4]] == list(MATCH_COLUMNS[:4]):
            rows = rows[1:]
        return check_points([[float(value) for value in row[:4]] for row in rows])
    except ValueError as error:
        raise ValueError(
            f"{path} holds no points: three or more rows x_moving,y_moving,x_fixed,y_fixed are wanted ({error})"
        ) from error


def write_registration(
    registration: Registration, moving: np.ndarray, fixed: np.ndarray, folder: str | os.PathLike
) -> list[Path]:
    """Write `registration.json` and, when the pair is registered, the pictures; see `put_results`.

    Args:
        registration: The outcome.
        moving: (H, W, 3) uint8, the moving photograph.
        fixed: (H', W', 3) uint8, the fixed photograph.
        folder: Where to; it is made when missing.

    Returns:
        The files written: the pictures of `drawing.PICTURES` and the record; the record alone without a reliable match.

    Raises:
        OutputError: The folder cannot be written to.
    """
    folder = Path(folder)
    with written_aside(folder) as aside:
        names = []
        for name, picture in pictures(registration, moving, fixed) if registration else ():
            names.append(f"{name}.png")
            save_picture(picture, aside / names[-1])
        return put_results(aside, folder, names, RECORD, registration.to_dict(matches=True))


def write_animation(frames: list[np.ndarray], path: str | os.PathLike, seconds: float) -> None:
    """Write frames of one size as a GIF that goes on for ever.

    Args:
        frames: (H, W, 3) uint8.
        path: Where to.
        seconds: How long each frame stands; at least a third, as more than three flashes a second can harm.
    """
    # Without dithering: its dots would jump where nothing has changed.
    method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    pictures = [Image.fromarray(frame).quantize(256, method, dither=dither) for frame in frames]
    duration = round(1000 * max(seconds, 1 / 3))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0, optimize=False)


def save_picture(picture: np.ndarray, path: Path) -> None:
    """Write a picture as PNG."""
    # The fastest compression: a few per cent more room on disk, a third of the time.
    Image.fromarray(picture).save(path, compress_level=1)


__all__ = ["FILES", "matches_text", "save_picture", "write_animation", "write_registration"]
