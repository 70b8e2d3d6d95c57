"""Validation on patients never trained on: warped pairs with known geometry, the same ones every time.

python -m train.validation WEIGHTS build/heldout [--pairs 24]
"""

import json
from typing import Annotated

import torch
import typer
from transformers import AutoModel

from retinamatch.extractor import find_model

from .data.store import PhotographStore
from .methods.validation import validate


def main(
    weights: Annotated[str, typer.Argument(help="Folder of saved weights, or a name from `retinamatch models`.")],
    packs: Annotated[list[str], typer.Argument(help="Folders that datasets_scripts.build wrote, or names on the Hub.")],
    pairs: Annotated[int, typer.Option(help="Number of pairs.")] = 24,
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
) -> None:
    """Print the figures of saved weights on held-out photographs."""
    network = AutoModel.from_pretrained(find_model(weights), dtype=torch.float32, trust_remote_code=False)
    network.to(memory_format=network.base_model.memory_format)
    print(json.dumps(validate(network, PhotographStore.read(packs, split), pairs), indent=2))


if __name__ == "__main__":
    typer.run(main)
