"""The Parquet form of the labelled photographs: one row a photograph, one file name a split, pyarrow and nothing else.

| column | type | meaning |
| --- | --- | --- |
| `image` | struct<bytes, path> | RGB canvas, JPEG or PNG |
| `mask` | struct<bytes, path> | field of view, PNG with one channel: 255 inside, 0 outside |
| `keypoints` | list<list<float32>[2]> | (x, y) in pixels, top-left pixel's centre (0, 0); null = not labelled |
| `keypoint_types` | list<int8> | 0 bifurcation, 1 crossing; null = not labelled |
| `source`, `patient`, `eye`, `licence` | string | where the photograph comes from, and under which terms |
"""

import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("mask", IMAGE),
        ("keypoints", pa.list_(pa.list_(pa.float32(), 2))),
        ("keypoint_types", pa.list_(pa.int8())),
        ("source", pa.string()),
        ("patient", pa.string()),
        ("eye", pa.string()),
        ("licence", pa.string()),
    ]
)
SPLITS = ("train", "validation")
FILE_NAME = re.compile(r"(train|validation)-\d{5}-of-\d{5}\.parquet")
ROWS_PER_FILE = 512
# Small groups: a reader that streams holds one group in memory, about 16 photographs.
ROWS_PER_GROUP = 16


class ParquetError(ValueError):
    """A folder or file that is not a set of labelled photographs, or must not be overwritten."""


@dataclass
class LabelledPhotograph:
    """One row.

    Attributes:
        name: File name of the image, unique within its source.
        image: Canvas (H, W, 3), uint8 RGB.
        mask: Field of view (H, W), bool.
        keypoints: Places (N, 2), (x, y) in pixels of the canvas, or `None` for a photograph without labels.
        types: Kind (N,) of each keypoint, 0 bifurcation, 1 crossing, or `None`.
        source: Name of the data set.
        patient: Name of the person within the source; the unit of every split.
        eye: "left", "right" or "" where the source does not say.
        licence: Terms of the photograph.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    keypoints: np.ndarray | None
    types: np.ndarray | None
    source: str
    patient: str
    eye: str
    licence: str


def encode(photograph: LabelledPhotograph, jpeg_quality: int | None = 95) -> dict:
    """Turn a photograph into a row of `SCHEMA`.

    Args:
        photograph: What to store.
        jpeg_quality: Quality of the JPEG bytes (without subsampling of the colours); `None` for PNG, without loss.

    Raises:
        ParquetError: A keypoint lies outside the canvas or is not a number, or keypoints and types differ in number.
    """
    height, width = photograph.mask.shape
    keypoints, types = photograph.keypoints, photograph.types
    if (keypoints is None) != (types is None) or (keypoints is not None and len(keypoints) != len(types)):
        raise ParquetError(f"{photograph.source}/{photograph.name}: keypoints and their types differ in number.")
    if keypoints is not None:
        keypoints = np.asarray(keypoints, dtype=np.float32).reshape(-1, 2)
        if not ((keypoints >= -0.5) & (keypoints <= np.array([width, height]) - 0.5)).all():
            raise ParquetError(
                f"{photograph.source}/{photograph.name}: a keypoint lies outside the {width} x {height} canvas."
            )
    suffix, options = (".png", {"format": "PNG"})
    if jpeg_quality is not None:
        suffix, options = ".jpg", {"format": "JPEG", "quality": jpeg_quality, "subsampling": 0}
    return {
        "image": {"bytes": _bytes(photograph.image, **options), "path": photograph.name + suffix},
        "mask": {
            "bytes": _bytes(photograph.mask.astype(np.uint8) * 255, format="PNG"),
            "path": photograph.name + "_mask.png",
        },
        "keypoints": None if keypoints is None else keypoints.tolist(),
        "keypoint_types": None if types is None else [int(kind) for kind in types],
        "source": photograph.source,
        "patient": photograph.patient,
        "eye": photograph.eye,
        "licence": photograph.licence,
    }


def _bytes(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)
    return buffer.getvalue()


def decode(row: Mapping) -> LabelledPhotograph:
    """Turn a row back into arrays."""
    keypoints, types = row["keypoints"], row["keypoint_types"]
    return LabelledPhotograph(
        name=Path(row["image"]["path"]).stem,
        image=np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")),
        mask=np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"])).convert("L")) > 127,
        keypoints=None if keypoints is None else np.array(keypoints, dtype=np.float64).reshape(-1, 2),
        types=None if types is None else np.array(types, dtype=np.int8),
        **{column: row[column] for column in ("source", "patient", "eye", "licence")},
    )


def check_target(folder: str | os.PathLike) -> Path:
    """Make sure that a folder may be replaced by a build.

    Raises:
        ParquetError: It is a file, or holds anything that no build has written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ParquetError(f"{folder} is a file; the name of a folder is wanted.")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    strangers = [name for name in names if not FILE_NAME.fullmatch(name)]
    if strangers:
        raise ParquetError(f"{folder} holds files that no build has written ({strangers[0]}); choose another folder.")
    return folder


