"""Self-supervised pretraining of the student's encoder: how far a view is turned, and what its hidden parts show.

accelerate launch -m train.pretrain --config train/recipes/pretrain.yaml [--output_dir runs/pretrain] [--resume]
"""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from retinamatch.configuration_swin_retina import SwinRetinaConfig
from retinamatch.files import standard_output
from retinamatch.modeling_swin_retina import SwinRetinaEncoder, SwinRetinaModel

from .data.store import PhotographStore, read_held_out, read_splits
from .data.view_settings import ViewSettings
from .data.views import make_views
from .methods.losses import LossWeights, Weight
from .run.configuration import TrainingConfig
from .run.method import Method, mean_losses
from .run.models import ModelSettings, build_model, check_view_size
from .run.trainer import Trainer, launch


STRIDE = 32  # of the encoder's last map
WEIGHTS = "encoder.safetensors"
# What two encoders must have in common to exchange weights.
ARCHITECTURE = ("num_channels", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio")


@dataclass
class TaskWeights(LossWeights):
    """Weights of the tasks.

    Attributes:
        rotation: Cross-entropy of the quarter turn of a view.
        masking: Absolute difference of the gray levels of hidden squares.
    """

    rotation: Weight = 0.1
    masking: Weight = 1.0


@dataclass
class PretrainConfig(TrainingConfig):
    """What the encoder learns without labels.

    Attributes:
        model: The student whose encoder is trained, of the family swin_retina.
        views: Of the training; their size must be a multiple of 32.
        losses: Weight of every task, a number or {start, end, steps}; 0 leaves it out.
        mask_fraction: Fraction of the squares that are hidden.
        mask_size: Side of a hidden square in pixels of a view.
    """

    model: ModelSettings = field(default_factory=lambda: ModelSettings(family="swin_retina"))
    views: ViewSettings = field(default_factory=ViewSettings)
    losses: TaskWeights = field(default_factory=TaskWeights)
    mask_fraction: float = 0.5
    mask_size: int = 32


class PretrainingHeads(nn.Module):
    """From the encoder's last map to the quarter turn, and to the pixels; only the heads of wanted tasks exist."""

    def __init__(self, channels: int, tasks: list[str]):
        super().__init__()
        self.rotation = nn.Linear(channels, 4) if "rotation" in tasks else None
        self.masking = nn.Conv2d(channels, STRIDE**2, 1) if "masking" in tasks else None

    def forward(self, features: Tensor) -> tuple[Tensor | None, Tensor | None]:
        turn = None if self.rotation is None else self.rotation(features.mean((2, 3)))
        pixels = None if self.masking is None else F.pixel_shuffle(self.masking(features), STRIDE)
        return turn, pixels


class Pretraining(Method):
    """The step: photographs, turned and with hidden squares, into the losses of the tasks.

    Args:
        config: The run.
        store: Photographs; labels are not used.
        student: The network whose encoder is trained.
        held_out: Photographs of patients never trained on; read at the first validation by default.

    Raises:
        ValueError: When the recipe does not fit.
    """

    metric = ("held_out_total", False)

    def __init__(
        self, config: PretrainConfig, store: PhotographStore, student, held_out: PhotographStore | None = None
    ):
        if not isinstance(student, SwinRetinaModel):
            raise ValueError(f"Only the encoder of the family swin_retina is pretrained, got {type(student).__name__}.")
        self.tasks = config.losses.active
        if not self.tasks:
            raise ValueError("There is nothing to learn: the weight of every task is 0.")
        if config.push_to_hub:
            raise ValueError("An encoder alone is no model: `push_to_hub` is for train.teacher and train.distill.")
        self.config, self.store, self.held_out = config, store, held_out
        self.student_config = student.config
        self.views = config.views
        check_view_size(student, self.views.size, "student")
        if self.views.size % STRIDE or self.views.size % config.mask_size:
            raise ValueError(
                f"Views must be a multiple of {STRIDE} and of `mask_size` {config.mask_size} pixels, "
                f"got {self.views.size}."
            )
        if not 0 < config.mask_fraction < 1:
            raise ValueError(f"`mask_fraction` must be above 0 and below 1, got {config.mask_fraction}.")
        self.heads = PretrainingHeads(16 * student.config.embed_dim, self.tasks)

    def __call__(self, model, network, indices: list[int], epoch: int, step: int, device):
        keys = [(self.config.seed, epoch, i) for i in indices]
        photographs = [self.store.photographs[self.store.samples[i]] for i in indices]
        return self.losses(model, photographs, keys, device, step), None

    def losses(self, model, photographs, keys: list[tuple], device, step: float) -> dict[str, Tensor]:
        """Compute the losses of photographs, (batch,) each, with their weights at a step."""
        views = make_views(photographs, keys, self.views, device)
        pixels, inside = torch.cat(views.images), torch.cat(views.masks)
        rngs = [np.random.default_rng((*key, 8 + view)) for view in (0, 1) for key in keys]
        turns = [int(rng.integers(4)) for rng in rngs]
        if "rotation" in self.tasks:
            pixels, inside = (
                torch.stack([torch.rot90(image, turn, (1, 2)) for image, turn in zip(images, turns, strict=True)])
                for images in (pixels, inside)
            )
        hidden = torch.zeros_like(pixels)
        if "masking" in self.tasks:
            side = self.views.size // self.config.mask_size
            count = max(1, round(self.config.mask_fraction * side * side))
            squares = np.stack([(rng.permutation(side * side) < count).reshape(side, side) for rng in rngs])
            squares = torch.from_numpy(squares[:, None].astype(np.float32)).to(device)
            hidden = F.interpolate(squares, scale_factor=self.config.mask_size)
        seen = pixels * (1 - hidden)  # 0 is the local mean
        features = model(seen.contiguous(memory_format=torch.channels_last))[-1].float()
        turn, shown = self.heads(features)
        losses = {}
        if turn is not None:
            losses["rotation"] = F.cross_entropy(turn.float(), torch.tensor(turns, device=device), reduction="none")
        if shown is not None:
            weight = hidden * inside
            difference = (shown.float() - pixels).abs() * weight
            losses["masking"] = difference.sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)
        weights = self.config.losses.at(step)
        losses["total"] = sum(weights[name] * value for name, value in losses.items())
        return {name: sum(value.chunk(2)) / 2 for name, value in losses.items()}

    def validate(self, network, device) -> dict[str, float]:
        """Compute the losses on held-out patients, the same views every time."""
        if self.held_out is None:
            self.held_out = read_held_out(self.config)
        held_out = self.held_out.photographs

        def losses(forward, rows):
            photographs = [held_out[i % len(held_out)] for i in rows]
            return self.losses(forward, photographs, [(4321, i) for i in rows], device, math.inf)

        return {f"held_out_{name}": value for name, value in mean_losses(network, self.config, losses).items()}

    def save(self, network: SwinRetinaEncoder, folder: str | os.PathLike) -> None:
        """Save the encoder with the configuration of its student; the heads stay behind."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, Path(folder) / WEIGHTS)
        self.student_config.save_pretrained(folder)


@dataclass
class EncoderReport:
    """What a student took over from a pretraining.

    Attributes:
        taken: Names of the student's tensors that were taken over.
        fresh: Names of the student's parameters that begin at random.
        unused: Names of the pretraining's tensors that the student has no place for.
    """

    taken: list[str]
    fresh: list[str]
    unused: list[str]

    def __str__(self) -> str:
        fresh = sorted({name.split(".")[0] for name in self.fresh})
        return (
            f"{len(self.taken)} tensors taken over, {len(self.fresh)} begin at random ({', '.join(fresh)}), "
            f"{len(self.unused)} of the pretraining not used."
        )


def load_encoder(network: PreTrainedModel, folder: str | os.PathLike) -> EncoderReport:
    """Put a pretrained encoder into a student.

    Args:
        network: The student.
        folder: `best` or `last` of a run of `train.pretrain`.

    Raises:
        ValueError: The folder holds no pretrained encoder, or one of another architecture.
    """
    if not isinstance(network, SwinRetinaModel):
        raise ValueError(f"A pretrained encoder fits the family swin_retina alone, got {type(network).__name__}.")
    folder = Path(folder)
    try:
        settings = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{folder} holds no pretrained encoder ({WEIGHTS} and config.json); see train.pretrain."
        ) from error
    theirs, ours = SwinRetinaConfig(**{k: v for k, v in settings.items() if k in ARCHITECTURE}), network.config
    differ = [
        f"{name} {getattr(theirs, name)} instead of {getattr(ours, name)}"
        for name in ARCHITECTURE
        if tuple(np.atleast_1d(getattr(theirs, name))) != tuple(np.atleast_1d(getattr(ours, name)))
    ]
    if differ:
        raise ValueError(f"The pretrained encoder in {folder} is of another architecture: {', '.join(differ)}.")
    missing, unused = network.encoder.load_state_dict(tensors, strict=False)
    names = [f"encoder.{name}" for name in network.encoder.state_dict()]
    left = {f"encoder.{name}" for name in missing}
    parameters = [name for name, _ in network.named_parameters()]
    return EncoderReport(
        taken=[name for name in names if name not in left],
        fresh=[name for name in parameters if not name.startswith("encoder.") or name in left],
        unused=list(unused),
    )


def prepare(config: PretrainConfig) -> Trainer:
    """Read the photographs and build the encoder of a run."""
    student = build_model(config.model)
    store, held_out = read_splits(config)
    method = Pretraining(config, store, student, held_out)
    return Trainer(config, student.encoder, method, len(store))


__all__ = ["EncoderReport", "PretrainConfig", "Pretraining", "PretrainingHeads", "TaskWeights", "load_encoder"]

if __name__ == "__main__":
    with standard_output():
        launch(PretrainConfig, prepare)
