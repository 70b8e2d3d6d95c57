"""Semi-supervised training of a keypoint detector and descriptor: what a network learns from labels and from itself.

The teacher trains with this alone; a student adds what its teacher says.
"""

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from retinamatch.keypoints import RetinaKeypointOutput
from retinamatch.losses import contrastive_loss, dice_loss

from ..data.keypoint_expansion import KeypointExpansion, confirmed_detections, detect_candidates, shown_in_both
from ..data.store import Photograph, PhotographStore, read_held_out
from ..data.targets import draw_correspondences, draw_heatmap
from ..data.view_settings import ViewSettings
from ..data.views import Views, make_views, sample_at
from ..run.configuration import TrainingConfig
from ..run.method import Method, mean_losses
from ..run.models import ModelSettings
from .losses import LossWeights, Weight, balanced_cross_entropy, triplet_loss
from .validation import VALIDATION_VIEWS, validate


@dataclass
class SupervisionWeights(LossWeights):
    """Weights of what a network learns from labels and from itself.

    Attributes:
        detector: Dice loss on labels.
        cross_entropy: Balanced cross-entropy on labels, which keeps the detector from falling silent.
        consistency: Dice loss between the heat maps of the two views.
        descriptor: Descriptor loss.
        localization: Cross-entropy that makes descriptors peak at the exact place.
    """

    detector: Weight = 1.0
    cross_entropy: Weight = 2.0
    consistency: Weight = 0.1
    descriptor: Weight = 1.0
    localization: Weight = 0.25


@dataclass
class SupervisionConfig(TrainingConfig):
    """What to train and how; see the recipes.

    Attributes:
        model: The network.
        views: Of the training.
        validation_views: Of the validation; figures can be compared for the same views alone.
        labeled_fraction: Fraction of the labeled patients whose labels are used; the others count as unlabeled.
        losses: Weight of every loss, a number or {start, end, steps}; 0 leaves it out.
        descriptor_loss: "contrastive" (dual softmax over all keypoints) or "triplet" (as published).
        points: Correspondences per pair in the descriptor loss.
        near: Correspondences closer than this many pixels of a view are not negatives of each other.
        localization_points: Correspondences per pair in the localization loss.
        expansion_start: Step from which progressive keypoint expansion runs; negative for never.
        expansion_score: Least heat-map value in the second view that confirms a keypoint.
        expansion_ratio: Ratio test of the confirmation.
    """

    model: ModelSettings = field(default_factory=lambda: ModelSettings(variant="small"))
    views: ViewSettings = field(default_factory=ViewSettings)
    validation_views: ViewSettings = field(default_factory=lambda: replace(VALIDATION_VIEWS))
    labeled_fraction: float = 1.0
    losses: SupervisionWeights = field(default_factory=SupervisionWeights)
    descriptor_loss: Literal["contrastive", "triplet"] = "contrastive"
    points: int = 256
    near: float = 6.0
    localization_points: int = 64
    expansion_start: int = -1
    expansion_score: float = 0.5
    expansion_ratio: float = 0.7


@dataclass
class Batch:
    """A batch of photographs as two views each.

    Attributes:
        indices: Of the photographs in the store.
        photographs: In their order.
        keys: Seeds of everything random about each.
        views: The pairs.
        labels: Per photograph (n, 2), annotated and expanded keypoints.
        labeled: (batch,), 1 where the photograph is annotated.
    """

    indices: list[int]
    photographs: list[Photograph]
    keys: list[tuple]
    views: Views
    labels: list[np.ndarray]
    labeled: Tensor


