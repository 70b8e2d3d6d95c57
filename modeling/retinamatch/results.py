"""Results on disk: a folder or a file that is complete or not there, never half-written.

Everything is written aside, in the place where it will stay, and renamed when it is whole.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from .drawing import PICTURES, pictures
from .registration import Registration


RECORD = "registration.json"
MATCH_COLUMNS = ("x_moving", "y_moving", "x_fixed", "y_fixed", "score", "inlier")


class OutputError(OSError):
    """A place that results cannot be written to; the sentence names it."""


def check_output_folder(folder: str | os.PathLike) -> Path:
    """Make sure, before the work starts, that results can be written to a folder; nothing is left behind.

    Args:
        folder: The folder, which need not exist yet.

    Raises:
        OutputError: It cannot be written to.
    """
    folder = Path(folder)
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"The output folder {folder} cannot be made: {existing} is a file.")
    try:
        with tempfile.TemporaryFile(dir=existing):
            return folder
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error


def check_output_file(path: str | os.PathLike) -> Path:
    """Make sure, before the work starts, that a file can be written; see `check_output_folder`."""
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"The output file {path} is a folder.")
    check_output_folder(path.parent)
    return path


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    path = Path(path)
    with written_aside(path.parent) as aside:
        (aside / path.name).write_text(text, encoding="utf-8")
        os.replace(aside / path.name, path)


def matches_text(registration: Registration, as_json: bool = False) -> str:
    """Put the matches into CSV, or into JSON with status and reason.

    The columns are x_moving, y_moving, x_fixed, y_fixed in pixels of the two photographs, score, and inlier (1 or 0).
    No match of a pair that is not registered counts as an inlier.
    """
    table = [
        (*(round(float(value), 3) for value in (*moving, *fixed)), round(float(score), 5), int(inlier))
        for moving, fixed, score, inlier in zip(
            registration.moving_points,
            registration.fixed_points,
            registration.match_scores,
            registration.inliers,
        )
    ]
    if as_json:
        rows = [dict(zip(MATCH_COLUMNS, row)) for row in table]
        record = {"status": registration.status, "reason": registration.reason, "matches": rows}
        return json.dumps(record, indent=2) + "\n"
    return "".join(",".join(map(str, row)) + "\n" for row in (MATCH_COLUMNS, *table))


def write_registration(
    registration: Registration, moving: np.ndarray, fixed: np.ndarray, folder: str | os.PathLike
) -> list[Path]:
    """Write `registration.json` and, when the pair is registered, the pictures; what an earlier run left there goes.

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
        move_results(aside, folder, [*names, RECORD], registration.to_dict(), [f"{name}.png" for name in PICTURES])
    return [folder / name for name in (*names, RECORD)]


def move_results(aside: Path, folder: Path, names: list[str], record: dict, patterns: list[str]) -> None:
    """Write the record beside the results that were written aside, and move all into their folder.

    Args:
        aside: Where the results lie.
        folder: Where they go.
        names: Of the results, that of the record last.
        record: Goes into a JSON file.
        patterns: Of the names of results that an earlier run may have left: what this one has not written is removed.
    """
    (aside / names[-1]).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for name in names:
        os.replace(aside / name, folder / name)
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.name not in names:
                path.unlink()


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


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """Make a temporary folder inside `folder`, on the same disk, so that renaming out of it is one step."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".retinamatch-", dir=folder) as aside:
            yield Path(aside)
    except OSError as error:
        raise OutputError(f"Results could not be written to {folder}: {error.strerror or error}.") from error


__all__ = [
    "OutputError",
    "check_output_file",
    "check_output_folder",
    "matches_text",
    "move_results",
    "save_picture",
    "write_animation",
    "write_registration",
    "write_text",
    "written_aside",
]
