"""Validation on patients never trained on: warped pairs with known geometry, the same ones every time.

python -m train.validation WEIGHTS build/heldout [--pairs 24]
"""

import json
from typing import Annotated

import typer

from .data.store import PhotographStore
from .methods.validation import validate
from .run.configuration import errors_of_the_user
from .run.models import load_model


def main(
    weights: Annotated[str, typer.Argument(help="Folder of saved weights, or a name from `retinamatch models`.")],
    packs: Annotated[list[str], typer.Argument(help="Folders that datasets_scripts.build wrote, or names on the Hub.")],
    pairs: Annotated[int, typer.Option(help="Number of pairs.")] = 24,
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
) -> None:
    """Print the figures of saved weights on held-out photographs."""
    with errors_of_the_user(OSError, ValueError):
        network, store = load_model(weights), PhotographStore.read(packs, split)
    network.to(memory_format=network.base_model.memory_format)
    print(json.dumps(validate(network, store, pairs), indent=2))


if __name__ == "__main__":
    typer.run(main)
