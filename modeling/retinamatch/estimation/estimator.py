"""From keypoint matches to the transform that the evidence supports, and whether to believe it.

The way of a pair:

1. The rotation of the eye that most matches agree with; a homography instead where that explains clearly more.
2. Guided matching: every keypoint looks for its partner near the place that this predicts, so that many more matches
   are found than by descriptor alone.
3. A quadratic transform, by iteratively reweighted least squares. Where no match lies, prior points that the rotation
   predicts hold it.
4. Dense refinement: every keypoint is looked for in the dense descriptors of the other photograph. Where matches are
   few and the photographs look alike all the same, the pictures themselves are aligned too. The prior points go where
   the rotation of the eye does that these matches agree with, and weigh the more the worse the matches are; they weigh
   less where it does not go with them.
5. The class that was asked for, or with "auto" the richest one that the matches support.
6. The decision, in `decision.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from ..keypoint_set import Keypoints
from ..transforms import TRANSFORMS, Cubic, Polynomial, Quadratic, Transform, UndeterminedError, transform_class
from .decision import (
    Evidence,
    color_decides,
    few_keypoints,
    gather_evidence,
    impossible_shape,
    overlap_grid,
    reason_to_reject,
    too_rough,
)
from .dense_agreement import DenseAgreement, dense_agreement
from .fixed_pattern import PictureShift, hue_agreement, picture_shift, shared_detail
from .guided_matching import guided_matches
from .hypotheses import Hypothesis, find_hypothesis, hypothesis_from_points
from .image_alignment import align_where_better
from .refinement import locate
from .settings import EstimationSettings


# So few of them, of more than a hundred, do not determine a transform.
_FEW_PRIOR_POINTS = 10
# Twice what the squared distances of a quadratic transform's matches are below those of an eye's, of a square of the
# noise, times their number.
_BY_CHANCE = 6.0
# So far beyond the field of the moving photograph the fixed one may reach, in radii.
_BEYOND = 2.5
# Held-out errors that differ by less than one per cent, far below what they vary by: of equals the richest is taken.
_EQUAL = 1.01
# So many matches for each that determines a cubic transform bend it without prior points.
_TO_BEND = 10
# The share of places that look alike may fall so far by chance.
_AS_ALIKE = 0.03
# One camera's field is much narrower than the other's below this ratio of their radii.
_NARROW = 0.8


@dataclass(eq=False, repr=False)
class Estimate:
    """What the matches of a pair say: a transform, and whether to believe it.

    Attributes:
        accepted: Whether to believe the transform.
        candidate: Maps pixels of the moving photograph to pixels of the fixed one; None when none could be estimated.
            It is there even when it is not believed, to be measured and not to be used.
        matches: (M, 2) int64, rows of the moving and of the fixed keypoints: those of the guided search where there is
            a transform, else those that were given.
        scores: (M,) float32, the scores of the matches, higher is better.
        inliers: (M,) bool, the matches that agree with each other.
        residual: Median distance of the inliers after the transform, in pixels of the fixed photograph; NaN without
            one.
        overlap: Fraction of the fixed field of view that the moving one covers, 0 to 1.
        reason: Why there is no reliable match, in words; empty when accepted.
        evidence: The figures behind the decision.
        rough: Whether the transform is believed but known poorly: the place is right, pixels are not.
        agreement: (R, C) float32, how alike the photographs look, cell by cell of the moving one's field of view; NaN
            where they cannot be compared. None when they were not.
    """

    accepted: bool
    candidate: Transform | None
    matches: np.ndarray
    scores: np.ndarray
    inliers: np.ndarray
    residual: float
    overlap: float
    reason: str
    evidence: dict = field(default_factory=dict)
    rough: bool = False
    agreement: np.ndarray | None = None

    @property
    def transform(self) -> Transform | None:
        """The transform to use: None unless it is believed."""
        return self.candidate if self.accepted else None

    @property
    def status(self) -> str:
        """The word for `accepted` in JSON: "registered" or "no reliable match"."""
        return "registered" if self.accepted else "no reliable match"

    def __str__(self) -> str:
        if self.transform is None:
            return f"{self.status}: {self.reason}"
        how = f"{self.status} roughly" if self.rough else self.status
        return (
            f"{how}: {self.transform.name}, {self.inliers.sum()} inliers of {len(self.matches)} matches, "
            f"residual {self.residual:.2f} px, overlap {self.overlap:.0%}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


def estimate(
    moving: Keypoints,
    fixed: Keypoints,
    matches: np.ndarray,
    match_scores: np.ndarray,
    transform: str = "auto",
    settings: EstimationSettings | None = None,
    points: np.ndarray | None = None,
) -> Estimate:
    """Estimate the transform from the moving photograph to the fixed one, and decide whether to believe it.

    Args:
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        matches: (M, 2) rows of the moving and of the fixed keypoints; most of them may be wrong.
        match_scores: (M,) scores of the matches.
        transform: A name of `TRANSFORMS`, or "auto" for the richest class that the matches support.
        settings: The default ones when None.
        points: (P, 4), three or more places that a person set, x and y in pixels of the moving photograph, then of the
            fixed one. The search starts from them; what is found is refined and judged as it always is, and
            `evidence["start"]` says so.

    Raises:
        ValueError: The name of the transform is not known, or the points are no such array.
    """
    if points is not None:
        points = check_points(points)
    settings = settings or EstimationSettings()
    kind = None if transform == "auto" else transform_class(transform)
    matches = np.asarray(matches, dtype=np.int64).reshape(-1, 2)
    scores = np.asarray(match_scores, dtype=np.float32).reshape(-1)
    try:
        return _estimate(moving, fixed, matches, scores, kind, settings, points)
    except UndeterminedError as error:  # what agrees is a sliver of an overlap
        return _rejected(matches, scores, f"what agrees lies too close together ({error})")


def _estimate(
    moving: Keypoints,
    fixed: Keypoints,
    matches: np.ndarray,
    scores: np.ndarray,
    kind: type[Transform] | None,
    settings: EstimationSettings,
    points: np.ndarray | None,
) -> Estimate:
    start = _begin(moving, fixed, matches, points, settings)
    if isinstance(start, str):
        return _rejected(matches, scores, start)
    base = start
    for radius in settings.search_radii:
        base = _search_around(base, moving, fixed, radius, settings)
    prior = _prior_points(base, moving, fixed, settings)
    agreed = _agree(base, prior, moving, fixed, settings)
    if agreed is None and points is not None:
        prior = _prior_points(start, moving, fixed, settings)
        agreed = _rest_on(points, prior)
    if agreed is None:
        return _rejected(matches, scores, f"too few of the {len(matches)} matches agree on one transform")
    evidence = gather_evidence(moving, fixed, matches, agreed.transform, agreed.matches[agreed.inliers], settings)
    fine, agreement, enough = agreed, None, not few_keypoints(evidence, settings)
    if not impossible_shape(evidence, settings):
        fine, prior, agreement = _look_closer(agreed, base, prior, moving, fixed, enough, settings)
    prior = _extended(prior, base, fine, moving, fixed, settings)
    fitted = _fitted(kind, agreed, fine, prior, settings)
    shaped = evidence.with_shape(moving, fixed, fitted.transform)
    evidence = replace(shaped, plane_error=_plane_error(fitted.held_out))
    if agreement is not None:
        evidence = evidence.with_agreement(agreement, _shift(fine.transform, moving, fixed))
        if color_decides(evidence, settings):
            shared = shared_detail(moving, fixed, fine.transform, agreement, settings)
            asked = shared is None or not shared.like_vessels
            hues = hue_agreement(moving, fixed, fine.transform, settings) if asked else None
            evidence = evidence.with_colors(hues, shared)
    reason, rough = reason_to_reject(evidence, settings), False
    if not reason:
        if enough:
            fitted, evidence, agreement = _follow_lens(fitted, kind, evidence, agreement, moving, fixed, settings)
        error = _error(fitted, base, enough, moving, fixed, settings)
        evidence = replace(evidence, precision=error if np.isfinite(error) else None)
        reason = too_rough(evidence, fixed, settings)
        rough = not reason and not error <= settings.roughly * fixed.scale
    agreed = fitted.agreed
    distances = np.linalg.norm(fitted.transform(agreed.moving) - agreed.fixed, axis=1)
    return Estimate(
        accepted=not reason,
        candidate=fitted.transform,
        matches=agreed.matches,
        scores=agreed.scores,
        inliers=agreed.inliers,
        residual=float(np.median(distances[agreed.inliers])) if agreed.inliers.any() else float("nan"),
        overlap=evidence.overlap,
        reason=reason,
        evidence={
            **evidence.to_dict(),
            "given": len(matches),
            "start": base.name,
            "located": len(fitted.fine.moving),
            "held_out": fitted.held_out,
        },
        rough=rough,
        agreement=None if agreement is None else agreement.correlation,
    )


def _begin(
    moving: Keypoints, fixed: Keypoints, matches: np.ndarray, points: np.ndarray | None, settings: EstimationSettings
) -> Hypothesis | str:
    """Give the hypothesis that the search starts from, or why there is none, in words."""
    for name, keypoints in (("moving", moving), ("fixed", fixed)):
        if keypoints.problem:
            return f"the {name} photograph shows no retina: {keypoints.problem}"
        if len(keypoints) < settings.minimum_matches:
            return f"the {name} photograph shows only {len(keypoints)} keypoints"
    if points is not None:
        start = hypothesis_from_points(moving, fixed, points)
        return start or f"no two of the {len(points)} points set by hand fit one rotation of an eye"
    if len(matches) < settings.minimum_matches:
        return f"only {len(matches)} keypoints look alike in the two photographs"
    start = find_hypothesis(moving, fixed, matches, settings)
    return start or f"no two of the {len(matches)} matches fit one rotation of an eye"


def _search_around(
    base: Hypothesis, moving: Keypoints, fixed: Keypoints, radius: float, settings: EstimationSettings
) -> Hypothesis:
    guided, _ = guided_matches(base(moving.points), moving, fixed, radius, settings.ratio)
    p, q = moving.points[guided[:, 0]], fixed.points[guided[:, 1]]
    for _ in range(4):
        weights, noise = _tukey_weights(np.linalg.norm(base(p) - q, axis=1) / fixed.scale, settings)
        base = base.refit(p, q, weights, noise)
    return base


@dataclass(frozen=True)
class _Prior:
    """Points that hold a polynomial where no match lies, pixels (P, 2) of either photograph.

    Together they weigh as much as `weight` matches.
    """

    moving: np.ndarray
    fixed: np.ndarray
    weight: float

    def __len__(self) -> int:
        return len(self.moving)


_NO_PRIOR = _Prior(np.zeros((0, 2)), np.zeros((0, 2)), 0.0)


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

    @property
    def number(self) -> int:
        """Of the matches that count."""
        return int(np.count_nonzero(self.weights))


@dataclass(frozen=True)
class _Fitted:
    """A transform, and what it rests on.

    Attributes:
        agreed: The matches by keypoints.
        fine: Those of the dense refinement.
        prior: What holds it beside them.
        held_out: The error of each class; see `_held_out_errors`.
        kind: The class that was asked for, or the richest one that the matches support.
        transform: Of this class.
    """

    agreed: _Agreed
    fine: _Agreed
    prior: _Prior
    held_out: dict[str, float]
    kind: type[Transform]
    transform: Transform


def _fitted(
    kind: type[Transform] | None, agreed: _Agreed, fine: _Agreed, prior: _Prior, settings: EstimationSettings
) -> _Fitted:
    held_out = _held_out_errors(fine, prior)
    kind = kind or _richest_class(held_out, _asks_for_cubic(held_out, _distorted(fine, settings)))
    return _Fitted(agreed, fine, prior, held_out, kind, _fit(kind, fine.moving, fine.fixed, fine.weights, prior))


def _agree(
    predict: Callable[[np.ndarray], np.ndarray],
    prior: _Prior,
    moving: Keypoints,
    fixed: Keypoints,
    settings: EstimationSettings,
    kind: type[Transform] = Quadratic,
) -> _Agreed | None:
    for radius in settings.final_radii:
        matches, scores = guided_matches(predict(moving.points), moving, fixed, radius, settings.ratio)
        p, q = moving.points[matches[:, 0]], fixed.points[matches[:, 1]]
        found = _reweighted(p, q, predict, prior, fixed, settings, kind)
        if found is None:
            return None
        weights, inliers, transform = found
        predict = transform
    return _Agreed(matches, scores, p, q, weights, inliers, transform)


def check_points(points: ArrayLike) -> np.ndarray:
    """Return points that a person set as an array (P, 4).

    Raises:
        ValueError: They are no such array of numbers, or fewer than three.
    """
    found = np.asarray(points, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != 4 or len(found) < 3 or not np.isfinite(found).all():
        raise ValueError(
            "Points set by hand are three or more rows x, y (moving photograph), x, y (fixed photograph) in pixels, "
            f"got an array of shape {found.shape}{'' if np.isfinite(found).all() else ' that is not all numbers'}."
        )
    return found


def _rest_on(points: np.ndarray, prior: _Prior) -> _Agreed | None:
    """Agree on points that a person set alone, where no keypoints do: the photographs themselves must decide then."""
    if not _determine(prior):
        return None
    none, weights = np.zeros((0, 2), np.int64), np.ones(len(points))
    transform = Quadratic.fit(prior.moving, prior.fixed)
    return _Agreed(none, np.zeros(0, np.float32), points[:, :2], points[:, 2:], weights, np.zeros(0, bool), transform)


def _look_closer(
    agreed: _Agreed,
    base: Hypothesis,
    prior: _Prior,
    moving: Keypoints,
    fixed: Keypoints,
    enough: bool,
    settings: EstimationSettings,
) -> tuple[_Agreed, _Prior, DenseAgreement | None]:
    """Refine what was agreed and the prior points, and say how alike the photographs look under it.

    Where there are not `enough` keypoints, the pictures are aligned too, and the prior points follow the matches from
    round to round; without pictures nothing is refined then, because nothing could tell whether to believe it.
    """
    if moving.describe is not None and fixed.describe is not None:  # many good matches: the prior holds them less
        prior = replace(prior, weight=settings.refined_prior_weight)
    fine = agreed
    if enough:
        fine, prior = _follow_keypoints(agreed, base, prior, moving, fixed, settings)
    pictures = moving.picture, fixed.picture
    if pictures[0] is None or pictures[1] is None:
        return fine, prior, None
    if not enough:
        agreement = dense_agreement(pictures[0], pictures[1], agreed.transform)
        if agreement.best_share < settings.promising_alike:
            return agreed, prior, agreement
        align = partial(align_where_better, pictures[0], pictures[1])
        fine, prior = _follow_pictures(agreed, base, prior, moving, fixed, align, settings)
    return fine, prior, dense_agreement(pictures[0], pictures[1], fine.transform)


def _follow_keypoints(
    agreed: _Agreed,
    base: Hypothesis,
    prior: _Prior,
    moving: Keypoints,
    fixed: Keypoints,
    settings: EstimationSettings,
) -> tuple[_Agreed, _Prior]:
    """Refine what enough keypoints agree on, and let the prior points follow once."""
    wide = replace(settings, refine_reaches=settings.wide_reaches)
    fine = _refine_densely(agreed, prior, moving, fixed, settings)
    moved = np.linalg.norm(fine.transform(moving.points) - agreed.transform(moving.points), axis=1) / fixed.scale
    if fine is agreed or np.median(moved) > settings.far_moved:  # too few were found, or farther than expected
        fine = _refine_densely(fine, prior, moving, fixed, wide)
    # The rotation of the eye does not know the scale of a much narrower field well enough to hold what was found.
    narrow = not _NARROW < _field_ratio(base, moving, fixed) < 1 / _NARROW
    if fine is agreed or narrow:
        return fine, prior
    settled = _settled(prior, _eye_through(base, fine, fixed, settings), settings)
    if not _determine(settled):
        return fine, prior
    prior = settled
    if len(fine.moving) < settings.plenty:
        return _refine_densely(_displace(fine, prior), prior, moving, fixed, wide), prior
    found = _reweighted(fine.moving, fine.fixed, fine.transform, prior, fixed, settings)
    if found is None:
        return fine, prior
    weights, inliers, transform = found
    return replace(fine, weights=weights, inliers=inliers, transform=transform), prior


def _follow_lens(
    fitted: _Fitted,
    kind: type[Transform] | None,
    evidence: Evidence,
    agreement: DenseAgreement | None,
    moving: Keypoints,
    fixed: Keypoints,
    settings: EstimationSettings,
) -> tuple[_Fitted, Evidence, DenseAgreement | None]:
    """Look again around a cubic transform, where one lens distorts more than the other.

    What a quadratic transform predicts goes wrong toward the rim there, until nothing is found any more: what is found
    looks good, and the transform may be far off beside it. The eye knows of no lens, so no prior point holds the cubic
    one. It is kept where the matches are more, the classes differ clearly in matches held out, and the photographs look
    alike under it in hardly fewer places.
    """
    kept = fitted, evidence, agreement
    fine = fitted.fine
    if len(fine.moving) < _TO_BEND * Cubic.minimum_points or not _asks_for_cubic(fitted.held_out, 1.0):
        return kept
    try:
        agreed = _grow(_fit(Cubic, fine.moving, fine.fixed, fine.weights, _NO_PRIOR), moving, fixed, settings)
        if agreed is None or not _asks_for_cubic(_held_out_errors(agreed, _NO_PRIOR), settings.distorted):
            return kept
        wide = replace(settings, refine_reaches=settings.wide_reaches)
        fine = _refine_densely(agreed, _NO_PRIOR, moving, fixed, wide, Cubic)
        found = _fitted(kind, agreed, fine, _NO_PRIOR, settings)
    except UndeterminedError:
        return kept
    shaped = evidence.with_shape(moving, fixed, found.transform)
    more = fine.number > fitted.fine.number
    asked = _asks_for_cubic(found.held_out, _distorted(fine, settings))
    if not more or not asked or impossible_shape(shaped, settings):
        return kept
    if agreement is not None:
        assert moving.picture is not None and fixed.picture is not None
        anew = dense_agreement(moving.picture, fixed.picture, fine.transform)
        if anew.share < agreement.share - _AS_ALIKE:
            return kept
        agreement = anew
        shaped = shaped.with_agreement(anew, _shift(fine.transform, moving, fixed))
    return found, shaped, agreement


def _grow(predict: Transform, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings) -> _Agreed | None:
    """Agree on a cubic transform; what is found near the border of what was found before carries it farther."""
    around = replace(settings, final_radii=settings.search_radii)
    best = None
    for _ in range(settings.lens_rounds):
        agreed = _agree(predict, _NO_PRIOR, moving, fixed, around, Cubic)
        if agreed is None or (best is not None and agreed.number <= best.number):
            break
        best, predict = agreed, agreed.transform
    return best


def _asks_for_cubic(held_out: dict[str, float], below: float) -> bool:
    """Say whether a cubic transform has an error so many times that of a quadratic one in matches held out."""
    cubic, quadratic = (held_out.get(kind.name) for kind in (Cubic, Quadratic))
    return cubic is not None and quadratic is not None and cubic < below * quadratic


def _distorted(fine: _Agreed, settings: EstimationSettings) -> float:
    return settings.distorted if len(fine.moving) >= settings.plenty else settings.clearly_distorted


def _shift(transform: Transform, moving: Keypoints, fixed: Keypoints) -> PictureShift:
    places, _ = overlap_grid(moving, fixed, transform)
    return picture_shift(places, transform(places), moving, fixed)


def _follow_pictures(
    agreed: _Agreed,
    base: Hypothesis,
    prior: _Prior,
    moving: Keypoints,
    fixed: Keypoints,
    align: Callable[[Callable], Callable | None],
    settings: EstimationSettings,
) -> tuple[_Agreed, _Prior]:
    """Refine what too few keypoints agree on; `align` moves a transform to where the pictures agree better."""
    settings = replace(settings, refine_reaches=settings.wide_reaches)
    fine = _refine_densely(agreed, prior, moving, fixed, settings)
    aligned = align(fine.transform)
    eye = _eye_through(base, fine, fixed, settings)
    if aligned is not None:
        moved = _refit(base, prior.moving, aligned(prior.moving), np.ones(len(prior)), eye.noise)
        eye = replace(eye, base=moved, misfit=0.0)
    for _ in range(settings.settling_rounds):
        settled = _settled(prior, eye, settings)
        if not _determine(settled):
            break
        prior = settled
        fine = _refine_densely(_displace(fine, prior), prior, moving, fixed, settings)
        eye = _eye_through(base, fine, fixed, settings)
    return fine, prior


@dataclass(frozen=True)
class _Eye:
    """The rotation of the eye, or the homography, that matches agree with.

    Attributes:
        base: The hypothesis.
        noise: Of the matches, in a coordinate and working pixels.
        misfit: How far it goes beside them, in the same, where that is more than noise makes by chance: pixels that are
            not square, or a lens that distorts, it does not know of.
    """

    base: Hypothesis
    noise: float
    misfit: float


def _eye_through(base: Hypothesis, agreed: _Agreed, fixed: Keypoints, settings: EstimationSettings) -> _Eye:
    """Fit a hypothesis anew to all matches that count."""
    used = agreed.weights > 0
    p, q, weights = agreed.moving[used], agreed.fixed[used], agreed.weights[used]
    distance = np.linalg.norm(agreed.transform(p) - q, axis=1) / fixed.scale
    noise, scatter = _tukey_weights(distance, settings)[1], _spread(distance)
    base = _refit(base, p, q, weights, noise)
    beside = _spread(np.linalg.norm(base(p) - q, axis=1) / fixed.scale)
    # A transform of more free numbers lies nearer to few matches by chance.
    misfit = beside**2 - (1 + _BY_CHANCE / max(len(p), 1)) * scatter**2
    return _Eye(base, noise, float(np.sqrt(max(misfit, 0.0))) if np.isfinite(misfit) else float("inf"))


def _refit(base: Hypothesis, p: np.ndarray, q: np.ndarray, weights: np.ndarray, noise: float) -> Hypothesis:
    for _ in range(3):
        base = base.refit(p, q, weights, noise)
    return base


def _settled(prior: _Prior, eye: _Eye, settings: EstimationSettings) -> _Prior:
    """Put the prior points where an eye goes; they are as good in any photograph, and poor matches weigh less.

    Where the eye does not go with the matches, the prior points weigh less; a homography may map some nowhere.
    """
    places = eye.base(prior.moving)
    somewhere = np.isfinite(places).all(1)
    trust = min(1.0, settings.trusted_misfit / max(eye.misfit, 1e-9))
    weight = settings.refined_prior_weight * (trust * eye.noise / settings.noise[0]) ** 2
    return _Prior(prior.moving[somewhere], places[somewhere], weight)


def _determine(prior: _Prior) -> bool:
    """Say whether prior points determine a transform: of a thin overlap they are few, or lie on two lines."""
    if len(prior) <= _FEW_PRIOR_POINTS:
        return False
    try:
        Quadratic.fit(prior.moving, prior.fixed)
    except UndeterminedError:
        return False
    return True


def _displace(agreed: _Agreed, prior: _Prior) -> _Agreed:
    """Put the transform where prior points go."""
    return replace(agreed, transform=Quadratic.fit(prior.moving, prior.fixed))


def _refine_densely(
    agreed: _Agreed,
    prior: _Prior,
    moving: Keypoints,
    fixed: Keypoints,
    settings: EstimationSettings,
    kind: type[Transform] = Quadratic,
) -> _Agreed:
    """Look for every keypoint of either photograph in the dense descriptors of the other one, and fit again.

    Returns what was agreed before when the features are not dense, or too few places are found.
    """
    if moving.describe is None or fixed.describe is None:
        return agreed
    predict = agreed.transform
    for reach in settings.refine_reaches:
        forth = _locate(moving, fixed, predict(moving.points), reach, settings)
        back = _locate(fixed, moving, predict.inverse(fixed.points), reach, settings)
        p, q = np.vstack([forth[0], back[1]]), np.vstack([forth[1], back[0]])
        found = _reweighted(p, q, predict, prior, fixed, settings, kind)
        if found is None:
            return agreed
        weights, inliers, predict = found
    return replace(agreed, moving=p, fixed=q, weights=weights, inliers=inliers, transform=predict)


def _reweighted(
    p: np.ndarray,
    q: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    prior: _Prior,
    fixed: Keypoints,
    settings: EstimationSettings,
    kind: type[Transform] = Quadratic,
) -> tuple[np.ndarray, np.ndarray, Transform] | None:
    """Fit a transform to places (M, 2) of both photographs by iteratively reweighted least squares.

    Returns:
        Weights, inliers and the transform; None where too few agree with it, `predict` being the first guess.
    """
    for _ in range(5):
        weights, _ = _tukey_weights(np.linalg.norm(predict(p) - q, axis=1) / fixed.scale, settings)
        if np.count_nonzero(weights) < settings.minimum_matches:
            return None
        predict = transform = _fit(kind, p, q, weights, prior)
    return weights, np.linalg.norm(transform(p) - q, axis=1) < settings.inlier_radius * fixed.scale, transform


def _locate(
    here: Keypoints, there: Keypoints, predicted: np.ndarray, reach: float, settings: EstimationSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Find keypoints of one photograph, (K, 2), and the places of the other one that look most like them, (K, 2)."""
    assert there.describe is not None
    height, width = there.size
    with np.errstate(invalid="ignore"):
        seen = ((predicted >= 0) & (predicted <= (width - 1, height - 1))).all(1)
        seen &= np.linalg.norm(there.normalize(predicted), axis=1) <= 1
    places, similarity, inside = locate(here.descriptors[seen], predicted[seen], there.describe, there.scale, reach)
    kept = inside & (similarity > settings.minimum_similarity)
    return here.points[seen][kept], places[kept]


