"""Retinal vessel trees grown on a chart of the retina.

The chart is flat, in degrees of visual angle, y downwards, the fovea at the origin. Main vessels leave the optic disc
along drawn curves; the rest grows by space colonisation (Runions et al., "Modeling trees with a space colonization
algorithm", 2007), coarse branches first. Widths follow Murray's law from the tips down to the disc.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree


STEP = 0.5  # degrees between the nodes of a growing tree
SAMPLING = 0.15  # degrees between the points of a finished center line
RETINA_RADIUS = 52.0  # degrees around the fovea that carry vessels


@dataclass
class Vessel:
    """A center line from its origin on a parent (or in the disc) to its tip.

    Attributes:
        points: (N, 2) chart coordinates in degrees.
        widths: (N,) diameters in degrees.
        artery: Whether it belongs to the arterial tree.
        parent: Position of the parent in the list of vessels, -1 for those that rise in the disc.
    """

    points: np.ndarray
    widths: np.ndarray
    artery: bool
    parent: int


@dataclass
class TreeStyle:
    """What distinguishes the trees of one eye from those of another; lengths in degrees."""

    spacing: float = 2.4
    tortuosity: float = 0.5
    arcade: float = 12.0  # height of the temporal arcades above and below the fovea
    vein_width: float = 0.55
    artery_ratio: float = 0.78
    murray: float = 2.7


def _resample(curve: np.ndarray, step: float) -> np.ndarray:
    """Place points at equal distances `step` along a curve (N, 2)."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.arange(0, length[-1], step)
    return np.column_stack([np.interp(at, length, curve[:, axis]) for axis in range(2)])


def main_vessels(rng: np.random.Generator, disc: np.ndarray, style: TreeStyle, spread: np.ndarray) -> list[np.ndarray]:
    """Draw the four main vessels of one tree, and a few lesser ones, as curves that begin in the disc.

    The temporal arcades are like parabolas whose apex is the disc and that open around the fovea; the nasal vessels are
    nearly radial.

    Args:
        rng: Source of randomness.
        disc: (2,) center of the optic disc on the chart.
        style: Style of the eye.
        spread: (2,) factors of the opening of the upper and lower arcade: arteries and veins run side by side.

    Returns:
        Curves (N, 2) of points `STEP` degrees apart, all starting at one point near the center of the disc.
    """
    temporal = -np.sign(disc[0])
    origin = disc + rng.normal(0, 0.35, 2) - [0.5 * temporal, 0]
    curves = []
    for vertical, factor in zip((-1.0, 1.0), spread):
        opening = style.arcade * factor
        closing = rng.uniform(-0.1, 0.35)
        along = np.linspace(0, 1, 300) ** 3 * rng.uniform(28, 42)
        bow = rng.uniform(0.34, 0.52)
        height = opening * (along / 15.5) ** bow * (1 - closing * np.clip(along - 13, 0, None) / 20)
        # The arcade first leans to the nasal side, or rises straight, before it turns.
        lean = rng.uniform(-0.6, 0.9) * np.exp(-along / 2.5) * (1 - np.exp(-along / 0.3))
        curves.append(np.column_stack([temporal * (along - lean), vertical * height]))

        angle, bend = np.deg2rad(rng.uniform(38, 72)), rng.uniform(-0.5, 0.25)
        radius = np.linspace(0, rng.uniform(22, 36), 120)
        turning = angle + bend * radius / 30
        curves.append(np.column_stack([-temporal * radius * np.cos(turning), vertical * radius * np.sin(turning)]))
    for _ in range(rng.integers(2, 6)):
        angle = rng.uniform(0, 2 * np.pi)
        radius = np.linspace(0, rng.uniform(3, 9), 40)
        turning = angle + rng.uniform(-0.6, 0.6) * radius / 7
        curves.append(np.column_stack([radius * np.cos(turning), radius * np.sin(turning)]))
    finished = []
    for curve in curves:
        curve = _resample(curve, STEP)
        wander = 1.6 * gaussian_filter1d(rng.normal(0, 1, curve.shape), 8, axis=0)
        wander *= (1 - np.exp(-np.arange(len(curve)) / 12))[:, None]
        finished.append(_resample(origin + curve + wander, STEP))
    return finished


