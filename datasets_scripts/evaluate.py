"""How well a model registers the pairs of a built data set, category by category and for every two modalities.

python -m datasets_scripts.evaluate build/dataset [--model NAME] [--category modalities] [--out figures.json]
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from retinamatch.extractor import DEFAULT_MODEL, UnknownNameError
from retinamatch.files import OutputError, check_output_file, standard_output, write_text
from retinamatch.registrar import Registrar

from .format.parquet import ParquetError, read_rows
from .format.rows import decode_image
from .format.schema import CONFIGURATIONS


# A registered pair with a larger mean error, as a fraction of the width of the fixed photograph, is a wrong match.
WRONG = 0.02


def evaluate(
    folder: str | os.PathLike, registrar: Registrar, category: str | None = None, progress: bool = False
) -> list[dict]:
    """Register the pairs of a built data set and measure the errors at the places that are known in both photographs.

    Args:
        folder: Root of the data set.
        registrar: What registers them.
        category: Only pairs of this one.
        progress: Show a bar.

    Returns:
        A row for every category and grade, or for every two modalities: `kind`; the numbers `pairs`, `registered` and
        `wrong`; `median_error` and `largest_error` of the registered ones. The error of a pair is the mean distance in
        pixels of the fixed photograph.

    Raises:
        ParquetError: The data set has no such pairs.
    """
    errors: dict[str, list[float]] = defaultdict(list)
    widths: dict[str, list[int]] = defaultdict(list)
    for row in tqdm(read_rows(folder, "pairs", "test"), desc="pairs", leave=False, disable=None if progress else True):
        if category not in (None, row["category"]):
            continue
        fixed, moving = decode_image(row["fixed"]), decode_image(row["moving"])
        registration = registrar.register(moving, fixed)
        distance = np.nan
        if registration:
            mapped = registration.transform(np.array(row["moving_points"]))
            distance = float(np.linalg.norm(mapped - np.array(row["fixed_points"]), axis=1).mean())
        errors[_kind(row)].append(distance)
        widths[_kind(row)].append(fixed.shape[1])
    if not errors:
        raise ParquetError(f"{folder} has no pairs of the category {category!r}.")
    return [_figures(kind, np.array(errors[kind]), np.array(widths[kind])) for kind in errors]


def _kind(row: dict) -> str:
    features = CONFIGURATIONS["pairs"]
    modalities = [features[f"{side}_modality"].int2str(row[f"{side}_modality"]) for side in ("fixed", "moving")]
    return " and ".join(modalities) if modalities[0] != modalities[1] else f"{row['category']} {row['grade']}"


def _figures(kind: str, errors: np.ndarray, widths: np.ndarray) -> dict:
    registered = np.isfinite(errors)
    figures = {"kind": kind, "pairs": len(errors), "registered": int(registered.sum())}
    figures["wrong"] = int((errors > WRONG * widths).sum())
    for name, measure in (("median_error", np.median), ("largest_error", np.max)):
        figures[name] = round(float(measure(errors[registered])), 3) if registered.any() else None
    return figures


app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder that datasets_scripts.build wrote.")],
    model: Annotated[str, typer.Option(help="Model that registers the pairs, or rootsift.")] = DEFAULT_MODEL,
    category: Annotated[str | None, typer.Option(help="Only pairs of this category, such as modalities.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the figures to.")] = None,
) -> None:
    """Say how many pairs of a built data set a model registers, and how exactly."""
    try:
        if out is not None:
            check_output_file(out, [folder])
        table = evaluate(folder, Registrar(model), category, progress=True)
    except (OutputError, ParquetError, UnknownNameError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    names = ("pairs", "registered", "wrong", "median_error", "largest_error")
    typer.echo(f"{'':<28}" + "".join(f"{name.replace('_', ' '):>15}" for name in names))
    for row in table:
        values = ("-" if row[name] is None else str(row[name]) for name in names)
        typer.echo(f"{row['kind']:<28}" + "".join(f"{value:>15}" for value in values))
    if out is not None:
        write_text(out, json.dumps(table, indent=1) + "\n")


__all__ = ["evaluate"]

if __name__ == "__main__":
    with standard_output():
        app()