def _tukey_weights(distance: np.ndarray, settings: EstimationSettings) -> tuple[np.ndarray, float]:
    """Compute Tukey's biweight of distances in working pixels, and the noise of a coordinate behind it."""
    noise = float(np.clip(_spread(distance), *settings.noise)) if len(distance) else settings.noise[1]
    weights = np.maximum(1 - (distance / (4.685 * noise)) ** 2, 0) ** 2
    return np.where(weights > 1e-6, weights, 0.0), noise


def _spread(distance: np.ndarray) -> float:
    """Give the standard deviation of a coordinate: the median distance in the plane is 1.18 of them."""
    return float(np.median(distance) / 1.1774) if len(distance) else 0.0


def _prior_points(base: Hypothesis, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings) -> _Prior:
    """Lay a grid over the part of the moving field that lies in the fixed one, and predict where it goes."""
    grid = moving.denormalize(_rings(0.0, 1.0))
    mapped = base(grid)
    shared = np.linalg.norm(fixed.normalize(mapped), axis=1) <= 1
    return _Prior(grid[shared], mapped[shared], settings.prior_weight)


def _extended(
    prior: _Prior, base: Hypothesis, fine: _Agreed, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings
) -> _Prior:
    """Add prior points of the rest of the wider field, which the other photograph does not show.

    Where one field is much narrower, the transform would run away beyond it: the rotation of the eye, fitted to all
    that was found, goes on, and holds the transform as firmly as at first. Where none is, that rotation would only hold
    back what the matches say.
    """
    ratio = _field_ratio(base, moving, fixed)
    if _NARROW < ratio < 1 / _NARROW:
        return prior
    base = _eye_through(base, fine, fixed, settings).base
    grid = moving.from_camera(_rings(1.0, _BEYOND) if ratio < 1 else _rings(0.0, 1.0))
    mapped = base(grid)
    distance = np.linalg.norm(fixed.to_camera(mapped), axis=1)
    beyond = distance <= 1 if ratio < 1 else (distance > 1) & np.isfinite(distance)
    places = np.vstack([prior.moving, grid[beyond]]), np.vstack([prior.fixed, mapped[beyond]])
    return _Prior(*places, settings.prior_weight)


