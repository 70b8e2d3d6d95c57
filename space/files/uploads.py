"""What people hand in: photographs within limits, decoded where a bad one can do no harm."""

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import decoding
from .bounded import OverrunError, begun
from .decoding import GONE, MOST_PIXELS, UploadError
from .results import ResultFolder, root


MOST_BYTES = 20_000_000
MOST_FILES = 20  # of one upload, and of one history
_PATIENCE = 0.1  # seconds between two looks whether a decoder is ready


@dataclass(frozen=True)
class Upload:
    """A photograph that was handed in.

    Attributes:
        path: Where it lies on this computer.
        name: What its owner calls it.
    """

    path: str
    name: str

    def read(self) -> np.ndarray:
        """Decode it: (H, W, 3) uint8 RGB, upright.

        Raises:
            UploadError: It is not within the limits, damaged, or too small for a photograph.
        """
        return self.bounded(decoding.read)

    def reading(self) -> Generator[None, None, np.ndarray]:
        """Decode it as `read` does, pausing so that the decoding can be given up: whoever stops listening ends it."""
        return (yield from self._bounded(decoding.read))

    def _bounded(self, function) -> Generator[None, None, Any]:
        _check_size(self.path, self.name)
        try:
            with begun(function, self.path, self.name) as call:
                while not call.wait(_PATIENCE):
                    yield
                return call.result()
        except OverrunError:
            raise UploadError(
                f"{self.name} takes too long or too much memory to decode; save it again as a plain JPEG or PNG file."
            ) from None

    def bounded(self, function) -> Any:
        """Run a function of `decoding.py` on it."""
        work = self._bounded(function)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value


def take(path: str, name: str | None = None) -> Upload:
    """Check a file against the limits by its size and its header alone.

    Args:
        path: Where it lies.
        name: What its owner calls it; the name of the file when None.

    Raises:
        UploadError: It is not taken; the sentence says why.
    """
    upload = named(path, name)
    upload.bounded(decoding.check)
    return upload


def named(path: str, name: str | None = None) -> Upload:
    """Give a file that was handed in its name; nothing is checked yet."""
    return Upload(str(path), Path(name or path).name)


def _check_size(path: str, name: str) -> None:
    try:
        size = os.path.getsize(path)
    except OSError:
        raise UploadError(f"{name} {GONE}") from None
    if size == 0:
        raise UploadError(f"{name} is empty.")
    # What this program has written itself (a TIFF made readable for browsers, say) may have grown.
    if size > MOST_BYTES and not Path(path).resolve().is_relative_to(root().resolve()):
        raise UploadError(f"{name} has {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB are taken.")


def clean(upload: Upload) -> Upload:
    """Give a copy that browsers can show and that tells nothing about camera, owner or place.

    An upright JPEG keeps its pixels bit by bit; anything else becomes PNG.
    """
    content = upload.bounded(decoding.strip)
    stem = Path(upload.name).stem
    if content is None:
        photograph = upload.read()
        path = ResultFolder().photograph(stem, photograph)
    else:
        path = ResultFolder().file(f"{stem}.jpg")
        path.write_bytes(content)
    return Upload(str(path), path.name)


__all__ = ["MOST_BYTES", "MOST_FILES", "MOST_PIXELS", "Upload", "UploadError", "clean", "named", "take"]
