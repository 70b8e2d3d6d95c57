"""What the trainer asks of a method: one step, its state, how it is validated, and how its weights are saved."""

import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from retinamatch.image_processing_retina import RetinaImageProcessor

from ..data.store import PhotographStore


class Method:
    """A way to train; subclasses give `__call__`, which turns a batch of samples into named losses.

    Attributes:
        store: The training photographs.
        heads: What is trained beside the network and never leaves the checkpoints; None for nothing.
        metric: Figure of `validate` by which the best weights are chosen, and whether larger is better.
    """

    store: PhotographStore
    heads: nn.Module | None = None
    metric: tuple[str, bool] = ("auc", True)

    def __call__(self, model, network: PreTrainedModel, indices: list[int], epoch: int, step: int, device):
        """Compute the losses of one batch.

        Args:
            model: The network as prepared for training (it may be wrapped).
            network: The same network, bare.
            indices: Of the samples of the store.
            epoch: Part of the seed of the views.
            step: Optimizer steps done.
            device: Where to compute.

        Returns:
            Losses by name, each (batch,) with `total`; and what `after_step` wants to know, None for nothing.
        """
        raise NotImplementedError

    def look_ahead(self, indices: list[int], epoch: int, device) -> None:
        """Begin to prepare the next batch; a method whose batches cost nothing ignores it."""

    def after_step(self, updates: list) -> None:
        """Take in what the forward passes of a step found, on all processes."""

    def state_dict(self) -> dict:
        """Return what a checkpoint must hold beside network, heads and optimizer."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Take back what `state_dict` gave."""

    def validate(self, network: PreTrainedModel, device) -> dict[str, float]:
        """Measure on patients never trained on; with `metric`."""
        raise NotImplementedError

    def save(self, network: PreTrainedModel, folder: str | os.PathLike) -> None:
        """Save what comes out of the training: a folder that `AutoModel` and `Registrar` open."""
        network.save_pretrained(folder)
        RetinaImageProcessor().save_pretrained(folder)

    def name_samples(self, indices: list[int]) -> str:
        """Name the photographs of samples, for errors."""
        photographs = [self.store.photographs[self.store.samples[i]] for i in indices]
        return ", ".join(f"{i} ({p.source} {p.patient})" for i, p in zip(indices, photographs, strict=True))


@torch.no_grad()
def mean_losses(
    network: PreTrainedModel, config, losses: Callable[[Callable, Sequence[int]], dict]
) -> dict[str, float]:
    """Average losses over `validation_pairs` rows, batch by batch, without dropout; the network's mode stays.

    Args:
        network: What is measured.
        config: The run: number of rows, size of a batch, precision.
        losses: Function of a forward pass and the numbers of the rows, which gives losses by name, one per row.
    """
    count, was_training, sums = config.validation_pairs, network.training, {}
    network.eval()

    def forward(pixels: Tensor):  # as accelerate does it: the network alone in half precision, the losses not
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=config.mixed_precision == "bf16"):
            return network(pixels)

    for start in range(0, count, config.batch_size):
        for name, value in losses(forward, range(start, min(start + config.batch_size, count))).items():
            sums[name] = sums.get(name, 0.0) + float(value.sum())
    network.train(was_training)
    return {name: value / count for name, value in sums.items()}


__all__ = ["Method", "mean_losses"]
