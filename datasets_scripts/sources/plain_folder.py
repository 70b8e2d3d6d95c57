"""A folder of one's own photographs, with vessel maps, annotations and a list of patients where there are any."""

from functools import partial
from pathlib import Path

from .base import PhotographFile, Source
from .layout import EYES, LayoutError, image_files, index_by_stem, read_table, require_images, subfolder


PATIENTS = "patients.csv"


def plain_folder(name: str, license: str = "unknown", redistributable: bool = False) -> Source:
    """Describe a folder of photographs.

    Args:
        name: Name of the source to be.
        license: Terms of photographs and labels.
        redistributable: Whether both may be published.

    Returns:
        A source that reads `images/` (or the folder itself), optional `vessels/NAME.png` and `annotations/NAME.json`
        for some or all of the images, and optional `patients.csv` with the columns file, patient and eye; without it,
        every file is a person.
    """
    return Source(
        name=name,
        title=f"Folder {name!r}",
        url="",
        license=license,
        redistributable=redistributable,
        terms=f"Given by the user: {license}, {'may' if redistributable else 'may not'} be published.",
        citation="",
        use="training",
        folders=(name.lower(),),
        expected=(
            f"images/NAME.jpg (or NAME.jpg), optional vessels/NAME.png, annotations/NAME.json and {PATIENTS} with the "
            "columns file, patient and eye"
        ),
        reader=partial(_read, license=license, redistributable=redistributable),
    )


def _read(folder: Path, license: str, redistributable: bool) -> list[PhotographFile]:
    paths = index_by_stem(require_images(subfolder(folder, "images") or folder))
    maps = _labels(subfolder(folder, "vessels"), paths, "vessel map")
    annotations = _labels(subfolder(folder, "annotations"), paths, "annotation")
    people = _read_people(folder / PATIENTS, paths)
    photographs = []
    for key, path in paths.items():
        patient, eye = people[key]
        labeled = key in maps or key in annotations
        photographs.append(
            PhotographFile(
                path=path,
                patient=patient,
                eye=eye,
                vessels=maps.get(key),
                annotation=annotations.get(key),
                labels_redistributable=labeled and redistributable,
                label_license=license if labeled else "",
            )
        )
    return photographs


def _labels(folder: Path | None, images: dict[str, Path], what: str) -> dict[str, Path]:
    if folder is None:
        return {}
    files = image_files(folder) if what == "vessel map" else sorted(folder.glob("*.json"))
    labels = index_by_stem(files)
    for key in sorted(set(labels) - set(images)):
        raise LayoutError(f"the {what} {labels[key]} belongs to no image")
    return labels


def _read_people(table: Path, images: dict[str, Path]) -> dict[str, tuple[str, str]]:
    if not table.is_file():
        return {key: (key, "") for key in images}
    by_file = {path.name: key for key, path in images.items()} | {key: key for key in images}
    people: dict[str, tuple[str, str]] = {}
    for number, row in enumerate(read_table(table), 2):
        file, patient = (str(row.get(column) or "").strip() for column in ("file", "patient"))
        eye = str(row.get("eye") or "").strip().lower()
        if not file or not patient or eye not in EYES:
            raise LayoutError(
                f"line {number} of {table} needs a file, a patient and an eye (left, right or nothing), got "
                f"{file!r}, {patient!r}, {eye!r}"
            )
        if file not in by_file:
            raise LayoutError(f"line {number} of {table} names {file}, which is not among the images")
        if by_file[file] in people:
            raise LayoutError(f"line {number} of {table} names {file} for the second time")
        people[by_file[file]] = (patient, EYES[eye])
    for key in sorted(set(images) - set(people)):
        raise LayoutError(f"{images[key]} has no line in {table}, so its patient is not known")
    return people


__all__ = ["plain_folder"]
