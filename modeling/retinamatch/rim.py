"""The rim of a round field of view on a surround of any color or texture.

Regions that part from what surrounds them by color (`field_region`) and edges give hypotheses: two places and the
directions in which the color changes there fix a circle, or an ellipse of given shape. What speaks for a hypothesis is
how many edges lie along it, against how often edges lie like that by chance in the same picture, and how well it parts
the colors (mutual information of color and side): a printed page, skin or cloth around the retina needs no model of its
own. Hypotheses are moved to where the color changes along their radii, and cut where straight edges cut the field. A
rim inside the rim, as that of a lens or a frame around the field, is the one of the field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .field_region import find_regions, resized
from .rim_evidence import CELL, LEAST_ARC, Colors, Edges


_SIDE = 256  # pixels of the longer side of the copy on which hypotheses are tried
_PAIRS, _CIRCLES = 12000, 1200  # drawn, and kept for each shape
_SMALLEST = 0.2  # least radius in shorter sides of the picture: an optic disc is smaller
_TRIED = 4  # hypotheses that are refined
_LEAST, _SURE = 0.45, 0.8  # share of the visible rim that has to hold; and to look no further
_LEAST_ARC, _LEAST_ON_ARC = 0.25, 0.85  # of the circumference; the share that has to hold along less than that
_LEAST_EVIDENCE = 30.0
_RAYS = 360
_ACROSS = np.array([-4, -3, -2, -1, 1, 2, 3, 4])  # steps across a rim
_OUTLINED = 0.6  # share of an outline of another shape that has to have an edge along it
_NESTED_SHARE = 0.6  # share of the visible rim that has to hold inside another rim
_CUT = 0.7  # share of a straight cut along which there has to be an edge
# Share of the rim with an edge, times how sharp the step is, times how far apart the colors are: nearly all rims have
# more, ellipses in photographs without a surround .75 at most.
_CLEAR = 1.3
# Regions say less than ellipses: in photographs without a surround some have 2.7.
_CLEAR_REGION, _LEAST_REGION, _CONVEX = 3.0, 0.1, 0.92  # the second of the picture, the third of the convex hull
_OPEN = 0.6  # share of an outline that does not lie on the edge of the picture

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixel edges


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in pixels: the unit circle, stretched and turned by `frame`, then moved to `center`.

    Attributes:
        center: (2,) float.
        frame: (2, 2) float.
    """

    center: np.ndarray
    frame: np.ndarray

    @property
    def radius(self) -> float:
        """Radius of the circle of the same area."""
        return float(np.sqrt(abs(np.linalg.det(self.frame))))

    def points(self, unit: np.ndarray) -> np.ndarray:
        """Bring (..., 2) points from the unit circle to pixels."""
        return unit @ self.frame.T + self.center

    def unit(self, points: np.ndarray) -> np.ndarray:
        """Bring (..., 2) pixels to where the ellipse is the unit circle."""
        return (points - self.center) @ np.linalg.inv(self.frame).T

    def apart(self, other: "Ellipse") -> float:
        """Greatest difference of places and half axes, in radii."""
        return max(np.abs(self.center - other.center).max(), np.abs(self.frame - other.frame).max()) / self.radius

    def scaled(self, steps: np.ndarray) -> "Ellipse":
        """Bring it to a picture whose sides are (x, y) `steps` times as long."""
        return Ellipse((self.center + 0.5) * steps - 0.5, self.frame * np.asarray(steps)[:, None])


@dataclass(frozen=True)
class Rim:
    """A field of view: an ellipse that the picture or straight edges may cut.

    Attributes:
        ellipse: In pixels.
        box: (x0, y0, x1, y1) in pixel edges, what is visible of it.
        evidence: How much speaks for it.
        share: Share of its visible rim along which there is an edge.
        visible: Share of the rim that is visible.
    """

    ellipse: Ellipse
    box: Box
    evidence: float
    share: float
    visible: float

    def holds(self, least_share: float) -> bool:
        """Tell whether there is an edge along enough of it: along nearly all, where only an arc is visible."""
        return self.share > (least_share if self.share * self.visible > _LEAST_ARC else _LEAST_ON_ARC)

    def lies_in(self, other: "Rim") -> bool:
        """Tell whether it lies in another rim, and is large enough to be more than a part of what that shows."""
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        points = self.ellipse.points(np.stack([np.cos(angles), np.sin(angles)], 1))
        x0, y0, x1, y1 = self.box
        seen = points[(points > [x0, y0]).all(1) & (points < [x1, y1]).all(1)]
        inside = (np.hypot(*other.ellipse.unit(seen).T) < 1).mean() > 0.95 if len(seen) else False
        return bool(inside and 0.4 * other.ellipse.radius < self.ellipse.radius < 0.985 * other.ellipse.radius)


