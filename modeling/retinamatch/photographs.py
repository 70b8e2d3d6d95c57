"""Any file, PIL image, array or tensor becomes an upright RGB photograph, or one clear error."""

import io
import os
import re
import struct
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Union

import numpy as np
from PIL import Image, UnidentifiedImageError


if TYPE_CHECKING:
    import torch


#: How the names of photographs end, where a folder is looked through; in small letters.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".ppm", ".pgm", ".bmp", ".webp", ".gif", ".dcm")
MINIMUM_SIDE = 64  # pixels; below, no vessel can be told from another
MAXIMUM_PIXELS = 400_000_000  # 20,000 x 20,000: 1.2 GB as RGB; more is taken for a mistake or an attack

_PIXELS_AT_ONCE = 2_000_000  # copied out of PIL in one go, so that a huge photograph lies in memory once, not thrice
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, ArithmeticError, struct.error)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)  # one letter alone would be a drive
_limit = threading.Lock()
_limits: list[int | None] = []  # the limits of PIL that were met, the real one first

#: What `read_photograph` reads.
PhotographLike = Union[  # noqa: UP007
    str, os.PathLike, bytes, BinaryIO, Mapping[str, Any], Image.Image, np.ndarray, "torch.Tensor"
]


class OtherFormat(Protocol):
    """A format of files that PIL does not know."""

    def recognizes(self, head: bytes) -> bool:
        """Tell a file by its first 132 bytes, or fewer where it has no more."""

    def read(self, file: str | BinaryIO, name: str) -> np.ndarray:
        """Read (height, width) or (height, width, 3) uint8 from a path or an open file; raise `PhotographError`."""

    def public_name(self, path: Path) -> str:
        """Say what a file may be called in results: its name, or another one where that tells whose it is."""


#: Formats beside PIL's; `dicom` adds its own.
FORMATS: list[OtherFormat] = []


class PhotographError(ValueError):
    """A picture that cannot be read or cannot be a fundus photograph; the message is one sentence for the user."""


class PhotographWarning(UserWarning):
    """Something that a reader of results should know about a picture; the message is one sentence for the user."""


def read_photograph(source: PhotographLike) -> np.ndarray:
    """Read any picture into the one form that the library works on.

    Files and PIL images: every mode of PIL, with the EXIF orientation applied and transparent places black; of a file
    of several pages the largest one, with a `PhotographWarning`. Arrays and tensors: (H, W), (H, W, C) or (C, H, W)
    with 1, 3 or 4 channels; bool, integers or floats. White is the least of 255, 4095 and 65535 (floats: 1, 255 and
    65535) that no value passes.

    Args:
        source: Path, the bytes of a file, a file open for reading bytes, a row {"bytes", "path"} of `datasets`, PIL
            image, NumPy array or torch tensor.

    Returns:
        (height, width, 3) uint8 RGB, upright. An array that has this form already is returned as it is, not copied.

    Raises:
        PhotographError: The file is missing, a directory, truncated or not an image; it is an address of the web; a
            side is shorter than 64 pixels; the picture has more than 400 million pixels; an array has another shape,
            NaN or values out of range.
    """
    if isinstance(source, (str, os.PathLike)):
        return _read_file(os.fsdecode(source))
    if isinstance(source, Mapping):
        return _read_row(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), "The photograph")
    if hasattr(source, "read"):
        return _read_open_file(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, getattr(source, "filename", "") or "The picture")
    torch = sys.modules.get("torch")  # without it there is no tensor
    if torch is not None and isinstance(source, torch.Tensor):
        source = _from_tensor(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, "The array")
    raise PhotographError(
        "A photograph is a path, the bytes of a file, an open file, a PIL image, an array or a tensor, not "
        f"{type(source).__name__}."
    )


def photograph_name(source: Any) -> str:
    """Say what the file of a photograph is called, without its folder; "" for what is no file.

    A name that may tell whose photograph it is, of formats that know that, is replaced by a neutral one.
    """
    if isinstance(source, Mapping):
        source = source.get("path")
    elif not isinstance(source, str | os.PathLike):
        source = getattr(source, "filename", "") or getattr(source, "name", "")
    if not isinstance(source, str | os.PathLike):
        return ""
    path = Path(os.fsdecode(source))
    other = _other_format(str(path)) if path.is_file() else None
    return path.name if other is None else other.public_name(path)


