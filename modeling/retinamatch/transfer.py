"""Carry along what belongs to a photograph: other images of it, masks and points, by saved registrations.

`LocatedTransform.load` reads one `registration.json`, or several, one visit onto the next, as one transform.
"""

import csv
import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .photographs import PhotographError, PhotographLike, any_size, check_size, read_photograph
from .transforms import Affine, Transform, read_record


# Modes of PIL that a file gives back with the same values; a BMP file has no transparency.
_TIFF = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I;16B", "I", "F")
_KEPT = {
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": ("1", "L", "P", "RGB"),
}
#: Kinds of files that keep every value of a mask.
MASK_SUFFIXES = tuple(_KEPT)


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
            return cls(transform, *read_sizes(record))
        except ValueError as error:
            raise ValueError(f"{path} holds no registration that can be used: {error}") from None

    def inverted(self) -> "LocatedTransform":
        """Return the way back, from the fixed photograph to the moving one."""
        return LocatedTransform(self.transform.inverted(), self.fixed, self.moving)

    def warp_image(self, image: PhotographLike) -> np.ndarray:
        """Draw a photograph of the moving visit on the pixel grid of the fixed one.

        Args:
            image: Of the moving photograph's size, anything that `read_photograph` reads.

        Returns:
            (height, width, 3) uint8 RGB of the fixed photograph's size, black where the moving one shows nothing.

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
            mask: (H, W) or (H, W, C), any type of numbers or bool.

        Returns:
            (height, width) or (height, width, C) of the fixed photograph's size and the mask's type.

        Raises:
            ValueError: It has another size than the moving photograph.
        """
        self.check_size(mask.shape[:2], "mask", self.moving)
        # The bytes of a pixel move together: OpenCV does not know every type, and float32 would round integers.
        pixels = np.ascontiguousarray(mask).view(np.uint8).reshape(*mask.shape[:2], -1)
        moved = self.transform.warp(pixels, self.fixed, order=0)
        return moved.view(mask.dtype).reshape(*self.fixed, *mask.shape[2:])

    @staticmethod
    def check_size(size: Sequence[int], word: str, wanted: tuple[int, int]) -> None:
        """Raise ValueError where a picture has not the (height, width) of the one that was registered."""
        if tuple(size) != wanted:
            raise ValueError(f"The {word} has {_words(size)} pixels; the registered one has {_words(wanted)}.")


def read_sizes(record: dict) -> tuple[tuple[int, int], tuple[int, int]]:
    """Read from a record of a registration how large the photographs are.

    Args:
        record: What `Registration.to_dict` gave of a registered pair.

    Returns:
        (height, width) of the moving photograph and of the fixed one.

    Raises:
        ValueError: No sizes stand in it, or none that a photograph can have.
    """
    try:
        moving, fixed = ((record[name]["height"], record[name]["width"]) for name in ("moving", "fixed"))
    except (KeyError, TypeError):
        raise ValueError("It does not say how large the two photographs are; a registration does.") from None
    for name, size in (("moving", moving), ("fixed", fixed)):
        if not all(type(side) is int for side in size):
            raise ValueError(f"The size of the {name} photograph is two whole numbers, got {size[1]} x {size[0]}.")
        check_size(*size, f"The {name} photograph")
    return moving, fixed