def _field_ratio(base: Hypothesis, moving: Keypoints, fixed: Keypoints) -> float:
    """Give the width of the moving field relative to the fixed one, on the retina."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rim = np.vstack([np.zeros(2), np.c_[np.cos(angle), np.sin(angle)]])
    middle, *around = fixed.to_camera(base(moving.from_camera(rim)))
    return float(np.median(np.linalg.norm(around - middle, axis=1)))


def _rings(inner: float, outer: float) -> np.ndarray:
    """Lay a grid, 12 points to a field, between two distances from its center, in units of its radius."""
    steps = np.linspace(-outer, outer, round(12 * outer))
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    distance = np.hypot(*grid.T)
    return grid[(distance > inner) & (distance <= outer)]


def _fit(kind: type[Transform], p: np.ndarray, q: np.ndarray, weights: np.ndarray, prior: _Prior) -> Transform:
    """Fit a class to weighted matches; a polynomial also to the prior points."""
    if issubclass(kind, Polynomial) and len(prior):
        each = np.full(len(prior), prior.weight / len(prior))
        p, q, weights = np.vstack([p, prior.moving]), np.vstack([q, prior.fixed]), np.concatenate([weights, each])
    return kind.fit(p, q, weights)


def _held_out_errors(agreed: _Agreed, prior: _Prior) -> dict[str, float]:
    """Give the error of each class in matches that it was not fitted to, in pixels of the fixed photograph.

    Matches are held out in blocks of the plane, one fifth at a time, because a match hardly tests a transform that was
    fitted to its neighbors.
    """
    p, q, weights, fold = _in_folds(agreed)
    errors = {}
    for name, kind in TRANSFORMS.items():
        squares = np.zeros(len(p))
        try:
            for k in np.unique(fold):
                train, test = fold != k, fold == k
                if train.sum() < 3 * kind.minimum_points:
                    raise ValueError("too few matches to hold any out")
                fitted = _fit(kind, p[train], q[train], weights[train], prior)
                squares[test] = ((fitted(p[test]) - q[test]) ** 2).sum(1)
        except ValueError:
            continue
        errors[name] = float(np.sqrt(np.average(squares, weights=weights)))
    return errors


def _richest_class(errors: dict[str, float], cubic: bool) -> type[Transform]:
    """Choose the richest class of which the held-out error is not above the smallest one.

    A `cubic` one only where it is clearly better than a quadratic one: on an eye without a lens between it gains
    nothing, and of poor matches it follows the noise.
    """
    if Quadratic.name in errors and not cubic:
        errors = {name: error for name, error in errors.items() if name != Cubic.name}
    if not errors:
        return TRANSFORMS["similarity"]
    good = [name for name, error in errors.items() if error <= _EQUAL * min(errors.values())]
    return TRANSFORMS[good[-1]]


def _plane_error(errors: dict[str, float]) -> float | None:
    """Give the held-out error of the best class that maps planes to planes, relative to the best of all."""
    planes = [error for name, error in errors.items() if not issubclass(TRANSFORMS[name], Polynomial)]
    return min(planes) / max(min(errors.values()), 1e-9) if planes else None


def _in_folds(agreed: _Agreed) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give the matches that count, their weights, and the fifth of the plane in blocks that each one lies in."""
    used = agreed.weights > 0
    p, q, weights = agreed.moving[used], agreed.fixed[used], agreed.weights[used]
    blocks = np.floor((p - p.min(0)) / np.maximum(np.ptp(p, axis=0).max() / 6, 1e-9)).astype(int)
    return p, q, weights, (blocks[:, 0] + 2 * blocks[:, 1]) % 5