def _read_file(path: str) -> np.ndarray:
    if "\0" in path:
        raise PhotographError(f"{path!r} is no name of a file: it holds a null character.")
    if _ADDRESS.match(path) and not os.path.exists(path):
        raise PhotographError(
            f"{path[:80]} is an address (URL), not a file: download the photograph and name its file."
        )
    if os.path.isdir(path):
        raise PhotographError(f"{path} is a directory, not a photograph.")
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe, in which nothing can be looked up
            return _decode(io.BytesIO(Path(path).read_bytes()), path)
        return _decode(path, path)
    except FileNotFoundError:
        raise PhotographError(f"{path} does not exist.") from None
    except PermissionError:
        raise PhotographError(f"{path} may not be read: permission denied.") from None


def _read_row(row: Mapping[str, Any]) -> np.ndarray:
    stored, path = row.get("bytes"), row.get("path")
    if isinstance(stored, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(stored), str(path or "The photograph"))
    if stored is not None:
        raise PhotographError(f'"bytes" of a row are the bytes of a file, not {type(stored).__name__}.')
    if isinstance(path, str | os.PathLike):
        return _read_file(os.fsdecode(path))
    if path is not None:
        raise PhotographError(f'"path" of a row is the path of a file, not {type(path).__name__}.')
    raise PhotographError(f'A row of a photograph has "bytes" or a "path"; this one has: {", ".join(map(str, row))}.')


def _from_tensor(tensor: "torch.Tensor") -> np.ndarray:
    values = tensor.detach()
    try:
        values = values.cpu()
        return (values.float() if values.is_floating_point() else values).resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError):
        raise PhotographError(
            f"The tensor, {tensor.layout} of {tensor.dtype} on {tensor.device}, has no values to read one by one; a "
            "photograph is a dense tensor."
        ) from None


def _read_open_file(file: Any) -> np.ndarray:
    name = photograph_name(file) or "The open file"
    try:
        place = file.tell() if file.seekable() else None
        content = file.read()
        if place is not None:
            file.seek(place)  # so that it can be read again
    except (AttributeError, OSError, ValueError) as error:  # no file after all, no right, closed
        raise PhotographError(f"{name} cannot be read ({error}).") from None
    if isinstance(content, str):
        raise PhotographError(f'{name} is open as text; a photograph is read as bytes: open it with mode "rb".')
    return _decode(io.BytesIO(content), name)


def _other_format(file: str | BinaryIO) -> OtherFormat | None:
    """Find which of `FORMATS` a file is, a path or an open file that stays where it is."""
    try:
        with open(file, "rb") if isinstance(file, str) else nullcontext(file) as stream:
            head = stream.read(132)
    except OSError:  # said when it is read
        return None
    if not isinstance(file, str):
        file.seek(-len(head), os.SEEK_CUR)
    return next((known for known in FORMATS if known.recognizes(head)), None)


def _decode(file: str | BinaryIO, name: str) -> np.ndarray:
    if (other := _other_format(file)) is not None:
        return _from_array(other.read(file, name), name)
    try:
        with any_size():
            image = Image.open(file)
    except (FileNotFoundError, PermissionError):
        raise
    except UnidentifiedImageError:
        raise PhotographError(f"{name} is not an image that can be read.") from None
    except _DECODER_ERRORS as error:
        raise PhotographError(f"{name} is truncated or damaged ({error}).") from None
    with image:
        take_largest_page(image, name)
        return _from_pil(image, name)


def take_largest_page(image: Image.Image, name: str) -> None:
    """Turn a TIFF file of several pages to the largest one, the first of them: a thumbnail may come before it.

    Args:
        image: As it was opened, nothing decoded.
        name: What to call it.

    Raises:
        PhotographError: It is damaged.

    Warns:
        PhotographWarning: There are several pages; it says which one is taken.
    """
    if image.format != "TIFF":  # pages of other formats are frames of an animation, or previews after the photograph
        return
    try:
        sizes = []
        for page in range(getattr(image, "n_frames", 1)):
            image.seek(page)
            sizes.append(image.size)
        if len(sizes) == 1:
            return
        largest = max(range(len(sizes)), key=lambda page: sizes[page][0] * sizes[page][1])
        image.seek(largest)
    except _DECODER_ERRORS as error:
        raise PhotographError(f"{name} is truncated or damaged ({error}).") from None
    width, height = sizes[largest]
    warnings.warn(
        f"{name} has {len(sizes)} pages; the largest one is taken, page {largest + 1} of {width} x {height} pixels.",
        PhotographWarning,
        stacklevel=2,
    )


