"""Validation on patients never trained on: warped pairs with known geometry, the same ones every time."""

import numpy as np
import torch

from retinamatch.dense_descriptors import DenseDescriptors
from retinamatch.estimation import estimate
from retinamatch.evaluation.fire import FULL_SIZE, area_under_curve
from retinamatch.keypoint_set import WORKING_SIZE, Keypoints
from retinamatch.keypoints import RetinaDenseOutput
from retinamatch.matching import match_keypoints

from ..data.store import PhotographStore
from ..data.view_settings import ViewSettings
from ..data.views import Views, make_views, pixel_grid, sample_at


# Whole photographs at the working resolution, as far apart as visits are; fixed, so that runs can be compared.
VALIDATION_VIEWS = ViewSettings(
    size=WORKING_SIZE,
    scale=(0.98, 1.02),
    tilt=5,
    rotation=15,
    zoom=1.12,
    shear=0.03,
    shift=200,
    perspective=0.03,
    bend=16,
    hardness=1.0,
)


NEAR = 3.0  # pixels of a view: a keypoint this close to where it should be is the same one
GRID_STEP = 117  # every 117th pixel of a view in reading order: about 5,000 places, spread over its rows and columns


@torch.no_grad()
def validate(
    network,
    store: PhotographStore,
    count: int,
    device="cpu",
    settings: ViewSettings = VALIDATION_VIEWS,
    seed: int = 1234,
    bf16: bool = True,
) -> dict[str, float]:
    """Measure repeatability, matching score and registration on pairs of views of held-out photographs.

    Args:
        network: Dense network of the family.
        store: Held-out photographs, all of one size.
        count: Number of pairs; the photographs are taken in turn.
        device: Where to compute.
        settings: How different the views are; figures can be compared for the same settings alone.
        seed: Of the pairs.
        bf16: Run the network in that precision.

    Returns:
        `repeatability`, `matching_score` and `keypoints`: means over the pairs, see `measure_keypoints`. `auc`: mean
        over t = 1..25 of the fraction of pairs with a registration error below t pixels of 2912, see
        `registration_error`. `registered`: their fraction. `error`: median registration error of the registered pairs
        in pixels of the view.
    """
    was_training, rows = network.training, []
    network.eval()
    for i in range(count):
        photograph = store.photographs[i * len(store) // count % len(store)]
        views = make_views([photograph], [(seed, i)], settings, device)
        moving, fixed = find_keypoints(network, views, bf16)
        matches, scores = match_keypoints(moving, fixed, network.config.ratio_threshold)
        error = registration_error(views, moving, fixed, matches, scores)
        rows.append({**measure_keypoints(views, moving, fixed, matches), "error": error})
    network.train(was_training)
    figures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    errors = figures.pop("error")
    registered = errors[np.isfinite(errors)]
    return {
        **{name: float(values.mean()) for name, values in figures.items()},
        "auc": area_under_curve(errors * FULL_SIZE / WORKING_SIZE),
        "registered": len(registered) / count,
        "error": float(np.median(registered)) if len(registered) else 1e3,
    }


def find_keypoints(network, views: Views, bf16: bool) -> list[Keypoints]:
    """Find the keypoints of both views of one pair, in their pixels, with dense descriptors."""
    pixels, size = torch.cat(views.images).contiguous(memory_format=torch.channels_last), views.images[0].shape[-1]
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=bf16):
        dense = network(pixels)
    dense = RetinaDenseOutput(heatmap_logits=dense.heatmap_logits.float(), descriptor_map=dense.descriptor_map.float())
    head, whole = network.descriptor_head, np.array([0.0, 0.0, 1.0, 1.0])
    detected = network.find_keypoints(dense, torch.cat(views.masks)[:, 0])
    return [
        Keypoints(
            points=points[valid].double().cpu().numpy(),
            descriptors=descriptors[valid].cpu().numpy(),
            scores=scores[valid].cpu().numpy(),
            size=(size, size),
            describe=DenseDescriptors(
                maps.permute(1, 2, 0).cpu().numpy(), head.stride, head.offset, whole, (size, size), (size, size)
            ),
        )
        for points, descriptors, scores, valid, maps in zip(
            detected.keypoints, detected.descriptors, detected.scores, detected.mask, dense.descriptor_map
        )
    ]


def measure_keypoints(views: Views, moving: Keypoints, fixed: Keypoints, matches: np.ndarray) -> dict[str, float]:
    """Compare keypoints with the known geometry of their pair.

    Args:
        views: The pair; view 0 is the moving one.
        moving: Keypoints of view 0.
        fixed: Keypoints of view 1.
        matches: (n, 2), rows of the moving and of the fixed keypoints.

    Returns:
        `repeatability` (fraction of the moving keypoints in the overlap that have a fixed one within 3 pixels),
        `matching_score` (fraction of them that are matched to one within 3 pixels), `keypoints` (number of the moving
        ones).
    """
    device = views.masks[1].device
    points, others = (torch.as_tensor(k.points, dtype=torch.float32, device=device) for k in (moving, fixed))
    truth = views.warp.to_second(points[None])
    shown = (sample_at(views.masks[1], truth)[0, 0] > 0.99).cpu().numpy()
    distance = torch.cdist(truth[0], others).cpu().numpy()
    repeated = (distance < NEAR).any(1)
    right = np.zeros(len(points), bool)
    right[matches[:, 0]] = distance[matches[:, 0], matches[:, 1]] < NEAR
    return {
        "repeatability": float(repeated[shown].mean()) if shown.any() else 0.0,
        "matching_score": float(right[shown].mean()) if shown.any() else 0.0,
        "keypoints": len(points),
    }


def registration_error(
    views: Views, moving: Keypoints, fixed: Keypoints, matches: np.ndarray, scores: np.ndarray
) -> float:
    """Register view 0 to view 1: the mean error over a grid in their overlap in pixels, infinite without a match."""
    estimated = estimate(moving, fixed, matches, scores, transform="quadratic")
    grid = pixel_grid(moving.size[0], device=views.masks[0].device)[::GRID_STEP]
    grid = grid[sample_at(views.masks[0], grid[None])[0, 0] > 0.99]
    truth = views.warp.to_second(grid[None])
    both = sample_at(views.masks[1], truth)[0, 0] > 0.99
    if estimated.transform is None or not both.any():
        return np.inf
    mapped = estimated.transform(grid[both].double().cpu().numpy())
    return float(np.linalg.norm(mapped - truth[0, both].double().cpu().numpy(), axis=1).mean())


__all__ = ["VALIDATION_VIEWS", "measure_keypoints", "registration_error", "validate"]
