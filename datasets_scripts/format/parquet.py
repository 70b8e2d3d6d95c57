"""The folder of a data set, CONFIGURATION/SPLIT-00000-of-00001.parquet: written aside, put in place when whole."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retinamatch.files import OutputError, check_holds_no_input

from .rows import LabeledPhotograph, decode
from .schema import CONFIGURATIONS, SPLITS, arrow_schema


# What a build writes last: a folder with it is a build and may be replaced by the next one.
RECORD = "build.json"
_WRITTEN = re.compile(
    rf"({'|'.join(CONFIGURATIONS)})/({'|'.join(SPLITS)})-\d+-of-\d+\.parquet|figures/[^/]+|README\.md|{re.escape(RECORD)}"
)
ROWS_PER_FILE = 512
# Small groups: a reader that streams holds one group in memory, about 16 photographs.
ROWS_PER_GROUP = 16


class ParquetError(ValueError):
    """A folder or file that is not a data set of this form, or must not be overwritten."""


def check_target(folder: str | os.PathLike, inputs: Iterable[str | os.PathLike] = ()) -> Path:
    """Make sure that a folder may be replaced by a build.

    Args:
        folder: The folder, which need not exist yet.
        inputs: Files and folders that the build reads.

    Raises:
        ParquetError: It is a file, or holds an input, or a file that no build writes, or no build's record.
    """
    folder = Path(folder)
    try:
        check_holds_no_input(folder, inputs)
    except OutputError as error:
        raise ParquetError(str(error)) from error
    if folder.exists() and not folder.is_dir():
        raise ParquetError(f"{folder} is a file; the name of a folder is wanted.")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    strange = [name for name in names if RECORD not in names or not _WRITTEN.fullmatch(name)]
    if strange:
        raise ParquetError(f"{folder} holds files that no build has written ({strange[0]}); choose another folder.")
    return folder


@contextmanager
def replacing(folder: str | os.PathLike) -> Iterator[Path]:
    """Give an empty folder aside that takes the place of `folder` when the block ends without an error.

    A build that is stopped half way, or killed, leaves the former build whole.

    Raises:
        ParquetError: The folder holds other files.
    """
    folder = Path(os.path.realpath(folder))
    aside, former = (folder.with_name(f".{folder.name}.{state}") for state in ("building", "former"))
    # A kill between the two renames below leaves only the former build: put it back first.
    if former.exists() and not folder.exists():
        former.rename(folder)
    check_target(folder)
    for stale in (aside, former):
        if stale.exists():
            shutil.rmtree(stale)
    aside.mkdir(parents=True)
    try:
        yield aside
        if folder.exists():
            folder.rename(former)
        aside.rename(folder)
    except BaseException:
        if former.exists() and not folder.exists():
            former.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(former, ignore_errors=True)


def write_table(folder: Path, config: str, split: str, rows: Iterable[dict], rows_per_file: int = ROWS_PER_FILE) -> int:
    """Write one split of one configuration; a split without rows gets no file.

    Args:
        folder: Root of the data set.
        config: Name of the configuration.
        split: Name of the split.
        rows: Taken one by one, so that they need not fit in memory.
        rows_per_file: Largest number of rows of a file.

    Returns:
        Number of rows.
    """
    schema, parts, count, writer = arrow_schema(config), [], 0, None
    rows = iter(rows)
    try:
        while group := list(islice(rows, min(ROWS_PER_GROUP, rows_per_file - count % rows_per_file))):
            if count % rows_per_file == 0:
                if writer is not None:
                    writer.close()
                (folder / config).mkdir(parents=True, exist_ok=True)
                parts.append(folder / config / f"{split}-{len(parts):05d}")
                # Images are compressed already: zstd would only cost time.
                writer = pq.ParquetWriter(parts[-1], schema, compression="none")
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    finally:
        if writer is not None:
            writer.close()
    for part in parts:
        part.rename(f"{part}-of-{len(parts):05d}.parquet")
    return count


def table_files(folder: str | os.PathLike, config: str, split: str) -> list[Path]:
    """List the files of one split of one configuration, in order; none when the data set has no such split."""
    return sorted((Path(folder) / config).glob(f"{split}-*.parquet"))


def tables(folder: str | os.PathLike) -> list[tuple[str, str]]:
    """List the configurations and splits that a data set has.

    Raises:
        ParquetError: It has none.
    """
    there = [(config, split) for config in CONFIGURATIONS for split in SPLITS if table_files(folder, config, split)]
    if not there:
        raise ParquetError(f"{folder} holds no data set: no file such as keypoints/train-00000-of-00001.parquet.")
    return there


def read_rows(folder: str | os.PathLike, config: str, split: str, columns: list[str] | None = None) -> Iterator[dict]:
    """Read the rows of one split of one configuration as plain Python values, one after the other.

    Args:
        folder: Root of the data set.
        config: Name of the configuration.
        split: Name of the split.
        columns: Only these.

    Raises:
        ParquetError: There is no such split, or a file of it is no Parquet of this form.
    """
    files = table_files(folder, config, split)
    if not files:
        raise ParquetError(f"{folder} has no file {config}/{split}-*.parquet.")
    wanted = set(arrow_schema(config).names)
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise ParquetError(f"{file} is not a whole Parquet file.") from error
        if missing := sorted(wanted - set(parquet.schema_arrow.names)):
            raise ParquetError(f"{file} lacks the column {missing[0]!r}.")
        for batch in parquet.iter_batches(batch_size=ROWS_PER_GROUP, columns=columns):
            yield from batch.to_pylist()


def read_photographs(folder: str | os.PathLike, split: str) -> Iterator[LabeledPhotograph]:
    """Read the photographs of one split, labeled ones first.

    Raises:
        ParquetError: The folder has no such split.
    """
    configs = [config for config in ("keypoints", "unlabeled") if table_files(folder, config, split)]
    if not configs:
        raise ParquetError(f"{folder} has no file keypoints/{split}-*.parquet or unlabeled/{split}-*.parquet.")
    for config in configs:
        for row in read_rows(folder, config, split):
            yield decode(row)


__all__ = [
    "RECORD",
    "ParquetError",
    "check_target",
    "read_photographs",
    "read_rows",
    "replacing",
    "table_files",
    "tables",
    "write_table",
]
