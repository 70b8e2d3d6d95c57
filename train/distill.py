"""Reverse knowledge distillation: a large student learns from labels, from itself, and from a small teacher.

accelerate launch -m train.distill --config train/recipes/distill_small.yaml [--output_dir runs/student] [--resume]
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retinamatch.files import standard_output
from retinamatch.losses import dice_loss

from .data.store import PhotographStore, read_splits
from .data.views import pixel_grid, sample_at
from .methods.losses import LossWeights, Weight, cosine_loss
from .methods.supervision import Batch, Supervision, SupervisionConfig
from .methods.teacher_outputs import Taught, TeacherOutputs, capture
from .pretrain import load_encoder
from .run.models import ModelSettings, build_model, check_view_size, load_model
from .run.trainer import Trainer, launch


# Layers of the student and of an LK-SuperRetina teacher at strides 8 and 4.
FEATURE_LAYERS = {
    "swin_retina": {"decoder.1": "encoder.3", "decoder.2": "encoder.2"},
    "lk_superretina": {"encoder.3": "encoder.3", "encoder.2": "encoder.2"},
}


@dataclass
class TeacherWeights(LossWeights):
    """Weights of what a student learns from its teacher.

    Attributes:
        output: Dice loss between the heat maps.
        contrastive: The descriptor loss with the teacher's descriptors as anchors at the teacher's keypoints, the
            student's as positives and negatives.
        dense: Cosine distance over the whole descriptor field.
        features: Cosine distance of maps from inside, through 1x1 convolutions.
    """

    output: Weight = 1.0
    contrastive: Weight = 1.0
    dense: Weight = 0.0
    features: Weight = 0.0


@dataclass
class DistillConfig(SupervisionConfig):
    """What a student learns and from whom.

    Attributes:
        teacher: A model of the package, a folder, or a repository of the Hub.
        teacher_sees: "clean", "view" or "photograph"; see `TeacherOutputs`.
        teacher_average: Over how many views of the whole photograph the teacher's answer is averaged; 1 is none. With
            `teacher_sees: photograph`.
        teacher_cache: Folder for the teacher's outputs on whole photographs; with `teacher_sees: photograph`.
        distillation: Weight of every term of the teacher, a number or {start, end, steps}; 0 leaves it out.
        feature_layers: Layer of the student -> layer of the teacher, for `features`.
        agreement: `dense` leaves out places that the teacher itself describes otherwise in the other view, with a
            cosine below this.
        encoder: Folder of `train.pretrain` whose encoder the student begins with.
    """

    model: ModelSettings = field(default_factory=lambda: ModelSettings(family="swin_retina"))
    teacher: str = "lk-superretina-small"
    teacher_sees: Literal["clean", "view", "photograph"] = "clean"
    teacher_average: int = 1
    teacher_cache: str | None = None
    distillation: TeacherWeights = field(default_factory=TeacherWeights)
    feature_layers: dict[str, str] | None = None
    agreement: float = 0.5
    encoder: str | None = None


class Projections(nn.Module):
    """1x1 convolutions from maps of the student to the widths of the teacher's."""

    def __init__(self, widths: dict[str, tuple[int, int]]):
        super().__init__()
        self.layers = nn.ModuleDict({name.replace(".", "_"): nn.Conv2d(*width, 1) for name, width in widths.items()})

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.layers[name.replace(".", "_")](value) for name, value in features.items()}