def _error(
    fitted: _Fitted,
    base: Hypothesis,
    enough: bool,
    moving: Keypoints,
    fixed: Keypoints,
    settings: EstimationSettings,
) -> float:
    """State the error of a transform over the overlap, in pixels of the fixed photograph; infinite when unknown."""
    grid, _ = overlap_grid(moving, fixed, fitted.transform)
    error = _standard_error(fitted.kind, fitted.fine, base, fitted.prior, grid, fixed, settings)
    if not enough or len(fitted.fine.moving) < settings.plenty:
        error = float(np.hypot(error, _remaining_error(fitted.fine, grid, moving, fixed, settings)))
    error = float(np.hypot(error, _lack_of_fit(fitted)))
    return error if enough else settings.few_factor * error


def _lack_of_fit(fitted: _Fitted) -> float:
    """Give what the class misses of the matches that the best one does not, in pixels of the fixed photograph."""
    if fitted.kind.name not in fitted.held_out:
        return 0.0
    excess = fitted.held_out[fitted.kind.name] ** 2 - (_EQUAL * min(fitted.held_out.values())) ** 2
    return float(np.sqrt(max(excess, 0.0)))


def _standard_error(
    kind: type[Transform],
    agreed: _Agreed,
    base: Hypothesis,
    prior: _Prior,
    grid: np.ndarray,
    fixed: Keypoints,
    settings: EstimationSettings,
) -> float:
    """Give the standard error over places, (G, 2), in pixels of the fixed photograph, by the jackknife over blocks.

    The prior points rest on the matches too: they move as the eye does that is fitted without a block.
    """
    p, q, weights, fold = _in_folds(agreed)
    eye = _eye_through(base, agreed, fixed, settings)

    def fitted_without(block: int) -> np.ndarray:
        kept = fold != block
        other = eye.base.refit(p[kept], q[kept], weights[kept], eye.noise)
        moved = replace(prior, fixed=prior.fixed + other(prior.moving) - eye.base(prior.moving))
        return _fit(kind, p[kept], q[kept], weights[kept], moved)(grid)

    folds = np.unique(fold)
    if len(folds) < 2:  # nothing is left without it
        return float("inf")
    try:
        left = [fitted_without(block) for block in folds]
    except ValueError:
        return float("inf")
    squares = ((np.array(left) - np.mean(left, axis=0)) ** 2).sum(2).sum(0) * (len(folds) - 1) / len(folds)
    return float(np.sqrt(squares.mean()))


