"""Finding files in a download: folders, names, vessel maps to images; what is amiss is said in half a sentence."""

import csv
import gzip
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image

from retinamatch.photographs import IMAGE_SUFFIXES


EYES = {"l": "left", "left": "left", "r": "right", "right": "right", "": ""}
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, struct.error)


class LayoutError(ValueError):
    """What a reader found amiss, without the end of the sentence that `Source.error` adds."""


def stem(path: Path) -> str:
    """Give the name of a file without its folder and its suffix; `im0001.ppm.gz` gives `im0001`."""
    return Path(path.name[:-3]).stem if path.name.lower().endswith(".gz") else path.stem


def is_image(path: Path) -> bool:
    """Tell whether a file's name is that of an image, packed with gzip or not; hidden files are not."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(IMAGE_SUFFIXES) and not is_litter(path) and path.is_file()


def is_litter(path: Path) -> bool:
    """Tell whether a file or folder is what systems leave behind: hidden, or of macOS's archiver."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def image_files(folder: Path, recursive: bool = False) -> list[Path]:
    """List the images of a folder, sorted."""
    if not recursive:
        return sorted(path for path in folder.iterdir() if is_image(path))
    paths = (path for path in folder.rglob("*") if is_image(path))
    return sorted(path for path in paths if not any(is_litter(parent) for parent in path.relative_to(folder).parents))


def subfolder(folder: Path, *names: str) -> Path | None:
    """Give the first of these folders that exists, whatever its capitals."""
    present = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    return next((present[name.lower()] for name in names if name.lower() in present), None)


def require_subfolder(folder: Path, *names: str) -> Path:
    """Give the first of these folders that exists; one of them must.

    Raises:
        LayoutError: None of the folders exists.
    """
    present = subfolder(folder, *names)
    if present is None:
        raise LayoutError(f"{folder} has no folder {' or '.join(names)}")
    return present


def require_images(folder: Path) -> list[Path]:
    """List the images of a folder, at least one.

    Raises:
        LayoutError: The folder holds none.
    """
    images = image_files(folder)
    if not images:
        others = sorted(path.name for path in folder.iterdir() if path.is_file() and not is_litter(path))
        holds = f" but {len(others)} other files such as {others[0]}" if others else ""
        raise LayoutError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}){holds}")
    return images


def match_name(path: Path, pattern: str, example: str) -> re.Match:
    """Take a file's name apart.

    Args:
        path: The file.
        pattern: Regular expression for its whole stem.
        example: Such a name, for the error.

    Raises:
        LayoutError: The name is another.
    """
    name = re.fullmatch(pattern, stem(path), re.IGNORECASE)
    if name is None:
        raise LayoutError(f"{path} is not named as the photographs are, such as {example}")
    return name


def pair_maps(
    images: Sequence[Path], maps: Sequence[Path], map_name: Callable[[Path], str], folder: Path
) -> list[Path]:
    """Find the vessel map of every image.

    Args:
        images: Image files.
        maps: Vessel maps.
        map_name: Gives the stem that an image's map has.
        folder: Where maps are looked for, for the error.

    Returns:
        Vessel maps in the order of the images.

    Raises:
        LayoutError: An image without a map, a map without an image, or two maps for one image.
    """
    by_name = index_by_stem(maps)
    for path in images:
        if map_name(path) not in by_name:
            raise LayoutError(f"the vessel map {map_name(path)} of {path} is missing in {folder}")
    for name in sorted(set(by_name) - {map_name(path) for path in images}):
        raise LayoutError(f"the vessel map {by_name[name]} belongs to no image")
    return [by_name[map_name(path)] for path in images]


def index_by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Index files by their stem.

    Raises:
        LayoutError: Two files have one.
    """
    files: dict[str, Path] = {}
    for path in paths:
        if stem(path) in files:
            raise LayoutError(f"{files[stem(path)]} and {path} have one name, {stem(path)}")
        files[stem(path)] = path
    return files


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Raises:
        LayoutError: It cannot be read as text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{path} cannot be read as a table ({error})") from error


def open_image(path: str | os.PathLike) -> Image.Image:
    """Open an image file, packed with gzip or not; the pixels are read when they are asked for.

    Raises:
        OSError: It is missing or no image (PIL's own error).
    """
    path = Path(path)
    if not path.name.lower().endswith(".gz"):
        return Image.open(path)
    try:
        with gzip.open(path) as stream:
            return Image.open(io.BytesIO(stream.read()))
    except (EOFError, zlib.error) as error:
        raise OSError(f"{path} is damaged") from error


def image_size(path: Path) -> tuple[int, int]:
    """Read width and height of an image as it is meant to be looked at, from its header.

    Raises:
        LayoutError: It is damaged or no image.
    """
    try:
        with open_image(path) as image:
            on_its_side = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return image.size[::-1] if on_its_side else image.size
    except _DECODER_ERRORS as error:
        raise LayoutError(f"{path} is damaged or no image") from error


__all__ = [
    "EYES",
    "LayoutError",
    "image_files",
    "image_size",
    "index_by_stem",
    "is_image",
    "is_litter",
    "match_name",
    "open_image",
    "pair_maps",
    "read_table",
    "require_images",
    "require_subfolder",
    "stem",
    "subfolder",
]
