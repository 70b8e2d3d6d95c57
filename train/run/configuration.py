"""What a training run needs to know, from a recipe and the command line."""

import os
import sys
from dataclasses import dataclass, field, fields

import yaml
from transformers import HfArgumentParser


@dataclass
class TrainingConfig:
    """What every method needs.

    Attributes:
        data: Folders that `datasets_scripts.build` wrote, or names of such data sets on the Hub.
        reader: "pyarrow" or "datasets"; see `PhotographStore.read`.
        repeat: Source -> how often an epoch sees its photographs; once by default.
        output_dir: Where checkpoints, the log and the best weights go.
        limit: Most photographs of each of `data`, for trials.
        seed: Of everything random.
        steps: Optimiser steps of the whole run.
        batch_size: Pairs per process and forward pass.
        gradient_accumulation_steps: Forward passes per optimiser step.
        learning_rate: Of AdamW after the warm-up.
        weight_decay: Of AdamW.
        warmup_steps: Steps over which the learning rate rises.
        cooldown_steps: Last steps, over which it falls linearly to zero; what lies between is constant.
        max_grad_norm: Clipping.
        mixed_precision: "bf16" or "no". The CPU knows bf16 too.
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
    reader: str = "pyarrow"
    repeat: dict[str, int] | None = None
    output_dir: str = "runs/untitled"
    limit: int | None = None
    seed: int = 0
    steps: int = 1000
    batch_size: int = 4
    gradient_accumulation_steps: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    cooldown_steps: int = 400
    max_grad_norm: float = 1.0
    mixed_precision: str = "bf16"
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


def parse_config(cls):
    """Read `--config FILE.yaml` with overrides `--name value`, and `--resume`.

    Returns:
        The configuration and whether to resume.

    Raises:
        ValueError: A name is unknown or a value has the wrong form.
        OSError: The recipe cannot be read.
    """
    words, resume = [word for word in sys.argv[1:] if word != "--resume"], "--resume" in sys.argv
    given: dict[str, list] = {}
    for word in words:
        if word.startswith("--"):
            given[word[2:]] = []
        elif not given:
            raise ValueError(f"Expected --name value, got {word}.")
        else:
            given[list(given)[-1]].append(yaml.safe_load(word))
    values = read_recipe(given.pop("config")[0]) if given.get("config") else {}
    kinds = {f.name: f.type for f in fields(cls)}
    for name, value in given.items():
        values[name] = value if str(kinds.get(name)).startswith("list") else value[0] if value else True
    try:
        (config,) = HfArgumentParser(cls).parse_dict(values)
    except ValueError as error:
        raise ValueError(f"{error}; known are {sorted(kinds)}.") from error
    return config, resume


def read_recipe(path: str | os.PathLike) -> dict:
    """Read a recipe.

    Raises:
        ValueError: It is no YAML of names and values.
        OSError: It cannot be read.
    """
    with open(path) as file:
        try:
            values = yaml.safe_load(file) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} should hold names and values, got a {type(values).__name__}.")
    return values


__all__ = ["TrainingConfig", "parse_config", "read_recipe"]
