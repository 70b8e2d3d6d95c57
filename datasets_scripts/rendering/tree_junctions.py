"""Bifurcations and crossings of grown vessel trees, known exactly, with the ways their vessels leave them."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..keypoint_types import BIFURCATION, CROSSING
from .vessel_tree import SAMPLING, Vessel


BRANCH_REACH = 0.75  # degrees of a vessel next to a junction that tell its direction there


@dataclass
class TreeJunctions:
    """Where vessels meet, seen from the front.

    Attributes:
        points: (N, 2) chart coordinates in degrees.
        types: (N,) int8, `BIFURCATION` or `CROSSING`.
        widths: (N,) diameter of the thinner vessel, degrees.
        branches: For each junction the beginnings of the vessels that leave it: polylines (K, 2) in degrees, from the
            junction outwards; three at a bifurcation, four at a crossing, one less where a vessel ends in it.
    """

    points: np.ndarray
    types: np.ndarray
    widths: np.ndarray
    branches: list[list[np.ndarray]]


def _crossings(vessels: list[Vessel]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersect all center lines with each other.

    Returns:
        Points (N, 2), the widths (N, 2) of the two vessels there, and their positions (N, 2) in the list.
    """
    start = np.concatenate([vessel.points[:-1] for vessel in vessels])
    step = np.concatenate([np.diff(vessel.points, axis=0) for vessel in vessels])
    width = np.concatenate([vessel.widths[:-1] for vessel in vessels])
    label = np.concatenate([np.full(len(vessel.points) - 1, number) for number, vessel in enumerate(vessels)])
    longest = np.linalg.norm(step, axis=1).max()
    pairs = cKDTree(start + step / 2).query_pairs(longest, output_type="ndarray")
    pairs = pairs[label[pairs[:, 0]] != label[pairs[:, 1]]]
    one, two = pairs.T
    denominator = step[one, 0] * step[two, 1] - step[one, 1] * step[two, 0]
    # Vessels that meet at less than about 20 degrees have no place that could be called a crossing.
    sine = np.abs(denominator) / (np.linalg.norm(step[one], axis=1) * np.linalg.norm(step[two], axis=1))
    one, two, denominator = one[sine > 0.35], two[sine > 0.35], denominator[sine > 0.35]
    gap = start[two] - start[one]
    along_one = (gap[:, 0] * step[two, 1] - gap[:, 1] * step[two, 0]) / denominator
    along_two = (gap[:, 0] * step[one, 1] - gap[:, 1] * step[one, 0]) / denominator
    hit = (along_one >= 0) & (along_one < 1) & (along_two >= 0) & (along_two < 1)
    points = start[one] + along_one[:, None] * step[one]
    return points[hit], np.column_stack([width[one], width[two]])[hit], np.column_stack([label[one], label[two]])[hit]


def _piece(vessel: Vessel, place: np.ndarray, step: int) -> np.ndarray:
    """Cut out the `BRANCH_REACH` degrees of a center line that lead down- (1) or upstream (-1) from a place on it."""
    nearest = int(np.linalg.norm(vessel.points - place, axis=1).argmin())
    count = round(BRANCH_REACH / SAMPLING) + 1
    points = vessel.points[nearest::step][:count]
    # The sample nearest to the place may lie on its other side.
    if len(points) > 1 and (points[1] - points[0]) @ (points[0] - place) < 0:
        points = points[1:]
    line = np.concatenate([place[None], points])
    return line if np.linalg.norm(line[-1] - place) > SAMPLING / 3 else line[:1]


def list_junctions(vessels: list[Vessel], merge: float = 0.3) -> TreeJunctions:
    """List the bifurcations and crossings of finished vessels.

    Of junctions closer than `merge` degrees the one of the widest vessels stays: in a photograph they are one.

    Args:
        vessels: As from `grow_vessels`.
        merge: Degrees.

    Returns:
        The junctions: bifurcations first, then crossings.
    """
    rising = [number for number, vessel in enumerate(vessels) if vessel.parent >= 0]
    roots = np.array([vessels[number].points[0] for number in rising]).reshape(-1, 2)
    thin = np.array([vessels[number].widths[:6].mean() for number in rising])
    meeting, both, pairs = _crossings(vessels)
    if len(meeting):  # a side branch touches its parent where it starts: that is no crossing
        apart = cKDTree(roots).query(meeting)[0] > 0.05
        meeting, both, pairs = meeting[apart], both[apart], pairs[apart]
    points = np.concatenate([roots, meeting])
    types = np.repeat(np.array([BIFURCATION, CROSSING], np.int8), [len(roots), len(meeting)])
    widths = np.concatenate([thin, both.min(axis=1)])
    leaving = [[(number, 1), (vessels[number].parent, 1), (vessels[number].parent, -1)] for number in rising]
    leaving += [[(int(number), step) for number in pair for step in (1, -1)] for pair in pairs]
    keep = np.ones(len(points), bool)
    for one, two in sorted(cKDTree(points).query_pairs(merge)):
        if keep[one] and keep[two]:
            keep[one if widths[one] < widths[two] else two] = False
    branches = []
    for index in np.flatnonzero(keep):
        pieces = (_piece(vessels[number], points[index], step) for number, step in leaving[index])
        branches.append([piece for piece in pieces if len(piece) > 1])
    return TreeJunctions(points[keep], types[keep], widths[keep], branches)


__all__ = ["BRANCH_REACH", "TreeJunctions", "list_junctions"]
