"""What decodes the files of strangers; `bounded.py` runs it in a process with limits, so little is imported here."""

import io
import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from retinamatch.photographs import PhotographError, read_photograph, take_largest_page

from .limits import allow_decoding
from .metadata import JpegBombError, JpegError, check_jpeg, strip_jpeg


MOST_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
# Beyond these, PIL knows formats that start other programs (EPS) or unpack without bound: they are not tried.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, ArithmeticError)
_DISGUISES = {b"%PDF": "a PDF document", b"<svg": "an SVG drawing", b"<!do": "a web page", b"<htm": "a web page"}
PREVIEW = 160  # pixels
# Places of EXIF data: the block, when the picture was taken, when the file was changed.
_EXIF, _TAKEN, _CHANGED = 0x8769, 0x9003, 0x0132
_DAY = re.compile(r"((?:19|20)\d\d)[:-](0[1-9]|1[0-2])[:-](0[1-9]|[12]\d|3[01])")
GONE = "is no longer here: files are deleted after an hour; hand it in again."


class UploadError(PhotographError):
    """A file that is not taken; the message is one sentence for the person who sent it."""


def check(path: str, name: str) -> None:
    """Check a file by its header alone.

    Args:
        path: Where it lies.
        name: What its owner calls it.

    Raises:
        UploadError: It is not taken; the sentence says why.
    """
    with _opened(path, name):
        pass


def read(path: str, name: str) -> np.ndarray:
    """Decode a photograph: (H, W, 3) uint8 RGB, upright.

    Raises:
        UploadError: It is not taken, is damaged, or is too small for a photograph.
    """
    with _opened(path, name) as image:
        try:
            return read_photograph(image)
        except PhotographError as error:
            # The library names the file; here that would tell where it lies.
            raise UploadError(str(error).replace(path, name)) from None


def strip(path: str, name: str) -> bytes | None:
    """Take metadata off an upright JPEG file; None when it is another one, or cannot be gone through.

    Raises:
        UploadError: It is not taken.
    """
    with _opened(path, name) as image:
        if image.format != "JPEG" or image.getexif().get(0x0112, 1) != 1:
            return None
    try:
        return strip_jpeg(Path(path).read_bytes())
    except JpegError:
        return None


def preview(path: str, name: str) -> tuple[bytes, str | None]:
    """Draw a photograph small, as JPEG, and read the day it was taken, YYYY-MM-DD, from its EXIF data.

    Raises:
        UploadError: It is not taken, or damaged.
    """
    with _opened(path, name) as image:
        day = _day(image)
    small = Image.fromarray(read(path, name))
    small.thumbnail((PREVIEW, PREVIEW))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return content.getvalue(), day


def _day(image: Image.Image) -> str | None:
    try:
        exif = image.getexif()
        written = str(exif.get_ifd(_EXIF).get(_TAKEN) or exif.get(_CHANGED) or "")
    except _BROKEN:
        return None
    found = _DAY.match(written)
    return "-".join(found.groups()) if found else None


def _too_many(name: str, what: str) -> str:
    return f"{name} has {what}; at most {MOST_PIXELS / 1e6:.0f} megapixels are taken."


@contextmanager
def _opened(path: str, name: str):
    """Open a picture without decoding it, within the limits."""
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"\xff\xd8":
                check_jpeg(Path(path).read_bytes(), 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            image = Image.open(path, formats=FORMATS)
    except FileNotFoundError:
        raise UploadError(f"{name} {GONE}") from None
    except JpegBombError:
        raise UploadError(_bomb(name)) from None
    except Image.DecompressionBombError:
        raise UploadError(_too_many(name, "far too many pixels")) from None
    except UnidentifiedImageError:
        raise UploadError(
            f"{name} is {_kind(path)}, not a photograph; JPEG, PNG, TIFF, WebP and BMP are taken."
        ) from None
    except _BROKEN:
        raise UploadError(f"{name} is truncated or damaged.") from None
    with image:
        _check_pages(image, path, name)
        allow_decoding()
        yield image


def _check_pages(image: Image.Image, path: str, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which page is taken; the page of this project says so elsewhere
            take_largest_page(image, name)
        pixels = image.width * image.height
        if pixels > MOST_PIXELS:
            raise UploadError(_too_many(name, f"{image.width} x {image.height} pixels"))
        if image.format in ("JPEG", "MPO"):
            check_jpeg(Path(path).read_bytes(), pixels)
    except JpegBombError:
        raise UploadError(_bomb(name)) from None
    except UploadError:
        raise
    except PhotographError as error:
        raise UploadError(str(error).replace(os.fspath(path), name)) from None


def _bomb(name: str) -> str:
    return f"{name} is made of far more parts than a photograph; save it again as a plain JPEG or PNG file."


def _kind(path: str) -> str:
    """Tell what a file looks like, whatever it is called."""
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"<?xml") and b"<svg" in start:
        return "an SVG drawing"
    return next((kind for mark, kind in _DISGUISES.items() if start.startswith(mark.lower())), "something else")


__all__ = ["FORMATS", "GONE", "MOST_PIXELS", "UploadError", "check", "preview", "read", "strip"]
