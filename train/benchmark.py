"""Time and memory of one pair, split into steps, for several models in one run: figures are comparable within it only.

python -m train.benchmark MOVING FIXED [--model lk-superretina-small] [--model swin-retina] [--repeats 5] [--json FILE]
"""

import json
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from retinamatch import (
    LKSuperRetinaConfig,
    LKSuperRetinaForKeypointMatching,
    Registrar,
    RetinaImageProcessor,
    keep_freed_memory,
)
from retinamatch.extractor import DEFAULT_MODEL, ROOTSIFT
from retinamatch.files import standard_output, write_text
from retinamatch.hub import save_repository
from retinamatch.processes import end_with_parent

from .run.configuration import errors_of_the_user


STEPS = ("read", "keypoints", "match", "estimate")


def measure(model: str, moving: Path, fixed: Path, repeats: int, keep: bool) -> dict:
    """Register a pair again and again, after once to warm up, in a process that does nothing else.

    Returns:
        `parameters`, their number or None; `seconds`, the median of each step; `peak_memory` of the process in MB.
    """
    if keep:
        keep_freed_memory()
    registrar = Registrar(model)
    runs = [registrar.register(moving, fixed).timings for _ in range(repeats + 1)][1:]
    seconds = {step: median(run.get(step, 0.0) for run in runs) for step in STEPS}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    parameters = None if model == ROOTSIFT else registrar.extractor.model.num_parameters()
    return {"parameters": parameters, "seconds": seconds, "peak_memory": peak}


def benchmark_table(rows: list[dict]) -> str:
    """Write the rows as Markdown: parameters, seconds of each step and of all, peak memory."""
    lines = ["| model | parameters | " + " | ".join(STEPS) + " | all | peak memory, MB |"]
    lines.append("| --- |" + " --- |" * (len(STEPS) + 3))
    for row in rows:
        seconds = [row["seconds"][step] for step in STEPS]
        figures = " | ".join(f"{value:.2f}" for value in (*seconds, sum(seconds)))
        parameters = "" if row["parameters"] is None else f"{row['parameters']:,}"
        lines.append(f"| {row['model']} | {parameters} | {figures} | {row['peak_memory']:,.0f} |")
    return "\n".join(lines)


def main(
    moving: Annotated[Path, typer.Argument(help="Moving photograph.")],
    fixed: Annotated[Path, typer.Argument(help="Fixed photograph.")],
    model: Annotated[list[str], typer.Option(help="A name from `retinamatch models`, or a folder.")] = (DEFAULT_MODEL,),
    published: Annotated[bool, typer.Option(help="Also the published size, with random weights.")] = True,
    repeats: Annotated[int, typer.Option(help="Median over so many runs, after one to warm up.")] = 5,
    keep: Annotated[bool, typer.Option(help="Keep freed memory, as the command line does.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Print a table of seconds, and of the peak memory of a process that has one model and registers the pair."""
    rows = []
    names = {name: name for name in (*model, ROOTSIFT)}
    with errors_of_the_user(OSError, ValueError), ExitStack() as stack:
        if published:
            # Time does not depend on what was learned, but on how many keypoints there are: the same limit for both.
            network = LKSuperRetinaForKeypointMatching(LKSuperRetinaConfig(keypoint_threshold=0.001))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            save_repository(network, RetinaImageProcessor(), folder, dtype=torch.float32, remote_code=False)
            names["published size, random weights"] = folder
        for name, place in names.items():
            # A process each, one after the other: memory is that of one model.
            with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
                rows.append({"model": name, **pool.submit(measure, place, moving, fixed, repeats, keep).result()})
    print(f"{torch.get_num_threads()} threads, median of {repeats} runs, seconds")
    print(benchmark_table(rows))
    if json_file is not None:
        figures = {"threads": torch.get_num_threads(), "repeats": repeats, "rows": rows}
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
