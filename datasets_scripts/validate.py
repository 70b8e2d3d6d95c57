"""Is the data set what its card promises? Every image decodes, no person is in two splits, pairs fit their mapping.

python -m datasets_scripts.validate build/dataset [--fire FIRE] [--publishable]
"""

import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from retinamatch.files import standard_output
from retinamatch.transforms import Transform

from .assembly.fingerprints import find_duplicates, fingerprint, fingerprint_file
from .assembly.pairs import TOLERANCE
from .format.parquet import ParquetError, read_rows, tables
from .format.rows import RowError, check_inside, decode_image, decode_mask
from .format.schema import image_columns
from .sources import SOURCES, SourceError, find_source


MOST_ERRORS = 20  # of one kind; more of them say nothing new


@dataclass
class Report:
    """What validation found.

    Attributes:
        errors: One sentence each; empty for a good data set.
        rows: (configuration, split, source) -> number of rows.
        keypoints: (split, source, type) -> number of keypoints.
    """

    errors: list[str] = field(default_factory=list)
    rows: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    keypoints: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))

    def reject(self, kind: str, sentence: str) -> None:
        """Note an error, unless many of its kind are there already."""
        same = sum(1 for one in self.errors if one.startswith(f"{kind}: "))
        if same < MOST_ERRORS:
            self.errors.append(f"{kind}: {sentence}")
        elif same == MOST_ERRORS:
            self.errors.append(f"{kind}: and more of this kind.")


def validate(
    folder: str | os.PathLike, fire: str | os.PathLike | None = None, publishable: bool = False, progress: bool = False
) -> Report:
    """Check a built data set.

    Args:
        folder: Root of the data set.
        fire: FIRE's folder, to make sure that none of its photographs is trained on.
        publishable: Whether every row must be free to be passed on.
        progress: Show a bar.

    Raises:
        ParquetError: There is no data set, or a file of it cannot be read.
    """
    report, seen = Report(), _Seen()
    for config, split in tables(folder):
        rows = read_rows(folder, config, split)
        for row in tqdm(rows, desc=f"checking {config} {split}", leave=False, disable=None if progress else True):
            if config == "identity_pairs":
                _check_identity_pair(row, seen.identities, report)
                report.rows[config, split, "pairs"] += 1
            else:
                _check_row(row, config, split, publishable, report, seen)

    for (source, patient), splits in sorted(seen.splits.items()):
        if len(splits) > 1:
            report.reject("patient", f"{source} {patient} is in the splits {', '.join(sorted(splits))}.")
    _check_duplicates(seen, report)
    if fire is not None:
        _check_fire(fire, seen, report)
    return report


@dataclass
class _Seen:
    """What rows are compared by.

    Attributes:
        names: (configuration, split, source, name) of every row.
        splits: (source, patient) -> splits.
        identities: Index of a photograph of `identity` -> (source, patient, eye).
        prints: Fingerprint of every photograph.
        places: (split, where) of every fingerprint.
    """

    names: set[tuple] = field(default_factory=set)
    splits: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    identities: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    prints: list[np.ndarray] = field(default_factory=list)
    places: list[tuple[str, str]] = field(default_factory=list)


def _check_row(row: dict, config: str, split: str, publishable: bool, report: Report, seen: _Seen) -> None:
    where = f"{config}/{split}/{row['name']}"
    report.rows[config, split, row["source"]] += 1
    seen.splits[row["source"], row["patient"]].add(split)
    name = (config, split, row["source"], row["name"])
    if name in seen.names:
        report.reject("name", f"{where} stands there twice.")
    seen.names.add(name)
    _check_terms(row, where, split, publishable, report)
    images = _decode(row, config, where, report)
    if images is None:
        return
    if config == "keypoints":
        _check_keypoints(row, images, where, report)
        for kind in row["types"]:
            report.keypoints[split, row["source"], kind] += 1
    elif config == "pairs":
        _check_pair(row, images, where, report)
    elif config == "identity":
        seen.identities[row["index"]] = (row["source"], row["patient"], row["eye"])
    for column in ("image", "fixed", "moving"):
        if column in images:
            seen.prints.append(fingerprint(images[column]))
            seen.places.append((split, where))


def _decode(row: dict, config: str, where: str, report: Report) -> dict[str, np.ndarray] | None:
    """Decode the images and masks of a row; `None` when one of them cannot be."""
    images = {}
    for column in image_columns(config):
        if row[column] is None:
            continue
        try:
            images[column] = (decode_mask if "mask" in column else decode_image)(row[column])
        except (OSError, ValueError, SyntaxError) as error:
            report.reject("image", f"{column} of {where} does not decode ({error}).")
            return None
    for column, mask in images.items():
        if "mask" in column:
            image = images["image" if column == "mask" else column.removesuffix("_mask")]
            if mask.shape != image.shape[:2]:
                report.reject("mask", f"{column} of {where} has the shape {mask.shape}, its image {image.shape[:2]}.")
                return None
    return images


