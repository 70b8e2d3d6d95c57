"""Whether to believe a transform: the evidence in figures, and the rule in words.

Two photographs of different eyes also have keypoints that look alike, and the estimator finds the transform that most
of them agree with. Two independent kinds of evidence tell a true transform from such a one.

The keypoints:

1. Of the matches that were found by descriptor alone, before any transform, at least `minimum_agreeing` agree with it.
2. They are at least `minimum_share` of those matches that lie in the overlap.
3. Far more keypoints find a partner at the place that it predicts than at places that it does not predict: the same
   guided search, displaced by more than its own reach, shows what chance gives with these very keypoints.

The photographs themselves, compared place by place; see `dense_agreement.py`. Keypoints that pass all three conditions
are believed where at least `minimum_alike` of the places look alike: what is not retina (a rim, a line of text, a
watermark) can make keypoints agree, but not the photographs. Keypoints that do not pass are believed all the same where
the photographs alone leave no doubt: `sufficient_alike` of at least `minimum_cells` places. And where fewer places can
be compared at all, because one photograph lies behind a haze, keypoints are believed alone when most matches agree.

What is fixed to the picture can make both agree, where it is faint and everywhere; see `fixed_pattern.py`. A transform
that may be that of such a pattern, because a plane explains the matches as well as a curved retina does or because it
hardly departs from a shift, is believed where the hues of the photographs look alike as well, at `minimum_alike_in_hue`
of the places, and what they share has the colors of a retina.

Beside that, the transform has to be one that two photographs of an eye can have: no mirror image, no fold, no wild
scale. `evaluation/impostors.py` says where the thresholds come from.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import cv2
import numpy as np

from ..keypoint_set import Keypoints
from ..transforms import Transform
from .dense_agreement import DenseAgreement
from .fixed_pattern import PictureShift, SharedDetail
from .guided_matching import guided_matches
from .settings import EstimationSettings


# How far the displaced searches look from the predicted place, in working pixels: far more than an inlier's radius.
DISPLACEMENT = 24.0
DIRECTIONS = 8
_FIXED = "what the two photographs share is fixed to the picture, such as a watermark"


@dataclass(frozen=True)
class Evidence:
    """The figures behind a decision.

    Attributes:
        agreeing: Given matches within the inlier radius of the place that the transform predicts.
        share: Of the given matches in the overlap, those that agree.
        inliers: Matches of a guided search with the inlier radius.
        chance: Mean number of matches of the displaced searches.
        excess: (inliers - chance) / sqrt(chance + 1): about the number of standard deviations beyond chance.
        span: Area of the convex hull of the inliers as a fraction of the fixed field of view.
        overlap: Fraction of the fixed field of view that the moving one covers.
        smallest_scale: Least local magnification in the overlap, between photographs at working size.
        largest_scale: Largest local magnification in the overlap.
        stretch: Largest quotient of the magnifications in two directions at one place.
        folded: Whether the transform mirrors or folds the retina anywhere in the overlap.
        cells: Number of places at which the photographs can be compared; see `DenseAgreement`. None, like the following
            three, when the photographs themselves were not there to be compared.
        alike: Share of them that look alike under the transform.
        alike_reversed: Share of them that look alike with the contrast reversed.
        correlation: Median of their correlations.
        displacement: How far the transform moves the picture as such, as a fraction of its width; see `PictureShift`.
            None, like the next one, when the photographs were not compared.
        departure: The same beside a shift and a scale of the whole picture.
        plane_error: Held-out error of the best class that maps planes to planes, relative to that of the best class of
            all; None where matches are too few to hold any out.
        alike_in_hue: Share of places at which the hues look alike; None unless all else is believed, the transform may
            be that of a pattern, what both show is not like vessels, and both have a hue in enough places.
        foreign: How far the color of what both photographs show is from that of a retina, 1 being the limit; see
            `SharedDetail`. None unless the transform may be that of a pattern.
        skewness: Of what both photographs show, above 0 where it is brighter than its surround, as no vessel is. Known
            where `foreign` is, like the next one.
        like_vessels: Whether it is as dark and as colored as vessels are.
        precision: Standard error of the transform over the overlap, in pixels of the fixed photograph; None where
            something else speaks against it, or nothing tells the error.
    """

    agreeing: int
    share: float
    inliers: int
    chance: float
    excess: float
    span: float
    overlap: float
    smallest_scale: float
    largest_scale: float
    stretch: float
    folded: bool
    cells: int | None = None
    alike: float | None = None
    alike_reversed: float | None = None
    correlation: float | None = None
    displacement: float | None = None
    departure: float | None = None
    plane_error: float | None = None
    alike_in_hue: float | None = None
    foreign: float | None = None
    skewness: float | None = None
    like_vessels: bool | None = None
    precision: float | None = None

    def with_shape(self, moving: Keypoints, fixed: Keypoints, transform: Transform) -> "Evidence":
        """Replace overlap, scales, stretch and folds by those of another transform."""
        return replace(self, **_shape(moving, fixed, transform))

    def with_agreement(self, agreement: DenseAgreement, shift: PictureShift) -> "Evidence":
        """Add what the photographs themselves say."""
        return replace(
            self,
            cells=agreement.cells,
            alike=agreement.share,
            alike_reversed=agreement.reversed_share,
            correlation=agreement.median,
            displacement=shift.displacement,
            departure=shift.departure,
        )

    def with_colors(self, alike_in_hue: float | None, shared: SharedDetail | None) -> "Evidence":
        """Add what the colors say.

        Without a hue they are judged as those of gray photographs, which differs for what is bright alone: what is like
        vessels, of which no hue is asked, is dark.
        """
        if shared is None:
            return replace(self, alike_in_hue=alike_in_hue)
        return replace(
            self,
            alike_in_hue=alike_in_hue,
            foreign=shared.foreign_color(gray=alike_in_hue is None),
            skewness=shared.skewness,
            like_vessels=shared.like_vessels,
        )

    def to_dict(self) -> dict:
        """Return the figures by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, figures: Mapping[str, Any]) -> "Evidence":
        """Take the figures out of `Registration.evidence`, which holds more.

        Raises:
            TypeError: One is missing: there was no transform to gather evidence for.
        """
        return cls(**{field.name: figures[field.name] for field in fields(cls) if field.name in figures})


