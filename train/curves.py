"""Runs side by side: every validation as a row of a table, and training against held-out loss as a plot.

python -m train.curves runs/direct_cpu runs/distill_cpu --plot losses.png
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .ablation_report import FIGURES, draw_losses
from .run.log import LOG, read_curve


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders that the trainer wrote.")],
    plot: Annotated[Path | None, typer.Option(help="PNG to draw; wants matplotlib.")] = None,
) -> None:
    """Print a table, and draw a plot."""
    results = []
    for run in runs:
        if not (run / LOG).is_file():
            print(f"Error: {run} is no run of the trainer: {LOG} is missing.", file=sys.stderr)
            raise typer.Exit(2)
        results.append({"variant": run.name, "fraction": 1.0, **read_curve(run / LOG)})
    columns = {**FIGURES, "median error": "error"}
    print("| run | step | " + " | ".join(columns) + " |")
    print("| --- | --- |" + " --- |" * len(columns))
    for result in results:
        for point in result["curve"]:
            cells = " | ".join(f"{point[name]:.3f}" if name in point else "" for name in columns.values())
            print(f"| {result['variant']} | {point['step']} | {cells} |")
    if plot is not None:
        draw_losses(results, plot)


if __name__ == "__main__":
    typer.run(main)
