"""A yardstick that tells methods apart: pairs in FIRE's layout made harder step by step.

On clean pairs of FIRE every good method scores alike: its control points are whole pixels set by hand, with a noise of
about 1.9 pixels, and a perfect transform scored against such points has an AUC of .92. So each pair is made harder by
every one of `CONDITIONS`, with its control points carried along exactly, and a method is judged by the mean over all of
them. Its interval comes from a bootstrap over the pairs (Efron and Tibshirani 1993), and that of the difference of two
methods from their differences pair by pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from ..keypoint_set import Keypoints
from ..registrar import Registrar
from ..transforms import Quadratic
from .conditions import CONDITIONS, AnnotatedPair, choose_conditions, find_keypoints_under
from .fire import FULL_SIZE, THRESHOLDS, control_point_distances, read_fire


WRONG = 25.0  # pixels of a width of 2912: a registration that is further off on average is a wrong answer
TELLING = ("clean", "degraded 3", "degraded 5", "JPEG 30 at 256")  # conditions that a summary shows
BY_HAND = 3.0  # of those pixels: how far a perfect transform is off control points that were set by hand
MATCHED = 3.0  # working pixels between a match and the truth


@dataclass(frozen=True)
class Outcome:
    """What one method made of one pair under one condition.

    Attributes:
        model: Name of the method.
        condition: A name of `CONDITIONS`.
        pair: Name of the pair.
        error: Mean distance of the control points in pixels of 2912; None unless registered.
        candidate_error: That of the transform that was found, believed or not; None without any.
        matching_score: Fraction of the moving keypoints in the area of the control points with a match, by descriptor
            alone, within 3 working pixels of the truth; None where there are no such keypoints.
        rough: Whether the registration says of itself that it is a rough one.
        precision: The standard error that the registration states, in pixels of 2912; None unless registered.
    """

    model: str
    condition: str
    pair: str
    error: float | None
    candidate_error: float | None
    matching_score: float | None
    rough: bool = False
    precision: float | None = None

    @property
    def wrong(self) -> bool:
        """Whether the pair was registered far off."""
        return self.error is not None and not self.error <= WRONG

    @property
    def as_stated(self) -> float | None:
        """1 where the error is at most three times the stated precision, but for what the hand did; 0 where not."""
        if self.error is None or self.precision is None:
            return None
        return float(self.error <= BY_HAND + 3 * self.precision)


def run_stress(
    root: str | Path,
    registrars: Mapping[str, Registrar],
    conditions: Sequence[str] | None = None,
    progress: bool = False,
) -> list[Outcome]:
    """Register every pair under every condition with every method.

    Args:
        root: Folder in FIRE's layout; see `read_fire`.
        registrars: Registrars by name.
        conditions: Names of `CONDITIONS`; all when None.
        progress: Show a progress bar.

    Returns:
        One `Outcome` for each combination.

    Raises:
        ValueError: A condition is not known, or see `read_fire`.
        PhotographError: A photograph cannot be read.
    """
    chosen, pairs = choose_conditions(CONDITIONS, conditions), read_fire(root)
    outcomes = []
    with tqdm(total=len(pairs) * len(chosen) * len(registrars), unit="pair", disable=not progress) as bar:
        for source in pairs:
            for found in find_keypoints_under(AnnotatedPair.read(source), chosen, registrars):
                condition, pair, name, moving, fixed = found
                outcomes.append(_judge(name, condition, pair, registrars[name], moving, fixed))
                bar.update()
    return outcomes


def _judge(
    model: str, condition: str, pair: AnnotatedPair, registrar: Registrar, moving: Keypoints, fixed: Keypoints
) -> Outcome:
    registration = registrar.register_keypoints(moving, fixed, photographs=(pair.moving, pair.fixed))
    candidate, error, full = registration.estimate.candidate, None, FULL_SIZE / pair.fixed.shape[1]
    if candidate is not None:
        distances = control_point_distances(candidate, pair.moving_points, pair.fixed_points)
        error = float(distances.mean()) * full
    score = _matching_score(pair, moving, fixed, registrar.match(moving, fixed)[0])
    outcome = Outcome(model, condition, pair.name, None, error, score)
    if not registration:
        return outcome
    stated = None if registration.precision is None else registration.precision * full
    return replace(outcome, error=error, rough=registration.rough, precision=stated)


def _matching_score(pair: AnnotatedPair, moving: Keypoints, fixed: Keypoints, matches: np.ndarray) -> float | None:
    """Compare matches by descriptor alone with a quadratic transform fitted to the control points, if they suffice."""
    try:
        truth = Quadratic.fit(pair.moving_points, pair.fixed_points)
    except ValueError:  # too few of them
        return None
    hull = cv2.convexHull(pair.moving_points.astype(np.float32))
    inside = np.array([cv2.pointPolygonTest(hull, tuple(map(float, point)), False) >= 0 for point in moving.points])
    if not inside.any():
        return None
    distance = np.linalg.norm(truth(moving.points[matches[:, 0]]) - fixed.points[matches[:, 1]], axis=1)
    right = (distance < MATCHED * fixed.scale) & inside[matches[:, 0]]
    return float(right.sum() / inside.sum())


def summarize_stress(outcomes: Sequence[Outcome], samples: int = 2000, seed: int = 0) -> dict:
    """Sum up the outcomes of a run.

    Args:
        outcomes: As `run_stress` gives them.
        samples: Draws of the bootstrap over the pairs.
        seed: Of the draws.

    Returns:
        A dict ready for JSON: `pairs`; `rows`, one for each model and condition, with `auc`, `registered`, `wrong`,
        `rough`, `candidate_auc` (the decision taken away) and `matching_score`; `models`, for each the mean over the
        conditions of both AUCs and of the matching score, the 95 per cent `interval` of the first, the sum of `wrong`,
        and `as_stated`, the fraction of registrations off by at most three times what they state; `differences`, for
        each two models the first one's mean less the second one's, with its interval.
    """
    models, conditions, pairs = (
        list(dict.fromkeys(getattr(o, name) for o in outcomes)) for name in ("model", "condition", "pair")
    )
    by = {(o.model, o.condition, o.pair): o for o in outcomes}
    # (models, conditions, pairs): the fraction of the thresholds that the error of a pair stays below.
    area, candidate_area = (
        np.array([[[_area(getattr(by[m, c, p], kind)) for p in pairs] for c in conditions] for m in models])
        for kind in ("error", "candidate_error")
    )
    draws = np.random.default_rng(seed).integers(0, len(pairs), (samples, len(pairs)))
    scores = area.mean(1)  # (models, pairs)
    resampled = scores[:, draws].mean(2)  # (models, samples)
    rows = [
        {
            "model": model,
            "condition": condition,
            "auc": float(area[m, c].mean()),
            "registered": sum(by[model, condition, p].error is not None for p in pairs),
            "wrong": sum(by[model, condition, p].wrong for p in pairs),
            "rough": sum(by[model, condition, p].rough for p in pairs),
            "candidate_auc": float(candidate_area[m, c].mean()),
            "matching_score": _mean([by[model, condition, p].matching_score for p in pairs]),
        }
        for m, model in enumerate(models)
        for c, condition in enumerate(conditions)
    ]
    summary = {
        model: {
            "auc": float(scores[m].mean()),
            "interval": _interval(resampled[m]),
            "candidate_auc": float(candidate_area[m].mean()),
            "matching_score": _mean([row["matching_score"] for row in rows if row["model"] == model]),
            "wrong": sum(row["wrong"] for row in rows if row["model"] == model),
            "as_stated": _mean([outcome.as_stated for outcome in outcomes if outcome.model == model]),
        }
        for m, model in enumerate(models)
    }
    differences = [
        {
            "models": [models[a], models[b]],
            "auc": float(scores[a].mean() - scores[b].mean()),
            "interval": _interval(resampled[a] - resampled[b]),
        }
        for a, b in combinations(range(len(models)), 2)
    ]
    return {"pairs": len(pairs), "rows": rows, "models": summary, "differences": differences, "seed": seed}


def stress_table(summary: dict) -> str:
    """Write what `summarize_stress` gives as Markdown: AUC, pairs registered, those of them that are wrong or rough."""
    models = list(summary["models"])
    lines = [f"| condition | {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
    cells = {(row["condition"], row["model"]): row for row in summary["rows"]}
    for condition in dict.fromkeys(row["condition"] for row in summary["rows"]):
        shown = [_cell(cells[condition, model], summary["pairs"]) for model in models]
        lines.append(f"| {condition} | {' | '.join(shown)} |")
    totals = summary["models"].values()
    ends = [f"{t['auc']:.3f} [{t['interval'][0]:.3f}, {t['interval'][1]:.3f}]" for t in totals]
    lines.append(f"| **mean** [95 %] | {' | '.join(ends)} |")
    lines.append(f"| wrong answers | {' | '.join(str(t['wrong']) for t in totals)} |")
    if any(t.get("as_stated") is not None for t in totals):  # files of older runs do not say
        lines.append(f"| within 3 x stated precision | {' | '.join(_number(t['as_stated']) for t in totals)} |")
    lines.append(f"| mean without the decision | {' | '.join(_number(t['candidate_auc']) for t in totals)} |")
    lines.append(f"| matching score | {' | '.join(_number(t['matching_score']) for t in totals)} |")
    for difference in summary["differences"]:
        first, second = difference["models"]
        low, high = difference["interval"]
        lines.append(f"\n{first} less {second}: {difference['auc']:+.3f} [{low:+.3f}, {high:+.3f}]")
    return "\n".join(lines)


def stress_summary(summary: dict) -> str:
    """Write the rows of `stress_table` that tell most, and the mean over all conditions with its wrong answers."""
    models, pairs = summary["models"], summary["pairs"]
    cells = {(row["condition"], row["model"]): row for row in summary["rows"]}
    conditions = {row["condition"] for row in summary["rows"]}
    lines = [f"| AUC (pairs registered) | {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
    for condition in TELLING:
        if condition in conditions:
            lines.append(f"| {condition} | {' | '.join(_cell(cells[condition, model], pairs) for model in models)} |")
    means = [f"{one['auc']:.3f} ({one['wrong']} wrong)" for one in models.values()]
    return "\n".join([*lines, f"| **mean of {len(conditions)} conditions** | {' | '.join(means)} |"])


def outcomes_to_dicts(outcomes: Sequence[Outcome]) -> list[dict]:
    """Put outcomes into dicts ready for JSON."""
    return [asdict(outcome) for outcome in outcomes]


def _area(error: float | None) -> float:
    return 0.0 if error is None else float(np.mean([error < threshold for threshold in THRESHOLDS]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _interval(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(values, (2.5, 97.5))]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(row: dict, pairs: int) -> str:
    wrong = f", {row['wrong']} wrong" if row["wrong"] else ""
    rough = f", {row['rough']} rough" if row.get("rough") else ""  # files of older runs do not say
    return f"{row['auc']:.3f} ({row['registered']}/{pairs}{wrong}{rough})"


__all__ = ["Outcome", "outcomes_to_dicts", "run_stress", "stress_summary", "stress_table", "summarize_stress"]
