"""Files that are given back: each run writes into a folder whose name nobody can guess, and they go after an hour.

The folders lie in gradio's cache, the only place that the page serves files from.
"""

import secrets
import zipfile
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from .sweep import ROOM


QUALITY = 92


class ResultFolder:
    """A new folder for the files of one run."""

    def __init__(self):
        ROOM.check(root())
        self.path = root() / secrets.token_hex(16)
        self.path.mkdir(parents=True)
        self.files: list[Path] = []

    def file(self, name: str) -> Path:
        """Say where a file goes."""
        path = self.path / Path(name).name
        self.files.append(path)
        return path

    def photograph(self, name: str, picture: np.ndarray) -> Path:
        """Write a photograph as it is, PNG: the fastest compression, a few per cent more room."""
        path = self.file(f"{name}.png")
        Image.fromarray(picture).save(path, compress_level=1)
        return path

    def view(self, name: str, picture: np.ndarray) -> Path:
        """Write a picture to look at, JPEG."""
        path = self.file(f"{name}.jpg")
        Image.fromarray(picture).save(path, quality=QUALITY, subsampling=0)
        return path

    def text(self, name: str, content: str) -> Path:
        path = self.file(name)
        path.write_text(content, encoding="utf-8")
        return path

    def zip(self, name: str) -> Path:
        """Write everything written so far into one file; pictures are compressed already."""
        files = list(self.files)
        path = self.file(f"{name}.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, file.name)
        return path


def root() -> Path:
    """Return the folder of all results."""
    return Path(get_upload_folder()) / "results"


def as_outputs(*values) -> tuple:
    """Give values as gradio takes them: it knows no `Path`."""
    return tuple(
        [str(one) for one in value] if isinstance(value, list) else str(value) if isinstance(value, Path) else value
        for value in values
    )


def address(path: Path) -> str:
    """Where a browser finds a file, relative to the page."""
    return f"gradio_api/file={path}"


__all__ = ["ResultFolder", "address", "as_outputs", "root"]
