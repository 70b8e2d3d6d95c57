"""The first hypothesis about a pair: a turn of the eye or a homography that most matches agree with."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ..keypoint_set import WORKING_SIZE, Keypoints
from ..transforms import Homography
from .eye_model import PLANE, EyeModel, find_turn, refine
from .settings import EstimationSettings


class Hypothesis(Protocol):
    """What predicts the place of a keypoint before there is a transform of one of the classes."""

    name: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray: ...

    def refit(self, moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray, noise: float) -> "Hypothesis": ...


@dataclass(frozen=True)
class _Turn:
    """An eye model between the pixels of two photographs."""

    moving: Keypoints
    fixed: Keypoints
    model: EyeModel
    name: str = "turn of the eye"

    def __call__(self, pixels):
        return self.fixed.denormalize(self.model(self.moving.normalize(pixels)))

    def refit(self, moving, fixed, weights, noise):
        points = self.moving.normalize(moving), self.fixed.normalize(fixed)
        model = refine(self.model, *points, weights, noise * self.fixed.scale / self.fixed.radius)
        return _Turn(self.moving, self.fixed, model)


@dataclass(frozen=True)
class _Plane:
    """A homography between the pixels of two photographs."""

    transform: Homography
    name: str = "homography"

    def __call__(self, pixels):
        return self.transform(pixels)

    def refit(self, moving, fixed, weights, noise):
        try:
            return _Plane(Homography.fit(moving, fixed, weights))
        except ValueError:
            return self


def find_hypothesis(
    moving: Keypoints, fixed: Keypoints, matches: np.ndarray, settings: EstimationSettings
) -> Hypothesis | None:
    """Gives the turn of the eye that most matches agree with, or the homography where it explains clearly more."""
    p, q = moving.points[matches[:, 0]], fixed.points[matches[:, 1]]
    points = moving.normalize(p), fixed.normalize(q)
    radius = settings.start_radius * 2 / WORKING_SIZE
    # A camera with another angle of view than usual turns the plane rather than the sphere; both are tried.
    turns = [find_turn(*points, radius, settings.trials, curvature=k) for k in (EyeModel(0, (0, 0)).curvature, PLANE)]
    turns = [_Turn(moving, fixed, EyeModel(t.angle, t.shift, t.magnification)) for t in turns if t is not None]
    candidates = [_tighten(turn, p, q, fixed.scale, settings) for turn in turns]
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
    # Eight free numbers always agree with a few false matches more than the turn's four do.
    clearly = 1.25 * _explained(best, p, q, fixed.scale, settings) + 4
    return plane if _explained(plane, p, q, fixed.scale, settings) > clearly else best


def _tighten(base: Hypothesis, p, q, scale: float, settings: EstimationSettings) -> Hypothesis:
    for radius in settings.start_radius * np.array([1.0, 1.0, 0.7, 0.7, 0.5, 0.5]):
        distance = np.linalg.norm(base(p) - q, axis=1) / scale
        weights = np.where(distance < radius, (1 - (distance / radius) ** 2) ** 2, 0.0)
        base = base.refit(p, q, weights, settings.start_radius / 8)
    return base


def _explained(base: Hypothesis, p, q, scale: float, settings: EstimationSettings) -> float:
    distance = np.linalg.norm(base(p) - q, axis=1) / scale
    return float(np.nansum(np.maximum(1 - (2 * distance / settings.start_radius) ** 2, 0)))


__all__ = ["Hypothesis", "find_hypothesis"]
