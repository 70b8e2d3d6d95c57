"""From keypoint matches to the transform that the evidence supports, and whether to believe it.

The way of a pair:

1. The turn of the eye that most matches agree with; a homography instead where that explains clearly more. 2. Guided
matching: every keypoint looks for its partner near the place that this predicts, so that many more matches are found
   than by descriptor alone.
3. A quadratic transform, by iteratively reweighted least squares. Where no match lies, points that the turn predicts
hold it. 4. The class that was asked for, or with "auto" the richest one that the matches support. 5. The decision, in
`decision.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np

from .decision import gather_evidence, reason_to_refuse
from .eye_model import PLANE, EyeModel, find_turn, refine
from .guided_matching import guided_matches, mutual_matches
from .refinement import locate
from .transforms import TRANSFORMS, Homography, Polynomial, Quadratic, Transform, transform_class


REGISTERED = "registered"
NO_RELIABLE_MATCH = "no reliable match"
# The working size: this many pixels across the field of view.
WORKING_SIZE = 768


@dataclass
class Keypoints:
    """The keypoints of one photograph.

    Attributes:
        points: (N, 2) float64, pixels of the photograph.
        descriptors: (N, D) float32 of unit length.
        scores: (N,) float32, strength of the keypoints.
        size: (height, width) of the photograph in pixels.
        scale: pixels of the photograph per working pixel: the width of its field of view / 768.
        center: (x, y), the centre of the field of view in pixels; the middle of the photograph when None.
        describe: gives the descriptors (M, D) at any places (M, 2), pixels of the photograph; None when the features
            are not dense.
    """

    points: np.ndarray
    descriptors: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]
    scale: float = 1.0
    center: tuple[float, float] | None = None
    describe: Callable[[np.ndarray], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def radius(self) -> float:
        """Radius of the field of view in pixels."""
        return self.scale * WORKING_SIZE / 2

    @property
    def middle(self) -> np.ndarray:
        """Centre of the field of view in pixels, (2,)."""
        height, width = self.size
        return np.array(((width - 1) / 2, (height - 1) / 2) if self.center is None else self.center, dtype=np.float64)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Gives pixels, (N, 2), relative to the centre of the field of view in units of its radius."""
        return (pixels - self.middle) / self.radius

    def denormalize(self, points: np.ndarray) -> np.ndarray:
        """Gives the pixels, (N, 2), of points in units of the field of view."""
        return points * self.radius + self.middle


@dataclass
class Estimate:
    """The answer of `estimate`.

    Attributes:
        transform: maps pixels of the moving photograph to pixels of the fixed one; None when none could be estimated. A
            pair without a reliable match may have one; it is there to be measured, not to be used.
        matches: (M, 2) int64, rows of the moving and of the fixed keypoints: those of the guided search where there is
            a transform, else those that were given.
        scores: (M,) float32, the scores of the matches.
        inliers: (M,) bool, the matches that agree with each other.
        residual: median distance of the inliers after the transform, in pixels of the fixed photograph; NaN without
            one.
        overlap: share of the fixed field of view that the moving one covers, 0 to 1.
        status: "registered" or "no reliable match".
        reason: why there is no reliable match, in words; empty when registered.
        evidence: the figures behind the decision.
    """

    transform: Transform | None
    matches: np.ndarray
    scores: np.ndarray
    inliers: np.ndarray
    residual: float
    overlap: float
    status: str
    reason: str
    evidence: dict = field(default_factory=dict)