class _GrowingTree:
    """Nodes of one tree in arrays with room to grow; a parent always stands before its children.

    Attributes:
        points: (N, 2) places.
        parents: (N,) index of the parent, -1 at the root.
        tangents: (N, 2) directions of the steps that led to the nodes.
        children: (N,) number of children.
    """

    def __init__(self, curves: list[np.ndarray]):
        self.points, self.tangents = curves[0][:1].copy(), np.zeros((1, 2))
        self.parents, self.children = np.array([-1]), np.array([0])
        for curve in curves:
            parent = 0
            for point in curve[1:]:
                parent = self.add(np.array([parent]), point[None])[0]

    def add(self, parents: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Add nodes at `points` (K, 2), one below each of `parents` (K,), and return their indices (K,)."""
        steps = points - self.points[parents]
        steps = steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
        self.points, self.tangents = np.concatenate([self.points, points]), np.concatenate([self.tangents, steps])
        self.parents = np.concatenate([self.parents, parents])
        self.children = np.concatenate([self.children, np.zeros(len(points), int)])
        self.children[parents] += 1
        return np.arange(len(self.points) - len(points), len(self.points))

    def may_grow(self) -> np.ndarray:
        """List the nodes (K,) that may get a child: tips, and nodes at least three nodes away from any branching."""
        up = np.maximum(self.parents, 0)
        branching = self.children > 1
        below = np.zeros(len(up), bool)
        below[up[branching]] = True
        below[up[below]] = True
        near = branching | branching[up] | branching[up[up]] | below
        return np.flatnonzero((self.children == 0) | ~near & (self.parents >= 0))


def _feeders(tree: _GrowingTree, targets: np.ndarray, reach: float, neighbors: int) -> np.ndarray:
    """Give for every target the node that it should be fed from, -1 where none is within `reach` degrees.

    Blood flows on: a target is better fed from upstream at an acute angle than from the nearest place.
    """
    allowed = tree.may_grow()
    places, tangents = tree.points[allowed], tree.tangents[allowed]
    distance, near = cKDTree(places).query(targets, k=min(neighbors, len(allowed)), distance_upper_bound=reach)
    within = np.isfinite(distance)
    near, distance = np.where(within, near, 0), np.where(within, distance, reach)
    toward = targets[:, None] - places[near]
    cosine = np.einsum("nkd,nkd->nk", toward, tangents[near]) / np.maximum(distance, 1e-9)
    best = np.where(within, distance * (1.4 - cosine), np.inf).argmin(axis=1)
    return np.where(within.any(axis=1), allowed[near[np.arange(len(near)), best]], -1)


def _directions(tree: _GrowingTree, nodes: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """Give unit steps (K, 2) from `nodes` (K,) in the directions `toward` (K, 2), as vessels grow."""
    tangents = tree.tangents[nodes]
    onward = toward + 1.1 * tangents
    # A side branch leaves at 35 to 75 degrees, to the side where it is needed, and never backwards.
    side = np.where(tangents[:, 0] * toward[:, 1] < tangents[:, 1] * toward[:, 0], -1.0, 1.0)
    cosine = (tangents * toward).sum(axis=1) / np.maximum(np.linalg.norm(toward, axis=1), 1e-9)
    angle = side * np.clip(np.arccos(np.clip(cosine, -1, 1)), np.deg2rad(35), np.deg2rad(75))
    cos, sin = np.cos(angle), np.sin(angle)
    aside = np.column_stack([cos * tangents[:, 0] - sin * tangents[:, 1], sin * tangents[:, 0] + cos * tangents[:, 1]])
    steps = np.where(tree.children[nodes, None] == 0, onward, aside)
    return steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)


def _colonize(tree: _GrowingTree, targets: np.ndarray, spacing: float, rng: np.random.Generator) -> None:
    """Grow `tree` until vessels pass within `0.5 * spacing` of the targets (N, 2), or no longer get nearer."""
    reach, close = 4.0 * spacing, max(0.5 * spacing, 1.3 * STEP)
    targets = targets[cKDTree(tree.points).query(targets)[0] > close]
    for _ in range(int(4.5 * reach / STEP)):
        if not len(targets):
            break
        feeders = _feeders(tree, targets, reach, neighbors=int(4 + 1.6 * spacing / STEP))
        targets, feeders = targets[feeders >= 0], feeders[feeders >= 0]
        if not len(targets):
            break
        nodes, which = np.unique(feeders, return_inverse=True)
        pull = targets - tree.points[feeders]
        pull /= np.maximum(np.linalg.norm(pull, axis=1, keepdims=True), 1e-9)
        toward = np.stack([np.bincount(which, pull[:, axis], len(nodes)) for axis in range(2)], axis=1)
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
        steps = _directions(tree, nodes, toward + rng.normal(0, 0.2, toward.shape))
        # Two side branches of one vessel do not rise next to each other in one round.
        rises = tree.children[nodes] > 0
        apart = ~(rises & np.isin(tree.parents[nodes], nodes[rises]))
        nodes, steps = nodes[apart], steps[apart]
        if not len(nodes):
            break
        born = tree.add(nodes, tree.points[nodes] + STEP * steps)
        targets = targets[cKDTree(tree.points[born]).query(targets)[0] > close]


def _targets(rng: np.random.Generator, spacing: float, disc: np.ndarray, avoid: np.ndarray | None) -> np.ndarray:
    """Scatter points about `spacing` degrees apart where vessels are needed: nowhere in the fovea and the disc."""
    axis = np.arange(-RETINA_RADIUS, RETINA_RADIUS, spacing)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    points = points + rng.uniform(-0.5, 0.5, points.shape) * spacing
    # The macula is fed by many thin vessels that point at the fovea.
    angle, radius = rng.uniform(0, 2 * np.pi, 40), rng.uniform(1.3, 8, 40)
    if spacing < 4:
        points = np.concatenate([points, np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])])
    radius = np.linalg.norm(points, axis=1)
    keep = (radius < RETINA_RADIUS) & (radius > max(1.2, 0.4 * spacing)) & (np.linalg.norm(points - disc, axis=1) > 4)
    if avoid is not None:
        keep &= cKDTree(avoid).query(points)[0] > min(0.4 * spacing, 1.1)
    return points[keep]


def _flow(points: np.ndarray, parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sum the tips that every node feeds, thicker and thinner tips."""
    flow = np.zeros(len(parents))
    tip = np.ones(len(parents), bool)
    tip[parents[1:]] = False
    # Vessels of the far periphery are short of blood: else the arcades would hardly taper within a photograph.
    eccentricity = np.linalg.norm(points[tip], axis=1)
    flow[tip] = rng.uniform(0.5, 1.6, tip.sum()) * (0.25 + 0.75 * np.exp(-((eccentricity / 28) ** 4)))
    for node in range(len(parents) - 1, 0, -1):
        flow[parents[node]] += flow[node] + 0.004
    return flow


def _paths(parents: np.ndarray, flow: np.ndarray) -> list[list[int]]:
    """Split a tree into paths of nodes; at a branching, the child with most flow carries the path on."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(node)
    paths, waiting = [], [[0, child] for child in children[0]]
    while waiting:
        path = waiting.pop(0)
        while children[path[-1]]:
            onward = sorted(children[path[-1]], key=lambda child: -flow[child])
            waiting += [[path[-1], child] for child in onward[1:]]
            path.append(onward[0])
        paths.append(path)
    return paths


def _finish(tree: _GrowingTree, artery: bool, style: TreeStyle, rng: np.random.Generator, first: int) -> list[Vessel]:
    """Turn nodes into smooth, tortuous center lines with widths; side branches start exactly on their parents."""
    nodes, parents = tree.points, tree.parents
    flow = _flow(nodes, parents, rng)
    relative = (flow / flow[1:].max()) ** (1 / style.murray)
    width = relative * style.vein_width * (style.artery_ratio if artery else 1.0)
    placed, moved, owner = nodes.copy(), np.zeros_like(nodes), np.full(len(nodes), -1)
    vessels: list[Vessel] = []
    for path in _paths(parents, flow):
        rises_in_disc = path[0] == 0
        if len(path) < 4 or (owner[path[0]] < 0 and not rises_in_disc):
            continue  # a stub, or a branch of a stub
        number = np.arange(len(path))
        # The parent has moved since the nodes were placed; the branch follows at its root and forgets along its way.
        knots = nodes[path] + moved[path[0]] * np.exp(-number / 5)[:, None]
        smooth = gaussian_filter1d(knots, 1.3, axis=0, mode="nearest")
        keep = np.clip(number / 2, 0, 1)[:, None]
        knots = smooth * keep + knots * (1 - keep)
        spline = CubicSpline(number, knots)
        fine = np.linspace(0, number[-1], max(int(len(path) * STEP / SAMPLING), 6))
        points, tangent = spline(fine), spline(fine, 1)
        normal = np.column_stack([-tangent[:, 1], tangent[:, 0]]) / np.linalg.norm(tangent, axis=1, keepdims=True)
        local = np.interp(fine, number, np.r_[width[path[1]], width[path[1:]]])
        offset = np.zeros(len(fine))
        # Wide vessels wind in wide curves.
        for wavelength in rng.uniform(1.5, 6.0, 4) * (0.7 + 4 * local.max()):
            phase, strength = rng.uniform(0, 2 * np.pi), rng.exponential(0.025)
            offset += strength * wavelength * np.sin(2 * np.pi * fine * STEP / wavelength + phase)
        offset *= style.tortuosity * np.clip(fine / 4, 0, 1)
        points = points + normal * offset[:, None]
        tip = np.clip((number[-1] - fine) / 3, 0.35, 1)
        vessels.append(Vessel(points, local * tip, artery, int(owner[path[0]])))
        for axis in range(2):
            placed[path[1:], axis] = np.interp(number[1:], fine, points[:, axis])
        moved[path[1:]] = placed[path[1:]] - nodes[path[1:]]
        owner[path[1:]] = first + len(vessels) - 1
    return vessels


def grow_vessels(rng: np.random.Generator, disc: np.ndarray, style: TreeStyle) -> list[Vessel]:
    """Grow the arterial and the venous tree of one eye.

    Args:
        rng: Source of randomness.
        disc: (2,) center of the optic disc on the chart, degrees.
        style: Style of the eye.

    Returns:
        All vessels, parents before their branches.
    """
    vessels: list[Vessel] = []
    avoid = None
    apart = rng.uniform(0.04, 0.16, 2) * rng.choice([-1, 1], 2)
    for artery in (True, False):
        tree = _GrowingTree(main_vessels(rng, disc, style, 1 + apart if artery else 1 - apart))
        for factor in (4.0, 2.0, 1.0):
            spacing = factor * style.spacing
            _colonize(tree, _targets(rng, spacing, disc, avoid), spacing, rng)
        vessels += _finish(tree, artery, style, rng, first=len(vessels))
        avoid = np.concatenate([vessel.points for vessel in vessels])
    return vessels


__all__ = [
    "RETINA_RADIUS",
    "SAMPLING",
    "TreeStyle",
    "Vessel",
    "grow_vessels",
    "main_vessels",
]
