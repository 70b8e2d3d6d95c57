"""What people hand in: photographs within limits that are checked before anything is decoded."""

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from retinamatch.photographs import PhotographError, read_photograph, take_largest_page

from .metadata import strip_jpeg
from .results import ResultFolder, root


MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
# Beyond these, PIL knows formats that start other programs (EPS) or unpack without bound: they are not tried.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, ArithmeticError)
_DISGUISES = {b"%PDF": "a PDF document", b"<svg": "an SVG drawing", b"<!do": "a web page", b"<htm": "a web page"}


class UploadError(PhotographError):
    """A file that is not taken; the message is one sentence for the person who sent it."""


@dataclass(frozen=True)
class Upload:
    """A photograph that was handed in and is within the limits.

    Attributes:
        path: Where it lies on this computer.
        name: What its owner calls it.
    """

    path: str
    name: str

    def read(self) -> np.ndarray:
        """Decode it: (H, W, 3) uint8 RGB, upright.

        Raises:
            UploadError: It is damaged, or too small for a photograph.
        """
        with _opened(self.path, self.name) as image:
            try:
                return read_photograph(image)
            except PhotographError as error:
                # The library names the file; here that would tell where it lies.
                raise UploadError(str(error).replace(self.path, self.name)) from None


def take(path: str, name: str | None = None) -> Upload:
    """Check a file against the limits by its size and its header alone.

    Args:
        path: Where it lies.
        name: What its owner calls it; the name of the file when None.

    Raises:
        UploadError: It is not taken; the sentence says why.
    """
    name = Path(name or path).name
    try:
        size = os.path.getsize(path)
    except OSError:
        raise UploadError(f"{name} is no longer here: files are deleted after an hour; hand it in again.") from None
    if size == 0:
        raise UploadError(f"{name} is empty.")
    # What this program has written itself (a TIFF made readable for browsers, say) may have grown.
    if size > MOST_BYTES and not Path(path).resolve().is_relative_to(root().resolve()):
        raise UploadError(f"{name} has {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB are taken.")
    with _opened(path, name) as image:
        pixels = image.width * image.height
        if pixels > MOST_PIXELS:
            raise UploadError(_too_many(name, f"{image.width} x {image.height} pixels"))
    return Upload(str(path), name)


def clean(upload: Upload) -> Upload:
    """Give a copy that browsers can show and that tells nothing about camera, owner or place.

    An upright JPEG keeps its pixels bit by bit; anything else becomes PNG.
    """
    folder = ResultFolder()
    with _opened(upload.path, upload.name) as image:
        plain = image.format == "JPEG" and image.getexif().get(0x0112, 1) == 1
    if plain:
        try:
            content = strip_jpeg(Path(upload.path).read_bytes())
        except ValueError:
            plain = False
        else:
            path = folder.file(f"{Path(upload.name).stem}.jpg")
            path.write_bytes(content)
    if not plain:
        path = folder.photograph(Path(upload.name).stem, upload.read())
    return Upload(str(path), path.name)


def _too_many(name: str, what: str) -> str:
    return f"{name} has {what}; at most {MOST_PIXELS / 1e6:.0f} megapixels are taken."


@contextmanager
def _opened(path: str, name: str):
    """Open a picture without decoding it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            image = Image.open(path, formats=FORMATS)
    except FileNotFoundError:
        raise UploadError(f"{name} is no longer here: files are deleted after an hour; hand it in again.") from None
    except Image.DecompressionBombError:
        raise UploadError(_too_many(name, "far too many pixels")) from None
    except UnidentifiedImageError:
        raise UploadError(
            f"{name} is {_kind(path)}, not a photograph; JPEG, PNG, TIFF, WebP and BMP are taken."
        ) from None
    except _BROKEN:
        raise UploadError(f"{name} is truncated or damaged.") from None
    with image:
        try:
            take_largest_page(image, name)
        except PhotographError as error:
            raise UploadError(str(error)) from None
        yield image


def _kind(path: str) -> str:
    """Tell what a file looks like, whatever it is called."""
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"<?xml") and b"<svg" in start:
        return "an SVG drawing"
    return next((kind for mark, kind in _DISGUISES.items() if start.startswith(mark.lower())), "something else")


__all__ = ["MOST_BYTES", "MOST_PIXELS", "Upload", "UploadError", "clean", "take"]
