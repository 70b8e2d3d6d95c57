"""From a vessel map to a graph of center lines: nodes where vessels meet, branches between them, without spurs."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops
from skimage.morphology import skeletonize


EIGHT = np.ones((3, 3), dtype=bool)

# A side branch counts from where it leaves the wall of its parent; one that shows for less than this many of its own
# widths is roughness of the drawing, not a vessel.
SPUR_WIDTHS = 1.5
# The same in pixels, for vessels so thin that 1.5 widths would be a pixel or two.
SPUR_PIXELS = 3.0


@dataclass
class Branch:
    """A piece of center line between two nodes.

    Attributes:
        nodes: Identifiers of the nodes at its beginning and end; `None` where the vessel just ends.
        path: Points (K, 2), (x, y) in pixels of the vessel map, the places of the nodes included.
        widths: Width (K,) of the vessel at each point, in pixels.
    """

    nodes: list[int | None]
    path: np.ndarray
    widths: np.ndarray

    @property
    def length(self) -> float:
        """Length of the center line in pixels."""
        return float(np.linalg.norm(np.diff(self.path, axis=0), axis=1).sum())

    def seen_from(self, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Give path and widths in walking order from its beginning (`end` 0) or from its end (`end` 1)."""
        return (self.path, self.widths) if end == 0 else (self.path[::-1], self.widths[::-1])


@dataclass
class VesselGraph:
    """Nodes and branches of one vessel map.

    Attributes:
        places: Node identifier -> place (x, y) in pixels.
        radii: Node identifier -> distance from the node to the nearest wall, in pixels.
        branches: Branch identifier -> branch.
    """

    places: dict[int, np.ndarray] = field(default_factory=dict)
    radii: dict[int, float] = field(default_factory=dict)
    branches: dict[int, Branch] = field(default_factory=dict)

    def incidence(self) -> dict[int, list[tuple[int, int]]]:
        """List for every node the (branch identifier, end) that meet there; a branch that returns is listed twice."""
        meeting = defaultdict(list)
        for number, branch in self.branches.items():
            for end, node in enumerate(branch.nodes):
                if node is not None:
                    meeting[node].append((number, end))
        return dict(meeting)


def fill_pinholes(vessels: np.ndarray) -> np.ndarray:
    """Fill holes that are small against the vessel around them: each would make a loop and two junctions.

    The gap between parallel vessels is long, or open, and stays: a hole is filled only if its area is below a quarter
    of the squared width of the vessel at its rim.
    """
    holes, count = ndimage.label(~vessels)
    if count < 2:
        return vessels
    filled = vessels.copy()
    thickness = 2 * ndimage.distance_transform_edt(vessels)
    height, width = vessels.shape
    for region in regionprops(holes):
        top, left, bottom, right = region.bbox
        if top == 0 or left == 0 or bottom == height or right == width or region.area > 400:
            continue
        reach = int(np.ceil(np.sqrt(region.area))) + 8
        window = (slice(max(top - reach, 0), bottom + reach), slice(max(left - reach, 0), right + reach))
        if region.area <= max(2.0, 0.25 * thickness[window].max() ** 2):
            filled[region.slice] |= region.image
    return filled


def trace(vessels: np.ndarray) -> VesselGraph:
    """Thin the map to center lines and cut them into branches; nothing is pruned yet.

    Args:
        vessels: Vessel map (H, W), bool.
    """
    # A rim of background, so that a vessel that runs out of the picture has a wall there as well.
    padded = np.pad(vessels, 1)
    # Distances run to the center of the nearest background pixel; the wall lies half a pixel before it.
    distance = np.maximum(ndimage.distance_transform_edt(padded) - 0.5, 0)
    skeleton = skeletonize(padded)
    neighbors = ndimage.convolve(skeleton.astype(np.uint8), EIGHT.astype(np.uint8), mode="constant") - 1
    clusters, count = ndimage.label(skeleton & (neighbors >= 3), structure=EIGHT)
    graph = VesselGraph()
    rows, columns = np.nonzero(clusters)
    numbers = clusters[rows, columns]
    radii = np.zeros(count + 1)
    np.maximum.at(radii, numbers, distance[rows, columns])
    sizes = np.maximum(np.bincount(numbers, minlength=count + 1), 1)
    x = np.bincount(numbers, columns, minlength=count + 1) / sizes
    y = np.bincount(numbers, rows, minlength=count + 1) / sizes
    for number in range(1, count + 1):
        graph.places[number] = np.array([x[number] - 1.0, y[number] - 1.0])
        graph.radii[number] = float(radii[number])

    # What is left without the clusters has at most two neighbors a pixel: simple paths, and rings without a junction.
    remaining = skeleton & (clusters == 0)
    loose = {(int(y), int(x)) for y, x in np.argwhere(remaining)}
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def around(pixel):
        return [(pixel[0] + dy, pixel[1] + dx) for dy, dx in steps]

    number = 0
    for start in sorted(loose):
        if start not in loose or sum(pixel in loose for pixel in around(start)) > 1:
            continue
        pixels = [start]
        loose.remove(start)
        while following := [pixel for pixel in around(pixels[-1]) if pixel in loose]:
            pixels.append(following[0])
            loose.remove(following[0])
        nodes = [_attached(clusters, pixels[0], around), _attached(clusters, pixels[-1], around)]
        if len(pixels) == 1:
            both = sorted({int(clusters[pixel]) for pixel in around(start)} - {0})
            nodes = [both[0] if both else None, both[1] if len(both) > 1 else None]
        path = np.array(pixels, dtype=np.float64)[:, ::-1] - 1.0
        widths = np.array([2 * distance[pixel] for pixel in pixels])
        branch = Branch([None, None], path, widths)
        for end, node in enumerate(nodes):
            if node is not None:
                _tie(branch, end, node, graph)
        number += 1
        graph.branches[number] = branch
    return graph


