"""Validation on patients never trained on: warped pairs with known geometry, the same ones every time.

python -m train.validation WEIGHTS build/heldout [--pairs 24] [--json FILE]
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from retinamatch.files import standard_output, write_text

from .data.store import PhotographStore
from .methods.validation import validate
from .run.configuration import errors_of_the_user
from .run.models import load_model


def main(
    weights: Annotated[str, typer.Argument(help="Folder of saved weights, or a name from `retinamatch models`.")],
    packs: Annotated[list[str], typer.Argument(help="Folders that datasets_scripts.build wrote, or names on the Hub.")],
    pairs: Annotated[int, typer.Option(help="Number of pairs.")] = 24,
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Print the figures of saved weights on held-out photographs."""
    with errors_of_the_user(OSError, ValueError):
        network, store = load_model(weights), PhotographStore.read(packs, split)
    network.to(memory_format=network.base_model.memory_format)
    text = json.dumps({"pairs": pairs, **validate(network, store, pairs)}, indent=2)
    print(text)
    if json_file is not None:
        write_text(json_file, text + "\n")


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
