"""Validation on patients never trained on: warped pairs with known geometry, the same ones every time."""

import numpy as np
import torch

from retinamatch.estimation import estimate
from retinamatch.keypoint_set import Keypoints
from retinamatch.keypoints import RetinaDenseOutput, mutual_nearest_matches

from ..data.store import PhotographStore
from ..data.views import ViewSettings, make_views, pixel_grid, sample_at


# Whole photographs at the working resolution, as far apart as visits are; fixed, so that runs can be compared.
VALIDATION_VIEWS = ViewSettings(
    size=768,
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


WORKING_SIZE, FULL_SIZE = 768, 2912  # sides of the processor's canvas, and of FIRE's photographs


@torch.no_grad()
def validate(
    network,
    store: PhotographStore,
    count: int,
    device="cpu",
    pairs: ViewSettings = VALIDATION_VIEWS,
    seed: int = 1234,
    bf16: bool = True,
) -> dict[str, float]:
    """Measure repeatability, matching score and registration on pairs of views of held-out photographs.

    Args:
        network: Dense network of the family.
        store: Held-out photographs, all of one size.
        count: Number of pairs; the photographs are taken in turn.
        device: Where to compute.
        pairs: How different the views are; figures can be compared for the same settings alone.
        seed: Of the pairs.
        bf16: Run the network in that precision.

    Returns:
        `repeatability` (share of the keypoints in the overlap that have one within 3 pixels in the other view),
        `matching_score` (share of them with a mutual match within 3 pixels), `auc` (mean over t = 1..25 of the share
        of pairs with mean registration error below t pixels at 2912, quadratic, over a grid in the overlap),
        `registered` (share), `error` (median registration error of the registered pairs in pixels of the view),
        `keypoints` (their number).
    """
    was_training = network.training
    network.eval()
    figures, errors, registered = {"repeatability": [], "matching_score": [], "keypoints": []}, [], 0
    for i in range(count):
        photograph = store.photographs[i * len(store) // count % len(store)]
        views = make_views([photograph], [(seed, i)], pairs, device)
        pixels = torch.cat(views.images).contiguous(memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16):
            dense = network(pixels)
        dense = RetinaDenseOutput(
            heatmap_logits=dense.heatmap_logits.float(), descriptor_map=dense.descriptor_map.float()
        )
        found = network.find_keypoints(dense, torch.cat(views.masks)[:, 0])
        sets = [found.keypoints[k][found.mask[k]] for k in (0, 1)]
        descriptors = [found.descriptors[k][found.mask[k]] for k in (0, 1)]
        matches, scores = mutual_nearest_matches(
            descriptors[0][None], descriptors[1][None], ratio=network.config.ratio_threshold
        )
        matches, scores = matches[0, 0, : len(sets[0])], scores[0, 0, : len(sets[0])]

        truth = views.warp.to_second(sets[0][None])
        seen = sample_at(views.masks[1], truth)[0, 0] > 0.99
        distance = torch.cdist(truth[0], sets[1]) if len(sets[1]) else truth.new_full((len(sets[0]), 1), 1e3)
        repeated = distance.amin(1) < 3
        right = (matches >= 0) & (distance.gather(1, matches.clamp_min(0)[:, None])[:, 0] < 3)
        figures["repeatability"].append(float(repeated[seen].float().mean()) if seen.any() else 0.0)
        figures["matching_score"].append(float(right[seen].float().mean()) if seen.any() else 0.0)
        figures["keypoints"].append(float(len(sets[0])))

        # Registration: view 0 is moving, view 1 is fixed.
        sides = [
            Keypoints(
                points=s.double().cpu().numpy(),
                descriptors=d.cpu().numpy(),
                scores=np.ones(len(s)),
                size=(pairs.size, pairs.size),
                describe=_describe(network, maps),
            )
            for s, d, maps in zip(sets, descriptors, dense.descriptor_map.split(1), strict=True)
        ]
        matched = (matches >= 0).nonzero()[:, 0]
        result = estimate(
            sides[0],
            sides[1],
            torch.stack([matched, matches[matched]], 1).cpu().numpy(),
            scores[matched].cpu().numpy(),
            transform="quadratic",
        )
        grid = pixel_grid(pairs.size)[:: 16 * 7 + 5]
        grid = grid[sample_at(views.masks[0].cpu(), grid[None])[0, 0] > 0.99]
        target = views.warp.to_second(grid[None].to(device)).cpu()
        both = sample_at(views.masks[1].cpu(), target)[0, 0] > 0.99
        error = np.inf
        if result.accepted and both.any():
            registered += 1
            mapped = result.transform(grid[both].double().numpy())
            error = float(np.linalg.norm(mapped - target[0][both].double().numpy(), axis=1).mean())
        errors.append(error)
    network.train(was_training)
    full = np.array(errors) * FULL_SIZE / WORKING_SIZE
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    finite = [e for e in errors if np.isfinite(e)]
    return {
        **means,
        "auc": float(np.mean([(full < t).mean() for t in range(1, 26)])),
        "registered": registered / count,
        "error": float(np.median(finite)) if finite else 1e3,
    }


def _describe(network, descriptor_map):
    def describe(points: np.ndarray) -> np.ndarray:
        points = torch.as_tensor(points, dtype=torch.float32, device=descriptor_map.device)
        with torch.inference_mode():
            return network.sample_descriptors(descriptor_map, points[None])[0].cpu().numpy()

    return describe


__all__ = ["VALIDATION_VIEWS", "validate"]