def _attached(clusters: np.ndarray, pixel: tuple[int, int], around) -> int | None:
    """Give the node that the last pixel of a path touches, if any."""
    touching = sorted(int(clusters[place]) for place in around(pixel) if clusters[place])
    return touching[0] if touching else None


def _tie(branch: Branch, end: int, node: int, graph: VesselGraph) -> None:
    """Let a branch begin (`end` 0) or end (1) in the center of a node."""
    place, width = graph.places[node][None], np.array([2 * graph.radii[node]])
    order = 1 if end == 0 else -1
    branch.path = np.concatenate([place, branch.path][::order])
    branch.widths = np.concatenate([width, branch.widths][::order])
    branch.nodes[end] = node


def visible_length(branch: Branch, end: int, radius: float) -> float:
    """Measure a branch beyond the wall of the vessel that it leaves, its rounded tip included, in pixels."""
    tip = branch.seen_from(end)[1][-1] / 2
    return branch.length - radius + tip


def prune(graph: VesselGraph) -> VesselGraph:
    """Remove spurs, shortest first, and join what then simply runs on; in place, and returned.

    A spur is a branch that ends freely and shows for less than `SPUR_WIDTHS` of its own widths, or `SPUR_PIXELS`,
    beyond the wall of the vessel it leaves. One spur a node and round: where the end of a vessel splits in two short
    prongs, the longer one is the vessel.
    """
    dissolve(graph)
    while True:
        spurs = {}
        for number, branch in graph.branches.items():
            if (branch.nodes[0] is None) == (branch.nodes[1] is None):
                continue
            end = 0 if branch.nodes[0] is not None else 1
            node = branch.nodes[end]
            visible = visible_length(branch, end, graph.radii[node])
            width = float(np.median(branch.widths[1:-1])) if len(branch.widths) > 2 else float(branch.widths.min())
            if visible < max(SPUR_WIDTHS * width, SPUR_PIXELS) and visible < spurs.get(node, (np.inf, 0))[0]:
                spurs[node] = (visible, number)
        if not spurs:
            return graph
        for _, number in spurs.values():
            del graph.branches[number]
        dissolve(graph)


def dissolve(graph: VesselGraph) -> None:
    """Remove nodes where fewer than three branches meet: two branches become one, one ends freely; in place."""
    meeting = graph.incidence()

    def rename(node: int | None, old: tuple[int, int], new: tuple[int, int]) -> None:
        if node is not None:
            meeting[node] = [new if end == old else end for end in meeting[node]]

    for node in sorted(graph.places):
        ends = meeting.get(node, [])
        if len(ends) >= 3:
            continue
        if len(ends) == 2 and ends[0][0] != ends[1][0]:
            (first, first_end), (second, second_end) = ends
            one, two = graph.branches[first], graph.branches.pop(second)
            path, widths = one.seen_from(1 - first_end)
            more_path, more_widths = two.seen_from(second_end)
            origin, target = one.nodes[1 - first_end], two.nodes[1 - second_end]
            graph.branches[first] = Branch(
                [origin, target], np.concatenate([path, more_path[1:]]), np.concatenate([widths, more_widths[1:]])
            )
            rename(origin, (first, 1 - first_end), (first, 0))
            rename(target, (second, 1 - second_end), (first, 1))
        else:
            for number, end in ends:
                graph.branches[number].nodes[end] = None
        del graph.places[node], graph.radii[node]


def vessel_graph(vessels: np.ndarray) -> VesselGraph:
    """Turn a vessel map into a graph of center lines without spurs.

    Args:
        vessels: Vessel map (H, W), bool.
    """
    return prune(trace(fill_pinholes(vessels)))


__all__ = ["Branch", "VesselGraph", "dissolve", "fill_pinholes", "prune", "trace", "vessel_graph"]
