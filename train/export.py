"""Trained weights to a folder that is a Hub repository, in half precision.

python -m train.export runs/small/best modeling/retinamatch/weights/lk-superretina-small
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoModelForKeypointMatching

from retinamatch import RetinaImageProcessor
from retinamatch.extractor import find_model
from retinamatch.files import check_output_folder, standard_output
from retinamatch.hub import save_repository

from .run.configuration import errors_of_the_user


def main(
    weights: Annotated[Path, typer.Argument(help="Folder that the trainer wrote: best or last of a run.")],
    out: Annotated[Path, typer.Argument(help="Folder of the repository; its README.md stays as it is.")],
    remote_code: Annotated[bool, typer.Option(help="Add the code, for machines without this package.")] = False,
) -> None:
    """Write weights, configuration and processor."""
    with errors_of_the_user(OSError, ValueError):
        place = find_model(str(weights))
        check_output_folder(out, [place])
        model = AutoModelForKeypointMatching.from_pretrained(place, dtype=torch.float32, trust_remote_code=False)
        save_repository(model, RetinaImageProcessor(), out, remote_code=remote_code)
    size = (out / "model.safetensors").stat().st_size / 2**20
    typer.echo(f"{out}: {model.num_parameters():,} parameters, {size:.1f} MiB")


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
