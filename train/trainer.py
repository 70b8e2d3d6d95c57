"""Everything of a training run that is not the method: data order, precision, checkpoints, resume, validation, logs.

The photographs are in memory and views are made on the device, so there is no loader: the batch of a step is a pure
function of (seed, step). That makes resuming exact, in the middle of an epoch too, and the split over processes plain.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from transformers import HfArgumentParser, PreTrainedModel

from .data import PhotographStore
from .validation import validate


@dataclass
class TrainingConfig:
    """What every method needs.

    Attributes:
        data: Folders with train-*.parquet and validation-*.parquet.
        repeat: How often an epoch sees each folder's photographs; once by default.
        output_dir: Where checkpoints, the log and the best weights go.
        limit: Most photographs per folder, for trials.
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
        checkpointing_steps: Steps between checkpoints; the last two are kept.
        validation_steps: Steps between validations.
        validation_pairs: Pairs of views of held-out patients; 0 for no validation.
        log_with: Tracker of accelerate ("tensorboard", "trackio", "wandb"); none by default.
        stop_at: Stop after this step as if interrupted, with a checkpoint; for tests and for cool-downs from a
            checkpoint.
    """

    data: list[str] = field(default_factory=list)
    repeat: list[int] | None = None
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
    checkpointing_steps: int = 200
    validation_steps: int = 500
    validation_pairs: int = 16
    log_with: str | None = None
    stop_at: int | None = None


def parse_config(cls):
    """Read `--config FILE.yaml` with overrides `--name value`, and `--resume`.

    Returns:
        The configuration and whether to resume.

    Raises:
        SystemExit: With one sentence when a name is unknown or a value has the wrong form.
    """
    words, resume = [word for word in sys.argv[1:] if word != "--resume"], "--resume" in sys.argv
    given: dict[str, list] = {}
    for word in words:
        if word.startswith("--"):
            given[word[2:]] = []
        elif not given:
            raise SystemExit(f"Expected --name value, got {word}.")
        else:
            given[list(given)[-1]].append(yaml.safe_load(word))
    values = {}
    if "config" in given:
        with open(given.pop("config")[0]) as file:
            values = yaml.safe_load(file) or {}
    kinds = {f.name: f.type for f in fields(cls)}
    for name, value in given.items():
        values[name] = value if str(kinds.get(name)).startswith("list") else value[0] if value else True
    try:
        (config,) = HfArgumentParser(cls).parse_dict(values)
    except ValueError as error:
        raise SystemExit(f"{error}; known are {sorted(kinds)}.") from error
    return config, resume


def batch_indices(step: int, count: int, batch: int, seed: int) -> tuple[list[int], int]:
    """Return the samples of a forward pass and its epoch: permutations of all samples, one after the other.

    Args:
        step: Number of the forward pass, from 0.
        count: Samples of an epoch.
        batch: Samples per forward pass, over all processes.
        seed: Of the permutations.
    """
    positions = range(step * batch, (step + 1) * batch)
    epochs = sorted({p // count for p in positions})
    orders = {e: np.random.default_rng((seed, e)).permutation(count) for e in epochs}
    return [int(orders[p // count][p % count]) for p in positions], epochs[0]


class Progress:
    """Where the run stands; saved and loaded with the state."""

    def __init__(self):
        self.step, self.best = 0, -1.0

    def state_dict(self):
        """Return the counters."""
        return dict(self.__dict__)

    def load_state_dict(self, state):
        """Take the counters back."""
        self.__dict__.update(state)


class Trainer:
    """One training run.

    Args:
        config: The run.
        network: The dense network.
        method: Callable (model, network, indices, epoch, step, device) -> (losses, updates), with
            `after_step(updates)`, `state_dict` and `load_state_dict`.
        count: Number of training samples in an epoch.
    """

    def __init__(self, config: TrainingConfig, network: PreTrainedModel, method, count: int):
        self.config, self.method, self.count = config, method, count
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            log_with=config.log_with,
            project_dir=config.output_dir,
        )
        set_seed(config.seed)
        self.network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        self.progress = Progress()
        self.accelerator.register_for_checkpointing(self.progress, method)
        if config.log_with:
            self.accelerator.init_trackers("retinamatch", config=asdict(config))

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: up, constant, down to zero."""
        config = self.config
        rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
        fall = min(1.0, (config.steps - step) / max(config.cooldown_steps, 1))
        return config.learning_rate * rise * fall

    def log(self, **values) -> None:
        """Write one line to the terminal, the log file and the tracker."""
        if not self.accelerator.is_main_process:
            return
        line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})
        print(line, flush=True)
        os.makedirs(self.config.output_dir, exist_ok=True)
        with open(os.path.join(self.config.output_dir, "log.jsonl"), "a") as file:
            file.write(line + "\n")
        if self.config.log_with:
            self.accelerator.log({k: v for k, v in values.items() if isinstance(v, float)}, step=self.progress.step)

    def run(self, resume: bool = False) -> None:
        """Train to the end, or to `stop_at`.

        Args:
            resume: Go on from the newest checkpoint in `output_dir`, if there is one.

        Raises:
            FloatingPointError: When a loss is not finite; names the step and the photographs. The last checkpoint
                stays.
        """
        config, progress = self.config, self.progress
        if resume and (newest := newest_checkpoint(config.output_dir)):
            self.accelerator.load_state(newest)
            self.log(resumed=newest, step=progress.step)
        last = min(config.steps, config.stop_at or config.steps)
        sums, started = {}, time.time()
        while progress.step < last:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(progress.step)
            for name, value in self.update().items():
                sums[name] = sums.get(name, 0.0) + value
            progress.step += 1
            if progress.step % 20 == 0 or progress.step == last:
                seconds = time.time() - started
                done = (progress.step - 1) % 20 + 1
                self.log(step=progress.step, seconds=seconds, **{k: v / done for k, v in sums.items()})
                sums, started = {}, time.time()
            if progress.step % config.checkpointing_steps == 0 or progress.step == last:
                self.save_checkpoint()
            if config.validation_pairs and (progress.step % config.validation_steps == 0 or progress.step == last):
                self.validate()
        self.accelerator.end_training()

    def update(self) -> dict[str, float]:
        """Do one optimiser step and return the mean losses over all processes."""
        config, accelerator, step = self.config, self.accelerator, self.progress.step
        self.model.train()
        sums = {}
        for turn in range(config.gradient_accumulation_steps):
            batch = config.batch_size * accelerator.num_processes
            forward = step * config.gradient_accumulation_steps + turn
            indices, epoch = batch_indices(forward, self.count, batch, config.seed)
            first = accelerator.process_index * config.batch_size
            indices = indices[first : first + config.batch_size]
            with accelerator.accumulate(self.model):
                losses, found = self.method(self.model, self.network, indices, epoch, step, accelerator.device)
                loss = losses["total"].mean()
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"The loss is {loss.item()} at step {step} with the samples {indices}.")
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.model.parameters(), config.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            names = sorted(losses)
            means = accelerator.reduce(torch.stack([losses[n].detach().mean() for n in names]), "mean")
            for name, value in zip(names, means.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value / config.gradient_accumulation_steps
            if found is not None:
                self.method.after_step(gather_object(found) if accelerator.num_processes > 1 else found)
        return sums

    def save_checkpoint(self) -> None:
        """Save the state, whole or not at all, and keep the newest two."""
        folder = os.path.join(self.config.output_dir, f"checkpoint-{self.progress.step}")
        self.accelerator.save_state(folder + ".part")
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(folder + ".part", folder)
            for old in checkpoints(self.config.output_dir)[:-2]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def validate(self) -> None:
        """Measure on held-out patients and keep the weights when they are the best so far."""
        if not self.accelerator.is_main_process:
            return
        if not hasattr(self, "held_out"):
            self.held_out = PhotographStore.read(self.config.data, "validation")
        started = time.time()
        figures = validate(self.network, self.held_out, self.config.validation_pairs, device=self.accelerator.device)
        self.log(step=self.progress.step, **figures, validation_seconds=time.time() - started)
        self.network.save_pretrained(os.path.join(self.config.output_dir, "last"))
        if figures["auc"] > self.progress.best:
            self.progress.best = figures["auc"]
            self.network.save_pretrained(os.path.join(self.config.output_dir, "best"))


def checkpoints(folder: str) -> list[str]:
    """Return the whole checkpoints of a run, oldest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = sorted(int(n.split("-")[1]) for n in names if n.startswith("checkpoint-") and n.split("-")[1].isdigit())
    return [os.path.join(folder, f"checkpoint-{step}") for step in steps]


def newest_checkpoint(folder: str) -> str | None:
    """Return the newest whole checkpoint of a run, None when there is none."""
    found = checkpoints(folder)
    return found[-1] if found else None


__all__ = ["Trainer", "TrainingConfig", "batch_indices", "newest_checkpoint", "parse_config"]
