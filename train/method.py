"""What the trainer asks of a method: one step, its state, how it is validated, and how its weights are saved."""

import os

from torch import nn
from transformers import PreTrainedModel

from retinamatch.image_processing_retina import RetinaImageProcessor

from .data import PhotographStore


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
            step: Optimiser steps done.
            device: Where to compute.

        Returns:
            Losses by name, each (batch,) with `total`; and what `after_step` wants to know, None for nothing.
        """
        raise NotImplementedError

    def after_step(self, updates: list) -> None:
        """Take in what the forward passes of a step found, on all processes."""

    def state_dict(self) -> dict:
        """Return what a checkpoint must hold beside network, heads and optimiser."""
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


__all__ = ["Method"]