def _check_terms(row: dict, where: str, split: str, publishable: bool, report: Report) -> None:
    if not row["license"]:
        report.reject("license", f"{where} carries no license.")
    if publishable and not row["redistributable"]:
        report.reject("license", f"{where} may not be passed on ({row['license']}).")
    source = SOURCES.get(row["source"])
    if source is not None:
        if publishable and not source.redistributable:
            report.reject("license", f"{where} is of {source.title}, which may not be passed on ({source.license}).")
        if source.use != "training" and split != "test":
            report.reject("split", f"{where} is of {source.title}, which is for {source.use} only.")


def _check_keypoints(row: dict, images: dict, where: str, report: Report) -> None:
    points = np.array(row["keypoints"], dtype=np.float64).reshape(-1, 2)
    if len({len(points), len(row["types"]), len(row["widths"]), len(row["directions"])}) > 1:
        report.reject("keypoints", f"{where}: the lists of keypoints, types, widths and directions differ in length.")
        return
    try:
        check_inside(points, images["mask"].shape, where)
    except RowError as error:
        report.reject("keypoints", str(error))
        return
    column, row_number = points.round().astype(int).clip(0, np.array(images["mask"].shape[::-1]) - 1).T
    outside = ~images["mask"][row_number, column]
    if outside.any():
        x, y = points[outside][0]
        report.reject("keypoints", f"{where}: the keypoint ({x:.1f}, {y:.1f}) lies outside the field of view.")


def _check_pair(row: dict, images: dict, where: str, report: Report) -> None:
    sides = {side: np.array(row[f"{side}_points"], dtype=np.float64).reshape(-1, 2) for side in ("fixed", "moving")}
    if len(sides["fixed"]) != len(sides["moving"]) or len(sides["fixed"]) == 0:
        report.reject("pair", f"{where} has {len(sides['fixed'])} fixed and {len(sides['moving'])} moving points.")
        return
    for side, points in sides.items():
        try:
            check_inside(points, images[side].shape[:2], f"{where} ({side})")
        except RowError as error:
            report.reject("pair", str(error))
            return
    if row["transform"] is None:
        return
    try:
        mapping = Transform.from_dict(json.loads(row["transform"]))
    except ValueError as error:
        report.reject("pair", f"the transform of {where} cannot be read ({error}).")
        return
    apart = np.linalg.norm(mapping(sides["moving"]) - sides["fixed"], axis=1).max()
    if not apart <= TOLERANCE:
        report.reject("pair", f"{where}: a point and the transform lie {apart:.2f} px apart ({TOLERANCE} allowed).")


def _check_identity_pair(row: dict, identities: dict, report: Report) -> None:
    ends = row["first"], row["second"]
    if ends[0] == ends[1] or not set(ends) <= set(identities):
        report.reject("identity", f"the pair {ends} does not name two photographs of the configuration identity.")
    elif row["genuine"] != (identities[ends[0]] == identities[ends[1]]):
        report.reject("identity", f"the pair {ends} is called {'genuine' if row['genuine'] else 'impostor'} wrongly.")


def _check_duplicates(seen: _Seen, report: Report) -> None:
    """Reject photographs that stand in two splits under two names."""
    for first, second in find_duplicates(seen.prints):
        (split, where), (other_split, other) = seen.places[first], seen.places[second]
        if split != other_split:
            report.reject("duplicate", f"{where} and {other} show the same photograph.")


def _check_fire(fire: str | os.PathLike, seen: _Seen, report: Report) -> None:
    photographs = find_source("fire").photographs(fire)
    trained = [index for index, (split, _) in enumerate(seen.places) if split != "test"]
    known = [fingerprint_file(photograph.path) for photograph in photographs]
    for index, number in find_duplicates([seen.prints[index] for index in trained], known):
        report.reject("fire", f"{seen.places[trained[index]][1]} is FIRE's {photographs[number].name}.")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder that datasets_scripts.build wrote.")],
    fire: Annotated[Path | None, typer.Option(help="FIRE's folder: none of its photographs may be trained on.")] = None,
    publishable: Annotated[bool, typer.Option("--publishable", help="Every row must be free to be passed on.")] = False,
) -> None:
    """Check a built data set; exit code 1 when it is rejected."""
    try:
        report = validate(folder, fire, publishable, progress=True)
    except (ParquetError, SourceError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    for (config, split, source), count in sorted(report.rows.items()):
        typer.echo(f"{config:15} {split:11} {source:15} {count}")
    for sentence in report.errors:
        typer.echo(f"Rejected: {sentence}", err=True)
    if report.errors:
        raise typer.Exit(1)
    typer.echo("Everything is as it should be.")


__all__ = ["Report", "validate"]

if __name__ == "__main__":
    with standard_output():
        app()
