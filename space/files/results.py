"""Files that are given back: each run writes into a folder whose name nobody can guess, and they go after an hour.

The folders lie in gradio's cache, the only place that the page serves files from.
"""

import secrets
import zipfile
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image


QUALITY = 92


class FileSet(set):
    """A set that can be gone through while others add to it.

    gradio goes through its sets of files in one thread while others fill them: a set that changes meanwhile would end
    its deleting for good.
    """

    def __iter__(self):
        return set.__iter__(self.copy())


# gradio deletes the files in the sets that a page knows; this one is handed to it, see `page.py`.
WRITTEN: set[str] = FileSet()


class ResultFolder:
    """A new folder for the files of one run."""

    def __init__(self):
        self.path = root() / secrets.token_hex(16)
        self.path.mkdir(parents=True)
        self.files: list[Path] = []

    def file(self, name: str) -> Path:
        """Say where a file goes; it counts as a result from now on."""
        path = self.path / Path(name).name
        WRITTEN.add(str(path))
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


__all__ = ["FileSet", "WRITTEN", "ResultFolder", "address", "as_outputs", "root"]
