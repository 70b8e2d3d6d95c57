"""Carry along what belongs to a photograph: other images of it, masks and points, by registrations that were kept.

`LocatedTransform.load` reads one `registration.json`, or several, one visit onto the next, as one transform.
"""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .photographs import PhotographError, PhotographLike, read_photograph
from .transforms import Affine, Transform, read_record


#: Kinds of files that keep every value of a mask.
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class LocatedTransform:
    """A transform with the sizes of the two photographs that it stands between.

    Attributes:
        transform: Maps pixels of the moving photograph to pixels of the fixed one.
        moving: (height, width) of the moving photograph.
        fixed: (height, width) of the fixed photograph.
    """

    transform: Transform
    moving: tuple[int, int]
    fixed: tuple[int, int]

    @classmethod
    def load(cls, *paths: str | os.PathLike) -> "LocatedTransform":
        """Read one registration, or a chain of them: the fixed photograph of each is the moving one of the next.

        Raises:
            ValueError: A file holds no registration, or that of a pair without a reliable match; two that follow each
                other do not fit.
            OSError: A file cannot be read.
        """
        parts = [cls._load_one(path) for path in paths]
        whole = parts[0]
        for path, part in zip(paths[1:], parts[1:]):
            if whole.fixed != part.moving:
                raise ValueError(
                    f"{path} begins at a photograph of {_words(part.moving)} pixels, but the registration before it "
                    f"ends at one of {_words(whole.fixed)}."
                )
            whole = cls(whole.transform.then(part.transform), whole.moving, part.fixed)
        return whole

    @classmethod
    def _load_one(cls, path: str | os.PathLike) -> "LocatedTransform":
        transform, record = Transform.load(path), read_record(path)
        try:
            sizes = [(int(record[name]["height"]), int(record[name]["width"])) for name in ("moving", "fixed")]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path} does not say how large the two photographs are; a registration does.") from None
        return cls(transform, sizes[0], sizes[1])

    def inverted(self) -> "LocatedTransform":
        """Return the way back, from the fixed photograph to the moving one."""
        return LocatedTransform(self.transform.inverted(), self.fixed, self.moving)

    def warp_image(self, image: PhotographLike) -> np.ndarray:
        """Draw a photograph of the moving visit on the pixel grid of the fixed one, (height, width, 3) uint8.

        Raises:
            PhotographError: It cannot be read.
            ValueError: It has another size than the moving photograph.
        """
        photograph = read_photograph(image)
        self.check_size(photograph.shape[:2], "image", self.moving)
        return self.transform.warp(photograph, self.fixed)

    def warp_mask(self, mask: np.ndarray) -> np.ndarray:
        """Draw a mask of the moving photograph on the grid of the fixed one; no value is made that it has not, but 0.

        Args:
            mask: (H, W) or (H, W, C), any type of integers or bool.

        Raises:
            ValueError: It has another size than the moving photograph.
        """
        self.check_size(mask.shape[:2], "mask", self.moving)
        # OpenCV moves no bool and no 32 bit integers; float32 holds integers up to 2 ** 24 as they are.
        kind = np.uint8 if mask.dtype == bool else mask.dtype if mask.dtype.itemsize < 4 else np.float32
        return self.transform.warp(mask.astype(kind), self.fixed, order=0).astype(mask.dtype)

    @staticmethod
    def check_size(size: Sequence[int], word: str, wanted: tuple[int, int]) -> None:
        """Raise ValueError where a picture has not the (height, width) of the one that was registered."""
        if tuple(size) != wanted:
            raise ValueError(f"The {word} has {_words(size)} pixels; the registered one has {_words(wanted)}.")


def scaling(own: np.ndarray, other: np.ndarray) -> Affine:
    """Give the transform from pixels of a picture to those of the same picture at another size."""
    x, y = other.shape[1] / own.shape[1], other.shape[0] / own.shape[0]
    return Affine([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


def read_mask(path: str | os.PathLike) -> Image.Image:
    """Read a mask, upright, with the values as they are: 1, 8 or 16 bit, indices of a palette, or colors.

    Raises:
        PhotographError: The file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise PhotographError(f"{path} does not exist.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotographError(f"{path} is no mask that can be read ({error}).") from None


def carry_mask(located: LocatedTransform, mask: Image.Image) -> Image.Image:
    """Draw a mask on the grid of the fixed photograph, nearest neighbor, in the mode and the palette it has."""
    carried = Image.fromarray(located.warp_mask(np.asarray(mask)))
    if mask.mode == "P":
        carried.putpalette(mask.getpalette() or [], "RGB")
    return carried


def carry_points(transform: Transform, text: str) -> str:
    """Map the points of a CSV table; what else stands in a row stays.

    Args:
        transform: What maps them.
        text: Rows of x,y in pixels and whatever follows; or a header with columns `x` and `y` anywhere.

    Returns:
        The same table with other places, a thousandth of a pixel exact; empty where a point is mapped nowhere.

    Raises:
        ValueError: There are no such rows.
    """
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    named = "x" in header and "y" in header
    columns = (header.index("x"), header.index("y")) if named else (0, 1)
    body = rows[1:] if named else rows
    try:
        places = np.array([[float(row[column]) for column in columns] for row in body]).reshape(-1, 2)
    except (ValueError, IndexError) as error:
        raise ValueError(f"Rows x,y are wanted, with or without a header that names them ({error}).") from None
    for row, place in zip(body, transform(places)):
        for column, value in zip(columns, place):
            row[column] = f"{value:.3f}" if np.isfinite(value) else ""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue()


def read_table(path: str | os.PathLike) -> str:
    """Read a text file of points.

    Raises:
        ValueError: It is not text.
        OSError: It cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text; a CSV table of points is wanted.") from None


def _words(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"


__all__ = ["LocatedTransform", "MASK_SUFFIXES", "carry_mask", "carry_points", "read_mask", "read_table", "scaling"]
