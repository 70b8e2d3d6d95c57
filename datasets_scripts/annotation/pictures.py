"""Photographs to annotate, from a folder or from Parquet, and the keypoints that are proposed for them."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retinamatch.field_of_view import find_field_of_view
from retinamatch.photographs import PhotographError, read_photograph
from retinamatch.registrar import Registrar

from ..format.annotations import Annotation, AnnotationError, read_annotation
from ..labeling.junctions import find_junctions
from ..labeling.labels import LabelingError, read, read_vessels
from ..sources import PhotographFile, SourceError, find_source, plain_folder


PROPOSALS = ("auto", "labels", "vessels", "model", "none")


@dataclass(frozen=True)
class FilePicture:
    """A photograph in a file, with what lies beside it."""

    photograph: PhotographFile

    @property
    def name(self) -> str:
        """Name of its annotation, without ending."""
        return self.photograph.name

    @property
    def image(self) -> str:
        """File name of the photograph."""
        return self.photograph.path.name

    def read(self) -> np.ndarray:
        """Read the photograph, (H, W, 3) uint8, upright."""
        try:
            return read(self.photograph)
        except LabelingError as error:
            raise AnnotationError(str(error)) from error

    def labels(self, size: tuple[int, int]) -> Annotation | None:
        """Read the annotation that lies beside it."""
        path = self.photograph.annotation
        return None if path is None else read_annotation(path, size)

    def vessels(self, size: tuple[int, int]) -> np.ndarray | None:
        """Read the vessel map (H, W) that lies beside it."""
        try:
            return None if self.photograph.vessels is None else read_vessels(self.photograph, size[::-1])
        except LabelingError as error:
            raise AnnotationError(str(error)) from error


@dataclass(frozen=True)
class ParquetPicture:
    """A photograph in a row of a Parquet file."""

    name: str
    image: str
    file: Path
    group: int
    row: int

    def read(self) -> np.ndarray:
        """Read the photograph, (H, W, 3) uint8, upright."""
        try:
            return read_photograph(self._row("image")["image"] or b"")
        except PhotographError as error:
            raise AnnotationError(f"The image of {self.name} in {self.file} cannot be read.") from error

    def labels(self, size: tuple[int, int]) -> Annotation | None:
        """Read the keypoints of the row."""
        row = self._row("keypoints", "types", "widths")
        if row.get("keypoints") is None:
            return None
        points = np.array(row["keypoints"], dtype=np.float64).reshape(-1, 2)
        types = row.get("types") or np.zeros(len(points))
        return Annotation(self.image, size, points, np.array(types), "", row.get("widths"))

    def vessels(self, size: tuple[int, int]) -> None:
        """Give `None`: there are no vessel maps in Parquet, the build has made keypoints of them."""

    def _row(self, *columns: str) -> dict:
        with pq.ParquetFile(self.file) as parquet:
            known = [column for column in columns if column in parquet.schema_arrow.names]
            return parquet.read_row_group(self.group, columns=known).slice(self.row, 1).to_pylist()[0]


Picture = FilePicture | ParquetPicture


def list_pictures(folder: str | os.PathLike, source: str | None = None, split: str | None = None) -> list[Picture]:
    """List the photographs of a folder, or of a built configuration in Parquet, by name.

    Args:
        folder: Images, or `images/` with optional `vessels/NAME.png` and `annotations/NAME.json`, or files
            SPLIT-*.parquet, or one such file.
        source: Name of a data set, whose download the folder is then.
        split: Of the Parquet files, those of one split.

    Raises:
        AnnotationError: There is no photograph, a file is broken, or two photographs would share an annotation.
    """
    folder = Path(folder)
    if not folder.is_dir() and (folder.suffix != ".parquet" or not folder.is_file()):
        raise AnnotationError(f"{folder} is not a folder; photographs or Parquet files are wanted.")
    files = [folder] if folder.is_file() else sorted(folder.glob(f"{split or '*'}-*.parquet"))
    if split is not None and not files:
        raise AnnotationError(f"{folder} holds no file {split}-*.parquet.")
    try:
        reader = plain_folder("photographs") if source is None else find_source(source)
        pictures = _from_parquet(files) if files else [FilePicture(one) for one in reader.photographs(folder)]
    except SourceError as error:
        raise AnnotationError(str(error)) from error
    if not pictures:
        raise AnnotationError(f"{folder} holds Parquet files without a row.")
    known = {}
    for picture in pictures:
        # Some file systems do not tell capitals from small letters.
        other = known.setdefault(picture.name.lower(), picture)
        if other is not picture:
            raise AnnotationError(f"{other.image} and {picture.image} would share the annotation {picture.name}.json.")
    return sorted(pictures, key=lambda picture: picture.name)


def _from_parquet(files: Sequence[Path]) -> list[Picture]:
    rows = []
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                if "image" not in parquet.schema_arrow.names:
                    raise AnnotationError(f"{file} lacks the column 'image'.")
                columns = [name for name in ("name", "source") if name in parquet.schema_arrow.names]
                for group in range(parquet.num_row_groups):
                    # The image's name alone: its bytes are read when its turn comes.
                    table = parquet.read_row_group(group, columns=["image.path", *columns])
                    rows += [(file, group, i, row) for i, row in enumerate(table.to_pylist())]
        except (pa.ArrowInvalid, OSError) as error:
            raise AnnotationError(f"{file} is not a whole Parquet file.") from error
    paths = [Path((row["image"] or {}).get("path") or "") for *_, row in rows]
    names = [
        row.get("name") or path.stem or f"{file.stem}-{group}-{i}" for path, (file, group, i, row) in zip(paths, rows)
    ]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    pictures = []
    for name, path, (file, group, i, row) in zip(names, paths, rows):
        # Names are unique within a source only.
        full = f"{row['source']}-{name}" if name in repeated and row.get("source") else name
        pictures.append(ParquetPicture(full.replace("/", "_"), name + (path.suffix or ".png"), file, group, i))
    return pictures


def propose(
    picture: Picture, photo: np.ndarray, how: str = "auto", detector: Callable | None = None
) -> tuple[Annotation, str]:
    """Propose keypoints for a photograph.

    Args:
        picture: What lies beside the photograph.
        photo: The photograph (H, W, 3).
        how: One of `PROPOSALS`; "auto" takes labels where there are any, else the vessel map where there is one.
        detector: Gives the places (N, 2) of the keypoints of a photograph; wanted for "model".

    Returns:
        The keypoints, and where they come from, in words.

    Raises:
        AnnotationError: Labels or vessel map are broken or of another size than the photograph.
    """
    height, width = photo.shape[:2]
    nothing = Annotation(picture.image, (width, height), np.zeros((0, 2)), np.zeros(0))
    if how == "model":
        points = detector(photo)
        inside = ((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(axis=1)
        proposed = Annotation(picture.image, (width, height), points[inside], np.zeros(inside.sum()))
        return proposed, f"{len(proposed)} keypoints proposed by the model, all as bifurcations"
    if how in ("auto", "labels"):
        labels = picture.labels((width, height))
        if labels is not None:
            return labels, f"{len(labels)} keypoints proposed from the labels"
    vessels = picture.vessels((width, height)) if how in ("auto", "vessels") else None
    if vessels is not None:
        view = find_field_of_view(photo)
        junctions = find_junctions(vessels, view.box[2] - view.box[0])
        points = np.clip(junctions.points, 0, np.array([width, height]) - 1)  # a place fitted to lines may lie beyond
        labels = Annotation(picture.image, (width, height), points, junctions.types, "", junctions.widths)
        return labels, f"{len(labels)} keypoints proposed from the vessel map"
    return nothing, "no proposals"


def load_detector(model: str, threshold: float) -> Callable[[np.ndarray], np.ndarray]:
    """Load a model that proposes keypoints with a score of at least `threshold`."""
    registrar = Registrar(model)

    def detect(photo: np.ndarray) -> np.ndarray:
        keypoints = registrar.keypoints([photo])[0]
        return keypoints.points[keypoints.scores >= threshold]

    return detect


__all__ = ["PROPOSALS", "FilePicture", "ParquetPicture", "Picture", "list_pictures", "load_detector", "propose"]
