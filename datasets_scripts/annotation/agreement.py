"""How far two persons agree on the keypoints of photographs.

python -m datasets_scripts.annotation.agreement ANNOTATIONS_OF_ONE ANNOTATIONS_OF_THE_OTHER

The files are those that the page `datasets_scripts.annotate` writes; see `format.annotations`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from retinamatch.field_of_view import find_field_of_view
from retinamatch.photographs import PhotographError, read_photograph

from ..format.annotations import (
    Annotation,
    AnnotationError,
    in_words,
    list_annotations,
    read_annotation,
)
from ..labeling.points import match_points


# Distances between keypoints are judged as if the field of view were as wide as that of DRIVE.
FIELD_WIDTH = 565


@dataclass
class Agreement:
    """What two persons say about one photograph, or about many.

    Attributes:
        distances: Distance (M,) of the keypoints that both have set, in pixels of a field of view 565 wide.
        same_type: Whether (M,) both gave them the same type.
        only_first: Number of keypoints that the first person alone has set.
        only_second: Number of keypoints that the second person alone has set.
    """

    distances: np.ndarray
    same_type: np.ndarray
    only_first: int
    only_second: int

    @property
    def matched(self) -> int:
        """Number of keypoints that both have set."""
        return len(self.distances)

    @property
    def precision(self) -> float:
        """Fraction of the second person's keypoints that the first has set, too; NaN when there are none."""
        return _fraction(self.matched, self.matched + self.only_second)

    @property
    def recall(self) -> float:
        """Fraction of the first person's keypoints that the second has set, too; NaN when there are none."""
        return _fraction(self.matched, self.matched + self.only_first)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: the same whoever is called the first; NaN without any keypoint."""
        return _fraction(2 * self.matched, 2 * self.matched + self.only_first + self.only_second)

    @property
    def median_distance(self) -> float:
        """Median of `distances`; NaN when nothing is matched."""
        return float(np.median(self.distances)) if self.matched else math.nan

    @property
    def type_agreement(self) -> float:
        """Fraction of the matched keypoints with the same type; NaN when nothing is matched."""
        return _fraction(int(self.same_type.sum()), self.matched)

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            np.concatenate([self.distances, other.distances]),
            np.concatenate([self.same_type, other.same_type]),
            self.only_first + other.only_first,
            self.only_second + other.only_second,
        )


NO_KEYPOINTS = Agreement(np.zeros(0), np.zeros(0, dtype=bool), 0, 0)


def _fraction(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def agreement(
    first: Annotation, second: Annotation, field_width: float | None = None, tolerance: float = 3.0
) -> Agreement:
    """Compare two annotations of one photograph.

    As many keypoints as possible are matched one to one within the tolerance, and among these assignments that with the
    smallest sum of distances counts. The type plays no part in it.

    Args:
        first: The one that recall is a fraction of.
        second: The one that precision is a fraction of.
        field_width: Width of the field of view in pixels of the photograph; by default the photograph's shorter side.
        tolerance: Largest distance in pixels of a field of view 565 wide.

    Raises:
        AnnotationError: The photographs have different sizes.
    """
    if first.size != second.size:
        raise AnnotationError(
            f"{first.image} was annotated at {in_words(first.size)} and at {in_words(second.size)} pixels."
        )
    scale = FIELD_WIDTH / (field_width or min(first.size))
    rows, columns, distances = match_points(first.points * scale, second.points * scale, tolerance)
    return Agreement(
        distances,
        first.types[rows] == second.types[columns],
        len(first) - len(rows),
        len(second) - len(columns),
    )


def compare_folders(
    first: Path, second: Path, photographs: Path | None = None, tolerance: float = 3.0
) -> tuple[dict[str, Agreement], list[str]]:
    """Compare all photographs that two folders hold annotations of.

    Args:
        first: Annotations of one person, JSON or text.
        second: Annotations of the other; text alone is not enough, because it does not give the photograph's size.
        photographs: Folder of the photographs, to measure the fields of view in; without it the shorter side counts.
        tolerance: Largest distance in pixels of a field of view 565 wide.

    Returns:
        Photograph -> agreement, and what was left out, a sentence each.

    Raises:
        AnnotationError: A folder holds no annotation, a file is broken, or no photograph is in both.
    """
    files = [list_annotations(folder) for folder in (first, second)]
    notes = [
        f"{name} is only in {folder}."
        for folder, mine, other in ((first, *files), (second, *files[::-1]))
        for name in sorted(set(mine) - set(other))
    ]
    agreements = {}
    for name in sorted(set(files[0]) & set(files[1])):
        a, b = _read_both(files[0][name], files[1][name])
        drafts = [str(files[i][name]) for i, annotation in enumerate((a, b)) if not annotation.complete]
        if drafts:
            notes.append(f"{name} is left out: {' and '.join(drafts)} is not finished.")
            continue
        agreements[name] = agreement(a, b, _field_width(photographs, a), tolerance)
    if not agreements:
        raise AnnotationError(f"No photograph has a finished annotation in both {first} and {second}.")
    return agreements, notes


def _read_both(first: Path, second: Path) -> tuple[Annotation, Annotation]:
    """Read two files of one photograph; the size that a text file lacks is taken from the other."""
    if first.suffix == ".txt" != second.suffix:
        return _read_both(second, first)[::-1]
    a = read_annotation(first)
    return a, read_annotation(second, a.size)


def _field_width(folder: Path | None, annotation: Annotation) -> float | None:
    if folder is None:
        return None
    try:
        view = find_field_of_view(read_photograph(folder / annotation.image))
    except PhotographError as error:
        raise AnnotationError(str(error)) from error
    return view.box[2] - view.box[0]


def _line(name: str, result: Agreement) -> str:
    figures = (result.precision, result.recall, result.f1, result.median_distance, result.type_agreement)
    counts = (result.matched, result.only_first, result.only_second)
    return f"{name:<24}" + "".join(f"{n:>8}" for n in counts) + "".join(f"{value:>11.3f}" for value in figures)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    first: Annotated[Path, typer.Argument(help="Annotations of one person.")],
    second: Annotated[Path, typer.Argument(help="Annotations of the other person.")],
    photographs: Annotated[
        Path | None, typer.Option(help="The photographs, to measure their fields of view. [default: shorter side]")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Pixels of a field of view 565 wide.")] = 3.0,
) -> None:
    """Say how far two persons agree, photograph by photograph and in total."""
    try:
        agreements, notes = compare_folders(first, second, photographs, tolerance)
    except AnnotationError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    names = ("matched", "only 1", "only 2")
    measures = ("precision", "recall", "F1", "distance", "type")
    typer.echo(f"{'photograph':<24}" + "".join(f"{n:>8}" for n in names) + "".join(f"{n:>11}" for n in measures))
    for name, result in agreements.items():
        typer.echo(_line(name, result))
    typer.echo(_line("total", sum(agreements.values(), NO_KEYPOINTS)))
    for note in notes:
        typer.echo(note)


if __name__ == "__main__":
    app()


__all__ = ["Agreement", "agreement", "compare_folders"]