class Distillation(Supervision):
    """The step: a student's own losses, and what its teacher adds.

    Args:
        config: The run.
        store: Training photographs.
        network: The student.
        held_out: See `Supervision`.

    Raises:
        ValueError: Teacher, student and recipe do not go together.
    """

    def __init__(self, config: DistillConfig, store: PhotographStore, network, held_out=None):
        super().__init__(config, store, held_out)
        self.terms = {name: getattr(self, f"{name}_loss") for name in config.distillation.active}
        family = network.config.model_type
        layers = (config.feature_layers or FEATURE_LAYERS[family]) if "features" in self.terms else {}
        self.teacher = TeacherOutputs(
            config.teacher,
            config.teacher_sees,
            config.teacher_cache,
            list(layers.values()),
            bf16=config.mixed_precision == "bf16",
            average=config.teacher_average,
        )
        theirs, ours = self.teacher.network.config.descriptor_dim, network.config.descriptor_dim
        if theirs != ours and {"contrastive", "dense"} & set(self.terms):
            raise ValueError(
                f"A descriptor of the teacher has {theirs} numbers and one of the student {ours}: "
                f"put `descriptor_dim: {theirs}` into the model section."
            )
        check_view_size(self.teacher.network, self.views.size, "teacher")
        check_view_size(network, self.views.size, "student")
        if config.teacher_sees == "photograph" and self.terms and self.views.flip:
            raise ValueError(
                "A whole photograph is described as it is, and mirrored views would be taught the same: "
                f"`teacher_sees: photograph` wants `views.flip` 0, got {self.views.flip}."
            )
        self.clean_views = config.teacher_sees == "clean"
        self.layers = layers
        self.heads = self._projections(network) if layers else None

    def _projections(self, network) -> Projections:
        pixels = torch.zeros(1, 1, self.views.size, self.views.size)
        was_training = network.training
        with torch.no_grad(), capture(network.eval(), list(self.layers)) as ours:
            network(pixels)
        network.train(was_training)
        with torch.no_grad(), capture(self.teacher.network, self.teacher.layers) as theirs:
            self.teacher.network(pixels)
        return Projections({s: (ours[s].shape[1], theirs[t].shape[1]) for s, t in self.layers.items()})

    def __call__(self, model, network, indices: list[int], epoch: int, step: int, device):
        batch = self.prepare(indices, epoch, device)
        taught = self.teacher(batch.photographs, batch.views) if self.terms else None
        with capture(network, list(self.layers)) as features:
            dense, losses = self.supervise(model, network, batch, step)
        total, weights = losses["own"], self.config.distillation.at(step)
        for name, loss in self.terms.items():
            both = loss(network, batch, dense, taught, features)
            losses[f"teacher_{name}"] = sum(both.chunk(2)) / 2
            total = total + weights[name] * losses[f"teacher_{name}"]
        losses["total"] = total
        return losses, self.expand(network, batch, dense, step)

    def output_loss(self, network, batch: Batch, dense, taught: Taught, features) -> Tensor:
        """Dice between the heat maps of teacher and student, (2 * batch,)."""
        return dice_loss(dense.heatmap_logits.float().sigmoid(), taught.logits.sigmoid(), torch.cat(batch.views.masks))

    def contrastive_loss(self, network, batch: Batch, dense, taught: Taught, features) -> Tensor:
        """Compute the descriptor loss at the teacher's keypoints, (2 * batch,)."""
        points, valid = self.teacher.keypoints(taught, torch.cat(batch.views.masks), self.config.points)
        if points.shape[1] < 2:  # no keypoint, or none that could be a negative
            return dense.descriptor_map.float().mean((1, 2, 3)) * 0
        positives = network.sample_descriptors(dense.descriptor_map, points)
        keys = [(*key, 4 + view) for view in (0, 1) for key in batch.keys]
        return self.descriptor_loss(network, taught.describe(points), positives, valid, points, keys)

    def dense_loss(self, network, batch: Batch, dense, taught: Taught, features) -> Tensor:
        """Cosine distance over the student's whole descriptor field, where the teacher has something to say."""
        head, views = network.descriptor_head, batch.views
        height, width = dense.descriptor_map.shape[-2:]
        cells = pixel_grid(height, width, dense.descriptor_map.device) * head.stride + head.offset
        cells = cells.expand(len(dense.descriptor_map), -1, -1)
        told = taught.describe(cells)
        mask = sample_at(torch.cat(views.masks), cells)[:, 0] > 0.99
        if self.teacher.sees != "photograph":  # there one descriptor serves both views, and agrees with itself
            first, second = cells.chunk(2)
            elsewhere = torch.cat([views.warp.to_first(second), views.warp.to_second(first)])  # in views 0 and 1
            there = sample_at(torch.cat(views.masks), elsewhere)[:, 0] > 0.99
            again, there = taught.describe(elsewhere).roll(len(first), 0), there.roll(len(first), 0)
            mask &= there & ((told * again).sum(-1) >= self.config.agreement)
        said = network.sample_descriptors(dense.descriptor_map, cells)
        return cosine_loss(said, told, mask)

    def features_loss(self, network, batch: Batch, dense, taught: Taught, features) -> Tensor:
        """Cosine distance between projected maps of the student and maps of the teacher, (2 * batch,)."""
        projected = self.heads({name: features[name] for name in self.layers})
        losses = []
        for ours, theirs in self.layers.items():
            said, told = projected[ours].float(), taught.features[theirs]
            told = F.interpolate(told, said.shape[-2:], mode="bilinear", align_corners=False)
            mask = F.interpolate(torch.cat(batch.views.masks), said.shape[-2:])
            losses.append(cosine_loss(said.flatten(2).mT, told.flatten(2).mT, mask.flatten(1)))
        return sum(losses) / len(losses)


def build_student(config: DistillConfig, descriptor_dim: int):
    """Build the student: descriptors as long as the teacher's unless the recipe says so, a pretrained encoder if any.

    Returns:
        The network, and the `EncoderReport` or None.

    Raises:
        ValueError: The recipe names no such network, or the encoder does not fit it.
    """
    network = build_model(replace(config.model, descriptor_dim=config.model.descriptor_dim or descriptor_dim))
    return network, load_encoder(network, config.encoder) if config.encoder else None


def prepare(config: DistillConfig) -> Trainer:
    """Read the photographs and build student and teacher of a run."""
    network, report = build_student(config, load_model(config.teacher).config.descriptor_dim)
    store, held_out = read_splits(config)
    method = Distillation(config, store, network, held_out)
    trainer = Trainer(config, network, method, len(method.store))
    if report:
        trainer.log(encoder=str(report))
    return trainer


__all__ = ["DistillConfig", "Distillation", "Projections", "TeacherWeights", "build_student"]

if __name__ == "__main__":
    with standard_output():
        launch(DistillConfig, prepare)
