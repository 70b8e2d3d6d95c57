"""How well the photographs themselves tell a right transform from a wrong one: the figures behind the rule.

    retinamatch evaluate agreement FIRE_ROOT FOLDERS... [--pairs 200] [--condition ...] [--json FILE]

Right pairs are those of a folder in FIRE's layout under each of `CONDITIONS`. Wrong ones are pairs of photographs of
different eyes, whatever transform comes out: as they are, both degraded, and with each of `SHARED_BY_BOTH`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..estimation import EstimationSettings
from ..estimation.decision import Evidence, few_keypoints, impossible_shape
from ..keypoint_set import Keypoints
from ..photographs import PhotographLike, read_photograph
from ..registrar import Registrar
from .conditions import (
    CONDITIONS,
    SHARED_BY_BOTH,
    AnnotatedPair,
    Condition,
    choose_conditions,
    find_keypoints_under,
)
from .fire import area_under_curve, control_point_distances, read_fire


DIFFERENT: dict[str, Condition] = {
    "different eyes": CONDITIONS["clean"],
    "different eyes, both degraded 4": CONDITIONS["both degraded 4"],
    **{f"different eyes, {name}": condition for name, condition in SHARED_BY_BOTH.items()},
}


@dataclass(frozen=True)
class Judged:
    """What the evidence said about one pair.

    Attributes:
        condition: A name of `CONDITIONS` or of `DIFFERENT`.
        pair: Its name.
        alike: Fraction of places that look alike, with either sign; None when no transform was found.
        correlation: Median correlation of the places; None likewise.
        accepted: Whether the pair is registered.
        by_keypoints: Whether the keypoints alone would have registered it.
        error: Mean distance of the control points under the transform that was found, believed or not, in pixels of the
            fixed photograph; None without control points or transform.
        precision: The standard error that the evidence states, in the same pixels; None unless registered.
    """

    condition: str
    pair: str
    alike: float | None
    correlation: float | None
    accepted: bool
    by_keypoints: bool
    error: float | None
    precision: float | None


def judge_right_pairs(
    root: str | Path, registrar: Registrar, conditions: Sequence[str] | None = None, progress: bool = False
) -> list[Judged]:
    """Judge every pair of a folder in FIRE's layout under conditions, all of `CONDITIONS` when None.

    Raises:
        ValueError: See `read_fire`, or a condition is not known.
    """
    pairs = read_fire(root)
    chosen = choose_conditions(CONDITIONS, conditions)
    return _judge_all(map(AnnotatedPair.read, pairs), len(pairs), registrar, chosen, progress)


def judge_wrong_pairs(
    photographs: Sequence[PhotographLike],
    registrar: Registrar,
    pairs: int = 200,
    seed: int = 0,
    conditions: Sequence[str] | None = None,
    progress: bool = False,
) -> list[Judged]:
    """Judge pairs of photographs of different eyes, drawn at random.

    Args:
        photographs: Each of another eye.
        registrar: Finds keypoints and matches them.
        pairs: How many pairs to draw.
        seed: Of the draw.
        conditions: Names of `DIFFERENT`; all when None.
        progress: Show a progress bar.

    Raises:
        ValueError: Fewer than two photographs, or a condition is not known.
    """
    if len(photographs) < 2:
        raise ValueError(f"Pairs of different eyes need photographs of two eyes at least, got {len(photographs)}.")
    rng, nowhere = np.random.default_rng(seed), np.zeros((0, 2))
    drawn = [rng.choice(len(photographs), 2, replace=False) for _ in range(pairs)]

    chosen = choose_conditions(DIFFERENT, conditions)
    read = (
        AnnotatedPair(f"{i}-{j}", read_photograph(photographs[i]), read_photograph(photographs[j]), nowhere, nowhere)
        for i, j in drawn
    )
    return _judge_all(read, pairs, registrar, chosen, progress)


def agreement_table(judged: Sequence[Judged]) -> str:
    """Write, as Markdown, the least, median and greatest figures per condition, and how many pairs are registered."""
    lines = [
        "| condition | pairs | places alike | median correlation | registered | by keypoints alone | AUC | alone |",
        "| --- |" + " --- |" * 7,
    ]
    for condition in dict.fromkeys(one.condition for one in judged):
        rows = [one for one in judged if one.condition == condition]
        known = any(one.error is not None for one in rows)
        lines.append(
            f"| {condition} | {len(rows)} | {_range([one.alike for one in rows])} "
            f"| {_range([one.correlation for one in rows])} | {sum(one.accepted for one in rows)} "
            f"| {sum(one.by_keypoints for one in rows)} "
            f"| {_auc([(one.error, one.accepted) for one in rows]) if known else '-'} "
            f"| {_auc([(one.error, one.by_keypoints) for one in rows]) if known else '-'} |"
        )
    return "\n".join(lines)


def _judge_all(
    pairs: Iterable[AnnotatedPair],
    number: int,
    registrar: Registrar,
    conditions: dict[str, Condition],
    progress: bool,
) -> list[Judged]:
    judged = []
    with tqdm(total=number * len(conditions), unit="pair", disable=not progress) as bar:
        for clean in pairs:
            for condition, pair, _, moving, fixed in find_keypoints_under(clean, conditions, {"": registrar}):
                judged.append(_judge(condition, pair, registrar, moving, fixed))
                bar.update()
    return judged


def _judge(condition: str, pair: AnnotatedPair, registrar: Registrar, moving: Keypoints, fixed: Keypoints) -> Judged:
    registration = registrar.register_keypoints(moving, fixed)
    figures, candidate, settings = registration.evidence, registration.estimate.candidate, EstimationSettings()
    if candidate is None:
        return Judged(condition, pair.name, None, None, False, False, None, None)
    evidence = Evidence(**{field.name: figures[field.name] for field in fields(Evidence)})
    error = None
    if len(pair.moving_points):
        error = float(control_point_distances(candidate, pair.moving_points, pair.fixed_points).mean())
    return Judged(
        condition,
        pair.name,
        None if evidence.alike is None else max(evidence.alike, evidence.alike_reversed or 0.0),
        evidence.correlation,
        registration.registered,
        not (few_keypoints(evidence, settings) or impossible_shape(evidence, settings)),
        error,
        evidence.precision,
    )


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return "{:.2f} / {:.2f} / {:.2f}".format(*np.percentile(known, (0, 50, 100))) if known else "-"


def _auc(errors: Sequence[tuple[float | None, bool]]) -> str:
    return (
        f"{area_under_curve([error if believed and error is not None else np.inf for error, believed in errors]):.3f}"
    )


__all__ = ["DIFFERENT", "Judged", "agreement_table", "judge_right_pairs", "judge_wrong_pairs"]
