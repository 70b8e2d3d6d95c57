"""Trained weights to a folder that is a Hub repository, in half precision.

python -m train.export runs/small/best modeling/retinamatch/weights/lk-superretina-small

Of several weights the average is written. Where the ones began with the others, it keeps what each of them is good at
(Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn
from transformers import AutoModelForKeypointMatching

from retinamatch import RetinaImageProcessor
from retinamatch.extractor import find_model
from retinamatch.files import check_output_folder, standard_output
from retinamatch.hub import save_repository

from .run.configuration import errors_of_the_user


def main(
    weights: Annotated[
        list[Path], typer.Argument(help="Folder that the trainer wrote: best or last of a run. Several are averaged.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the repository; its README.md stays as it is.")],
    remote_code: Annotated[bool, typer.Option(help="Add the code, for machines without this package.")] = False,
) -> None:
    """Write weights, configuration and processor."""
    with errors_of_the_user(OSError, ValueError):
        places = [find_model(str(one)) for one in weights]
        check_output_folder(out, places)
        model, *others = [
            AutoModelForKeypointMatching.from_pretrained(place, dtype=torch.float32, trust_remote_code=False)
            for place in places
        ]
        average(model, others)
        save_repository(model, RetinaImageProcessor(), out, remote_code=remote_code)
    size = (out / "model.safetensors").stat().st_size / 2**20
    typer.echo(f"{out}: {model.num_parameters():,} parameters, {size:.1f} MiB")


@torch.no_grad()
def average(model: nn.Module, others: Sequence[nn.Module]) -> None:
    """Give a model the average of its own weights and those of others.

    Raises:
        ValueError: They are not weights of the same network.
    """
    states = [one.state_dict() for one in (model, *others)]
    shapes = [{name: values.shape for name, values in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("Weights to average must be those of the same network, got networks of different shapes.")
    for name, values in states[0].items():
        values.copy_(sum(state[name].double() for state in states) / len(states))


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