def gather_evidence(
    moving: Keypoints,
    fixed: Keypoints,
    given: np.ndarray,
    transform: Transform,
    inliers: np.ndarray,
    settings: EstimationSettings,
) -> Evidence:
    """Measure what speaks for a transform.

    Args:
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        given: (M, 2) rows of the keypoints that were matched by descriptor alone.
        transform: From pixels of the moving photograph to pixels of the fixed one.
        inliers: (K, 2) rows of the moving and of the fixed keypoints that agree with it.
        settings: Of the estimator and its decision.
    """
    predicted = transform(moving.points)
    target = predicted[given[:, 0]]
    in_overlap = np.linalg.norm(fixed.normalize(target), axis=1) <= 1
    distance = np.linalg.norm(target - fixed.points[given[:, 1]], axis=1)
    agreeing = int((distance < settings.inlier_radius * fixed.scale).sum())
    share = agreeing / max(int(in_overlap.sum()), agreeing, 1)
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    steps = DISPLACEMENT * fixed.scale * np.column_stack([np.cos(angles), np.sin(angles)])
    counts = [_count(predicted + step, moving, fixed, settings) for step in [(0.0, 0.0), *steps]]
    number, chance = counts[0], float(np.mean(counts[1:]))
    span = 0.0
    if len(inliers) > 2:
        hull = cv2.convexHull(fixed.normalize(fixed.points[inliers[:, 1]]).astype(np.float32))
        span = float(cv2.contourArea(hull) / np.pi)
    excess = (number - chance) / np.sqrt(chance + 1)
    return Evidence(
        agreeing=agreeing,
        share=share,
        inliers=number,
        chance=chance,
        excess=float(excess),
        span=span,
        **_shape(moving, fixed, transform),
    )


def reason_to_reject(evidence: Evidence, settings: EstimationSettings) -> str:
    """Say why there is no reliable match, in words; empty when nothing speaks against the transform."""
    return (
        too_little_evidence(evidence, settings)
        or fixed_to_picture(evidence, settings)
        or impossible_shape(evidence, settings)
    )


def too_rough(evidence: Evidence, fixed: Keypoints, settings: EstimationSettings) -> str:
    """Say that a transform is known too poorly to be one, in words; empty where there are enough keypoints."""
    limit, error = settings.useless * fixed.scale, evidence.precision
    if not few_keypoints(evidence, settings) or (error is not None and error < limit):
        return ""
    known = "not at all" if error is None else f"to about {error:.0f} pixels"
    return f"the photographs look alike, but few keypoints match, and the transform is known {known}"


