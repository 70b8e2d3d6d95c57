"""Time and memory of one pair, split into steps, for all engines and precisions: comparable within one run only.

python -m train.benchmark MOVING FIXED [--model lk-superretina-small] [--model swin-retina] [--repeats 5] [--json FILE]

Of two different eyes it tells what a pair costs that is refused after all other views were tried.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib import metadata
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import retinamatch
from retinamatch import (
    LKSuperRetinaConfig,
    LKSuperRetinaForKeypointMatching,
    Registrar,
    RetinaImageProcessor,
    keep_freed_memory,
)
from retinamatch.engines import find_onnx
from retinamatch.extractor import AUTO, BFLOAT16, DEFAULT_MODEL, FLOAT32, INT8, ONNX, ROOTSIFT, TORCH, UnknownNameError
from retinamatch.files import standard_output, write_text
from retinamatch.hub import save_repository
from retinamatch.processes import end_with_parent, thread_count
from retinamatch.registrar import Step
from retinamatch.torch_extractor import network_dtype

from .run.configuration import errors_of_the_user


STEPS = ("read", "keypoints", "match", "estimate", "views")
# What can run a network, and in which precision; rows of what is not to be had are left out.
WAYS = ((TORCH, FLOAT32), (TORCH, BFLOAT16), (ONNX, FLOAT32), (ONNX, INT8))


def measure(model: str, way: tuple[str, str], moving: Path, fixed: Path, repeats: int, keep: bool) -> dict:
    """Register a pair again and again, after once to warm up, in a process that does nothing else.

    Returns:
        `parameters`, their number or None; `seconds`, the median of each step, added up over all cores, so that it does
        not depend on what else the computer does; `peak_memory` of the process in MB.
    """
    if keep:
        keep_freed_memory()
    registrar = Registrar(model, engine=way[0], dtype=way[1])
    runs = [_processor_seconds(registrar.steps(moving, fixed)) for _ in range(repeats + 1)][1:]
    seconds = {step: median(run.get(step, 0.0) for run in runs) for step in STEPS}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    network = getattr(registrar.extractor, "model", None)
    parameters = None if network is None else network.num_parameters()
    return {"parameters": parameters, "seconds": seconds, "peak_memory": peak}


def _processor_seconds(steps: Iterator[Step]) -> dict[str, float]:
    """Go through the steps of a pair and add up the time that all cores worked in each."""
    seconds: dict[str, float] = {}
    name, before = "", time.process_time()
    for step in chain(steps, [None]):
        now = time.process_time()
        seconds[name] = seconds.get(name, 0.0) + now - before
        name, before = "" if step is None else step.name, time.process_time()
    return seconds


def ways_of(model: str | Path) -> list[tuple[str, str]]:
    """List the engines and precisions that there are for a model, bfloat16 where the processor computes in it."""
    if str(model) == ROOTSIFT:
        return [(AUTO, AUTO)]
    ways = [way for way in WAYS if way[0] == TORCH]
    if network_dtype(AUTO) != torch.bfloat16:
        ways.remove((TORCH, BFLOAT16))
    for way in WAYS:
        if way[0] == ONNX:
            try:
                find_onnx(model, way[1])
                ways.append(way)
            except UnknownNameError:
                pass
    return ways


def install_size(extra: str = "") -> float:
    """Add up what the library takes on the disk with all that it needs, in MB, as it is installed here.

    Args:
        extra: Of the library, such as "torch".
    """
    left: list[tuple[str, frozenset[str]]] = [("retinamatch", frozenset([extra]))]
    done: dict[str, frozenset[str]] = {}
    while left:
        name, extras = left.pop()
        if name in done and extras <= done[name]:
            continue
        done[name] = done.get(name, frozenset()) | extras
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in extras | {""}):
                left.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return sum(map(_size_of, done)) / 1e6


def _size_of(name: str) -> int:
    if name == "retinamatch":  # installed as a link to this checkout, perhaps
        folder = Path(retinamatch.__file__).parent
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    try:
        files = [Path(file.locate()) for file in metadata.files(name) or []]
    except metadata.PackageNotFoundError:
        return 0
    return sum(file.stat().st_size for file in files if file.is_file())


def benchmark_table(rows: list[dict]) -> str:
    """Write the rows as Markdown: parameters, seconds of each step and of all, peak memory, installation."""
    head = ["model", "engine", "precision", *STEPS, "all", "peak memory, MB", "installed, MB"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(head) - 1)]
    for row in rows:
        seconds = [row["seconds"].get(step, 0.0) for step in STEPS]
        figures = [f"{value:.2f}" for value in (*seconds, sum(seconds))]
        way = ["", ""] if row["engine"] == AUTO else [row["engine"], row["dtype"]]
        sizes = [f"{row[name]:,.0f}" for name in ("peak_memory", "installed")]
        lines.append("| " + " | ".join([row["model"], *way, *figures, *sizes]) + " |")
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
            for way in ways_of(place):
                # A process each, one after the other: memory is that of one model.
                with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
                    figures = pool.submit(measure, place, way, moving, fixed, repeats, keep).result()
                installed = install_size("torch" if way[0] == TORCH else "")
                rows.append({"model": name, "engine": way[0], "dtype": way[1], **figures, "installed": installed})
    print(f"{thread_count()} threads, median of {repeats} runs, seconds of all cores together")
    print(benchmark_table(rows))
    if json_file is not None:
        figures = {"threads": thread_count(), "repeats": repeats, "rows": rows}
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