@dataclass(frozen=True)
class EstimationSettings:
    """Settings of the estimator and of its decision; lengths are in working pixels, 768 across the field of view.

    Lengths and weights were chosen by the mean AUC over all pairs of `fire_dev`, clean and degraded 1, 2 and 3, with
    RootSIFT; none is near the edge of what works. The thresholds of the decision come from `calibration.py`, which says
    how.

    Attributes:
        minimum_matches: fewer matches are not looked at.
        trials: turns of the eye tried on random pairs of matches.
        start_radius: distance at which a match agrees with a turn.
        search_radii: of the guided search around the turn, one round each.
        final_radii: of the guided search around the quadratic transform, one round each.
        ratio: of the guided search; see `guided_matches`.
        noise: range of the standard deviation of a coordinate that the reweighting believes.
        prior_weight: the points that hold the polynomial where no match lies weigh as much as so many matches.
        refine_reaches: half the side of the window of the second look, one round each.
        minimum_similarity: cosine of two descriptors below which the second look has found nothing.
        inlier_radius: distance at which a match agrees with the quadratic transform.
        minimum_agreeing: least number of the given matches that agree.
        minimum_share: least share of them among the given matches that lie in the overlap.
        minimum_excess: least excess of the guided matches over what chance gives; see `decision.Evidence`.
        minimum_span: least share of the fixed field of view that the guided matches span.
        scale_range: of the local magnification, between photographs at working size.
        maximum_stretch: largest quotient of the magnifications in two directions at one place.
    """

    minimum_matches: int = 6
    trials: int = 2000
    start_radius: float = 12.0
    search_radii: tuple[float, ...] = (8.0, 5.0)
    final_radii: tuple[float, ...] = (5.0, 4.0)
    ratio: float = 0.9
    noise: tuple[float, float] = (0.5, 2.0)
    prior_weight: float = 30.0
    refine_reaches: tuple[float, ...] = (6.0, 4.0)
    minimum_similarity: float = 0.5
    inlier_radius: float = 3.0
    minimum_agreeing: int = 10
    minimum_share: float = 0.12
    minimum_excess: float = 3.0
    minimum_span: float = 0.02
    scale_range: tuple[float, float] = (0.5, 2.0)
    maximum_stretch: float = 2.0


def estimate(
    moving: Keypoints,
    fixed: Keypoints,
    matches: np.ndarray,
    match_scores: np.ndarray,
    transform: str = "auto",
    settings: EstimationSettings | None = None,
) -> Estimate:
    """Estimates the transform from the moving photograph to the fixed one, and decides whether to believe it.

    Args:
        moving: keypoints of the moving photograph.
        fixed: keypoints of the fixed photograph.
        matches: (M, 2) rows of the moving and of the fixed keypoints; most of them may be wrong.
        match_scores: (M,) scores of the matches.
        transform: a name of `TRANSFORMS`, or "auto" for the richest class that the matches support.
        settings: the default ones when None.

    Raises:
        ValueError: the name of the transform is not known.
    """
    settings = settings or EstimationSettings()
    kind = None if transform == "auto" else transform_class(transform)
    matches = np.asarray(matches, dtype=np.int64).reshape(-1, 2)
    scores = np.asarray(match_scores, dtype=np.float32).reshape(-1)
    for name, keypoints in (("moving", moving), ("fixed", fixed)):
        if len(keypoints) < settings.minimum_matches:
            return _refused(matches, scores, f"the {name} photograph shows only {len(keypoints)} keypoints")
    if len(matches) < settings.minimum_matches:
        return _refused(matches, scores, f"only {len(matches)} keypoints look alike in the two photographs")
    base = _start(moving, fixed, matches, settings)
    if base is None:
        return _refused(matches, scores, f"no two of the {len(matches)} matches fit one turn of an eye")
    for radius in settings.search_radii:
        base = _search_around(base, moving, fixed, radius, settings)
    prior = _prior_points(base, moving, fixed)
    agreed = _agree(base, prior, moving, fixed, settings)
    if agreed is None:
        return _refused(matches, scores, f"too few of the {len(matches)} matches agree on one transform")
    inliers = agreed.matches[agreed.inliers]
    evidence = gather_evidence(moving, fixed, matches, agreed.transform, inliers, settings)
    reason = reason_to_refuse(evidence, settings)
    fine = agreed if reason else _look_again(agreed, prior, moving, fixed, settings)
    held_out = {}
    if kind is None:
        kind, held_out = _richest_class(fine, prior, settings)
    fitted = _fit(kind, fine.moving, fine.fixed, fine.weights, prior, settings)
    distances = np.linalg.norm(fitted(fine.moving) - fine.fixed, axis=1)
    return Estimate(
        transform=fitted,
        matches=agreed.matches,
        scores=agreed.scores,
        inliers=agreed.inliers,
        residual=float(np.median(distances[fine.inliers])) if fine.inliers.any() else float("nan"),
        overlap=evidence.overlap,
        status=NO_RELIABLE_MATCH if reason else REGISTERED,
        reason=reason,
        evidence={
            **evidence.to_dict(),
            "given": len(matches),
            "start": base.name,
            "located": len(fine.moving),
            "held_out": held_out,
        },
    )


