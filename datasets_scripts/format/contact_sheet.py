"""A sheet of labeled photographs to look at: what training will be told, drawn on what it will see.

python -m datasets_scripts.format.contact_sheet build/dataset --out sheet.png --split train --source chase_db1
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from ..keypoint_types import CROSSING
from .parquet import ParquetError, read_photographs
from .rows import LabeledPhotograph
from .schema import SPLITS


# Told apart by shape as well, for eyes and printers that do not tell the colors apart.
BIFURCATION_COLOR, CROSSING_COLOR, RIM_COLOR = (255, 235, 60), (70, 230, 255), (120, 120, 120)
CAPTION_HEIGHT = 26
# cv2 draws at fractions of a pixel when it is given integers of 1 / 2 ** SHIFT pixel.
SHIFT = 4


def draw_cell(photograph: LabeledPhotograph, side: int) -> np.ndarray:
    """Draw one photograph with its labels: a circle for a bifurcation, a square on its tip for a crossing.

    Args:
        photograph: Photograph with or without labels.
        side: Width of the cell in pixels; its height is `side + CAPTION_HEIGHT`.

    Returns:
        Cell (side + CAPTION_HEIGHT, side, 3), uint8 RGB.
    """
    height, width = photograph.mask.shape
    scale = side / max(height, width)
    size = (round(width * scale), round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(photograph.image, size, interpolation=interpolation)
    rim = cv2.findContours(
        cv2.resize(photograph.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
    )[0]
    cv2.drawContours(picture, rim, -1, RIM_COLOR, 1)

    caption = f"{photograph.source} {photograph.name}: "
    if photograph.keypoints is None:
        caption += "not labeled"
    else:
        reach = max(side / 110, 3.0)
        for point, kind in zip(photograph.keypoints, photograph.types, strict=True):
            center = (point + 0.5) * scale - 0.5
            if kind == CROSSING:
                corners = center + reach * 1.2 * np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
                corners = np.round(corners * 2**SHIFT).astype(np.int32)
                cv2.polylines(picture, [corners], True, CROSSING_COLOR, 1, cv2.LINE_AA, SHIFT)
            else:
                place = tuple(int(round(value * 2**SHIFT)) for value in center)
                cv2.circle(picture, place, int(reach * 2**SHIFT), BIFURCATION_COLOR, 1, cv2.LINE_AA, SHIFT)
        crossings = int((photograph.types == CROSSING).sum())
        caption += f"{len(photograph.types) - crossings} bifurcations, {crossings} crossings"
    cell = np.zeros((side + CAPTION_HEIGHT, side, 3), dtype=np.uint8)
    cell[: size[1], : size[0]] = picture
    font = min(0.5, side / 900)
    cv2.putText(cell, caption, (6, side + 18), cv2.FONT_HERSHEY_SIMPLEX, font, (255, 255, 255), 1, cv2.LINE_AA)
    return cell


def contact_sheet(photographs: Sequence[LabeledPhotograph], columns: int = 3, side: int = 640) -> np.ndarray:
    """Arrange photographs in rows.

    Args:
        photographs: At least one.
        columns: Photographs in a row.
        side: Width of a cell in pixels.

    Returns:
        Sheet (H, W, 3), uint8 RGB.

    Raises:
        ValueError: There are no photographs.
    """
    if not photographs:
        raise ValueError("There are no photographs to arrange.")
    cells = [draw_cell(photograph, side) for photograph in photographs]
    columns = min(columns, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.concatenate(
        [np.concatenate(cells[start : start + columns], axis=1) for start in range(0, len(cells), columns)]
    )


app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder that datasets_scripts.build wrote.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("contact_sheet.png"),
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    source: Annotated[str, typer.Option(help="Only photographs of this source.")] = "",
    count: Annotated[int, typer.Option(min=1, help="Largest number of photographs, spread over the split.")] = 12,
    columns: Annotated[int, typer.Option(min=1)] = 3,
    side: Annotated[int, typer.Option(min=64, help="Width of one photograph on the sheet, in pixels.")] = 640,
) -> None:
    """Draw the labels of a built set on its photographs."""
    try:
        if split not in SPLITS:
            raise ParquetError(f"Unknown split {split!r}; known are {', '.join(SPLITS)}.")
        photographs = [one for one in read_photographs(folder, split) if not source or one.source == source]
        if not photographs:
            raise ParquetError(f"The split {split} of {folder} has no photograph of the source {source!r}.")
    except ParquetError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    chosen = np.unique(np.linspace(0, len(photographs) - 1, min(count, len(photographs))).round().astype(int))
    sheet = contact_sheet([photographs[index] for index in chosen], columns, side)
    if not cv2.imwrite(str(out), sheet[..., ::-1]):
        typer.echo(f"Error: {out} cannot be written.", err=True)
        raise typer.Exit(2)
    typer.echo(f"{len(chosen)} photographs drawn to {out}.")


if __name__ == "__main__":
    app()
