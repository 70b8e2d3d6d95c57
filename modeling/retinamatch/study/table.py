"""The table of a study: a photograph a row, or a pair a row; CSV or Parquet.

Of a photograph: `path`, `patient`, `eye`, `visit` (a date such as 2021-03-05, or a number), and where there are any
`mask`, `points`, `spacing_mm` and `name`, what the photograph is called in all results. Of a pair: `moving`, `fixed`.
Paths are taken from the folder of the table.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType

from ..dicom import is_dicom
from ..files import replacing


PHOTOGRAPH_COLUMNS = ("path", "patient", "eye", "visit")
MORE_COLUMNS = ("mask", "points", "spacing_mm", "name")
PAIR_COLUMNS = ("moving", "fixed")
_DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima")
RIGHT, LEFT = "right", "left"
_EYES = {"od": RIGHT, "r": RIGHT, "re": RIGHT, "right": RIGHT, "os": LEFT, "l": LEFT, "le": LEFT, "left": LEFT}


class StudyError(ValueError):
    """A study that cannot be done as it was given; the message is one sentence for the user."""


@dataclass(frozen=True)
class Photograph:
    """A photograph of a study.

    Attributes:
        path: Its file.
        name: What it is called in all results.
        patient: Whose it is, in any word.
        eye: Which eye: "right", "left", or any other word.
        visit: Date or number, as it was given.
        mask: A mask that belongs to it; None without.
        points: A CSV table of points that belongs to it; None without.
        spacing: Millimeters a pixel, down (row) and across (column); None where it is not known.
    """

    path: Path
    name: str
    patient: str = ""
    eye: str = ""
    visit: str = ""
    mask: Path | None = None
    points: Path | None = None
    spacing: tuple[float, float] | None = None

    @property
    def whose(self) -> tuple[str, str]:
        """Patient and eye: photographs that have both in common are registered."""
        return self.patient, self.eye


@dataclass(frozen=True)
class Pair:
    """A moving photograph, and the fixed one that it is mapped onto."""

    moving: Photograph
    fixed: Photograph

    @property
    def key(self) -> str:
        """What the pair is known by in the record of a study."""
        return f"{self.moving.name}\n{self.fixed.name}"


def normalize_eye(word: str) -> str:
    """Give "right" or "left" for the usual words and letters; any other word as it is."""
    return _EYES.get(word.strip().lower(), word.strip())


def days_between(earlier: str, later: str) -> int | None:
    """Count the days from a visit to another one, negative backwards; None where one of them is no date."""
    try:
        return (date.fromisoformat(later) - date.fromisoformat(earlier)).days
    except ValueError:
        return None


def visit_order(visit: str) -> tuple:
    """Sort visits: dates by the calendar, numbers by value (in any text), 2 before 10."""
    parts = re.split(r"(\d+)", visit.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def read_table(path: str | os.PathLike) -> tuple[list[Photograph], list[Pair]]:
    """Read the table of a study.

    Returns:
        Photographs, or pairs; the other list is empty.

    Raises:
        StudyError: The file cannot be read or is no such table; the sentence names the row.
    """
    path = Path(path)
    rows = list(_parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path))
    if not rows:
        raise StudyError(f"{path} has no rows; a photograph or a pair a row is wanted.")
    columns = set(rows[0])
    if set(PAIR_COLUMNS) <= columns:
        pairs = [_pair(row, number, path) for number, row in enumerate(rows, 1)]
        _check_once((pair.key for pair in pairs), path, "hold the pair")
        return [], pairs
    if missing := [name for name in PHOTOGRAPH_COLUMNS if name not in columns]:
        raise StudyError(
            f"{path} has no column {missing[0]}; a table has {', '.join(PHOTOGRAPH_COLUMNS)}, or moving and fixed."
        )
    photographs = [_photograph(row, number, path) for number, row in enumerate(rows, 1)]
    _check_once((photograph.name for photograph in photographs), path, "are called")
    return photographs, []


def _check_once(keys: Iterable[str], path: Path, words: str) -> None:
    known: dict[str, int] = {}
    for number, key in enumerate(keys, 1):
        if (first := known.setdefault(key, number)) != number:
            names = " and ".join(key.splitlines())
            raise StudyError(f"{path}, rows {first} and {number}: both {words} {names}.")


def write_table(photographs: Sequence[Photograph], path: str | os.PathLike) -> None:
    """Write photographs as a table that `read_table` reads: CSV, or Parquet by the suffix.

    Raises:
        OutputError: It cannot be written.
    """
    path = Path(path)
    columns = (*PHOTOGRAPH_COLUMNS, *MORE_COLUMNS)
    rows = [dict(zip(columns, _cells(photograph, path.parent))) for photograph in photographs]
    used = [name for name in columns if name in PHOTOGRAPH_COLUMNS or any(row[name] for row in rows)]
    with replacing(path) as aside:
        if path.suffix.lower() == ".parquet":
            arrow, parquet = import_parquet()
            parquet.write_table(arrow.Table.from_pylist([{name: row[name] for name in used} for row in rows]), aside)
            return
        with open(aside, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, used, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def import_parquet() -> tuple[ModuleType, ModuleType]:
    """Give `pyarrow` and `pyarrow.parquet`.

    Raises:
        StudyError: They are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise StudyError("Studies need pyarrow: pip install 'retinamatch[study]'.") from None
    return pyarrow, pyarrow.parquet


