"""Make the table of a study from the names of files, '{patient}/{eye}_{visit}.jpg', or from the tags of DICOM files."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..dicom import DicomTags, Pseudonyms, is_dicom, read_tags
from ..photographs import PhotographError
from .table import Photograph, StudyError, normalize_eye, visit_order


_FIELDS = ("patient", "eye", "visit")


def plan_from_names(
    folder: str | os.PathLike, pattern: str, mask: str = "", points: str = ""
) -> tuple[list[Photograph], list[Path]]:
    """List the photographs of a folder whose names fit a pattern.

    Args:
        folder: Looked through at any depth.
        pattern: Path from the folder, with {patient}, {visit} and {eye} for what differs and * for anything; a field
            does not reach over a slash.
        mask: The same for masks, filled with the fields of a photograph; those that exist are taken.
        points: The same for tables of points.

    Returns:
        The photographs, sorted, and the files that are neither that nor a mask or points of one.

    Raises:
        StudyError: The folder is none, the pattern lacks a field, or nothing fits.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder of photographs.")
    expression = _compile(pattern)
    photographs, others = [], []
    for path in _files(folder):
        place = path.relative_to(folder).as_posix()
        fits = expression.fullmatch(place)
        if fits is None:
            others.append(path)
            continue
        fields = {name: value for name, value in fits.groupdict().items() if value}
        extras = [_existing(folder, template, fields) for template in (mask, points)]
        eye = normalize_eye(fields.get("eye", ""))
        photographs.append(Photograph(path, place, fields["patient"], eye, fields["visit"], extras[0], extras[1]))
    if not photographs:
        seen = f"such as {others[0].relative_to(folder).as_posix()}" if others else "it is empty"
        raise StudyError(f"No file of {folder} fits the pattern {pattern} ({seen}).")
    taken = {extra for one in photographs for extra in (one.mask, one.points)}
    others = [path for path in others if path not in taken]
    return sorted(photographs, key=lambda one: (one.whose, visit_order(one.visit), one.name)), others


def plan_from_dicom(folder: str | os.PathLike, pseudonyms: Pseudonyms) -> tuple[list[Photograph], list[Path]]:
    """List the DICOM photographs of a folder by pseudonyms of their patients, eyes, dates moved back, and spacings.

    Args:
        folder: Looked through at any depth.
        pseudonyms: With the user's key.

    Returns:
        The photographs, sorted, and the other files: no DICOM, damaged, of a class without photographs, or without the
        number or name of a patient or a date.

    Raises:
        StudyError: The folder is none, or holds no such photograph.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder of photographs.")
    photographs, others = [], []
    for path in _files(folder):
        tags = _tags(path)
        if tags is None or not tags.is_photograph or not tags.patient or tags.date is None:
            others.append(path)
            continue
        patient, visit = pseudonyms.patient(tags.patient), pseudonyms.visit(tags.patient, tags.date).isoformat()
        number = hashlib.sha256(path.relative_to(folder).as_posix().encode()).hexdigest()[:8]
        name = f"{patient}/{tags.eye or 'eye'}/{visit}/{number}"
        photographs.append(Photograph(path, name, patient, tags.eye, visit, spacing=tags.spacing))
    if not photographs:
        raise StudyError(
            f"{folder} holds no DICOM photograph with a patient and a date, but {len(others)} other files."
        )
    return sorted(photographs, key=lambda one: (one.whose, visit_order(one.visit), one.name)), others


def _tags(path: Path) -> DicomTags | None:
    try:
        return read_tags(path) if is_dicom(path) else None
    except PhotographError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def _compile(pattern: str) -> re.Pattern:
    for name in ("patient", "visit"):
        if f"{{{name}}}" not in pattern:
            raise StudyError(f"The pattern {pattern} has no {{{name}}}; such as '{{patient}}/{{eye}}_{{visit}}.jpg'.")
    known: set[str] = set()
    expression = ""
    for part in re.split(r"(\{\w+\}|\*)", pattern):
        name = part[1:-1]
        if part == "*":
            expression += "[^/]*"
        elif not part.startswith("{"):
            expression += re.escape(part)
        elif name not in _FIELDS:
            raise StudyError(f"The pattern {pattern} has {part}; known are {{patient}}, {{eye}} and {{visit}}.")
        else:
            expression += f"(?P={name})" if name in known else f"(?P<{name}>[^/]+?)"
            known.add(name)
    return re.compile(expression)


def _existing(folder: Path, template: str, fields: dict[str, str]) -> Path | None:
    for name, value in fields.items():
        template = template.replace(f"{{{name}}}", value)
    return folder / template if template and (folder / template).is_file() else None


__all__ = ["plan_from_dicom", "plan_from_names"]