def scaling(own: np.ndarray, other: np.ndarray) -> Affine:
    """Give the transform from pixels of a picture to those of the same picture at another size."""
    x, y = other.shape[1] / own.shape[1], other.shape[0] / own.shape[0]
    return Affine([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


def read_mask(path: str | os.PathLike) -> Image.Image:
    """Read a mask, upright, with the values as they are: numbers, indices of a palette, or colors.

    Raises:
        PhotographError: The file is missing or no image, is too large or too small for a photograph, or holds values
            that PIL would change.
    """
    try:
        with any_size(), Image.open(path) as image:
            check_size(image.height, image.width, str(path))
            stored = " ".join(str(tile[3]) for tile in image.tile)
            upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise PhotographError(f"{path} does not exist.") from None
    except PhotographError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error) as error:
        raise PhotographError(f"{path} is no mask that can be read ({error}).") from None
    if ";16" in stored and not upright.mode.startswith("I"):
        raise PhotographError(f"{path} has colors of 16 bit; a mask has 8 bit per channel, or one channel of 16 or 32.")
    if "I;32N" in stored and np.asarray(upright).min() < 0:
        raise PhotographError(f"{path} holds values above {2**31 - 1}, the highest that a mask may have.")
    return upright


def carry_mask(located: LocatedTransform, mask: Image.Image, suffix: str = ".png") -> Image.Image:
    """Draw a mask on the grid of the fixed photograph, nearest neighbor, every value as it is.

    Args:
        located: The transform, with the sizes of the photographs.
        mask: Of the moving photograph.
        suffix: Of the file that it is going to be written to, one of `MASK_SUFFIXES`.

    Returns:
        A picture in the mode and the palette of the mask; gray levels for ".png" have 16 bit where that is enough.

    Raises:
        PhotographError: A file of that kind does not keep the values.
        ValueError: The mask has another size than the moving photograph.
    """
    values = located.warp_mask(np.asarray(mask))
    low, high = values.min(), values.max()
    if suffix == ".png" and mask.mode in ("I", "I;16B") and low >= 0 and high < 2**16:
        return Image.fromarray(values.astype(np.uint16))
    if mask.mode not in _KEPT[suffix]:
        other = next((f"{kind} does" for kind, modes in _KEPT.items() if mask.mode in modes), "gray levels are kept")
        raise PhotographError(
            f"The mask holds values from {low} to {high} (mode {mask.mode}), which {suffix} does not keep; {other}."
        )
    if mask.mode == "1":
        return Image.fromarray(values)
    carried = Image.frombytes(mask.mode, values.shape[1::-1], values.tobytes())
    if mask.mode in ("P", "PA"):
        palette = mask.getpalette("RGB") or []
        carried.putpalette(palette + [0] * (3 * (int(high) + 1) - len(palette)), "RGB")
    return carried


def inside_mask(mask: Image.Image) -> np.ndarray:
    """Tell what belongs to a mask, (H, W) bool: all that is not 0, NaN, black or transparent."""
    gray = mask.mode in ("1", "L") and "transparency" not in mask.info
    if gray or mask.mode in ("I", "F") or mask.mode.startswith("I;"):
        return np.nan_to_num(np.asarray(mask)) != 0
    if mask.mode == "LAB":
        return np.asarray(mask.getchannel("L")) != 0
    pixels = np.asarray(mask.convert("RGBA"))
    return pixels[..., :3].any(-1) & (pixels[..., 3] != 0)


def carry_points(transform: Transform, text: str) -> str:
    """Map the points of a CSV table; what else stands in a row stays.

    Args:
        transform: What maps them.
        text: Rows of x,y in pixels and whatever follows; or a header with columns `x` and `y` anywhere.

    Returns:
        The same table with other places, a thousandth of a pixel exact; empty where a point is mapped nowhere.

    Raises:
        ValueError: It is no such table, or a place is no finite number.
    """
    wanted = "Rows x,y are wanted, with or without a header that names them"
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"{wanted} ({error}).") from None
    if not rows:
        raise ValueError(f"{wanted} (there are none).")
    header = [name.strip().lower() for name in rows[0]]
    named = "x" in header and "y" in header
    columns = (header.index("x"), header.index("y")) if named else (0, 1)
    body = rows[1:] if named else rows
    try:
        places = np.array([[float(row[column]) for column in columns] for row in body]).reshape(-1, 2)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{wanted} ({error}).") from None
    for row, place in zip(body, places):
        if not np.isfinite(place).all():
            raise ValueError(f"A point has two finite numbers, got {','.join(row)[:80]!r}.")
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
        OSError: It cannot be read; one sentence says why.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text; a CSV table of points is wanted.") from None


def _words(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"


__all__ = [
    "LocatedTransform",
    "MASK_SUFFIXES",
    "carry_mask",
    "carry_points",
    "inside_mask",
    "read_mask",
    "read_sizes",
    "read_table",
    "scaling",
]
