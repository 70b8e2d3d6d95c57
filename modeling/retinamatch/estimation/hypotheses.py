"""The first hypothesis about a pair: a rotation of the eye or a homography that most matches agree with."""

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from ..keypoint_set import WORKING_SIZE, Keypoints
from ..transforms import Homography
from .eye_model import CURVATURE, PLANE, EyeModel, find_rotation, refine
from .settings import EstimationSettings


# Working pixels within which points set by hand agree.
_BY_HAND = 32.0


class Hypothesis(Protocol):
    """What predicts the place of a keypoint before there is a transform of one of the classes."""

    @property
    def name(self) -> str:
        """The word for it in the evidence."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Map pixels of the moving photograph, (N, 2), to pixels of the fixed one, (N, 2)."""

    def refit(self, moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray, noise: float) -> "Hypothesis":
        """Fit again to weighted matches, (N, 2) pixels each; `noise` of a coordinate is in working pixels."""


@dataclass(frozen=True)
class _Rotation:
    """An eye model between the pixels of two photographs."""

    moving: Keypoints
    fixed: Keypoints
    model: EyeModel
    name: str = "rotation of the eye"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self.fixed.from_camera(self.model(self.moving.to_camera(pixels)))

    def refit(self, moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray, noise: float) -> "_Rotation":
        points = self.moving.to_camera(moving), self.fixed.to_camera(fixed)
        model = refine(self.model, *points, weights, noise * 2 / WORKING_SIZE * self.fixed.part)
        return replace(self, model=model)


@dataclass(frozen=True)
class _Plane:
    """A homography between the pixels of two photographs."""

    transform: Homography
    name: str = "homography"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self.transform(pixels)

    def refit(self, moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray, noise: float) -> "_Plane":
        try:
            return _Plane(Homography.fit(moving, fixed, weights))
        except ValueError:
            return self


def find_hypothesis(
    moving: Keypoints, fixed: Keypoints, matches: np.ndarray, settings: EstimationSettings
) -> Hypothesis | None:
    """Find the rotation of the eye that most matches agree with, or the homography where it explains clearly more.

    Args:
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        matches: (M, 2) rows of the moving and of the fixed keypoints; most of them may be wrong.
        settings: Of the estimator.

    Returns:
        None when no two matches determine either.
    """
    p, q = moving.points[matches[:, 0]], fixed.points[matches[:, 1]]
    radius, parts = settings.start_radius * 2 / WORKING_SIZE * fixed.part, (moving.part, fixed.part)
    starts = []
    for one, other in _shapes(moving, fixed):
        points = one.to_camera(p), other.to_camera(q)
        # A camera with another angle of view than usual rotates the plane rather than the sphere; both are tried.
        for curvature in (CURVATURE, PLANE):
            rotation = find_rotation(*points, radius, settings.trials, curvature=curvature, parts=parts)
            if rotation is not None:
                starts.append(_Rotation(one, other, replace(rotation, curvature=CURVATURE)))
    candidates = [_tighten(start, p, q, fixed.scale, settings) for start in starts]
    best = max(candidates, key=lambda base: _explained(base, p, q, fixed.scale, settings), default=None)
    # MAGSAC++ draws at random: its seed makes the same pair give the same answer.
    cv2.setRNGSeed(0)
    matrix, _ = cv2.findHomography(
        p / moving.scale, q / fixed.scale, cv2.USAC_MAGSAC, settings.start_radius / 3, maxIters=2000, confidence=0.999
    )
    if matrix is None:
        return best
    matrix = np.diag([fixed.scale, fixed.scale, 1]) @ matrix @ np.diag([1 / moving.scale, 1 / moving.scale, 1])
    plane = _tighten(_Plane(Homography(matrix)), p, q, fixed.scale, settings)
    if best is None:
        return plane
    # Eight free numbers always agree with a few false matches more than the rotation's four do.
    clearly = 1.25 * _explained(best, p, q, fixed.scale, settings) + 4
    return plane if _explained(plane, p, q, fixed.scale, settings) > clearly else best


def hypothesis_from_points(moving: Keypoints, fixed: Keypoints, points: np.ndarray) -> Hypothesis | None:
    """Find the rotation of the eye that points set by a person agree with.

    Args:
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        points: (N, 4), x and y in pixels of the moving photograph, then of the fixed one.

    Returns:
        None when they agree with none: two of them at least must.
    """
    starts = []
    for one, other in _shapes(moving, fixed):
        pair = one.to_camera(points[:, :2]), other.to_camera(points[:, 2:])
        rotation = find_rotation(*pair, _BY_HAND * 2 / WORKING_SIZE * other.part, 200)
        if rotation is None:
            continue
        start = _Rotation(one, other, rotation, "points set by hand")
        for _ in range(4):
            start = start.refit(points[:, :2], points[:, 2:], np.ones(len(points)), _BY_HAND / 4)
        starts.append(start)
    distance = [np.linalg.norm(start(points[:, :2]) - points[:, 2:], axis=1).mean() for start in starts]
    return starts[int(np.argmin(distance))] if starts else None


def _shapes(moving: Keypoints, fixed: Keypoints) -> list[tuple[Keypoints, Keypoints]]:
    """Give the photographs as they are, and where a field is an ellipse, as if it were a circle.

    Pixels that are not square make an ellipse of a round field; the field of other cameras is one.
    """
    pairs = [(moving, fixed)]
    if moving.stretch is not None or fixed.stretch is not None:
        pairs.append((replace(moving, stretch=None), replace(fixed, stretch=None)))
    return pairs


def _tighten(base: Hypothesis, p: np.ndarray, q: np.ndarray, scale: float, settings: EstimationSettings) -> Hypothesis:
    """Fit a hypothesis again and again to what agrees with it, within a radius that shrinks."""
    for radius in settings.start_radius * np.array([1.0, 1.0, 0.7, 0.7, 0.5, 0.5]):
        distance = np.linalg.norm(base(p) - q, axis=1) / scale
        weights = np.where(distance < radius, (1 - (distance / radius) ** 2) ** 2, 0.0)
        base = base.refit(p, q, weights, settings.start_radius / 8)
    return base


def _explained(base: Hypothesis, p: np.ndarray, q: np.ndarray, scale: float, settings: EstimationSettings) -> float:
    """Sum up how well the matches agree with a hypothesis: 1 for each exact one, 0 from half the radius on."""
    distance = np.linalg.norm(base(p) - q, axis=1) / scale
    return float(np.nansum(np.maximum(1 - (2 * distance / settings.start_radius) ** 2, 0)))


__all__ = ["Hypothesis", "find_hypothesis"]
