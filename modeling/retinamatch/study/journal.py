"""The rows of a study on disk: a line each as they are done, which no kill can spoil, and the table made of them.

`rows.jsonl` grows by a line a pair; a last line that was cut off is dropped when it is opened again.
`registrations.parquet` is written whole from it, now and then and at the end.
"""

import errno
import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from ..files import OutputError, replacing
from .table import StudyError, import_parquet
from .work import COLUMNS, NO_ANSWER


ROWS, TABLE = "rows.jsonl", "registrations.parquet"
_BATCH = 5000  # rows of the table in memory at once


class Journal:
    """The rows of a study in a folder.

    Args:
        folder: Of the results; it exists.
        retry: Take out the rows without an answer: their pairs failed or could not be read, and are to be done again.

    Raises:
        StudyError: A line, other than the last one, is no row.
        OutputError: The file cannot be written to.
    """

    def __init__(self, folder: Path, retry: bool = False):
        self.path, self.table = folder / ROWS, folder / TABLE
        self.done: set[str] = set()
        self.statuses: dict[str, int] = {}
        whole = 0
        if self.path.is_file():
            if retry:
                self._take_out(NO_ANSWER)
            for line in _lines(self.path):
                whole += len(line)
                self._count(_parse(line, self.path))
        try:
            self._file = open(self.path, "ab", buffering=0)  # what a full disk does not take must not be tried again
            if os.path.getsize(self.path) > whole:
                self._file.truncate(whole)
            self._size = whole
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written to: {error.strerror}.") from error

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Write a row; it stands on the disk when this returns.

        Raises:
            OutputError: It cannot be written, such as to a full disk; the rows before it stay whole.
        """
        line = json.dumps({"key": key, **{name: value for name, value in row.items() if value is not None}}) + "\n"
        content = line.encode()
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._size)
            raise OutputError(
                f"Results could not be written to {self.path}: {error.strerror}; the rows before are kept."
            ) from error
        self._size += len(content)
        self._count({"key": key, **row})

    def _take_out(self, statuses: Collection[str]) -> None:
        with replacing(self.path) as aside, open(aside, "wb") as file:
            file.writelines(line for line in _lines(self.path) if _parse(line, self.path)["status"] not in statuses)

    def _count(self, row: dict[str, Any]) -> None:
        self.done.add(row["key"])
        self.statuses[row["status"]] = self.statuses.get(row["status"], 0) + 1

    def rows(self) -> Iterator[dict[str, Any]]:
        """Read the rows one by one, in the order in which they were done."""
        for line in _lines(self.path):
            yield _parse(line, self.path)

    def write_table(self, wanted: Callable[[dict], bool] | None = None) -> None:
        """Write all rows as Parquet, sorted by nothing: in the order in which they were done.

        Args:
            wanted: Which rows belong to the study; all when None.

        Raises:
            OutputError: It cannot be written; the table that was there stays.
        """
        arrow, parquet = import_parquet()
        schema = arrow.schema([(name, getattr(arrow, _ARROW[kind])()) for name, kind in COLUMNS.items()])
        with replacing(self.table) as aside, parquet.ParquetWriter(aside, schema) as writer:
            batch: list[dict[str, Any]] = []
            for row in self.rows():
                if wanted is None or wanted(row):
                    batch.append(row)
                if len(batch) == _BATCH:
                    writer.write_table(arrow.Table.from_pylist(batch, schema))
                    batch = []
            writer.write_table(arrow.Table.from_pylist(batch, schema))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_ARROW = {"string": "string", "int32": "int32", "float64": "float64", "bool": "bool_"}


def _lines(path: Path) -> Iterator[bytes]:
    """Give the whole lines of a file; the last one may have been cut off."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _parse(line: bytes, path: Path) -> dict[str, Any]:
    try:
        row = json.loads(line)
        row["key"], row["status"]
    except (ValueError, TypeError, KeyError):
        raise StudyError(f"{path} holds a line that is no row of a study; name another folder.") from None
    return row


__all__ = ["Journal", "ROWS", "TABLE"]
