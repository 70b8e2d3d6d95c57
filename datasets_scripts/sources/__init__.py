"""Data sets of other people, one adapter per file: what lies where, who is who, and what may be done with it."""

import os
from collections.abc import Sequence
from pathlib import Path

from .base import PhotographFile, Source, SourceError, verify
from .chase_db1 import CHASE_DB1
from .drive import DRIVE
from .fire import FIRE
from .hrf import HRF
from .layout import open_image, subfolder
from .les_av import LES_AV
from .medal_retina import MEDAL_RETINA
from .plain_folder import plain_folder
from .ridb import RIDB
from .srahim_dr import SRAHIM_DR
from .stare import STARE
from .superretina_lab import SUPERRETINA_LAB
from .varia import VARIA


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        HRF,
        CHASE_DB1,
        LES_AV,
        DRIVE,
        STARE,
        SRAHIM_DR,
        MEDAL_RETINA,
        SUPERRETINA_LAB,
        FIRE,
        VARIA,
        RIDB,
    )
}


def find_source(name: str) -> Source:
    """Look a source up by name.

    Raises:
        SourceError: There is none of this name.
    """
    if name not in SOURCES:
        raise SourceError(f"{name!r} is not a known source; known are {', '.join(sorted(SOURCES))}.")
    return SOURCES[name]


def locate(root: str | os.PathLike) -> dict[str, Path]:
    """Find downloads under a folder.

    Args:
        root: Looked through along with `root/fundus` and `root/registration`; capitals do not matter.

    Returns:
        Name of the source -> its folder, for those that are there. A source's first folder name wins.

    Raises:
        SourceError: `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; it should hold the downloads, such as hrf/ or fundus/hrf/.")
    places = [root, *(place for place in (subfolder(root, "fundus"), subfolder(root, "registration")) if place)]
    downloads = {}
    for source in SOURCES.values():
        folders = (subfolder(place, name) for name in source.folders for place in places)
        folder = next((folder for folder in folders if folder is not None), None)
        if folder is not None:
            downloads[source.name] = folder
    return downloads


def patients(photographs: Sequence[PhotographFile]) -> list[str]:
    """List the persons, sorted."""
    return sorted({photograph.patient for photograph in photographs})


__all__ = [
    "SOURCES",
    "PhotographFile",
    "Source",
    "SourceError",
    "find_source",
    "locate",
    "open_image",
    "patients",
    "plain_folder",
    "verify",
]