def _remaining_error(
    agreed: _Agreed, grid: np.ndarray, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings
) -> float:
    """Give how far more dense refinement would move the transform over places, (G, 2), in pixels of the fixed one.

    In a poor photograph the descriptors near the predicted place are all alike, and the dense refinement finds what it
    expects: no scatter of its matches tells that. So it starts from two displaced places as well. What it keeps of the
    displacement, it also keeps of the error that it began with: of a series of looks, each one moves the transform that
    fraction of the move before, and their sum is what remains.
    """
    if moving.describe is None or fixed.describe is None:
        return 0.0
    mapped, step = agreed.transform(grid), settings.test_displacement * fixed.scale
    looks = []
    for shift in ((0.0, 0.0), (step, 0.0), (0.0, step)):
        prior = _Prior(grid, mapped + shift, settings.refined_prior_weight)
        try:
            looks.append(_refine_densely(_displace(agreed, prior), prior, moving, fixed, settings))
        except ValueError:  # hardly any overlap
            return float("inf")
    if looks[0].moving is agreed.moving:  # nothing was found
        return float("inf")
    ends = [look.transform(grid) for look in looks]
    move = np.sqrt(((ends[0] - mapped) ** 2).sum(1).mean())
    kept = np.mean([np.median(ends[1 + axis][:, axis] - ends[0][:, axis]) / step for axis in (0, 1)])
    return float(move / (1 - np.clip(kept, 0, 0.95)))


def _rejected(matches: np.ndarray, scores: np.ndarray, reason: str) -> Estimate:
    nothing = np.zeros(len(matches), dtype=bool)
    return Estimate(False, None, matches, scores, nothing, float("nan"), 0.0, reason, {"given": len(matches)})


__all__ = ["Estimate", "check_points", "estimate"]