def write_splits(
    folder: str | os.PathLike,
    splits: Mapping[str, Iterable[dict]],
    rows_per_file: int = ROWS_PER_FILE,
) -> dict[str, int]:
    """Write the rows of each split to `folder/SPLIT-00000-of-00001.parquet` and so on.

    Everything is written to a folder aside, which then takes the place of the former one: a build that is stopped half
    way leaves the former build whole.

    Args:
        folder: Folder to write; replaced if a build wrote it.
        splits: Split name -> rows, taken one by one, so that they need not fit in memory. A split without rows gets no
            file.
        rows_per_file: Largest number of rows of a file.

    Returns:
        Number of rows of each split.

    Raises:
        ParquetError: The folder holds other files, or a split has an unknown name.
    """
    folder = check_target(folder)
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise ParquetError(f"Unknown split {unknown[0]!r}; known are {', '.join(SPLITS)}.")
    aside, former = (folder.with_name(f".{folder.name}.{state}") for state in ("building", "former"))
    # A kill between the two renames below leaves only the former build: put it back first.
    if former.exists() and not folder.exists():
        former.rename(folder)
    for stale in (aside, former):
        if stale.exists():
            shutil.rmtree(stale)
    aside.mkdir(parents=True)
    try:
        counts = {split: _write_split(aside, split, rows, rows_per_file) for split, rows in splits.items()}
        if folder.exists():
            folder.rename(former)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(former, ignore_errors=True)
    return counts


def _write_split(folder: Path, split: str, rows: Iterable[dict], rows_per_file: int) -> int:
    """Write one split in files of `rows_per_file` rows, then give them their names, which need their number."""
    parts, count, group, writer = [], 0, [], None

    def flush():
        if group:
            # Images are compressed already: zstd would only cost time.
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
            group.clear()

    for row in rows:
        if count % rows_per_file == 0:
            if writer is not None:
                flush()
                writer.close()
            parts.append(folder / f"{split}-{len(parts):05d}")
            writer = pq.ParquetWriter(parts[-1], SCHEMA, compression="none")
        group.append(row)
        count += 1
        if len(group) == ROWS_PER_GROUP:
            flush()
    if writer is not None:
        flush()
        writer.close()
    for part in parts:
        part.rename(f"{part}-of-{len(parts):05d}.parquet")
    return count


def read_split(folder: str | os.PathLike, split: str) -> Iterator[LabelledPhotograph]:
    """Read the photographs of one split, one after the other.

    Args:
        folder: Folder that `write_splits` wrote.
        split: "train" or "validation".

    Raises:
        ParquetError: The folder has no such split, or a file of it is no Parquet of this form.
    """
    files = sorted(Path(folder).glob(f"{split}-*.parquet"))
    if not files:
        raise ParquetError(f"{folder} has no file {split}-*.parquet.")
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise ParquetError(f"{file} is not a whole Parquet file.") from error
        missing = sorted(set(SCHEMA.names) - set(parquet.schema_arrow.names))
        if missing:
            raise ParquetError(f"{file} lacks the column {missing[0]!r}.")
        for batch in parquet.iter_batches(batch_size=ROWS_PER_GROUP, columns=SCHEMA.names):
            for row in batch.to_pylist():
                yield decode(row)


__all__ = [
    "SCHEMA",
    "SPLITS",
    "LabelledPhotograph",
    "ParquetError",
    "check_target",
    "decode",
    "encode",
    "read_split",
    "write_splits",
]
