"""What commands share: options, exit codes, and one sentence about bad input.

Exit code 0: done. 1: no reliable match. 2: bad input, with one sentence on the standard error stream.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..engines import MissingTorchError
from ..extractor import DTYPES, ENGINES, UnknownNameError, find_model
from ..files import OutputError
from ..photographs import IMAGE_SUFFIXES, PhotographError
from ..transforms import TRANSFORM_NAMES


NO_MATCH = 1
BAD_INPUT = 2

Moving = Annotated[Path, typer.Argument(help="The photograph that is mapped.")]
Fixed = Annotated[Path, typer.Argument(help="The photograph that it is mapped onto.")]
TransformName = Annotated[str, typer.Option("--transform", help=f"One of {', '.join(TRANSFORM_NAMES)}.")]
Effort = Annotated[
    str,
    typer.Option(
        "--effort",
        help="thorough: a pair that does not match as given is tried turned, smaller, in other channels and with "
        "reversed contrast; fast: it is not.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="A name from `retinamatch models`, a folder of a saved model, a repository of the Hub, or a file .onnx.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        help=f"Precision of the network, one of {', '.join(DTYPES)}: auto is bfloat16 where a CPU is fast in it.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine", help=f"What runs the network, one of {', '.join(ENGINES)}: auto is torch where it is installed."
    ),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]


def files_of(model: str) -> list[Path]:
    """Give the folder of a network that lies on this computer: an input like the photographs."""
    try:
        return [Path(find_model(model))]
    except UnknownNameError:
        return []


def photographs_in(folders: list[Path], every: int = 1) -> list[Path]:
    """List photographs, and every n-th one of folders of them."""
    photographs = []
    for path in folders:
        pictures = path.iterdir() if path.is_dir() else [path]
        photographs += sorted(p for p in pictures if p == path or p.suffix.lower() in IMAGE_SUFFIXES)[::every]
    return photographs


@contextmanager
def bad_input(*more: type[Exception]) -> Iterator[None]:
    """Turn what is wrong with the input into one sentence and exit code 2."""
    errors: tuple[type[Exception], ...] = (PhotographError, UnknownNameError, OutputError, MissingTorchError, *more)
    try:
        yield
    except errors as error:
        typer.echo(f"retinamatch: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error


__all__ = [
    "BAD_INPUT",
    "Dtype",
    "Effort",
    "Engine",
    "Fixed",
    "JsonFile",
    "Model",
    "Moving",
    "NO_MATCH",
    "TransformName",
    "bad_input",
    "files_of",
    "photographs_in",
]