def too_little_evidence(evidence: Evidence, settings: EstimationSettings) -> str:
    """Give what keypoints and photographs lack to be believed, in words; empty when they lack nothing."""
    few = few_keypoints(evidence, settings)
    cells, correlation = evidence.cells, evidence.correlation
    if cells is None or correlation is None or evidence.alike is None or evidence.alike_reversed is None:
        return few
    alike = max(evidence.alike, evidence.alike_reversed)
    if few:
        alone = (
            alike >= settings.sufficient_alike
            and abs(correlation) >= settings.sufficient_correlation
            and cells >= settings.minimum_cells
        )
        return "" if alone else few
    if alike < settings.minimum_alike and not _needs_no_likeness(evidence, settings):
        return (
            f"{evidence.agreeing} matches agree on one transform, but under it the photographs look alike in only "
            f"{100 * alike:.0f} per cent of the places that both show"
        )
    return ""


def color_decides(evidence: Evidence, settings: EstimationSettings) -> bool:
    """Say whether a transform that is believed otherwise may be that of a pattern fixed to the picture."""
    return not too_little_evidence(evidence, settings) and _may_be_a_pattern(evidence, settings)


def _may_be_a_pattern(evidence: Evidence, settings: EstimationSettings) -> bool:
    """Say whether a transform can be that of a pattern: one that shifts and scales the picture, or any of a plane.

    The fewer keypoints agree, the less it has to be one.
    """
    if evidence.departure is None or evidence.displacement is None:
        return False
    doubtful = bool(few_keypoints(evidence, settings)) or evidence.agreeing < settings.doubtful_agreeing
    shifts = evidence.departure < (settings.doubtful_departure if doubtful else settings.fixed_departure)
    return shifts or _is_planar(evidence, settings)


def _is_planar(evidence: Evidence, settings: EstimationSettings) -> bool:
    """Say whether nothing tells that the matches lie on a curved retina and not on a page."""
    return evidence.plane_error is None or evidence.plane_error < settings.planar


def fixed_to_picture(evidence: Evidence, settings: EstimationSettings) -> str:
    """Give why what the photographs share seems to be fixed to the picture, in words; empty when it does not."""
    if not _may_be_a_pattern(evidence, settings):
        return ""
    if not evidence.like_vessels:
        if evidence.alike_in_hue is None:
            return _pattern_in_gray(evidence, settings)
        if evidence.alike_in_hue < _least_in_hue(evidence, settings):
            return f"{_FIXED}: their colors look alike in only {100 * evidence.alike_in_hue:.0f} per cent of the places"
    glaring = _is_planar(evidence, settings) and _brighter(evidence, settings.glaring)
    if glaring and evidence.share < settings.copied_share:
        return f"{_FIXED}: it is bright, as vessels are not"
    if _is_foreign(evidence, settings):
        return f"{_FIXED}: it does not have the colors of a retina"
    return ""


def _pattern_in_gray(evidence: Evidence, settings: EstimationSettings) -> str:
    assert evidence.departure is not None and evidence.displacement is not None and evidence.correlation is not None
    few = bool(few_keypoints(evidence, settings))
    flat = evidence.departure < settings.fixed_departure or _is_planar(evidence, settings)
    bright = _is_foreign(evidence, settings) and (flat or (few and evidence.departure < settings.bright_departure))
    same_place = evidence.displacement < settings.fixed_displacement
    suspected = same_place or (few and flat) or (bright and not _beyond_a_pattern(evidence, settings))
    if suspected and evidence.correlation < settings.copied_correlation:
        return f"{_FIXED}: no color tells it from the retina"
    return ""


def _least_in_hue(evidence: Evidence, settings: EstimationSettings) -> float:
    """Give the share of places at which the hues have to look alike."""
    assert evidence.departure is not None and evidence.displacement is not None
    planar, few = _is_planar(evidence, settings), bool(few_keypoints(evidence, settings))
    if evidence.displacement < settings.fixed_displacement:
        return settings.same_place_in_hue
    if _beyond_a_pattern(evidence, settings):
        return settings.many_in_hue
    if planar and _brighter(evidence, settings.bright):
        return settings.bright_in_hue
    if evidence.departure < settings.fixed_departure:
        return settings.doubtful_in_hue if few else settings.minimum_alike_in_hue
    return settings.minimum_alike_in_hue if few or planar else 0.0


def _is_foreign(evidence: Evidence, settings: EstimationSettings) -> bool:
    return evidence.foreign is not None and evidence.foreign >= settings.most_foreign


def _brighter(evidence: Evidence, skewness: float) -> bool:
    return evidence.skewness is not None and evidence.skewness >= skewness


def _beyond_a_pattern(evidence: Evidence, settings: EstimationSettings) -> bool:
    """Say whether the keypoints pass, and more agree than those of letters that are shifted by a tile or scaled."""
    many = evidence.agreeing >= settings.doubtless_agreeing and evidence.share >= settings.doubtless_share
    return many and not few_keypoints(evidence, settings)