def _cells(photograph: Photograph, folder: Path) -> Iterator[str]:
    yield _relative(photograph.path, folder)
    yield from (photograph.patient, photograph.eye, photograph.visit)
    for extra in (photograph.mask, photograph.points):
        yield "" if extra is None else _relative(extra, folder)
    yield "" if photograph.spacing is None else ";".join(f"{value:.9g}" for value in photograph.spacing)
    yield "" if photograph.name == _relative(photograph.path, folder) else photograph.name


def _relative(path: Path, folder: Path) -> str:
    absolute, folder = path.absolute(), folder.absolute()
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                yield {(name or "").strip().lower(): (value or "").strip() for name, value in row.items() if name}
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path} is no table that can be read ({error}); CSV or Parquet is wanted.") from None


def _parquet_rows(path: Path) -> Iterable[dict[str, str]]:
    _, parquet = import_parquet()
    try:
        rows = parquet.read_table(path).to_pylist()
    except (ValueError, OSError) as error:
        raise StudyError(f"{path} is no Parquet file that can be read ({error}).") from None
    return ({name.lower(): "" if value is None else str(value) for name, value in row.items()} for row in rows)


def _pair(row: Mapping[str, str], number: int, table: Path) -> Pair:
    sides = []
    for side in PAIR_COLUMNS:
        if not row[side]:
            raise StudyError(f"{table}, row {number}: there is no {side} photograph.")
        sides.append(Photograph(table.parent / row[side], row[side], patient=row.get("patient", "")))
    return Pair(*sides)


def _photograph(row: Mapping[str, str], number: int, table: Path) -> Photograph:
    where = f"{table}, row {number}"
    for name in ("path", "patient", "visit"):
        if not row[name]:
            raise StudyError(f"{where}: {name} is empty.")
    extras = [table.parent / row[name] if row.get(name) else None for name in ("mask", "points")]
    path, eye, visit = table.parent / row["path"], normalize_eye(row["eye"]), row["visit"].removesuffix(" 00:00:00")
    name = row.get("name") or row["path"]
    if name == row["path"] and path.suffix.lower() in _DICOM_SUFFIXES and is_dicom(path):
        # Names of such files often are those of patients.
        name = f"{row['patient']}/{eye or 'eye'}/{visit}/{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return Photograph(
        path,
        name,
        row["patient"],
        eye,
        visit,
        extras[0],
        extras[1],
        _spacing(row.get("spacing_mm", ""), where),
    )


def _spacing(text: str, where: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        values = [float(part) for part in re.split(r"[;\\ ]+", text)]
    except ValueError:
        values = []
    if len(values) not in (1, 2) or not all(0 < value < 10 for value in values):
        raise StudyError(
            f'{where}: spacing_mm is {text!r}; a number, or "row;column", in millimeters a pixel is wanted.'
        )
    return values[0], values[-1]


__all__ = [
    "Pair",
    "Photograph",
    "StudyError",
    "days_between",
    "import_parquet",
    "normalize_eye",
    "read_table",
    "visit_order",
    "write_table",
]
