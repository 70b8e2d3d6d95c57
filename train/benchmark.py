"""Time and memory of one pair, split into steps, for several models in one run: figures are comparable within it only.

python -m train.benchmark MOVING FIXED [--model lk-superretina-small] [--model swin-retina] [--published] [--repeats 5]
"""

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
from retinamatch.hub import save_repository
from retinamatch.processes import end_with_parent


STEPS = ("read", "keypoints", "match", "estimate")


def measure(model: str, moving: Path, fixed: Path, repeats: int, keep: bool) -> tuple[str, dict[str, float], float]:
    """Register a pair again and again, after once to warm up, in a process that does nothing else.

    Returns:
        Number of parameters in words; medians of the seconds of each step; peak memory of the process in MB.
    """
    if keep:
        keep_freed_memory()
    registrar = Registrar(model)
    runs = [registrar.register(moving, fixed).timings for _ in range(repeats + 1)][1:]
    seconds = {step: median(run.get(step, 0.0) for run in runs) for step in STEPS}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return "" if model == ROOTSIFT else f"{registrar.extractor.model.num_parameters():,}", seconds, peak


def main(
    moving: Annotated[Path, typer.Argument(help="Moving photograph.")],
    fixed: Annotated[Path, typer.Argument(help="Fixed photograph.")],
    model: Annotated[list[str], typer.Option(help="A name from `retinamatch models`, or a folder.")] = (DEFAULT_MODEL,),
    published: Annotated[bool, typer.Option(help="Also the published size, with random weights.")] = True,
    repeats: Annotated[int, typer.Option(help="Median over so many runs, after one to warm up.")] = 5,
    keep: Annotated[bool, typer.Option(help="Keep freed memory, as the command line does.")] = True,
) -> None:
    """Print a table of seconds, and of the peak memory of a process that has one model and registers the pair."""
    print(f"{torch.get_num_threads()} threads, median of {repeats} runs, seconds")
    print("| model | parameters | " + " | ".join(STEPS) + " | all | peak memory, MB |")
    print("| --- |" + " --- |" * (len(STEPS) + 3))
    names = {name: name for name in (*model, ROOTSIFT)}
    with ExitStack() as stack:
        if published:
            # Time does not depend on what was learned, but on how many keypoints there are: the same limit for both.
            network = LKSuperRetinaForKeypointMatching(LKSuperRetinaConfig(keypoint_threshold=0.001))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            save_repository(network, RetinaImageProcessor(), folder, dtype=torch.float32, remote_code=False)
            names["published size, random weights"] = folder
        for name, place in names.items():
            # A process each, one after the other: memory is that of one model.
            with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
                parameters, seconds, peak = pool.submit(measure, place, moving, fixed, repeats, keep).result()
            figures = " | ".join(f"{value:.2f}" for value in (*seconds.values(), sum(seconds.values())))
            print(f"| {name} | {parameters} | {figures} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
