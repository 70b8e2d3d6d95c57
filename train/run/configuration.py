"""What a training run needs to know, from a recipe and the command line."""

import re
import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser


@dataclass
class TrainingConfig:
    """What every method needs.

    Attributes:
        data: Folders that `datasets_scripts.build` wrote, or names of such data sets on the Hub.
        validation_data: Likewise, whose validation split is held out; `data` by default. Its patients are left out of
            the training, wherever else they stand.
        reader: "pyarrow" or "datasets"; see `PhotographStore.read`.
        repeat: Source -> how often an epoch sees its photographs; once by default.
        output_dir: Where checkpoints, the log and the best weights go.
        limit: Most photographs of each of `data`, for trials.
        seed: Of everything random.
        steps: Optimizer steps of the whole run.
        max_seconds: Time for training, on a machine that is lent: the schedule of the learning rate runs as if `steps`
            were done by then, whichever comes first. Such a run cannot be repeated exactly; None for no limit.
        batch_size: Pairs per process and forward pass.
        gradient_accumulation_steps: Forward passes per optimizer step.
        learning_rate: Of AdamW after the warm-up.
        weight_decay: Of AdamW.
        warmup_steps: Steps over which the learning rate rises.
        cooldown_steps: Last steps, over which it falls linearly to zero; what lies between is constant.
        max_grad_norm: Clipping.
        mixed_precision: "bf16" or "no". The CPU knows bf16 too.
        compile: Compile the blocks of the network, which takes a GPU minutes before the first step and pays in a long
            run; on a CPU it gains nothing.
        start_from: Weights that the run begins with: a model of the package, a folder, or a repository of the Hub;
            random ones when None.
        average: Decay of the exponential moving average of the weights, which is what is validated and saved; 0 for
            the weights themselves.
        checkpointing_steps: Steps between checkpoints; the last two are kept.
        validation_steps: Steps between validations.
        log_steps: Steps between lines of the log.
        validation_pairs: Pairs of views of held-out patients; 0 for no validation.
        push_to_hub: Repository "owner/name" that gets the best weights (the last ones without validation) at the end.
        hub_private: Create that repository as a private one.
        log_with: Tracker of accelerate ("tensorboard", "trackio", "wandb"); none by default.
        stop_at: Stop after this step as if interrupted, with a checkpoint; for tests and for cool-downs from a
            checkpoint.
    """

    data: list[str] = field(default_factory=list)
    validation_data: list[str] | None = None
    reader: Literal["pyarrow", "datasets"] = "pyarrow"
    repeat: dict[str, int] | None = None
    output_dir: str = "runs/untitled"
    limit: int | None = None
    seed: int = 0
    steps: int = 1000
    max_seconds: float | None = None
    batch_size: int = 4
    gradient_accumulation_steps: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    cooldown_steps: int = 400
    max_grad_norm: float = 1.0
    mixed_precision: Literal["bf16", "no"] = "bf16"
    compile: bool = False
    start_from: str | None = None
    average: float = 0.0
    checkpointing_steps: int = 200
    validation_steps: int = 500
    log_steps: int = 20
    validation_pairs: int = 16
    push_to_hub: str | None = None
    hub_private: bool = False
    log_with: str | None = None
    stop_at: int | None = None


def parse_config(
    kind: type,
    flag: str = "resume",
    about: str = "Go on from the newest checkpoint.",
    words: Sequence[str] | None = None,
):
    """Read `--config RECIPE`, names that override the recipe (`--views.size 128`), and one flag.

    Args:
        kind: Dataclass of the configuration; its sections are dataclasses too.
        flag: Name of the flag.
        about: What the flag does, for `--help`.
        words: Words of the command line; those of the process when None.

    Returns:
        The configuration, and whether the flag was given.

    Raises:
        ValueError: The recipe cannot be read, a name is unknown, or a value has the wrong type.
    """
    parser = ArgumentParser(
        prog=f"python -m train.{Path(sys.argv[0]).stem}",
        usage=f"%(prog)s [--config RECIPE] [--name value ...] [--{flag}]",
        description="Names on the command line override those of the recipe.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="Recipe, a YAML file with the names below.")
    parser.add_argument(f"--{flag}", action="store_true", help=about)
    parser.add_class_arguments(kind)
    try:
        values = vars(parser.instantiate(parser.parse_args(words)))
    except (ArgumentError, ValueError) as error:
        raise ValueError(_one_sentence(str(error))) from error
    del values["config"]
    return kind(**{name: value for name, value in values.items() if name != flag}), values[flag]


def _one_sentence(message: str) -> str:
    """Put an error of the parser into one sentence, with types and values as a recipe writes them."""
    message = re.sub(r'Parser key "([\w.]+)":', r"`\1`:", " ".join(message.split()))
    message = re.sub(
        r"Does not validate .* Subtypes: \[(.*)\] Errors: .* Given value: ", r"Expected \1. Got value: ", message
    )
    message = re.sub(r"Namespace\((?:class_path='\S+', init_args=Namespace\()?([^()]*)\).*", r"{\1}", message)
    return re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", message.replace("typing.", "")).replace("NoneType", "null")


@contextmanager
def errors_of_the_user(*kinds: type[Exception]) -> Iterator[None]:
    """Leave the process with status 2 and one sentence when an error of one of these kinds is raised."""
    try:
        yield
    except kinds as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from error


__all__ = ["TrainingConfig", "errors_of_the_user", "parse_config"]
