"""Where photographs come from: which file shows which eye of which person, and under which terms."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".ppm", ".bmp", ".webp")


class SourceError(ValueError):
    """A source folder that is not as expected; the message is one sentence for the user."""


@dataclass(frozen=True)
class Source:
    """A data set as a folder `NAME/images` with optional `NAME/vessels`.

    Attributes:
        name: Name of the folder.
        licence: Terms of the photographs.
        pattern: What a file's name without its suffix looks like, with a group `patient` and optionally `eye`.
    """

    name: str
    licence: str
    pattern: str = r"(?P<patient>.+)"


@dataclass(frozen=True)
class Photograph:
    """One file of a source.

    Attributes:
        path: The image.
        vessels: Where its vessel map is expected.
        source: Its data set.
        patient: Name of the person within the source.
        eye: "left", "right", or "" where the name does not say.
    """

    path: Path
    vessels: Path
    source: Source
    patient: str
    eye: str


# HRF: its 15 healthy, 15 diabetic and 15 glaucoma photographs show 45 people, so 01_h and 01_dr are two of them.
SOURCES = {
    source.name: source
    for source in (
        Source("hrf", "CC BY 4.0"),
        Source("chase_db1", "CC BY 4.0", r"Image_(?P<patient>\d+)(?P<eye>[LR])"),
        Source("les_av", "research only, terms not found"),
        Source("srahim_dr", "academic use with attribution", r"Patient(?P<patient>\d+)[_-](?P<eye>[LR])"),
    )
}
EYES = {"L": "left", "R": "right", None: ""}


def find_source(name: str) -> Source:
    """Look a source up by name; a folder that is not known is taken as one photograph a person, terms unknown."""
    return SOURCES.get(name, Source(name, "unknown"))


def list_photographs(root: str | os.PathLike, source: Source) -> list[Photograph]:
    """List the photographs of `root/NAME/images`, in the order of their names.

    Raises:
        SourceError: The folder is missing or empty, or a file's name is not as the source has them.
    """
    folder = Path(root) / source.name / "images"
    if not folder.is_dir():
        raise SourceError(f"Source {source.name!r}: the folder {folder} does not exist.")
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        match = re.fullmatch(source.pattern, path.stem)
        if match is None:
            raise SourceError(f"Source {source.name!r}: {path} is not named as its photographs are ({source.pattern}).")
        vessels = folder.parent / "vessels" / f"{path.stem}.png"
        found.append(Photograph(path, vessels, source, match["patient"], EYES[match.groupdict().get("eye")]))
    if not found:
        raise SourceError(f"Source {source.name!r}: the folder {folder} holds no images.")
    return found


def patients(photographs: Sequence[Photograph]) -> list[str]:
    """Names of the persons, sorted."""
    return sorted({photograph.patient for photograph in photographs})


__all__ = ["SOURCES", "Photograph", "Source", "SourceError", "find_source", "list_photographs", "patients"]