@contextmanager
def any_size() -> Iterator[None]:
    """Lift PIL's own limit of size, which warns at 89 megapixels, while any thread decodes; ours is checked before."""
    with _limit:
        _limits.append(Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _limit:
            first = _limits.pop(0)
            if not _limits:
                Image.MAX_IMAGE_PIXELS = first
            else:
                _limits[0] = first


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    check_size(image.height, image.width, name)
    try:
        with any_size():
            image.load()
    except _DECODER_ERRORS as error:
        raise PhotographError(f"{name} is truncated or damaged ({error}).") from None
    orientation = _orientation(image)  # after loading: PIL rotates TIFF files itself then
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        pixels = _to_bytes(np.asarray(image), name)
    else:
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        rows = max(1, _PIXELS_AT_ONCE // image.width)
        for top in range(0, image.height, rows):
            bottom = min(top + rows, image.height)
            pixels[top:bottom] = _rows_as_rgb(image, top, bottom)
    return np.ascontiguousarray(_upright(_three_channels(pixels), orientation))


def _rows_as_rgb(image: Image.Image, top: int, bottom: int) -> np.ndarray:
    """Convert some rows of a PIL image to RGB; what is transparent becomes black like the surround of the retina."""
    rows = image.crop((0, top, image.width, bottom))
    if rows.mode == "La":  # PIL brings it to no other mode
        rows = rows.convert("LA")
    if rows.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        rows = rows.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", rows.size, (0, 0, 0, 255)), rows))[..., :3]
    return np.asarray(rows if rows.mode == "RGB" else rows.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8; 1 (upright) where the EXIF data are missing or broken."""
    try:
        return image.getexif().get(0x0112, 1)
    except _DECODER_ERRORS:
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the EXIF orientation (1 to 8) as views of the array, without copies."""
    if orientation in (5, 6, 7, 8):  # stored on its side: rows and columns change places
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    shape = array.shape
    # The sides have at least 64 pixels, so an axis of 1, 3 or 4 can only be the channels.
    if array.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise PhotographError(
            f"{name} has the shape {tuple(shape)}; a photograph is (height, width), (height, width, channels) or "
            "(channels, height, width) with 1, 3 or 4 channels."
        )
    check_size(array.shape[0], array.shape[1], name)
    return np.ascontiguousarray(_three_channels(_to_bytes(array, name)))


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """Scale gray levels of any type to uint8; the range of the values tells what stands for white."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise PhotographError(f"{name} holds values of the type {array.dtype}, which are not gray levels.")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise PhotographError(f"{name} holds values that are not finite numbers (NaN or infinity).")
    whites = (255, 4095, 65535) if array.dtype.kind in "ui" else (1, 255, 65535)
    white = next((white for white in whites if high <= white * 1.001), None)  # resampled floats pass 1 by a little
    if white is None or low < -0.001 * white:
        raise PhotographError(f"{name} holds values from {low:g} to {high:g}; gray levels run from 0 to 255 or 65535.")
    if array.dtype.kind in "ui" and white == 255:
        return array.astype(np.uint8)
    scaled = array * np.float32(255 / white)
    return np.clip(np.rint(scaled, out=scaled), 0, 255).astype(np.uint8)


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    """Bring (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 to (H, W, 3); transparent places become black."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if pixels.shape[2] == 4:
        color, alpha = pixels[..., :3], pixels[..., 3:]
        if alpha.min() == 255:
            return color
        return ((color.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
    return pixels


def check_size(height: int, width: int, name: str) -> None:
    """Make sure that a picture is neither too small nor too large.

    Raises:
        PhotographError: It is.
    """
    if min(height, width) < MINIMUM_SIDE:
        raise PhotographError(
            f"{name} is {width} x {height} pixels; at least {MINIMUM_SIDE} x {MINIMUM_SIDE} are needed."
        )
    if height * width > MAXIMUM_PIXELS:
        raise PhotographError(
            f"{name} is {width} x {height} pixels; more than {MAXIMUM_PIXELS // 1_000_000} megapixels are not read."
        )


__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAXIMUM_PIXELS",
    "MINIMUM_SIDE",
    "OtherFormat",
    "PhotographError",
    "PhotographLike",
    "PhotographWarning",
    "any_size",
    "check_size",
    "photograph_name",
    "read_photograph",
    "take_largest_page",
]
