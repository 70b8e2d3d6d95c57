"""VARIA: 233 photographs around the optic disc of 139 people, for the verification of identity; never training."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import LayoutError, image_files, index_by_stem, require_images, stem, subfolder


INDEX = "pair_index.txt"


def read(folder: Path) -> list[PhotographFile]:
    """List VARIA: files in a folder a person, or in one folder beside an index of who is who."""
    images = subfolder(folder, "Images") or folder
    people = [path for path in sorted(images.iterdir()) if path.is_dir() and image_files(path)]
    if people and not image_files(images):
        return [PhotographFile(path=path, patient=person.name) for person in people for path in image_files(person)]
    paths = require_images(images)
    index = next((path for path in (folder / INDEX, images / INDEX) if path.is_file()), None)
    if index is None:
        raise LayoutError(f"{folder} has no {INDEX}, without which nobody knows which photographs show one person")
    return [PhotographFile(path=path, patient=person) for path, person in zip(paths, _read_people(index, paths))]


def _read_people(index: Path, paths: list[Path]) -> list[str]:
    """Name every photograph's person: the first of the photographs that the index says are of one eye."""
    person = {name: name for name in index_by_stem(paths)}

    def find(name: str) -> str:
        while person[name] != name:
            name = person[name]
        return name

    impostors = []
    try:
        lines = index.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{index} cannot be read as text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3 or parts[2] not in ("0", "1"):
            raise LayoutError(f"line {number} of {index} is not as in 'R180.pgm, R002.pgm, 1'")
        first, second = (stem(Path(part)) for part in parts[:2])
        for name in (first, second):
            if name not in person:
                raise LayoutError(f"line {number} of {index} names {name}, which is not among the images")
        if parts[2] == "1":
            one, other = sorted((find(first), find(second)))
            person[other] = one
        else:
            impostors.append((number, first, second))
    for number, first, second in impostors:
        if find(first) == find(second):
            raise LayoutError(
                f"line {number} of {index} says that {first} and {second} differ, others that they do not"
            )
    return [find(stem(path)) for path in paths]


VARIA = Source(
    name="varia",
    title="VARIA",
    url="http://www.varpa.es/research/biometrics.html",
    license="terms not found: research only",
    redistributable=False,
    terms="Handed out by the VARPA group for work on authentication, terms not found: research only, never published.",
    citation="""@article{ortega2009retinal,
  title={Retinal Verification Using a Feature Points-Based Biometric Pattern},
  author={Ortega, Marcos and Penedo, Manuel G. and Rouco, Jos{\\'e} and Barreira, Noelia and Carreira, Mar{\\'i}a J.},
  journal={EURASIP Journal on Advances in Signal Processing},
  year={2009},
  doi={10.1155/2009/235746}
}""",
    use="identity",
    folders=("varia",),
    expected=f"Images/R001.pgm with {INDEX} (lines such as 'R180.pgm, R002.pgm, 1'), or Images/PERSON/R001.pgm",
    reader=read,
)


__all__ = ["VARIA"]