class _Base(Protocol):
    """What predicts the place of a keypoint before there is a transform of one of the classes."""

    name: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray: ...

    def refit(self, moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray, noise: float) -> "_Base": ...


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


def _start(moving: Keypoints, fixed: Keypoints, matches: np.ndarray, settings: EstimationSettings) -> _Base | None:
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


def _tighten(base: _Base, p, q, scale: float, settings: EstimationSettings) -> _Base:
    for radius in settings.start_radius * np.array([1.0, 1.0, 0.7, 0.7, 0.5, 0.5]):
        distance = np.linalg.norm(base(p) - q, axis=1) / scale
        weights = np.where(distance < radius, (1 - (distance / radius) ** 2) ** 2, 0.0)
        base = base.refit(p, q, weights, settings.start_radius / 8)
    return base


def _explained(base: _Base, p, q, scale: float, settings: EstimationSettings) -> float:
    distance = np.linalg.norm(base(p) - q, axis=1) / scale
    return float(np.nansum(np.maximum(1 - (2 * distance / settings.start_radius) ** 2, 0)))


def _search_around(
    base: _Base, moving: Keypoints, fixed: Keypoints, radius: float, settings: EstimationSettings
) -> _Base:
    found, _ = guided_matches(base(moving.points), moving, fixed, radius, settings.ratio)
    p, q = moving.points[found[:, 0]], fixed.points[found[:, 1]]
    for _ in range(4):
        weights, noise = _tukey_weights(np.linalg.norm(base(p) - q, axis=1) / fixed.scale, settings)
        base = base.refit(p, q, weights, noise)
    return base


@dataclass(frozen=True)
class _Agreed:
    """The matches of the last guided search, their weights, and the quadratic transform that they agree with."""

    matches: np.ndarray
    scores: np.ndarray
    moving: np.ndarray
    fixed: np.ndarray
    weights: np.ndarray
    inliers: np.ndarray
    transform: Transform


def _agree(base: _Base, prior, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings) -> _Agreed | None:
    predict = base
    for radius in settings.final_radii:
        found, scores = guided_matches(predict(moving.points), moving, fixed, radius, settings.ratio)
        p, q = moving.points[found[:, 0]], fixed.points[found[:, 1]]
        for _ in range(5):
            weights, _ = _tukey_weights(np.linalg.norm(predict(p) - q, axis=1) / fixed.scale, settings)
            if np.count_nonzero(weights) < settings.minimum_matches:
                return None
            predict = _fit(Quadratic, p, q, weights, prior, settings)
    inliers = np.linalg.norm(predict(p) - q, axis=1) < settings.inlier_radius * fixed.scale
    return _Agreed(found, scores, p, q, weights, inliers, predict)


def _look_again(agreed: _Agreed, prior, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings) -> _Agreed:
    """Looks for every keypoint of either photograph in the dense descriptors of the other one, and fits again.

    Gives what was agreed before when the features are not dense, or too little is found.
    """
    if moving.describe is None or fixed.describe is None:
        return agreed
    predict = agreed.transform
    for reach in settings.refine_reaches:
        forth = _locate(moving, fixed, predict(moving.points), reach, settings)
        back = _locate(fixed, moving, predict.inverse(fixed.points), reach, settings)
        p, q = np.vstack([forth[0], back[1]]), np.vstack([forth[1], back[0]])
        for _ in range(5):
            weights, _ = _tukey_weights(np.linalg.norm(predict(p) - q, axis=1) / fixed.scale, settings)
            if np.count_nonzero(weights) < settings.minimum_matches:
                return agreed
            predict = _fit(Quadratic, p, q, weights, prior, settings)
    inliers = np.linalg.norm(predict(p) - q, axis=1) < settings.inlier_radius * fixed.scale
    return replace(agreed, moving=p, fixed=q, weights=weights, inliers=inliers, transform=predict)