def localization_loss(
    model, maps: Tensor, anchors: Tensor, at: Tensor, mask: Tensor, jitter: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy that makes similarity peak at the exact place: the anchor against a 7 x 7 grid around its partner.

    Args:
        model: Knows where the cells of its descriptor map lie.
        maps: (batch, dim, map_height, map_width), descriptor maps of view 1.
        anchors: (batch, n, dim), descriptors of view 0, unit length.
        at: (batch, n, 2), partners in pixels of view 1.
        mask: (batch, n) bool.
        jitter: (batch, n, 2) in [-1, 1], shift of the grid against the partner in pixels, so that no grid point is
            special.
        temperature: Divides the similarities.

    Returns:
        (batch,), mean over the points.
    """
    axis = torch.arange(-3, 4, dtype=at.dtype, device=at.device) * 1.5
    offsets = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).flatten(0, 1)  # (49, 2)
    offsets = offsets + jitter[:, :, None]  # (batch, n, 49, 2)
    around = model.sample_descriptors(maps, (at[:, :, None] + offsets).flatten(1, 2)).unflatten(1, (-1, 49))
    logits = (around @ anchors[..., None])[..., 0] / temperature
    target = (-0.5 * offsets.square().sum(-1)).softmax(-1)  # Gaussian of 1 pixel
    per_point = -(target * logits.log_softmax(-1)).sum(-1)
    return (per_point * mask).sum(1) / mask.sum(1).clamp_min(1)


class Supervision(Method):
    """A batch of photographs into named losses; `own` is their weighted sum.

    Args:
        config: The run.
        store: Training photographs.
        held_out: Photographs of patients never trained on; read at the first validation by default.

    Raises:
        ValueError: The fraction of labels is not above 0 and at most 1.
    """

    clean_views = False  # whether a batch needs its views as they are before the photometric changes

    def __init__(self, config: SupervisionConfig, store: PhotographStore, held_out: PhotographStore | None = None):
        self.config, self.held_out = config, held_out
        self.store = store.keep_labels(config.labeled_fraction, config.seed)
        self.views = config.views
        self.expansion = KeypointExpansion(len(store.photographs))
        self.ahead: dict[tuple, Future[Views]] = {}
        self.pool = ThreadPoolExecutor(1)

    def __call__(self, model, network, indices: list[int], epoch: int, step: int, device):
        batch = self.prepare(indices, epoch, device)
        dense, losses = self.supervise(model, network, batch, step)
        losses["total"] = losses["own"]
        return losses, self.expand(network, batch, dense, step)

    def prepare(self, indices: list[int], epoch: int, device) -> Batch:
        """Make the views of samples of the store, or take those that `look_ahead` began."""
        keys = tuple((self.config.seed, epoch, i) for i in indices)
        indices = [self.store.samples[i] for i in indices]
        begun = self.ahead.pop(keys, None)
        return self._make_batch(self.store, indices, keys, device, self.expansion, begun and begun.result())

    def look_ahead(self, indices: list[int], epoch: int, device) -> None:
        """Make the views of the next batch in a thread: they depend on their seeds alone."""
        keys = tuple((self.config.seed, epoch, i) for i in indices)
        photographs = [self.store.photographs[self.store.samples[i]] for i in indices]
        self.ahead[keys] = self.pool.submit(self._make_views, photographs, keys, device)

    def _make_views(self, photographs, keys, device) -> Views:
        return make_views(photographs, list(keys), self.views, device, clean=self.clean_views)

    def _make_batch(self, store, indices, keys, device, expansion=None, views: Views | None = None) -> Batch:
        photographs = [store.photographs[i] for i in indices]
        views = views or self._make_views(photographs, keys, device)
        labels = [np.zeros((0, 2), np.float32) if p.labels is None else p.labels for p in photographs]
        if expansion is not None:
            labels = [np.concatenate([known, expansion.labels(i)]) for known, i in zip(labels, indices, strict=True)]
        labeled = torch.tensor([p.labels is not None for p in photographs], device=device).float()
        return Batch(indices, photographs, list(keys), views, labels, labeled)

    def supervise(self, model, network, batch: Batch, step: float):
        """Run the network on both views and compute its own losses, with their weights at a step.

        Returns:
            Dense outputs in float32, view 0 first; losses by name, each (batch,), with `own`.
        """
        config, views, keys = self.config, batch.views, batch.keys
        size, device = self.views.size, batch.labeled.device
        dense = model(torch.cat(views.images).contiguous(memory_format=torch.channels_last))
        logits0, logits1 = dense.heatmap_logits.float().chunk(2)
        heat0, heat1 = logits0.sigmoid(), logits1.sigmoid()
        maps0, maps1 = dense.descriptor_map.float().chunk(2)
        losses = {}

        # Detector, on labeled photographs: labels, and agreement of the two views.
        target0 = draw_heatmap(batch.labels, views.to_photograph, None, size)
        target1 = draw_heatmap(batch.labels, views.to_photograph, views.warp, size)
        supervised = dice_loss(heat0, target0, views.masks[0]) + dice_loss(heat1, target1, views.masks[1])
        losses["detector"] = supervised / 2 * batch.labeled
        crossed = balanced_cross_entropy(logits0, target0, views.masks[0])
        crossed = crossed + balanced_cross_entropy(logits1, target1, views.masks[1])
        losses["cross_entropy"] = crossed / 2 * batch.labeled
        # (Without labels two empty heat maps agree best: there the agreement would only wipe the detector out.)
        seen = sample_at(torch.cat([heat0, views.masks[0]], 1), views.first_of_second).unflatten(-1, (size, size))
        overlap = views.masks[1] * (seen[:, 1:].detach() > 0.99)
        losses["consistency"] = dice_loss(seen[:, :1], heat1, overlap) * batch.labeled

        # Descriptors: every photograph, labeled or not.
        first, second, mask = draw_correspondences(batch.photographs, batch.labels, keys, views, config.points)
        anchors = network.sample_descriptors(maps0, first)
        positives = network.sample_descriptors(maps1, second)
        losses["descriptor"] = self.descriptor_loss(network, anchors, positives, mask, second, keys)
        if config.losses.localization:
            n = config.localization_points
            jitter = np.stack([np.random.default_rng((*k, 3)).uniform(-1, 1, (n, 2)) for k in keys])
            jitter = torch.from_numpy(jitter.astype(np.float32)).to(device)
            temperature = network.config.matching_temperature
            losses["localization"] = localization_loss(
                network, maps1, anchors[:, :n], second[:, :n], mask[:, :n], jitter, temperature
            )
        weights = config.losses.at(step)
        losses["own"] = sum(weights[name] * value for name, value in losses.items())
        return dense, losses

    def descriptor_loss(self, network, anchors, positives, mask, places, keys) -> Tensor:
        """Compare corresponding descriptors (batch, n, dim) as the recipe says; `places` (batch, n, 2) in pixels."""
        if self.config.descriptor_loss == "contrastive":
            near = torch.cdist(places, places) < self.config.near
            return contrastive_loss(anchors, positives, mask, near, network.config.matching_temperature)
        n = anchors.shape[1]
        draws = np.stack([np.random.default_rng((*k, 2)).integers(0, max(n, 1), n) for k in keys])
        return triplet_loss(anchors, positives, mask, torch.from_numpy(draws).to(anchors.device))

    @torch.no_grad()
    def expand(self, network, batch: Batch, dense, step: int) -> list | None:
        """Find confirmed keypoints of the labeled photographs and which earlier candidates both views show."""
        if not 0 <= self.config.expansion_start <= step:
            return None
        views, results = batch.views, []
        for logits, maps, mask in zip(
            dense.heatmap_logits.chunk(2), dense.descriptor_map.chunk(2), views.masks, strict=True
        ):
            points, scores, valid = detect_candidates(logits, mask[:, 0])
            descriptors = network.sample_descriptors(maps, points) * valid[..., None]
            results.append(RetinaKeypointOutput(keypoints=points, scores=scores, descriptors=descriptors, mask=valid))
        heat1 = dense.heatmap_logits.float().chunk(2)[1].sigmoid()
        found = confirmed_detections(
            views, *results, heat1, score=self.config.expansion_score, ratio=self.config.expansion_ratio
        )
        shown = shown_in_both(views, [self.expansion.points[index] for index in batch.indices])
        rows = zip(batch.indices, found, shown, strict=True)
        return [update for update, p in zip(rows, batch.photographs, strict=True) if p.labels is not None]

    def after_step(self, updates: list) -> None:
        # In the order of the photographs, whichever process saw them.
        for index, found, shown in sorted(updates, key=lambda update: update[0]):
            self.expansion.update(index, found, shown, self.store.photographs[index].labels)

    def state_dict(self) -> dict:
        return self.expansion.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.expansion.load_state_dict(state)

    def validate(self, network, device) -> dict[str, float]:
        """Registration on held-out patients, and the own losses on them and on as many training photographs."""
        config = self.config
        if self.held_out is None:
            self.held_out = read_held_out(config)
        bf16 = config.mixed_precision == "bf16"
        figures = validate(network, self.held_out, config.validation_pairs, device, config.validation_views, bf16=bf16)
        for name, store in (("train", self.store), ("held_out", self.held_out)):
            losses = self.measure_losses(network, store, device)
            figures |= {f"{name}_{loss}": value for loss, value in losses.items()}
        return figures

    def measure_losses(self, network, store: PhotographStore, device, seed: int = 4321) -> dict[str, float]:
        """Compute the own losses on labeled photographs: no dropout, the same views every time, annotations alone."""
        labeled = [i for i, p in enumerate(store.photographs) if p.labels is not None]
        if not labeled:
            return {}
        count = self.config.validation_pairs

        def losses(forward, rows):
            chosen = [labeled[row * len(labeled) // count % len(labeled)] for row in rows]
            batch = self._make_batch(store, chosen, [(seed, row) for row in rows], device)
            return self.supervise(forward, network, batch, math.inf)[1]

        return mean_losses(network, self.config, losses)


__all__ = ["Batch", "Supervision", "SupervisionConfig", "SupervisionWeights", "localization_loss"]
