"""Mixed-up eyes: photographs that do not match the eye they are filed under, but another one of the study.

Only eyes of which a pair was refused are looked at. First each by itself: visits that match each other belong together,
most of them are the eye, the earliest where numbers are equal; the others are strangers. Each stranger is compared with
every other eye by its strongest keypoints alone, and registered to the few eyes that come out first; the same rule
decides as always.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..files import replacing
from ..keypoint_set import Keypoints
from ..photographs import PhotographError
from ..processes import Call, ProcessDiedError
from .table import Pair, Photograph, StudyError
from .units import group_eyes
from .work import REFUSED, REGISTERED, Outcome, compare_pair, find_keypoints


MIX_UPS = "identity.csv"
# Keypoints of an eye that the coarse search knows, 100 kilobytes, and eyes that a stranger is registered to.
_STRONGEST, _CANDIDATES = 400, 5
# In radii of the field of view: how far from where a similarity takes it a keypoint may find its partner.
_NEAR = 0.06
_TOGETHER = 20  # eyes of a unit

Whose = tuple[str, str]
#: Does units, as an engine of `run` does: yields what `work(unit, call)` yields.
Run = Callable[[Sequence[Any], Callable[[Any, Call], Iterator[Any]]], Iterator[Any]]


@dataclass(frozen=True)
class MixUp:
    """A photograph of a study that shows another eye than the one it is filed under.

    Attributes:
        photograph: As it is filed.
        reason: Why it does not match its own eye.
        other: A photograph of the eye that it matches.
        inliers: Matches that agree with the transform onto that one.
        residual: Their median distance in its pixels.
    """

    photograph: Photograph
    reason: str
    other: Photograph
    inliers: int
    residual: float

    def __str__(self) -> str:
        own, other = (" ".join(part for part in one.whose if part) for one in (self.photograph, self.other))
        return (
            f"{self.photograph.name} is filed under {own} and does not match it, but {other}: "
            f"{self.other.name}, {self.inliers} inliers"
        )


def find_mix_ups(
    photographs: Sequence[Photograph], rows: Callable[[], Iterator[Mapping[str, Any]]], run: Run, folder: Path
) -> list[MixUp]:
    """Find photographs that match another eye than their own.

    Args:
        photographs: Of the study.
        rows: Reads the rows of the study.
        run: Does units of work.
        folder: For what the coarse search knows of each eye.

    Returns:
        In the order of the table.

    Raises:
        StudyError: The study is one of pairs, without patients and eyes.
        OutputError: The folder cannot be written to.
    """
    if not photographs:
        raise StudyError("Mixed-up eyes are found in tables with patient and eye, a photograph a row.")
    eyes = group_eyes(photographs)
    reasons = {row["moving"]: row["reason"] for row in rows() if row["status"] == REFUSED}
    doubtful = {one.whose for one in photographs if one.name in reasons}
    links: dict[Whose, list[tuple[str, str]]] = defaultdict(list)
    for row in rows():
        if row["status"] == REGISTERED and (row["patient"], row["eye"]) in doubtful:
            links[row["patient"], row["eye"]].append((row["moving"], row["fixed"]))
    own = {whose: visits[0] for whose, visits in eyes.items()}
    strangers: list[Photograph] = []
    for first, others in run([(eyes[whose], links[whose]) for whose in sorted(doubtful)], part_eye):
        own[first.whose] = first
        strangers += others
    if not strangers:
        return []
    firsts = list(own.values())
    units = [(firsts[start : start + _TOGETHER], folder) for start in range(0, len(firsts), _TOGETHER)]
    known = {photograph.whose: (photograph, place) for photograph, place in run(units, know_eyes)}
    found = [
        MixUp(stranger, reasons.get(stranger.name) or "it matches no other visit", other, *figures)
        for stranger, other, *figures in run([(stranger, known) for stranger in strangers], search_eyes)
    ]
    order = {photograph.name: number for number, photograph in enumerate(photographs)}
    return sorted(found, key=lambda one: order[one.photograph.name])


def write_mix_ups(mix_ups: Sequence[MixUp], path: Path) -> None:
    """Write both readings of each photograph, how it is filed and what it matches, as CSV.

    Raises:
        OutputError: It cannot be written.
    """
    columns = ("photograph", "visit", "filed_patient", "filed_eye", "why_not", "matches_patient", "matches_eye")
    with replacing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "matches_photograph", "inliers", "residual_px"])
        for one in mix_ups:
            filed = one.photograph.name, one.photograph.visit, *one.photograph.whose, one.reason
            writer.writerow([*filed, *one.other.whose, one.other.name, one.inliers, f"{one.residual:.2f}"])


def part_eye(
    unit: tuple[Sequence[Photograph], Sequence[tuple[str, str]]], call: Call
) -> Iterator[tuple[Photograph, list[Photograph]]]:
    """Tell the visits of an eye from strangers among them: gives the first one of its own, and the strangers."""
    photographs, links = unit
    groups = [[photograph] for photograph in photographs]
    for moving, fixed in links:
        one, other = (next(group for group in groups if any(p.name == name for p in group)) for name in (moving, fixed))
        if one is not other:
            one += other
            groups.remove(other)
    for group in list(groups):
        for other in groups[: groups.index(group)]:
            if _registered(Pair(group[0], other[0]), call) is not None:
                other += group
                groups.remove(group)
                break
    order = list(photographs)
    groups = [sorted(group, key=order.index) for group in groups]
    own = min(groups, key=lambda group: (-len(group), order.index(group[0])))
    yield own[0], [photograph for photograph in photographs if photograph not in own]


def know_eyes(unit: tuple[Sequence[Photograph], Path], call: Call) -> Iterator[tuple[Photograph, Path]]:
    """Keep the strongest keypoints of photographs in files, where they are not yet; gives each with its file."""
    photographs, folder = unit
    for photograph in photographs:
        try:
            place = _place(photograph, folder)
        except OSError:  # there is no such file
            continue
        try:
            if not place.is_file():
                call(know_eye, photograph, place)
        except (PhotographError, ProcessDiedError):
            continue
        yield photograph, place


def _place(photograph: Photograph, folder: Path) -> Path:
    """Name the file for a photograph: another one when the photograph is written anew."""
    state = photograph.path.stat()
    known = f"{photograph.path.absolute()}\n{state.st_size}\n{state.st_mtime_ns}"
    name = hashlib.sha256(known.encode()).hexdigest()[:24]
    return folder / name[:2] / f"{name}.npz"


def know_eye(photograph: Photograph, place: Path) -> None:
    """Keep the strongest keypoints of a photograph in a file; in the process that has the model."""
    entries = _strongest(find_keypoints(photograph))
    with replacing(place) as aside:
        np.savez(aside, points=entries[0].astype(np.float16), descriptors=entries[1].astype(np.float16))


def search_eyes(
    unit: tuple[Photograph, Mapping[Whose, tuple[Photograph, Path]]], call: Call
) -> Iterator[tuple[Photograph, Photograph, int, float]]:
    """Find the eye that a stranger shows; gives the stranger, a photograph of that eye, inliers and residual."""
    stranger, known = unit
    others = {whose: place for whose, (_, place) in known.items() if whose != stranger.whose}
    try:
        likely = call(rank_eyes, stranger, others)
    except (PhotographError, ProcessDiedError):
        return
    # The other eye of the patient before all others: left and right are exchanged most often.
    same = [whose for whose in others if whose[0] == stranger.patient]
    for whose in dict.fromkeys([*same, *likely]):
        other = known[whose][0]
        row = _registered(Pair(stranger, other), call)
        if row is not None:
            yield stranger, other, row["inliers"], row["residual_px"]
            return


def rank_eyes(stranger: Photograph, others: Mapping[Whose, Path]) -> list[Whose]:
    """Rank eyes by how many of the strongest keypoints agree on a similarity; the first few that have any."""
    own = _strongest(find_keypoints(stranger))
    scores = {}
    for whose, place in others.items():
        with np.load(place, allow_pickle=False) as entries:
            scores[whose] = _agreeing(own, (entries["points"], entries["descriptors"].astype(np.float32)))
    ranked = sorted(scores, key=lambda whose: -scores[whose])
    return [whose for whose in ranked[:_CANDIDATES] if scores[whose]]


def _registered(pair: Pair, call: Call) -> dict[str, Any] | None:
    try:
        outcome: Outcome = call(compare_pair, pair)
    except ProcessDiedError:
        return None
    return outcome.row if outcome.row["status"] == REGISTERED else None


def _strongest(keypoints: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Give points, (N, 2) in radii of the field of view, and descriptors, (N, D)."""
    chosen = np.argsort(-keypoints.scores, kind="stable")[:_STRONGEST]
    return keypoints.normalize(keypoints.points[chosen]), keypoints.descriptors[chosen]


def _agreeing(own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> int:
    """Count the mutually nearest descriptors that agree on one similarity."""
    if min(len(own[0]), len(other[0])) < 4:
        return 0
    similarity = own[1] @ other[1].T
    nearest = similarity.argmax(1)
    mutual = np.flatnonzero(similarity.argmax(0)[nearest] == np.arange(len(nearest)))
    if len(mutual) < 4:
        return 0
    ends = own[0][mutual].astype(np.float32), other[0][nearest[mutual]].astype(np.float32)
    inliers = cv2.estimateAffinePartial2D(*ends, method=cv2.RANSAC, ransacReprojThreshold=_NEAR, maxIters=500)[1]
    return 0 if inliers is None else int(inliers.sum())


__all__ = ["MIX_UPS", "MixUp", "find_mix_ups", "write_mix_ups"]