def find_rim(picture: np.ndarray, guesses: Sequence[np.ndarray] = ()) -> tuple[Rim | None, np.ndarray | None]:
    """Find the ellipse that best parts a round field of view from whatever surrounds it.

    Args:
        picture: (height, width, 3) uint8, or (height, width) gray.
        guesses: (height, width) bool, what may stand out from the surround.

    Returns:
        The rim in pixels of the picture, None when no rim holds along most of what would be visible of it; and the
        (height, width) bool region that shows the field: with a rim, what of it a notch or a slanting cut leaves; else
        a field of another shape. None when there is nothing to say.
    """
    height, width = picture.shape[:2]
    if picture.ndim == 3 and np.ptp(picture[::4, ::4].astype(np.int16), 2).mean() < 2:
        picture = np.ascontiguousarray(picture[..., 1])  # gray levels tell more than three equal channels
    copy = _Copy(picture)
    size = copy.small.shape[1::-1]
    ellipses = [one for squeezes in ((1.0,), (0.87, 0.75)) for one in _hypotheses(copy.edges, copy.colors, squeezes)]
    rough = [resized(guess, size) for guess in guesses] + [_drawn(one, copy.small.shape) for one in ellipses]
    regions = find_regions(copy.small, rough)
    rims = [rim for region in regions for rim in copy.rims_around(region)]
    rim = copy.best(rims)
    if rim is None or rim.share * rim.visible < _SURE / 2 or not rim.holds(_SURE):
        rim = copy.best(rims + [rim for ellipse in ellipses for rim in copy.rims(ellipse)])
    while rim is not None:  # a rim may be that of a lens or a frame around the field
        ellipse = rim.ellipse.scaled(1 / copy.steps)
        within = _drawn(ellipse, copy.small.shape, 0.97) & _filled_box(
            rim.box / np.tile(copy.steps, 2), copy.small.shape, 2
        )
        rough = [within & _drawn(ellipse, copy.small.shape, reach) for reach in (0.85, 0.65)]
        inner = find_regions(copy.small, rough, within)
        nested = [one for region in inner for one in copy.rims_around(region) if one.lies_in(rim)]
        closer = copy.best(nested, _NESTED_SHARE)
        if closer is None:
            break
        rim, regions = closer, inner
    if rim is None:
        region = next((region for region in regions if copy.stands_out(region)), None)
    else:
        region = copy.remains(rim, regions)
    return rim, None if region is None else resized(region, (width, height))


