"""RIDB: five photographs of one eye of each of 20 people, for the verification of identity; never training."""

import re
from pathlib import Path

from .base import PhotographFile, Source
from .layout import LayoutError, image_files, match_name, require_images


def read(folder: Path) -> list[PhotographFile]:
    """List RIDB: files in a folder a person (P01/IM000001_1.jpg), or all in one folder."""
    people = [path for path in sorted(folder.iterdir()) if path.is_dir() and re.fullmatch(r"[Pp]\d+", path.name)]
    if not people:
        return [PhotographFile(path=path, patient=_person(path)) for path in require_images(folder)]
    photographs = []
    for person in people:
        for path in image_files(person):
            if int(_person(path)[1:]) != int(person.name[1:]):
                raise LayoutError(f"{path} lies in the folder of {person.name}, but its name says {_person(path)}")
            photographs.append(PhotographFile(path=path, patient=_person(path)))
    return photographs


def _person(path: Path) -> str:
    return f"P{int(match_name(path, r'IM(?P<shot>[0-9]+)_(?P<person>[0-9]+)', 'IM000001_1.jpg')['person']):02d}"


RIDB = Source(
    name="ridb",
    title="RIDB",
    url="https://acemap.info/paper/323953231",
    license="terms not found: research only",
    redistributable=False,
    terms="Described in a data article; its download page and its terms not found: research only, never published.",
    citation="""@article{ridb2020,
  title={{RIDB}: A Dataset of Fundus Images for Retina Based Person Identification},
  year={2020}
}""",
    use="identity",
    folders=("ridb", "ridb_dev"),
    expected="P01/IM000001_1.jpg to IM000005_1.jpg, a folder a person, or the same files in one folder",
    reader=read,
)


__all__ = ["RIDB"]
