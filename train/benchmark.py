"""Time of one pair, split into steps, for several models in one run: figures are comparable within it only.

python -m train.benchmark MOVING FIXED [--model lk-superretina-small] [--published] [--repeats 5]
"""

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from retinamatch import LKSuperRetinaConfig, LKSuperRetinaForKeypointMatching, Registrar, RetinaImageProcessor
from retinamatch.hub import save_repository
from retinamatch.registration import DEFAULT_MODEL


def main(
    moving: Annotated[Path, typer.Argument(help="Moving photograph.")],
    fixed: Annotated[Path, typer.Argument(help="Fixed photograph.")],
    model: Annotated[str, typer.Option(help="A name from `retinamatch models`, or a folder.")] = DEFAULT_MODEL,
    published: Annotated[bool, typer.Option(help="Also the published size, with random weights.")] = True,
    repeats: Annotated[int, typer.Option(help="Median over so many runs, after one to warm up.")] = 5,
) -> None:
    """Print a table of seconds."""
    print(f"{torch.get_num_threads()} threads, median of {repeats} runs, seconds")
    registrars = {model: Registrar(model), "rootsift": Registrar(features="rootsift")}
    with tempfile.TemporaryDirectory() as folder:
        if published:
            # Time does not depend on what was learned, but on how many keypoints there are: the same limit for both.
            network = LKSuperRetinaForKeypointMatching(LKSuperRetinaConfig(keypoint_threshold=0.001))
            save_repository(network, RetinaImageProcessor(), folder, dtype=torch.float32, remote_code=False)
            registrars["published size, random weights"] = Registrar(folder)
        print("| model | parameters | read | keypoints | match | estimate | all |")
        print("| --- |" + " --- |" * 6)
        for name, registrar in registrars.items():
            runs = [registrar.register(moving, fixed).timings for _ in range(repeats + 1)][1:]
            names = ("read", "keypoints", "match", "estimate")
            steps = {step: median(run.get(step, 0.0) for run in runs) for step in names}
            count = f"{registrar.model.num_parameters():,}" if registrar.features == "model" else ""
            figures = " | ".join(f"{seconds:.2f}" for seconds in (*steps.values(), sum(steps.values())))
            print(f"| {name} | {count} | {figures} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