def _needs_no_likeness(evidence: Evidence, settings: EstimationSettings) -> bool:
    """Say whether keypoints alone are believed where hardly any place can be compared, such as behind a haze.

    Most matches must agree, as those of no impostor ever did, and not on a mere shift of the picture.
    """
    hardly = evidence.cells is not None and evidence.cells < settings.minimum_cells
    moved = evidence.departure is not None and evidence.departure >= settings.fixed_departure
    return hardly and moved and _beyond_a_pattern(evidence, settings) and evidence.share >= settings.unseen_share


def few_keypoints(evidence: Evidence, settings: EstimationSettings) -> str:
    """Give what the keypoints alone lack to be believed, in words; empty when they lack nothing."""
    if evidence.agreeing < settings.minimum_agreeing:
        return (
            f"only {evidence.agreeing} matches agree on one transform, "
            f"at least {settings.minimum_agreeing} are needed to tell it from chance"
        )
    if evidence.share < settings.minimum_share:
        return (
            f"only {evidence.agreeing} matches agree on one transform, "
            f"{100 * evidence.share:.0f} per cent of those in the overlap; between different eyes as many do"
        )
    if evidence.excess < settings.minimum_excess:
        return (
            f"the best transform brings {evidence.inliers} keypoints together, and chance alone would bring "
            f"about {evidence.chance:.0f}"
        )
    if evidence.span < settings.minimum_span:
        return f"the matches that agree span only {100 * evidence.span:.1f} per cent of the field of view"
    return ""


def impossible_shape(evidence: Evidence, settings: EstimationSettings) -> str:
    """Give why no two photographs of an eye differ by such a transform, in words; empty when they can."""
    low, high = settings.scale_range
    if evidence.folded:
        return "the transform that most matches agree on folds or mirrors the retina"
    if not (low <= evidence.smallest_scale and evidence.largest_scale <= high):
        return (
            f"the transform that most matches agree on magnifies {evidence.smallest_scale:.2f} to "
            f"{evidence.largest_scale:.2f} times, which photographs of one eye do not"
        )
    if evidence.stretch > settings.maximum_stretch:
        return f"the transform that most matches agree on stretches the retina {evidence.stretch:.1f} times one way"
    return ""


def _count(predicted: np.ndarray, moving: Keypoints, fixed: Keypoints, settings: EstimationSettings) -> int:
    return len(guided_matches(predicted, moving, fixed, settings.inlier_radius, settings.ratio)[0])


def overlap_grid(moving: Keypoints, fixed: Keypoints, transform: Transform) -> tuple[np.ndarray, float]:
    """Lay a grid, (G, 2), of the moving field in the fixed one; return the fraction of the fixed one covered too."""
    steps = np.linspace(-1, 1, 41)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    grid = moving.denormalize(grid[np.hypot(*grid.T) <= 1])
    grid = grid[_in_picture(grid, moving)]
    mapped = transform(grid)
    shared = (np.linalg.norm(fixed.normalize(mapped), axis=1) <= 1) & _in_picture(mapped, fixed)
    # The area that the shared part covers in the fixed photograph, from that of each grid cell.
    cell = (steps[1] - steps[0]) ** 2 * moving.radius**2
    area = np.abs(np.linalg.det(transform.jacobian(grid[shared]))).sum() * cell
    return grid[shared], float(min(area / (np.pi * fixed.radius**2), 1.0))


def _in_picture(points: np.ndarray, keypoints: Keypoints) -> np.ndarray:
    height, width = keypoints.size
    return (points >= -0.5).all(1) & (points[:, 0] <= width - 0.5) & (points[:, 1] <= height - 0.5)


def _shape(moving: Keypoints, fixed: Keypoints, transform: Transform) -> dict[str, Any]:
    """Compute overlap, smallest and largest magnification, largest stretch, and whether it folds anywhere."""
    grid, overlap = overlap_grid(moving, fixed, transform)
    if len(grid) == 0:
        return {"overlap": overlap, "smallest_scale": 0.0, "largest_scale": 0.0, "stretch": 0.0, "folded": True}
    jacobian = transform.jacobian(grid) * moving.scale / fixed.scale
    values = np.linalg.svd(jacobian, compute_uv=False)
    return {
        "overlap": overlap,
        "smallest_scale": float(values[:, 1].min()),
        "largest_scale": float(values[:, 0].max()),
        "stretch": float((values[:, 0] / np.maximum(values[:, 1], 1e-9)).max()),
        "folded": bool((np.linalg.det(jacobian) <= 0).any()),
    }


__all__ = [
    "Evidence",
    "color_decides",
    "few_keypoints",
    "gather_evidence",
    "impossible_shape",
    "overlap_grid",
    "reason_to_reject",
    "too_rough",
]