def _locate(
    here: Keypoints, there: Keypoints, predicted: np.ndarray, reach: float, settings: EstimationSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Gives keypoints of one photograph, (K, 2), and the places of the other one that look most like them, (K, 2)."""
    height, width = there.size
    with np.errstate(invalid="ignore"):
        seen = ((predicted >= 0) & (predicted <= (width - 1, height - 1))).all(1)
        seen &= np.linalg.norm(there.normalize(predicted), axis=1) <= 1
    places, similarity, inside = locate(here.descriptors[seen], predicted[seen], there.describe, there.scale, reach)
    kept = inside & (similarity > settings.minimum_similarity)
    return here.points[seen][kept], places[kept]


def _tukey_weights(distance: np.ndarray, settings: EstimationSettings) -> tuple[np.ndarray, float]:
    """Gives Tukey's biweight of distances in working pixels, and the noise of a coordinate behind it."""
    # The median distance in the plane is 1.18 standard deviations of a coordinate.
    noise = float(np.clip(np.median(distance) / 1.1774, *settings.noise)) if len(distance) else settings.noise[1]
    weights = np.maximum(1 - (distance / (4.685 * noise)) ** 2, 0) ** 2
    return np.where(weights > 1e-6, weights, 0.0), noise


def _prior_points(base: _Base, moving: Keypoints, fixed: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Gives a grid over the part of the moving field that lies in the fixed one, and where it goes."""
    steps = np.linspace(-1, 1, 12)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    grid = moving.denormalize(grid[np.hypot(*grid.T) <= 1])
    mapped = base(grid)
    shared = np.linalg.norm(fixed.normalize(mapped), axis=1) <= 1
    return grid[shared], mapped[shared]


def _fit(kind: type[Transform], p, q, weights, prior, settings: EstimationSettings) -> Transform:
    """Fits a class to weighted matches; a polynomial also to the points that hold it."""
    if issubclass(kind, Polynomial) and len(prior[0]):
        share = np.full(len(prior[0]), settings.prior_weight / len(prior[0]))
        p, q, weights = np.vstack([p, prior[0]]), np.vstack([q, prior[1]]), np.concatenate([weights, share])
    return kind.fit(p, q, weights)


def _richest_class(agreed: _Agreed, prior, settings: EstimationSettings) -> tuple[type[Transform], dict[str, float]]:
    """Chooses the richest class of which the held-out error is not above the smallest one; also gives those errors.

    Matches are held out in blocks of the plane, one fifth at a time, because a match hardly tests a transform that was
    fitted to its neighbours.
    """
    used = agreed.weights > 0
    p, q, weights = agreed.moving[used], agreed.fixed[used], agreed.weights[used]
    blocks = np.floor((p - p.min(0)) / np.maximum(np.ptp(p, axis=0).max() / 6, 1e-9)).astype(int)
    fold = (blocks[:, 0] + 2 * blocks[:, 1]) % 5
    errors = {}
    for name, kind in TRANSFORMS.items():
        squares = np.zeros(len(p))
        try:
            for k in np.unique(fold):
                train, test = fold != k, fold == k
                if train.sum() < 3 * kind.minimum_points:
                    raise ValueError("too few matches to hold any out")
                fitted = _fit(kind, p[train], q[train], weights[train], prior, settings)
                squares[test] = ((fitted(p[test]) - q[test]) ** 2).sum(1)
        except ValueError:
            continue
        errors[name] = float(np.sqrt(np.average(squares, weights=weights)))
    if not errors:
        return TRANSFORMS["similarity"], errors
    # One per cent is far below what the errors vary by; of equals the richest is taken.
    good = [name for name, error in errors.items() if error <= 1.01 * min(errors.values())]
    return TRANSFORMS[good[-1]], errors


def _refused(matches: np.ndarray, scores: np.ndarray, reason: str) -> Estimate:
    nothing = np.zeros(len(matches), dtype=bool)
    evidence = {"given": len(matches)}
    return Estimate(None, matches, scores, nothing, float("nan"), 0.0, NO_RELIABLE_MATCH, reason, evidence)


__all__ = [
    "Estimate",
    "EstimationSettings",
    "Keypoints",
    "NO_RELIABLE_MATCH",
    "REGISTERED",
    "estimate",
    "mutual_matches",
]
