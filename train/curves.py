"""Runs side by side: every validation as a row of a table, and training against held-out loss as a plot.

python -m train.curves runs/direct_cpu runs/distill_cpu --plot losses.png
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from retinamatch.files import OutputError, check_output_file, standard_output, write_text

from .ablation_report import FIGURES, draw_losses
from .run.configuration import errors_of_the_user
from .run.log import LOG, read_curve


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders that the trainer wrote.")],
    plot: Annotated[Path | None, typer.Option(help="PNG to draw; wants matplotlib.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Print a table, and draw a plot."""
    with errors_of_the_user(OutputError):
        for out in (json_file, plot):
            if out is not None:
                check_output_file(out, [run / LOG for run in runs])
    results = []
    for run in runs:
        if not (run / LOG).is_file():
            print(f"Error: {run} is no run of the trainer: {LOG} is missing.", file=sys.stderr)
            raise typer.Exit(2)
        results.append({"variant": run.name, "fraction": 1.0, **read_curve(run / LOG)})
    print(curves_table(results))
    if json_file is not None:
        write_text(json_file, json.dumps({"runs": results}, indent=2) + "\n")
    if plot is not None:
        draw_losses(results, plot)


def curves_table(runs: list[dict]) -> str:
    """Write the validations of runs as Markdown, one per row."""
    columns = {**FIGURES, "median error": "error"}
    lines = ["| run | step | " + " | ".join(columns) + " |", "| --- | --- |" + " --- |" * len(columns)]
    for run in runs:
        for point in run["curve"]:
            cells = " | ".join(f"{point[name]:.3f}" if name in point else "" for name in columns.values())
            lines.append(f"| {run['variant']} | {point['step']} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
