"""Everything of a training run that is not the method: data order, precision, checkpoints, resume, validation, logs.

The photographs are in memory and views are made on the device, so there is no loader: the batch of a step is a pure
function of (seed, step). That makes resuming exact, in the middle of an epoch too, and the split over processes plain.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, set_seed
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel

from retinamatch.files import check_holds_no_input
from retinamatch.publishing import PublishError, check_repository_name

from .configuration import TrainingConfig, errors_of_the_user, parse_config
from .log import LOG, append
from .method import Method
from .models import take_weights
from .publish import publish


def launch(kind: type[TrainingConfig], prepare: Callable[..., "Trainer"]) -> None:
    """Run a training from the command line; errors of the user are one sentence.

    Args:
        kind: Class of the configuration.
        prepare: Function of the configuration that gives the `Trainer`.
    """
    with errors_of_the_user(OSError, ValueError):
        config, resume = parse_config(kind)
        read = [name for name in (*config.data, config.start_from, getattr(config, "teacher", None)) if name]
        for name in ("best", "last", "hub"):
            check_holds_no_input(os.path.join(config.output_dir, name), read)
        set_seed(config.seed)  # of the initial weights
        trainer = prepare(config)
    with errors_of_the_user(FloatingPointError, PublishError, ResumeError):
        trainer.run(resume)


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


class ResumeError(RuntimeError):
    """A checkpoint that the run cannot go on from; the message is one sentence."""


class Progress:
    """Where the run stands; saved and loaded with the state."""

    def __init__(self):
        self.step, self.seconds, self.best = 0, 0.0, None

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
        network: What is trained and saved.
        method: See `Method`.
        count: Number of training samples in an epoch.

    Raises:
        ValueError: There are no samples, `push_to_hub` is no name of a repository, or the weights of `start_from` do
            not fit.
    """

    def __init__(self, config: TrainingConfig, network: PreTrainedModel, method: Method, count: int):
        if count < 1:
            raise ValueError(f"{config.data} holds no photograph to train with.")
        if config.push_to_hub:
            check_repository_name(config.push_to_hub)  # not after hours of training
        self.config, self.method, self.count = config, method, count
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            log_with=config.log_with,
            project_dir=config.output_dir,
        )
        set_seed(config.seed, device_specific=True)  # of dropout; the views have their own seeds
        if config.start_from:
            take_weights(network, config.start_from)
        self.network = network.to(memory_format=torch.channels_last)
        if config.compile:
            compile_blocks(network)
        trained = [network] if method.heads is None else [network, method.heads]
        parameters = [p for module in trained for p in module.parameters()]
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        *self.models, self.optimizer = self.accelerator.prepare(*trained, optimizer)
        self.model = self.models[0]
        if method.heads is not None:
            method.heads = self.models[1]
        self.progress = Progress()
        self.average = None
        if config.average:
            network.to(self.accelerator.device)
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.average))
        kept = [self.progress, method] + ([self.average] if self.average else [])
        self.accelerator.register_for_checkpointing(*kept)
        if config.log_with:
            self.accelerator.init_trackers(
                "retinamatch", config={name: str(value) for name, value in asdict(config).items()}
            )

    def share_done(self, step: int) -> float:
        """Return how much of the run is behind a step, by steps or by time."""
        spent = self.progress.seconds / self.config.max_seconds if self.config.max_seconds else 0.0
        return max(step / self.config.steps, spent)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: up, constant, down to zero."""
        config = self.config
        rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
        left = max(0.0, 1 - self.share_done(step)) * config.steps
        return config.learning_rate * rise * min(1.0, left / max(config.cooldown_steps, 1))

    def log(self, **values) -> None:
        """Write one line to the terminal, the log file and the tracker."""
        if not self.accelerator.is_main_process:
            return
        print(append(self.config.output_dir, values), flush=True)
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
            try:
                self.accelerator.load_state(newest)
            except (RuntimeError, KeyError, ValueError) as error:
                raise ResumeError(
                    f"{newest} is a checkpoint of another network or method ({type(error).__name__}); "
                    "choose another output_dir, or train without --resume."
                ) from error
            self.log(resumed=newest, step=progress.step)
        last = min(config.steps, config.stop_at or config.steps)
        sums, done, started = {}, 0, time.time()
        while progress.step < last and self.share_done(progress.step) < 1:
            begun = time.time()
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(progress.step)
            for name, value in self.update().items():
                sums[name] = sums.get(name, 0.0) + value
            if self.average:
                self.average.update_parameters(self.network)
            progress.step, done = progress.step + 1, done + 1
            progress.seconds += self._agreed(time.time() - begun)
            ends = progress.step == last or self.share_done(progress.step) >= 1
            if progress.step % config.log_steps == 0 or ends:
                seconds = time.time() - started
                self.log(step=progress.step, seconds=seconds, **{k: v / done for k, v in sums.items()})
                sums, done, started = {}, 0, time.time()
            # Before the checkpoint, which then knows the best figure so far.
            if config.validation_pairs and (progress.step % config.validation_steps == 0 or ends):
                self.validate()
            if progress.step % config.checkpointing_steps == 0 or ends:
                self.save_checkpoint()
        if self.share_done(progress.step) >= 1:
            self.finish()
        # A process that leaves while another one still speaks to it aborts now and then.
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def _agreed(self, seconds: float) -> float:
        """Return the seconds of the main process: all of them end at the same step."""
        if not self.config.max_seconds or self.accelerator.num_processes == 1:
            return seconds
        return broadcast_object_list([seconds])[0]

    def samples(self, forward: int) -> tuple[list[int], list[int], int]:
        """Return the samples of a forward pass, those among them of this process, and the epoch."""
        size, process = self.config.batch_size, self.accelerator.process_index
        count = size * self.accelerator.num_processes
        indices, epoch = batch_indices(forward, self.count, count, self.config.seed)
        return indices, indices[process * size : (process + 1) * size], epoch

    def update(self) -> dict[str, float]:
        """Do one optimizer step and return the mean losses over all processes."""
        config, accelerator, step = self.config, self.accelerator, self.progress.step
        for model in self.models:
            model.train()
        sums, updates = {}, []
        for turn in range(config.gradient_accumulation_steps):
            forward = step * config.gradient_accumulation_steps + turn
            indices, mine, epoch = self.samples(forward)
            if accelerator.device.type == "cuda":  # which has time: most of a step goes by before its work is begun
                self.method.look_ahead(*self.samples(forward + 1)[1:], accelerator.device)
            with accelerator.accumulate(*self.models):
                losses, found = self.method(self.model, self.network, mine, epoch, step, accelerator.device)
                loss = losses["total"].mean()
                names = sorted(losses)
                means = accelerator.reduce(torch.stack([losses[n].detach().mean() for n in names]), "mean").tolist()
                # The mean over all processes: all of them stop, none waits for one that has left.
                if not math.isfinite(means[names.index("total")]):
                    self._stop(dict(zip(names, means, strict=True)), step, indices)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_([p for m in self.models for p in m.parameters()], config.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in zip(names, means, strict=True):
                sums[name] = sums.get(name, 0.0) + value / config.gradient_accumulation_steps
            if found is not None:
                updates += gather_object(found) if accelerator.num_processes > 1 else found
        self.method.after_step(updates)
        return sums

    def _stop(self, means: dict[str, float], step: int, indices: list[int]) -> None:
        bad = [name for name, value in means.items() if not math.isfinite(value) and name not in ("own", "total")]
        raise FloatingPointError(
            f"The loss is not finite ({', '.join(bad) or 'total'}) at step {step} with the samples "
            f"{self.method.name_samples(indices)}; the last checkpoint stays."
        )

    @property
    def result(self) -> PreTrainedModel:
        """What is validated and saved: the averaged weights where there are any."""
        return self.average.module if self.average else self.network

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
        started = time.time()
        figures = self.method.validate(self.result, self.accelerator.device)
        self.log(step=self.progress.step, **figures, validation_seconds=time.time() - started)
        self.method.save(self.result, os.path.join(self.config.output_dir, "last"))
        name, larger = self.method.metric
        score = figures[name] if larger else -figures[name]
        if self.progress.best is None or score > self.progress.best:
            self.progress.best = score
            self.method.save(self.result, os.path.join(self.config.output_dir, "best"))

    def finish(self) -> None:
        """Save the last weights and publish the best ones.

        Raises:
            PublishError: The Hub refuses; the weights stay, and `--resume` tries again.
        """
        if not self.accelerator.is_main_process:
            return
        folder = self.config.output_dir
        self.method.save(self.result, os.path.join(folder, "last"))
        if self.config.push_to_hub:
            best = os.path.join(folder, "best" if self.progress.best is not None else "last")
            url = publish(best, self.config, os.path.join(folder, "hub"), log_file=os.path.join(folder, LOG))
            self.log(pushed=url)


def compile_blocks(network: torch.nn.Module) -> None:
    """Let the blocks of a network be compiled at their first use, each by itself: the whole takes minutes longer."""
    torch._dynamo.config.cache_size_limit = 64  # blocks of one class differ in their shapes
    for child in network.children():
        for block in child if isinstance(child, torch.nn.ModuleList) else [child]:
            block.compile(dynamic=False)


def checkpoints(folder: str) -> list[str]:
    """Return the whole checkpoints of a run, oldest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = sorted(int(n.split("-")[1]) for n in names if n.startswith("checkpoint-") and n.split("-")[1].isdigit())
    return [os.path.join(folder, f"checkpoint-{step}") for step in steps]


def newest_checkpoint(folder: str) -> str | None:
    """Return the newest whole checkpoint of a run, None when there is none."""
    found = checkpoints(folder)
    return found[-1] if found else None


__all__ = ["ResumeError", "Trainer", "batch_indices", "checkpoints", "launch", "newest_checkpoint"]
