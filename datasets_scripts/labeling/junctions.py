"""Keypoints of a vessel map: where vessels branch (bifurcations) and where they pass over each other (crossings).

Bifurcations and crossings of the retinal vessels are the classical landmarks of fundus registration (Can et al., "A
feature-based, robust, hierarchical algorithm for registering pairs of images of the curved human retina", 2002).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..keypoint_types import BIFURCATION, CROSSING
from .skeleton import Branch, VesselGraph, vessel_graph


# A vessel keeps its direction through a crossing, up to this angle (a branch point turns it by more on one side).
STRAIGHT_DEGREES = 32.0
# Vessels that only touch share a piece as wide as both together; the parent of two branches is narrower than that:
# Murray's law makes it 2 ** (1 / 3) = 1.26 times one of two equal branches, not twice.
TOUCHING_WIDTH = 0.8
# Where four vessels meet in one place, opposite ones are one vessel up to this turn: two side branches that left there
# on either side would lean forward by more together.
OPPOSITE_DEGREES = 50.0
# A vessel that turns by more than this in a crossing has a corner there.
BENT_DEGREES = 20.0
# Nodes are one place when the piece between them is shorter than this fraction of the widths of both vessels.
SAME_PLACE_WIDTHS = 0.5
# The lines of the vessels are followed back this many radii of a junction, no further: a branch that leaves at a small
# angle meets the middle of its parent far from where anyone sees it leave.
REACH_RADII = 1.5
# Two keypoints nearer to each other than this fraction of the vessel's width, or of the field of view, are one.
APART_WIDTHS = 0.5
APART_OF_FIELD = 3 / 565
# The disc is a seventh to a fifth of a field of view of 45 to 30 degrees; this is its radius.
DISC_OF_FIELD = 0.075
DISC_APART_OF_FIELD = 7 / 565


@dataclass
class Junctions:
    """Keypoints of one vessel map.

    Attributes:
        points: Places (N, 2), (x, y) in pixels of the vessel map, float64; the center of the top-left pixel is (0, 0).
        types: `BIFURCATION` or `CROSSING` (N,), int8.
        widths: Width (N,) of the widest vessel that meets there, in pixels, float64.
        directions: N sorted arrays of angles in radians, (-pi, pi], atan2(dy, dx) with x to the right and y down, of
            the vessels that leave the keypoint: three at a bifurcation, four at a crossing.
    """

    points: np.ndarray
    types: np.ndarray
    widths: np.ndarray
    directions: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.points)


@dataclass
class Stub:
    """The beginning of a branch beyond the wall of its junction: its line and its width."""

    middle: np.ndarray
    direction: np.ndarray
    width: float
    key: tuple[int, int]


@dataclass
class Candidate:
    """A keypoint in the making, with the stubs of the vessels that leave it."""

    point: np.ndarray
    kind: int
    stubs: list[Stub]

    @property
    def width(self) -> float:
        return max(stub.width for stub in self.stubs)

    @property
    def directions(self) -> np.ndarray:
        angles = np.array([np.arctan2(*stub.direction[::-1]) for stub in self.stubs])
        # A direction of (-1, -0.0) has the angle -pi, which is pi.
        return np.sort(np.where(angles <= -np.pi, np.pi, angles))


def find_junctions(vessels: np.ndarray, field_width: float | None = None) -> Junctions:
    """Find bifurcations and crossings in a vessel map.

    Args:
        vessels: Vessel map (H, W), bool, or any numbers with vessels above half of the largest.
        field_width: Width of the field of view in pixels of the map; by default the larger side of the box around the
            vessels.

    Raises:
        ValueError: The map is not two-dimensional.
    """
    vessels = np.asarray(vessels)
    if vessels.ndim != 2:
        raise ValueError(f"A vessel map must have the shape (height, width), got {vessels.shape}.")
    if vessels.dtype == bool:
        # Pillow hands out one-bit images as "bool" with bytes of 255, which crash scikit-image's look-up tables.
        vessels = vessels.view(np.uint8) != 0
    else:
        vessels = vessels > vessels.max(initial=0) / 2
    if not vessels.any():
        return Junctions(np.zeros((0, 2)), np.zeros(0, dtype=np.int8), np.zeros(0), [])
    if field_width is None:
        rows, columns = np.nonzero(vessels)
        field_width = float(max(np.ptp(rows), np.ptp(columns)) + 1)

    graph = vessel_graph(vessels)
    candidates = _read_nodes(graph)
    disc = find_disc(graph, vessels.shape, field_width)
    candidates = _thin_out(candidates, field_width, disc)
    return Junctions(
        np.array([candidate.point for candidate in candidates]).reshape(-1, 2),
        np.array([candidate.kind for candidate in candidates], dtype=np.int8),
        np.array([candidate.width for candidate in candidates]),
        [candidate.directions for candidate in candidates],
    )


def _read_nodes(graph: VesselGraph) -> list[Candidate]:
    """Say of every node, and of every pair of near nodes, what it is: bifurcation, crossing, or vessels that touch."""
    meeting = graph.incidence()
    stubs = {node: [_stub(graph, key, graph.radii[node]) for key in ends] for node, ends in meeting.items()}
    candidates, settled = [], set()

    # Crossings first: seen from their ends alone, vessels that cross at a small angle could also just touch.
    passages = sorted(_passages(graph, stubs), key=lambda passage: (passage[3] is None, passage[0]))
    for _, bridge, pairs, point in passages:
        nodes = set(bridge.nodes)
        if nodes & settled:
            continue
        settled |= nodes
        # Vessels that touch and part again leave no keypoint.
        if point is not None:
            candidates.append(Candidate(point, CROSSING, [stub for pair in pairs for stub in pair]))

    for node in sorted(graph.places):
        if node in settled:
            continue
        place, reach = graph.places[node], REACH_RADII * max(graph.radii[node], 0.5)
        pairs = _opposite_pairs(stubs[node]) if len(stubs[node]) == 4 else None
        kind = BIFURCATION if pairs is None else CROSSING
        candidates.append(Candidate(_meeting_point(stubs[node], place, reach), kind, stubs[node]))
    return candidates


def _stub(graph: VesselGraph, key: tuple[int, int], radius: float) -> Stub:
    """Fit a line to a branch as it leaves a node, beyond the wall of the junction, inside of which a skeleton bends."""
    branch: Branch = graph.branches[key[0]]
    path, widths = branch.seen_from(key[1])
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    start = min(radius, 0.5 * walked[-1])
    near = (walked >= start) & (walked <= start + max(3 * radius, 10.0))
    if near.sum() < 3:
        near = np.arange(len(path)) >= len(path) - 3
    samples = path[near]
    middle = samples.mean(axis=0)
    direction = np.linalg.svd(samples - middle, full_matrices=False)[2][0] if len(samples) > 1 else np.zeros(2)
    if direction @ (samples[-1] - samples[0]) < 0:
        direction = -direction
    return Stub(middle, direction, float(np.median(widths[near])), key)


def _bend(one: Stub, other: Stub) -> float:
    """Give the largest angle in degrees between the chord of two stubs and their own directions; 0 for one line."""
    chord = one.middle - other.middle
    chord = chord / max(np.linalg.norm(chord), 1e-9)
    cosines = np.clip([one.direction @ chord, -(other.direction @ chord)], -1, 1)
    return float(np.degrees(np.arccos(cosines)).max())


def _turn(one: Stub, other: Stub) -> float:
    """Measure by how many degrees a vessel turns that comes in by one stub and leaves by another."""
    return float(np.degrees(np.arccos(np.clip(-(one.direction @ other.direction), -1, 1))))


def _opposite_pairs(stubs: list[Stub]) -> list[tuple[Stub, Stub]] | None:
    """Split the four stubs of one node into two vessels that cross there, or `None`."""
    first, second, third, fourth = sorted(stubs, key=lambda stub: np.arctan2(*stub.direction[::-1]))
    pairs = [(first, third), (second, fourth)]
    return pairs if max(_turn(*pair) for pair in pairs) <= OPPOSITE_DEGREES else None


def _passages(graph: VesselGraph, stubs: dict[int, list[Stub]]):
    """Yield `(cost, bridge, pairs, point)` for every bridge between two nodes over which two vessels run straight on.

    `point` is where they cross; `None` where they only touch. The skeleton of two vessels that cross at the angle a
    shares a piece no longer than (w1 + w2) / sin(a), the diagonal of the area that they share; a gap of a pixel less
    than that is closed by the drawing.
    """
    for number, bridge in graph.branches.items():
        first, second = bridge.nodes
        if first is None or second is None or first == second:
            continue
        near = [stub for stub in stubs[first] if stub.key[0] != number]
        far = [stub for stub in stubs[second] if stub.key[0] != number]
        if len(near) != 2 or len(far) != 2 or {stub.key[0] for stub in near} & {stub.key[0] for stub in far}:
            continue
        for partners in (far, far[::-1]):
            pairs = list(zip(near, partners))
            cost = max(_bend(*pair) for pair in pairs)
            width = sum(0.5 * (one.width + other.width) for one, other in pairs)
            point, sine = _cross(*pairs)
            turn = max(_turn(*pair) for pair in pairs)
            if point is not None and turn > BENT_DEGREES:
                # That the chords cross is right, but where a vessel bends they cut its corner.
                middle = 0.5 * (graph.places[first] + graph.places[second])
                point = _meeting_point(near + far, middle, max(0.5 * bridge.length, graph.radii[first], 0.5))
            one_place = point is not None and bridge.length <= SAME_PLACE_WIDTHS * width
            if cost > STRAIGHT_DEGREES and not (one_place and turn <= OPPOSITE_DEGREES):
                continue
            if point is not None and bridge.length <= (width + 2) / max(sine, 0.2) + 2:
                yield cost, bridge, pairs, point
            elif point is None and np.median(bridge.widths) >= TOUCHING_WIDTH * width:
                yield cost, bridge, pairs, None


def _cross(one: tuple[Stub, Stub], other: tuple[Stub, Stub]) -> tuple[np.ndarray | None, float]:
    """Find where the chords of two vessels cross between their stubs, or `None`; and the sine of their angle."""
    start, step = one[0].middle, one[1].middle - one[0].middle
    other_start, other_step = other[0].middle, other[1].middle - other[0].middle
    cross = step[0] * other_step[1] - step[1] * other_step[0]
    sine = abs(cross) / max(np.linalg.norm(step) * np.linalg.norm(other_step), 1e-9)
    if sine < 1e-3:
        return None, sine
    gap = other_start - start
    along = (gap[0] * other_step[1] - gap[1] * other_step[0]) / cross
    other_along = (gap[0] * step[1] - gap[1] * step[0]) / cross
    inside = 0 <= along <= 1 and 0 <= other_along <= 1
    return (start + along * step if inside else None), sine


def _meeting_point(stubs: list[Stub], place: np.ndarray, reach: float) -> np.ndarray:
    """Find the point nearest to the lines of all stubs, by least squares, not further than `reach` from the node.

    The skeleton's own node is pulled toward the narrow side of a fork by up to half a width; the lines of the vessels
    are not.
    """
    matrix, right = 0.05 * np.eye(2), 0.05 * place
    for stub in stubs:
        across = np.eye(2) - np.outer(stub.direction, stub.direction)
        matrix, right = matrix + across, right + across @ stub.middle
    shift = np.linalg.solve(matrix, right) - place
    return place + shift * min(1.0, reach / max(float(np.linalg.norm(shift)), 1e-9))


def find_disc(graph: VesselGraph, size: tuple[int, int], field_width: float) -> tuple[np.ndarray, float]:
    """Guess the optic disc from the vessels alone: where most of their cross-section comes together.

    Args:
        graph: Center lines.
        size: Height and width of the map in pixels.
        field_width: Width of the field of view in pixels.

    Returns:
        Center (x, y) and radius in pixels.
    """
    step = max(field_width / 200, 1.0)
    load = np.zeros((int(size[0] / step) + 1, int(size[1] / step) + 1))
    for branch in graph.branches.values():
        column, row = (branch.path / step).round().astype(int).T
        inside = (row >= 0) & (row < load.shape[0]) & (column >= 0) & (column < load.shape[1])
        np.add.at(load, (row[inside], column[inside]), branch.widths[inside] ** 2)
    load = ndimage.gaussian_filter(load, DISC_OF_FIELD / 2 * field_width / step)
    row, column = np.unravel_index(np.argmax(load), load.shape)
    return np.array([column * step, row * step]), DISC_OF_FIELD * field_width


def _thin_out(candidates: list[Candidate], field_width: float, disc: tuple[np.ndarray, float]) -> list[Candidate]:
    """Keep one keypoint where several describe the same place: the one of the widest vessel.

    On the optic disc vessels overlap and leave the plane. Its forks are as good as others where they are drawn apart;
    where they are not, the skeleton of the blot has several nodes for one meeting of vessels. So neighbors are kept
    at a larger distance there.
    """
    center, radius = disc
    kept: list[Candidate] = []
    places = np.full((len(candidates), 2), np.inf)
    for candidate in sorted(candidates, key=lambda one: (-one.width, one.point[0], one.point[1])):
        apart = max(APART_OF_FIELD * field_width, APART_WIDTHS * candidate.width)
        if np.linalg.norm(candidate.point - center) < radius:
            apart = max(apart, DISC_APART_OF_FIELD * field_width)
        if (np.linalg.norm(places[: len(kept)] - candidate.point, axis=1) >= apart).all():
            places[len(kept)] = candidate.point
            kept.append(candidate)
    return sorted(kept, key=lambda one: (one.point[1], one.point[0]))


__all__ = ["Junctions", "find_disc", "find_junctions"]
