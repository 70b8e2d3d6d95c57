"""Progressive keypoint expansion (PKE, SuperRetina): labels that grow by what the network finds again and again.

Annotated keypoints are few and incomplete. A detected keypoint that is found at the same retinal place in both views
and whose descriptor recognizes it there gains value; one that is no longer found loses value; from a threshold on it
counts as a label. Everything is kept in pixels of the photograph, so it is independent of views, batches and processes.
"""

import numpy as np
import torch
from torch import Tensor

from retinamatch.keypoints import RetinaKeypointOutput, detect_keypoints, mutual_nearest_matches

from .targets import pad_points
from .views import Views, project, sample_at


class KeypointExpansion:
    """The candidates of every photograph with their values.

    Args:
        count: Number of photographs.
        radius: Detections closer than this many photograph pixels are the same keypoint.
        new: Value of a candidate seen for the first time.
        again: Gain when it is seen again.
        absent: Loss when its place was in both views and it was not found.
        threshold: Value from which a candidate is a label.
        ceiling: Largest value.
    """

    def __init__(self, count, radius=6.0, new=5, again=1, absent=1, threshold=5, ceiling=20):
        self.radius, self.new, self.again, self.absent = radius, new, again, absent
        self.threshold, self.ceiling = threshold, ceiling
        self.points = [np.zeros((0, 2), np.float32) for _ in range(count)]
        self.values = [np.zeros(0, np.int64) for _ in range(count)]

    def labels(self, index: int) -> np.ndarray:
        """Return the candidates of a photograph that count as labels, (n, 2) photograph pixels."""
        return self.points[index][self.values[index] >= self.threshold]

    def update(self, index: int, found: np.ndarray, shown: np.ndarray, annotated: np.ndarray) -> None:
        """Take in what one pair of views showed.

        Args:
            index: Of the photograph.
            found: (n, 2), confirmed detections in photograph pixels.
            shown: (m, 2), the candidates whose place lay in both views. (Places, not a mask: a photograph can stand
                twice in a batch, and the first update changes the list.)
            annotated: (k, 2), annotated keypoints, which need no expansion.
        """
        points, values = self.points[index], self.values[index].copy()
        found = found[_distance(found, annotated) > self.radius]
        near = _distance(points, found) <= self.radius
        values[near] = np.minimum(values[near] + self.again, self.ceiling)
        values[(_distance(points, shown) < 1e-3) & ~near] -= self.absent
        found = found[_distance(found, points) > self.radius]
        kept = values > 0
        self.points[index] = np.concatenate([points[kept], found.astype(np.float32)])
        self.values[index] = np.concatenate([values[kept], np.full(len(found), self.new)])

    def state_dict(self) -> dict:
        """Return what a checkpoint must hold."""
        return {"points": self.points, "values": self.values}

    def load_state_dict(self, state: dict) -> None:
        """Take back what `state_dict` gave."""
        self.points, self.values = state["points"], state["values"]


def _distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of every point to the nearest of the others, infinite when there is none."""
    if len(points) == 0 or len(others) == 0:
        return np.full(len(points), np.inf)
    points, others = (torch.as_tensor(p, dtype=torch.float32) for p in (points, others))
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist").amin(1).numpy()


@torch.no_grad()
def confirmed_detections(
    views: Views,
    first: RetinaKeypointOutput,
    second: RetinaKeypointOutput,
    second_heatmap: Tensor,
    score: float,
    ratio: float,
) -> list[np.ndarray]:
    """Find the keypoints of view 0 that view 1 confirms, by place and by descriptor.

    Args:
        views: The pair.
        first: Keypoints of view 0 in its pixels, with bool mask.
        second: Keypoints of view 1.
        second_heatmap: (batch, 1, size, size), heat map of view 1 after the sigmoid.
        score: Least heat-map value in view 1 at the projected place.
        ratio: Largest ratio of the distances to nearest and second nearest descriptor.

    Returns:
        Per pair (n, 2), confirmed keypoints in photograph pixels.
    """
    projected = views.warp.to_second(first.keypoints)
    there = sample_at(second_heatmap, projected)[:, 0] >= score
    matches, _ = mutual_nearest_matches(first.descriptors, second.descriptors, first.mask, second.mask, ratio=ratio)
    matches = matches[:, 0, : first.keypoints.shape[1]]
    if second.keypoints.shape[1] == 0:
        return [np.zeros((0, 2), np.float32) for _ in first.keypoints]
    partner = second.keypoints.gather(1, matches.clamp_min(0)[..., None].expand(-1, -1, 2))
    agree = (partner - projected).norm(dim=-1) <= 3.0
    keep = first.mask & there & (matches >= 0) & agree
    in_photograph = project(views.to_photograph, first.keypoints).cpu().numpy()
    return [points[k] for points, k in zip(in_photograph, keep.cpu().numpy(), strict=True)]


def detect_candidates(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Detect keypoints that could become labels: see `detect_keypoints`."""
    return detect_keypoints(logits, mask, nms_radius=10, threshold=0.1, border=8, max_keypoints=500)


def shown_in_both(views: Views, candidates: list[np.ndarray]) -> list[np.ndarray]:
    """Find the candidates of photographs that both of their views show, away from the rims.

    Args:
        views: The pairs of a batch.
        candidates: Per pair (n, 2), in pixels of the photograph.

    Returns:
        Per pair (m, 2), some of the candidates.
    """
    size = views.images[0].shape[-1]
    first = project(torch.linalg.inv(views.to_photograph), pad_points(candidates).to(views.to_photograph.device))
    visible = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
    for points, mask in ((first, views.masks[0]), (views.warp.to_second(first), views.masks[1])):
        visible &= ((points >= 10) & (points <= size - 11)).all(-1)
        visible &= sample_at(mask, points)[:, 0] > 0.99
    return [c[v[: len(c)]] for c, v in zip(candidates, visible.cpu().numpy(), strict=True)]


__all__ = ["KeypointExpansion", "confirmed_detections", "detect_candidates", "shown_in_both"]
