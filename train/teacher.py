"""Semi-supervised training of a keypoint detector and descriptor: one configuration and one step.

accelerate launch -m train.teacher --config train/recipes/small.yaml [--output_dir runs/small] [--resume]
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from retinamatch.configuration_lk_superretina import LKSuperRetinaConfig
from retinamatch.keypoints import RetinaKeypointOutput, detect_keypoints
from retinamatch.losses import balanced_cross_entropy, contrastive_loss, dice_loss, triplet_loss
from retinamatch.modeling_lk_superretina import LKSuperRetinaModel

from .data import Photograph, PhotographStore
from .keypoint_expansion import KeypointExpansion, confirmed_detections
from .trainer import Trainer, TrainingConfig, parse_config
from .views import Views, ViewSettings, Warp, make_views, project, sample_at


@dataclass
class TeacherConfig(TrainingConfig):
    """What to train and how; see the recipes.

    Attributes:
        model: Keyword arguments of `LKSuperRetinaConfig`, with `variant` "published", "superretina" or "small".
        views: See `ViewSettings`.
        descriptor_loss: "contrastive" (dual softmax over all keypoints) or "triplet" (as published).
        points: Correspondences per pair in the descriptor loss.
        near: Correspondences closer than this many pixels are not negatives of each other.
        localisation_points: Correspondences per pair in the localisation loss; 0 leaves it out.
        weight_detector: Weight of the Dice loss on labels.
        weight_cross_entropy: Weight of the balanced cross-entropy on labels, which keeps the detector from falling
            silent.
        weight_consistency: Weight of the Dice loss between the heat maps of the two views.
        weight_descriptor: Weight of the descriptor loss.
        weight_localisation: Weight of the localisation loss.
        expansion_start: Step from which progressive keypoint expansion runs; negative for never.
        expansion_score: Least heat-map value in the second view that confirms a keypoint.
        expansion_ratio: Ratio test of the confirmation.
    """

    model: dict = field(default_factory=lambda: {"variant": "small"})
    views: dict = field(default_factory=dict)
    descriptor_loss: str = "contrastive"
    points: int = 256
    near: float = 6.0
    localisation_points: int = 64
    weight_detector: float = 1.0
    weight_cross_entropy: float = 2.0
    weight_consistency: float = 0.1
    weight_descriptor: float = 1.0
    weight_localisation: float = 0.25
    expansion_start: int = -1
    expansion_score: float = 0.5
    expansion_ratio: float = 0.7


def build_model(settings: dict) -> LKSuperRetinaModel:
    """Build the network of a recipe's `model` section.

    Raises:
        ValueError: When the variant is unknown.
    """
    settings = dict(settings)
    variant = settings.pop("variant", "published")
    variants = {
        "published": LKSuperRetinaConfig,
        "superretina": LKSuperRetinaConfig.superretina,
        "small": LKSuperRetinaConfig.small,
    }
    if variant not in variants:
        raise ValueError(f'Unknown model variant "{variant}"; known are {sorted(variants)}.')
    return LKSuperRetinaModel(variants[variant](**settings))


def draw_heatmap(points: list[np.ndarray], matrix: Tensor, warp, size: int, sigma: float = 2.0) -> Tensor:
    """Draw keypoints as Gaussian peaks of height 1 (13 x 13 pixels), the larger value where they overlap.

    Args:
        points: Per pair (n, 2), photograph pixels.
        matrix: (batch, 3, 3), pixels of view 0 to photograph pixels.
        warp: View 1 -> view 0 to draw in view 1; None to draw in view 0.
        size: Side of the view.
        sigma: Of the Gaussian in pixels.

    Returns:
        (batch, 1, size, size).
    """
    maps = torch.zeros(len(points), size + 12, size + 12)
    axis = torch.arange(-6, 7)
    most = max([len(p) for p in points] + [1])
    padded = torch.full((len(points), most, 2), -1e3)
    for row, p in zip(padded, points, strict=True):
        row[: len(p)] = torch.from_numpy(np.asarray(p, np.float32))
    placed = project(torch.linalg.inv(matrix), padded.to(matrix.device))
    placed = (warp.to_second(placed) if warp is not None else placed).cpu()
    for heatmap, row in zip(maps, placed, strict=True):
        row = row[((row > -0.5) & (row < size - 0.5)).all(-1)]
        for x, y in row.tolist():
            cx, cy = round(x), round(y)
            bump = torch.exp(
                -0.5 * (((axis + cx - x) / sigma) ** 2)[None] - 0.5 * (((axis + cy - y) / sigma) ** 2)[:, None]
            )
            window = heatmap[cy : cy + 13, cx : cx + 13]
            torch.maximum(window, bump, out=window)
    return maps[:, None, 6:-6, 6:-6].to(matrix.device)


def draw_correspondences(
    photographs: list[Photograph], labels: list[np.ndarray], keys: list[tuple], views: Views, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose places that both views show: labels first, then corners, then anywhere, in random order.

    Args:
        photographs: Of the batch.
        labels: Per photograph (n, 2), its keypoint labels.
        keys: Seeds, as for `make_views`.
        views: The pairs.
        count: Places per pair.

    Returns:
        Points of view 0 and of view 1 (batch, count, 2), mask (batch, count) bool.
    """
    size = views.images[0].shape[-1]
    chosen = []
    for photograph, known, key in zip(photographs, labels, keys, strict=True):
        rng = np.random.default_rng((*key, 1))
        height, width = photograph.mask.shape
        anywhere = rng.uniform(0, 1, (4 * count, 2)) * [width - 1, height - 1]
        pool = [rng.permutation(known)[:count], rng.permutation(photograph.corners)[: 6 * count], anywhere]
        chosen.append(np.concatenate(pool).astype(np.float32))
    most = max(len(c) for c in chosen)
    padded = torch.full((len(chosen), most, 2), -1e3)
    for row, c in zip(padded, chosen, strict=True):
        row[: len(c)] = torch.from_numpy(c)
    first = project(torch.linalg.inv(views.to_photograph), padded.to(views.to_photograph.device))
    second = views.warp.to_second(first)
    inside = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
    for points, mask in ((first, views.masks[0]), (second, views.masks[1])):
        inside &= ((points >= 4) & (points <= size - 5)).all(-1)
        inside &= sample_at(mask, points)[:, 0] > 0.99
    # Of the visible places a quarter of the budget at most goes to "anywhere", the rest to labels and corners.
    rank = inside.long().cumsum(1) - 1
    origin = torch.arange(most, device=first.device).expand_as(rank)
    spare = origin >= torch.tensor([len(c) - 4 * count for c in chosen], device=first.device)[:, None]
    quota = torch.where(spare, count, count * 3 // 4)
    order = torch.where(inside & (rank < quota), origin, most).argsort(dim=1, stable=True)[:, :count]
    mask = (inside & (rank < quota)).gather(1, order)
    order = order[..., None].expand(-1, -1, 2)
    return first.gather(1, order), second.gather(1, order), mask


def localisation_loss(
    model: LKSuperRetinaModel,
    maps: Tensor,
    anchors: Tensor,
    at: Tensor,
    mask: Tensor,
    jitter: Tensor,
    temperature: float,
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


class Teacher:
    """The step: a batch of photographs into named losses."""

    def __init__(self, config: TeacherConfig, store: PhotographStore):
        if config.descriptor_loss not in ("contrastive", "triplet"):
            raise ValueError(f'`descriptor_loss` must be "contrastive" or "triplet", got "{config.descriptor_loss}".')
        self.config, self.store = config, store
        self.views = ViewSettings.from_dict(config.views)
        self.expansion = KeypointExpansion(len(store.photographs))

    def __call__(self, model, network: LKSuperRetinaModel, indices: list[int], epoch: int, step: int, device):
        """Compute the losses of one batch.

        Args:
            model: The network as prepared for training (it may be wrapped).
            network: The same network, bare.
            indices: Of the samples of the store.
            epoch: Part of the seed of the views.
            step: Optimiser steps done.
            device: Where to compute.

        Returns:
            Losses by name, each (batch,) with `total`; and what `after_step` wants to know.
        """
        config, size = self.config, self.views.size
        keys = [(config.seed, epoch, i) for i in indices]
        indices = [self.store.samples[i] for i in indices]
        photographs = [self.store.photographs[i] for i in indices]
        views = make_views(photographs, keys, self.views, device)
        pixels = torch.cat(views.images)
        dense = model(pixels.contiguous(memory_format=torch.channels_last))
        logits0, logits1 = dense.heatmap_logits.float().chunk(2)
        heat0, heat1 = logits0.sigmoid(), logits1.sigmoid()
        maps0, maps1 = dense.descriptor_map.float().chunk(2)

        annotated = [np.zeros((0, 2), np.float32) if p.labels is None else p.labels for p in photographs]
        labels = [np.concatenate([a, self.expansion.labels(i)]) for a, i in zip(annotated, indices, strict=True)]
        losses = {}

        # Detector, on labelled photographs: labels, and agreement of the two views.
        labelled = torch.tensor([p.labels is not None for p in photographs], device=device).float()
        target0 = draw_heatmap(labels, views.to_photograph, None, size)
        target1 = draw_heatmap(labels, views.to_photograph, views.warp, size)
        supervised = dice_loss(heat0, target0, views.masks[0]) + dice_loss(heat1, target1, views.masks[1])
        losses["detector"] = supervised / 2 * labelled
        crossed = balanced_cross_entropy(logits0, target0, views.masks[0])
        crossed = crossed + balanced_cross_entropy(logits1, target1, views.masks[1])
        losses["cross_entropy"] = crossed / 2 * labelled
        # (Without labels two empty heat maps agree best: there the agreement would only wipe the detector out.)
        seen = sample_at(torch.cat([heat0, views.masks[0]], 1), views.first_of_second).unflatten(-1, (size, size))
        overlap = views.masks[1] * (seen[:, 1:].detach() > 0.99)
        losses["consistency"] = dice_loss(seen[:, :1], heat1, overlap) * labelled

        # Descriptors: every photograph, labelled or not.
        first, second, mask = draw_correspondences(photographs, labels, keys, views, config.points)
        anchors = network.sample_descriptors(maps0, first)
        positives = network.sample_descriptors(maps1, second)
        temperature = network.config.matching_temperature
        if config.descriptor_loss == "contrastive":
            near = torch.cdist(second, second) < config.near
            losses["descriptor"] = contrastive_loss(anchors, positives, mask, near, temperature)
        else:
            draws = np.stack([np.random.default_rng((*k, 2)).integers(0, config.points, config.points) for k in keys])
            losses["descriptor"] = triplet_loss(anchors, positives, mask, torch.from_numpy(draws).to(device))
        if config.localisation_points:
            n = config.localisation_points
            jitter = np.stack([np.random.default_rng((*k, 3)).uniform(-1, 1, (n, 2)) for k in keys])
            jitter = torch.from_numpy(jitter.astype(np.float32)).to(device)
            losses["localisation"] = localisation_loss(
                network, maps1, anchors[:, :n], second[:, :n], mask[:, :n], jitter, temperature
            )
        losses["total"] = sum(getattr(config, f"weight_{name}") * value for name, value in losses.items())

        found = None
        if 0 <= config.expansion_start <= step:
            found = self._expand(network, views, dense, heat1, indices, labelled)
        return losses, found

    @torch.no_grad()
    def _expand(self, network, views, dense, heat1, indices, labelled):
        """Find confirmed keypoints of the labelled photographs and which earlier candidates both views show."""
        results = []
        for logits, maps, mask in zip(
            dense.heatmap_logits.chunk(2), dense.descriptor_map.chunk(2), views.masks, strict=True
        ):
            points, scores, valid = detect_keypoints(
                logits, mask[:, 0], nms_radius=10, threshold=0.1, border=8, max_keypoints=500
            )
            descriptors = network.sample_descriptors(maps, points) * valid[..., None]
            results.append(RetinaKeypointOutput(keypoints=points, scores=scores, descriptors=descriptors, mask=valid))
        found = confirmed_detections(
            views, *results, heat1, score=self.config.expansion_score, ratio=self.config.expansion_ratio
        )
        updates = []
        inverse = torch.linalg.inv(views.to_photograph)
        for row, index in enumerate(indices):
            if not labelled[row]:
                continue
            candidates = torch.from_numpy(self.expansion.points[index])[None].to(inverse.device)
            first = project(inverse[row : row + 1], candidates)
            one = Warp(views.warp.homography[row : row + 1], views.warp.bend[row : row + 1], self.views.size)
            visible = torch.ones(first.shape[1], dtype=torch.bool, device=first.device)
            for points, mask in ((first, views.masks[0]), (one.to_second(first), views.masks[1])):
                visible &= ((points >= 10) & (points <= self.views.size - 11)).all(-1)[0]
                visible &= sample_at(mask[row : row + 1], points)[0, 0] > 0.99
            updates.append((index, found[row], candidates[0, visible].cpu().numpy()))
        return updates

    def after_step(self, updates) -> None:
        """Take in the confirmed keypoints of all processes, in the order of the photographs."""
        for index, found, shown in sorted(updates, key=lambda update: update[0]):
            self.expansion.update(index, found, shown, self.store.photographs[index].labels)

    def state_dict(self) -> dict:
        """Return what a checkpoint must hold beside the network."""
        return self.expansion.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Take back what `state_dict` gave."""
        self.expansion.load_state_dict(state)


def main() -> None:
    """Train as the recipe says."""
    config, resume = parse_config(TeacherConfig)
    store = PhotographStore.read(config.data, "train", config.limit, config.repeat)
    Trainer(config, build_model(config.model), Teacher(config, store), len(store)).run(resume)


if __name__ == "__main__":
    main()