class _Copy:
    """A picture and what its small copy says about it.

    Attributes:
        smooth: The picture without its finest noise.
        small: The copy.
        steps: (2,) how many times as long the sides of the picture are.
        edges: Of the copy.
        colors: Of the copy.
    """

    def __init__(self, picture: np.ndarray):
        height, width = picture.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        self.steps = np.array([width / size[0], height / size[1]])
        self.small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self.smooth = cv2.GaussianBlur(picture, (0, 0), 1.0)
        self.colors, self.edges = Colors(self.small), Edges(self.small)
        self._classes = self.colors.classes(self.smooth)
        self._colored = self.smooth.astype(np.float32)

    def best(self, rims: list[Rim], least_share: float = _LEAST) -> Rim | None:
        """Give the rim for which most speaks and at which the picture changes, polished."""
        chosen: list[Rim] = []
        for rim in sorted(rims, key=lambda rim: -rim.evidence):
            if rim.holds(least_share) and all(rim.ellipse.apart(other.ellipse) > 0.02 for other in chosen):
                chosen.append(rim)
                polished = _polish(self.smooth, rim)
                if rim.share * _clearness(self.smooth, _across_rim(polished), polished.box) > _CLEAR:
                    return polished
            if len(chosen) == _TRIED:
                break
        return None

    def rims_around(self, region: np.ndarray) -> list[Rim]:
        """Find rims along the outline of a region."""
        box, outline = _around(region), Edges(region.astype(np.uint8) * 255)
        rims: list[Rim] = []
        for squeezes in ((1.0,), (0.87, 0.75)):
            for ellipse in _hypotheses(outline, self.colors, squeezes, box)[:2]:
                rims += self.rims(ellipse, box)
            if any(rim.holds(_SURE) for rim in rims):
                break
        return rims

    def stands_out(self, region: np.ndarray) -> bool:
        """Tell whether a region is a field of another shape: convex, and it ends where the picture changes."""
        height, width = region.shape
        outline, normals = _outline(region)
        hull = cv2.contourArea(cv2.convexHull(outline.astype(np.int32)))
        if region.mean() < _LEAST_REGION or region.sum() < _CONVEX * hull:
            return False
        x, y = outline.T
        seen = (x > 3) & (y > 3) & (x < width - 4) & (y < height - 4)
        share = self.edges.share_at(outline[seen], normals[seen]) if seen.sum() > _OPEN * len(outline) else 0.0
        if share < _OUTLINED:
            return False
        reach = np.sqrt(region.sum() / np.pi) * self.steps.mean()
        middle = (outline + 0.5) * self.steps - 0.5
        places = middle[:, None] + normals[:, None] * (max(0.02 * reach, 1.5) * _ACROSS)[:, None]
        return share * _clearness(self.smooth, places, (0.0, 0.0, *self.smooth.shape[1::-1])) > _CLEAR_REGION

    def remains(self, rim: Rim, regions: list[np.ndarray]) -> np.ndarray | None:
        """Give what remains of the field where a notch or a slanting cut takes from it; None when nothing does."""
        size = self.small.shape[:2]
        field = _drawn(rim.ellipse.scaled(1 / self.steps), size) & _filled_box(rim.box / np.tile(self.steps, 2), size)
        overlaps = [(region & field).sum() / max((region | field).sum(), 1) for region in regions]
        if not overlaps or max(overlaps) < 0.6:
            return None
        region = regions[int(np.argmax(overlaps))]
        radius = rim.ellipse.radius / self.steps.mean()
        side = 2 * max(1, round(0.02 * radius)) + 1
        taken = cv2.morphologyEx((field & ~region).astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
        rest = cv2.erode(field.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
        count, labels = cv2.connectedComponents(taken)
        lost = np.zeros(size, bool)
        for label in range(1, count):
            part = labels == label
            if not (part & ~rest).any():
                continue
            outline, normals = _outline(part)
            x, y = outline.astype(int).T
            within = rest[y, x]
            if within.sum() > 8 and self.edges.share_at(outline[within], normals[within]) > _OUTLINED:
                lost |= part
        return field & ~lost if lost.any() else None

    def rims(self, ellipse: Ellipse, box: Box | None = None) -> list[Rim]:
        """Settle an ellipse of the copy, as a circle or oval of its own shape and with a free one, and weigh both."""
        height, width = self.smooth.shape[:2]
        found = []
        for shape in (False, True):
            settled = self._settled(ellipse, box or (0.0, 0.0, *self.small.shape[1::-1]), shape)
            if settled is None and box is not None and not shape:
                settled = ellipse.scaled(self.steps)  # the outline that it came from says as much
            if settled is None or not _is_possible(settled, (height, width)):
                continue
            rim = _judge(self.edges, self.colors, settled.scaled(1 / self.steps), box)
            if rim.evidence > _LEAST_EVIDENCE:
                edges = np.array(rim.box) * [*self.steps, *self.steps]
                # A free shape has to say more than a given one.
                found.append(
                    Rim(settled, tuple(edges.tolist()), rim.evidence / (1.05 if shape else 1), rim.share, rim.visible)
                )
        return found

    def _settled(self, ellipse: Ellipse, box: Box, shape: bool) -> Ellipse | None:
        """Move an ellipse to where the color changes along its radii, within a wide band, then within narrow ones."""
        x0, y0, x1, y1 = np.array(box) * [*self.steps, *self.steps]
        ellipse = ellipse.scaled(self.steps)
        for reach in (0.1, 0.06):
            distance = np.hypot(*ellipse.scaled(1 / self.steps).unit(self.colors.points).T)
            ratio = self.colors.ratio(distance, box)[self._classes].astype(np.float32)
            steps = _steps_of_color(ratio, ellipse, reach, (x0, y0, x1, y1), ratio=True)
            followed = _follow(ellipse, *steps, reach, shape)
            if followed is None:
                return None
            ellipse = followed
        return _follow(ellipse, *_steps_of_color(self._colored, ellipse, 0.04, (x0, y0, x1, y1)), 0.04, shape)


def _drawn(ellipse: Ellipse, shape: tuple[int, ...], reach: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (ellipse.unit(np.stack([x, y], -1)) ** 2).sum(2) < reach**2


def _filled_box(box: Sequence[float] | np.ndarray, shape: tuple[int, ...], margin: float = 0.0) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    x0, y0, x1, y1 = box
    inside = (x + 0.5 > x0 + margin * (x0 > 0)) & (x + 0.5 < x1 - margin * (x1 < shape[1]))
    return inside & (y + 0.5 > y0 + margin * (y0 > 0)) & (y + 0.5 < y1 - margin * (y1 < shape[0]))


def _outline(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) outline of a region in pixels, a little smoothed, and (N, 2) normals that point out of it."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(contours, key=len)[:, 0].astype(np.float64)
    smooth = sum(np.roll(points, shift, 0) for shift in range(-3, 4)) / 7
    along = np.roll(smooth, -2, 0) - np.roll(smooth, 2, 0)
    normals = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
    return points, normals  # contours run so that the region lies to the right of the way


def _around(region: np.ndarray) -> Box:
    """Give the upright box around a region, in pixel edges."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _is_possible(ellipse: Ellipse, shape: tuple[int, ...]) -> bool:
    height, width = shape[:2]
    axes = np.linalg.svd(ellipse.frame, compute_uv=False)
    inside = (ellipse.center > [-0.1 * width, -0.1 * height]) & (ellipse.center < [1.1 * width, 1.1 * height])
    large = _SMALLEST * min(height, width) < ellipse.radius < 1.2 * max(height, width)
    return bool(inside.all() and large and axes[1] > 0.6 * axes[0])


def _hypotheses(edges: Edges, colors: Colors, squeezes: tuple[float, ...], box: Box | None = None) -> list[Ellipse]:
    """Find the ellipses that most edges follow and that, cut by a box, part the colors best."""
    if len(edges.points) < 50:
        return []
    tried = []
    for squeeze in squeezes:
        for turn in np.arange(1 if squeeze == 1 else 4) * np.pi / 4:
            axis = np.array([np.cos(turn), np.sin(turn)])
            # Across `axis` everything is `squeeze` times as long.
            tried.append(_through_pairs(edges, squeeze * np.eye(2) + (1 - squeeze) * np.outer(axis, axis)))
    centers, frames = (np.concatenate(part) for part in zip(*tried))
    evidence = edges.weigh(centers, frames, box)[0]
    order = np.argsort(-evidence)[:150]
    centers, frames, evidence = centers[order], frames[order], evidence[order]
    unit = (colors.points - centers[:, None]) @ np.linalg.inv(frames).transpose(0, 2, 1)
    x0, y0, x1, y1 = box or (0, 0, np.inf, np.inf)
    within = (colors.points > [x0 - 1, y0 - 1]).all(1) & (colors.points < [x1, y1]).all(1)
    evidence += colors.parted(((unit**2).sum(2) < 1) & within)
    chosen: list[Ellipse] = []
    for k in np.argsort(-evidence):
        near = (
            np.abs(centers[k] - c.center).max() + np.abs(frames[k] - c.frame).max() < 0.06 * c.radius for c in chosen
        )
        if not any(near):
            chosen.append(Ellipse(centers[k], frames[k]))
        if len(chosen) == _TRIED:
            break
    return chosen


def _through_pairs(edges: Edges, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses of one shape through pairs of edges that both follow them: (N, 2) centers and (N, 2, 2) frames."""
    height, width = edges.along.shape[1:]
    points = edges.points @ np.linalg.inv(frame).T  # in coordinates in which the ellipse is a circle
    normals = edges.normals @ frame
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    draws = np.random.default_rng(0).integers(0, len(points), (_PAIRS, 2))
    (a, b), (na, nb) = points[draws].transpose(1, 0, 2), normals[draws].transpose(1, 0, 2)
    chord = b - a
    across = (chord * na).sum(1)
    apart = np.abs(across) > 1e-6
    reach = (chord**2).sum(1) / np.where(apart, 2 * across, 1)  # along the first normal to the center
    centers, radii = a + reach[:, None] * na, np.abs(reach)
    radial = np.abs(((b - centers) * nb).sum(1)) > np.cos(np.radians(10)) * radii
    middles = centers @ frame.T
    usable = apart & radial & (radii > _SMALLEST * min(height, width)) & (radii < 1.2 * max(height, width))
    usable &= (middles > [-0.1 * width, -0.1 * height]).all(1) & (middles < [1.1 * width, 1.1 * height]).all(1)
    middles, radii = middles[usable][:_CIRCLES], radii[usable][:_CIRCLES]
    return middles, radii[:, None, None] * frame


def _judge(edges: Edges, colors: Colors, ellipse: Ellipse, around: Box | None = None) -> Rim:
    """Cut an ellipse where straight edges cut the field, and weigh what speaks for it, on the small copy.

    Args:
        edges: Of the copy.
        colors: Of the copy.
        ellipse: In pixels of the copy.
        around: Where it may be cut: the box of the region that it comes from. None where the colors say so.
    """
    height, width = edges.along.shape[1:]
    whole = (0.0, 0.0, float(width), float(height))
    inside = (ellipse.unit(colors.points) ** 2).sum(1) < 1
    edges_of_box: Sequence[float] = around or ()
    if around is None:
        ends = (0, 0, colors.columns, colors.rows)
        edges_of_box = [w if cell == end else cell * CELL for cell, end, w in zip(colors.cut(inside), ends, whole)]
    drawn = _drawn(ellipse, (height, width))
    x0, y0, x1, y1 = (
        edge if abs(edge - end) > CELL and edges.share_on_line(k % 2, edge, drawn) > _CUT else end
        for k, (edge, end) in enumerate(zip(edges_of_box, whole))
    )
    inside &= (colors.points >= [x0, y0]).all(1) & (colors.points < [x1, y1]).all(1)
    evidence, share, visible = edges.weigh(ellipse.center[None], ellipse.frame[None], (x0, y0, x1, y1))
    evidence = evidence + colors.parted(inside[None])
    return Rim(ellipse, (x0, y0, x1, y1), float(evidence[0]), float(share[0]), float(visible[0]))


def _follow(ellipse: Ellipse, angles: np.ndarray, offsets: np.ndarray, reach: float, shape: bool) -> Ellipse | None:
    """Fit an ellipse to what was found along its radii, with robust weights; None when that is too little."""
    if len(angles) < _RAYS * (0.33 if shape else LEAST_ARC):
        return None
    terms = [np.ones_like(angles), np.cos(angles), np.sin(angles)]
    if shape:
        terms += [np.cos(2 * angles), np.sin(2 * angles)]
    design = np.stack(terms, 1)
    change = np.zeros(len(terms))
    change[0] = np.median(offsets)
    for _ in range(10):
        rest = offsets - design @ change
        scale = np.clip(1.4826 * float(np.median(np.abs(rest))), 0.2 / ellipse.radius, reach / 4)
        weights = np.clip(1 - np.square(rest / (4 * scale)), 0, None)  # root of Tukey's
        if np.count_nonzero(weights) < 30:
            return None
        change = np.linalg.lstsq(design * weights[:, None], offsets * weights, rcond=None)[0]
    grow, right, down, along, askew = np.pad(change, (0, 5 - len(change)))
    stretch = np.array([[1 + grow + along, askew], [askew, 1 + grow - along]])
    return Ellipse(ellipse.points(np.array([right, down])), ellipse.frame @ stretch)


def _polish(picture: np.ndarray, rim: Rim) -> Rim:
    """Fit the rim where nothing cuts it, and the cuts where it is known; a circle where one does."""
    colors = picture.astype(np.float32)
    for reach in (0.05, 0.03, 0.02):
        box = _cuts(colors, rim)
        angles, offsets = _steps_of_color(colors, rim.ellipse, reach, box)
        ellipse = _follow(rim.ellipse, angles, offsets, reach, True)
        if ellipse is None:
            ellipse = _follow(rim.ellipse, angles, offsets, reach, False) or rim.ellipse
        points = rim.ellipse.points(np.stack([np.cos(angles), np.sin(angles)], 1) * (1 + offsets)[:, None])
        points = points[np.abs(np.hypot(*ellipse.unit(points).T) - 1) < 0.01]
        if len(points) > 30:
            x, y, radius = fit_circle(points)
            if np.median(np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)) < 0.004 * radius:
                ellipse = Ellipse(np.array([x, y]), radius * np.eye(2))
        rim = Rim(ellipse, box, rim.evidence, rim.share, rim.visible)
    return rim


def fit_circle(points: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float, float]:
    """Fit a circle to (N, 2) points by algebraic least squares (Kasa): x, y, radius."""
    origin = points.mean(0)
    x, y = (points - origin).T
    root = np.ones(len(points)) if weights is None else np.sqrt(weights)
    design = np.stack([x, y, np.ones_like(x)], 1) * root[:, None]
    (a, b, c), *_ = np.linalg.lstsq(design, (x**2 + y**2) * root, rcond=None)
    return float(a / 2 + origin[0]), float(b / 2 + origin[1]), float(np.sqrt(max(c + (a**2 + b**2) / 4, 0.0)))


def _across_rim(rim: Rim) -> np.ndarray:
    """(rays, 8, 2) places across a rim, from the inside to the outside."""
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    unit = np.stack([np.cos(angles), np.sin(angles)], 1)
    return rim.ellipse.points(unit[:, None] * (1 + max(0.02, 1.5 / rim.ellipse.radius) * _ACROSS)[:, None])


def _clearness(picture: np.ndarray, places: np.ndarray, box: Box) -> float:
    """Measure how far the colors on both sides differ, and whether they change at the rim and not on the way to it.

    Shadows and the fading light of a photograph without a surround pass for a rim by everything else.

    Args:
        picture: (height, width, 3) uint8, or gray.
        places: (N, 8, 2), half of them inside the rim and half of them outside.
        box: What is visible, in pixel edges.
    """
    x0, y0, x1, y1 = box
    places = places.astype(np.float32)
    places = np.ascontiguousarray(places[((places > [x0, y0]) & (places < [x1 - 1, y1 - 1])).all((1, 2))])
    if len(places) < 20:
        return 0.0
    colors = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR).astype(np.float32)
    colors = colors.reshape(*places.shape[:2], -1)
    whole, step = colors[:, 0] - colors[:, -1], colors[:, 3] - colors[:, 4]
    sharp = np.median((whole * step).sum(1) / np.maximum((whole**2).sum(1), 30.0))
    apart = []  # Mahalanobis distance of the outer colors from the inner ones, part by part
    for part in np.array_split(colors, min(24, len(colors) // 4)):
        inner, outer = part[:, :4].reshape(-1, part.shape[2]), part[:, 4:].reshape(-1, part.shape[2])
        spread = np.atleast_2d(np.cov(inner.T)) + 4 * np.eye(part.shape[2])  # the surround may have any texture
        between = inner.mean(0) - outer.mean(0)
        apart.append(np.sqrt(between @ np.linalg.solve(spread, between)))
    return float(np.clip(sharp, 0, 1) * np.sqrt(np.median(apart) * np.percentile(apart, 25)))


def settle_box(picture: np.ndarray, box: Box) -> Box:
    """Move the sides of a rectangular field of view, in pixel edges, to where the color changes across them."""
    x0, y0, x1, y1 = box
    around = Ellipse(np.array([x0 + x1 - 1, y0 + y1 - 1]) / 2, 0.65 * np.diag([x1 - x0, y1 - y0]))
    return _cuts(picture.astype(np.float32), Rim(around, box, 0.0, 1.0, 1.0))


def _cuts(picture: np.ndarray, rim: Rim) -> Box:
    """Move the straight cuts of a field of view to where the color changes across them, in pixel edges."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    inside = (rim.ellipse.unit(np.stack([x, y], -1)) ** 2).sum(2) < 0.94
    box, around = list(rim.box), max(5, round(0.04 * rim.ellipse.radius))
    for k, (axis, size) in enumerate(((1, width), (0, height), (1, width), (0, height))):
        if not 2 < box[k] < size - 2:
            continue
        first, last = max(0, round(box[k]) - around), min(size, round(box[k]) + around)
        strip, member = (
            (picture[first:last], inside[first:last])
            if axis == 0
            else (picture[:, first:last].swapaxes(0, 1), inside[:, first:last].T)
        )
        count = member.sum(1)
        if not (count > 4).all():
            continue
        lines = (strip * member[..., None] if strip.ndim == 3 else (strip * member)[..., None]).sum(1) / count[:, None]
        sums, number = np.cumsum(lines, 0), np.arange(1, len(lines))[:, None]
        apart = sums[:-1] / number - (sums[-1] - sums[:-1]) / (len(lines) - number)
        gain = number[:, 0] * (len(lines) - number[:, 0]) * (apart**2).sum(1)
        box[k] = float(first + 1 + gain.argmax())
    return box[0], box[1], box[2], box[3]


def _steps_of_color(
    picture: np.ndarray, ellipse: Ellipse, reach: float, box: Box, ratio: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Where along each radius two colors explain the picture best.

    Args:
        picture: (height, width, 3) float32, or gray, or (height, width) the log ratio of inner and outer colors.
        ellipse: Its radii are followed.
        reach: Of the search to either side, in radii.
        box: (x0, y0, x1, y1) in pixel edges; radii that leave it are not followed.
        ratio: The picture is a log ratio.

    Returns:
        (N,) angles of the radii that lie inside the box and show a step, and (N,) offsets from the ellipse in radii.
    """
    x0, y0, x1, y1 = box
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    offsets = np.linspace(-reach, reach, 61)
    unit = np.stack([np.cos(angles), np.sin(angles)], 1)
    places = ellipse.points(unit[:, None] * (1 + offsets)[None, :, None]).astype(np.float32)
    inside = ((places > 0) & (places < [picture.shape[1] - 1, picture.shape[0] - 1])).all((1, 2))
    middle, margin = ellipse.points(unit), min(0.02 * ellipse.radius, 4.0)
    inside &= ((middle > [x0 + margin, y0 + margin]) & (middle < [x1 - 1 - margin, y1 - 1 - margin])).all(1)
    angles, places = angles[inside], np.ascontiguousarray(places[inside])
    if not len(angles):
        return angles, angles
    colors = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colors = colors.reshape(len(angles), len(offsets), -1)
    sums = np.cumsum(colors, 1, dtype=np.float64)
    if ratio:
        gain = sums[:, :-1, 0]
    else:
        count = np.arange(1, len(offsets))[None, :, None]
        inner, outer = sums[:, :-1] / count, (sums[:, -1:] - sums[:, :-1]) / (len(offsets) - count)
        gain = (count[..., 0] * (len(offsets) - count[..., 0])) * ((inner - outer) ** 2).sum(2)
    least = 5  # places on either side
    split = gain[:, least - 1 : 1 - least].argmax(1) + least - 1
    best = gain[np.arange(len(gain)), split]
    clear = best > 0.1 * np.percentile(best, 75)  # radii that cross no rim show none
    return angles[clear], ((offsets[split] + offsets[split + 1]) / 2)[clear]


def contrast_to_surround(picture: np.ndarray) -> np.ndarray:
    """How far every pixel is from the color that the surround would have there.

    The surround is what most of the picture's border looks like; its color may change slowly over the picture.

    Args:
        picture: (height, width, 3) uint8, or (height, width) gray.

    Returns:
        (height, width) float32 in gray levels, small on a smooth surround.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = (np.ones_like(x), x, y, x * x, x * y, y * y)
    side = max(4, min(height, width) // 32)
    border = np.ones((height, width), bool)
    border[side:-side, side:-side] = False
    border = np.flatnonzero(border)[:: max(1, border.sum() // 2000)]
    channels = cv2.split(picture)
    places = np.stack([term.ravel()[border] for term in terms], 1)
    samples = np.stack([channel.ravel()[border] for channel in channels], 1).astype(np.float32)
    # From the color that most of the border shares, the surround grows to where a smooth change leads.
    some = samples[::10]
    like = (np.abs(samples[:, None] - some).max(2) < 12).sum(0)
    apart = np.abs(samples - some[like.argmax()]).max(1)
    for count in (1, 3, 3, 3, 3, 6, 6, 6, 6):
        near = apart < 20
        model = np.linalg.lstsq(places[near, :count], samples[near], rcond=None)[0]
        apart = np.abs(samples - places[:, :count] @ model).max(1)
    contrast = np.zeros((height, width), np.float32)
    for channel, weights in zip(channels, model.T):
        expected = sum(float(weight) * term for weight, term in zip(weights, terms))
        contrast = np.maximum(contrast, np.abs(channel - np.clip(expected, 0, 255)))
    return contrast


__all__ = ["Ellipse", "Rim", "contrast_to_surround", "find_rim", "fit_circle", "settle_box"]
