"""The rim of a round field of view on a surround of any color or texture.

Hypotheses come from pairs of edge pixels: two places and the directions in which the color changes there fix a circle,
or an ellipse of given shape. What speaks for a hypothesis is how many edges lie along it, against how often edges lie
like that by chance in the same picture, and how well it parts the colors (mutual information of color and side): a
printed page, skin or cloth around the retina needs no model of its own. The best hypotheses are moved to where the
color changes along their radii, and cut where straight edges cut the field.
"""

from dataclasses import dataclass

import cv2
import numpy as np


_SIDE = 256  # pixels of the longer side of the copy on which hypotheses are tried
_CELL = 3  # pixels of it between places that count as independent
_BINS = 12  # directions of edges, over half a turn
_LEVELS = 6  # of each channel, holding as many pixels each
_PAIRS, _CIRCLES = 12000, 1200  # drawn, and kept for each shape
_SMALLEST = 0.2  # least radius in shorter sides of the picture: an optic disc is smaller
_TRIED, _POLISHED = 4, 3  # hypotheses that are refined, and of these, that are fitted exactly
_CLEAR, _LEAST = 0.8, 0.45  # share of the visible rim that has to hold: to stop the search, and to be believed at all
_LEAST_EVIDENCE = 30.0
_ARC = 0.15  # share of the circumference that has to be visible
_RAYS = 360
# Seen on rims .3 and more, and 5.6, and 2.1 of their product, which is least on soft rims and on tiles; on the best
# ellipses in pictures without a rim .38 at most, and 4.4.
_SHARP, _APART, _SHARP_AND_APART = 0.3, 5.0, 2.1


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
    """

    ellipse: Ellipse
    box: tuple[float, float, float, float]
    evidence: float
    share: float


def find_rim(picture: np.ndarray, region: np.ndarray | None = None) -> Rim | None:
    """Find the ellipse that best parts a round field of view from whatever surrounds it.

    Args:
        picture: (height, width, 3) uint8, or (height, width) gray.
        region: (height, width) bool, what stands out from the surround, where that could be told.

    Returns:
        The rim in pixels of the picture; None when no rim holds along most of what would be visible of it.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    steps = np.array([width / size[0], height / size[1]])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    colors, edges = _Colors(small), _Edges(small)
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.0)
    tries = [(edges, (1.0,)), (edges, (0.87, 0.75))]
    if region is not None:
        outline = _Edges(cv2.resize(region.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA))
        tries.insert(0, (outline, (1.0, 0.87, 0.75)))
    polished: list[Rim] = []
    for source, squeezes in tries:
        settled: list[Rim] = []
        for hypothesis in _hypotheses(source, colors, squeezes):
            for shape in (False, True):
                ellipse = _settle(smooth, colors, hypothesis.scaled(steps), shape)
                if ellipse is not None and _is_possible(ellipse, picture.shape):
                    settled.append(_judge(edges, colors, ellipse, steps))
        # A circle that is cut and a narrower ellipse explain the same arc: which is right shows when both lie exactly.
        for rim in _distinct(sorted(settled, key=lambda rim: -rim.evidence))[:_POLISHED]:
            exact = _polish(smooth, rim)
            polished.append(_judge(edges, colors, exact.ellipse, steps, exact.box))
        best = max(filter(_holds, polished), key=lambda rim: rim.evidence, default=None)
        if best is not None and best.share > _CLEAR and _is_rim(smooth, best):
            return best
    # A clear one was asked above already, and is none.
    return best if best is not None and best.share <= _CLEAR and _is_rim(smooth, best) else None


def _holds(rim: Rim) -> bool:
    return rim.share > _LEAST and rim.evidence > _LEAST_EVIDENCE


def _distinct(rims: list[Rim]) -> list[Rim]:
    """Take the rims that differ from those before them."""
    chosen: list[Rim] = []
    for rim in rims:
        if not any(_near(rim.ellipse, other.ellipse) for other in chosen):
            chosen.append(rim)
    return chosen


def _near(one: Ellipse, other: Ellipse) -> bool:
    apart = np.abs(one.center - other.center).max() + np.abs(one.frame - other.frame).max()
    return bool(apart < 0.06 * other.radius)


def _is_possible(ellipse: Ellipse, shape: tuple[int, ...]) -> bool:
    height, width = shape[:2]
    axes = np.linalg.svd(ellipse.frame, compute_uv=False)
    inside = (ellipse.center > [-0.1 * width, -0.1 * height]) & (ellipse.center < [1.1 * width, 1.1 * height])
    large = _SMALLEST * min(height, width) < ellipse.radius < 1.2 * max(height, width)
    return bool(inside.all() and large and axes[1] > 0.6 * axes[0])


class _Edges:
    """Edges of a picture, whatever their polarity and color.

    Attributes:
        points: (N, 2) pixels.
        normals: (N, 2) of unit length.
        along: (bins, height, width) bool, True where an edge of about that direction lies within a pixel.
        chance: Share of that volume that is True.
    """

    def __init__(self, small: np.ndarray):
        small = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32)
        dx = np.atleast_3d(cv2.Scharr(small, cv2.CV_32F, 1, 0))
        dy = np.atleast_3d(cv2.Scharr(small, cv2.CV_32F, 0, 1))
        xx, yy, xy = (dx * dx).sum(2), (dy * dy).sum(2), (dx * dy).sum(2)
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the normal: where the colors change most (Di Zenzo 1986)
        strength = np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))
        normal = np.stack([np.cos(angle), np.sin(angle)], -1)
        y, x = np.mgrid[: strength.shape[0], : strength.shape[1]].astype(np.float32)
        usual = cv2.blur(strength, (25, 25), borderType=cv2.BORDER_REFLECT)
        edge = strength > np.maximum(usual, 16.0)
        for side in (-1, 1):
            place = x + side * normal[..., 0], y + side * normal[..., 1]
            edge &= strength >= cv2.remap(strength, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        edge[:2], edge[-2:], edge[:, :2], edge[:, -2:] = False, False, False, False
        rows, columns = np.nonzero(edge)
        self.points = np.stack([columns, rows], 1).astype(np.float64)
        self.normals = normal[rows, columns].astype(np.float64)
        bins = np.floor(angle[rows, columns] / np.pi * _BINS).astype(int)
        along = np.zeros((_BINS, *edge.shape), np.uint8)
        for near in (-1, 0, 1):
            along[(bins + near) % _BINS, rows, columns] = 1
        self.along = np.stack([cv2.dilate(layer, np.ones((3, 3), np.uint8)) for layer in along]) > 0
        self.chance = max(float(self.along.mean()), 0.02)

    def weigh(
        self, centers: np.ndarray, frames: np.ndarray, box: tuple[float, float, float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weigh the edges along ellipses, (N, 2) centers and (N, 2, 2) frames, where they are visible in a box.

        Returns:
            (N,) evidence, (N,) share of the visible rim that has an edge along it.
        """
        height, width = self.along.shape[1:]
        angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        unit = np.stack([np.cos(angles), np.sin(angles)], 1)
        outward = unit @ np.linalg.inv(frames)  # normals of the ellipse, up to their length
        bins = np.floor(np.mod(np.arctan2(outward[..., 1], outward[..., 0]), np.pi) / np.pi * _BINS).astype(int) % _BINS
        places = centers[:, None] + unit @ frames.transpose(0, 2, 1)
        x, y = np.rint(places).astype(np.int32).transpose(2, 0, 1)
        x0, y0, x1, y1 = box or (0, 0, width, height)
        seen = (x >= x0 + 2) & (x < x1 - 2) & (y >= y0 + 2) & (y < y1 - 2)
        hit = self.along[bins, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] & seen
        visible = seen.sum(1)
        share = hit.sum(1) / np.maximum(visible, 1)
        likely = np.clip(share, self.chance, 1 - 1e-6)
        gain = likely * np.log(likely / self.chance) + (1 - likely) * np.log((1 - likely) / (1 - self.chance))
        length = visible / len(angles) * 2 * np.pi * np.sqrt(np.abs(np.linalg.det(frames))) / _CELL
        return np.where(visible > _ARC * len(angles), length * gain, 0), share

    def weigh_cuts(self, ellipse: Ellipse, box: tuple[float, float, float, float]) -> float:
        """Weigh the edges along the straight cuts of an ellipse: below 0 where there are cuts and no edges."""
        height, width = self.along.shape[1:]
        hits = number = 0
        for side, axis, size in ((0, 0, width), (1, 1, height), (2, 0, width), (3, 1, height)):
            if not 2 < box[side] < size - 2:
                continue
            low, high = box[1 - axis], box[3 - axis]
            places = np.empty((max(int((high - low) / _CELL), 0), 2))
            places[:, axis], places[:, 1 - axis] = box[side], low + _CELL * (np.arange(len(places)) + 0.5)
            places = np.rint(places[(ellipse.unit(places) ** 2).sum(1) < 1]).astype(int)
            layer, near = self.along[axis * _BINS // 2], np.zeros(len(places), bool)
            for across in range(-_CELL, _CELL + 1):
                x, y = (places + across * np.eye(2, dtype=int)[axis]).T
                near |= layer[y.clip(0, height - 1), x.clip(0, width - 1)]
            hits, number = hits + int(near.sum()), number + len(near)
        gain = hits * np.log(_CLEAR / self.chance) + (number - hits) * np.log((1 - _CLEAR) / (1 - self.chance))
        return float(gain)


class _Colors:
    """How well an ellipse parts the colors of a picture, in classes that hold about as many pixels each."""

    def __init__(self, small: np.ndarray):
        height, width = small.shape[:2]
        levels = _LEVELS if small.ndim == 3 else _LEVELS**2
        channels = np.atleast_3d(small).reshape(height * width, -1).T
        self._tables = [
            np.searchsorted(np.quantile(c[::7], np.arange(1, levels) / levels), np.arange(256)) for c in channels
        ]
        self._levels = levels
        picture = small[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL]
        self.rows, self.columns = picture.shape[:2]
        y, x = np.mgrid[: self.rows, : self.columns] * _CELL + _CELL // 2
        self.points = np.stack([x, y], -1).reshape(-1, 2).astype(np.float64)
        self._code = self.classes(picture).ravel()
        self._used = np.unique(self._code)
        self._member = (self._code[:, None] == self._used).astype(np.float32)

    def classes(self, picture: np.ndarray) -> np.ndarray:
        """(height, width) class of each pixel of a picture with these colors."""
        code = np.zeros(picture.shape[:2], int)
        for channel, table in zip(np.atleast_3d(picture).transpose(2, 0, 1), self._tables):
            code = code * self._levels + table[channel]
        return code

    def parted(self, inside: np.ndarray) -> np.ndarray:
        """Evidence that the colors give for each of (N, places) ways to part the `points`, 1 inside and 0 outside."""
        inside = inside.astype(np.float32)
        return self._information(inside @ self._member)

    def _information(self, inner: np.ndarray) -> np.ndarray:
        """Evidence from the (N, classes) numbers of places inside."""
        both = np.stack([inner, self._member.sum(0) - inner]) / len(self.points)
        apart = both.sum(0) * both.sum(2, keepdims=True)
        return len(self.points) * 0.3 * (both * np.log(np.maximum(both, 1e-12) / np.maximum(apart, 1e-12))).sum((0, 2))

    def cut(self, inside: np.ndarray) -> tuple[int, int, int, int]:
        """Find the upright box that, cutting what is inside, parts the colors best.

        Args:
            inside: (places,) 1 inside.

        Returns:
            (x0, y0, x1, y1) in cells.
        """
        inside = inside.reshape(self.rows, self.columns).astype(np.float32)
        member = self._member.reshape(self.rows, self.columns, -1)
        box = [0, 0, self.columns, self.rows]
        for axis, (low, high) in ((0, (1, 3)), (1, (0, 2))):
            counts = np.einsum("yx,yxc->" + "yx"[axis] + "c", inside, member)
            sums = np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, 0)])
            whole = self._information(sums[-1:])[0]
            used = np.flatnonzero(counts.any(1))
            if not len(used):
                continue
            middle = (used[0] + used[-1]) // 2
            first = self._information(sums[-1] - sums[used[0] : middle])
            last = self._information(sums[middle + 1 : used[-1] + 2])
            if first.max() > 1.02 * whole + 5:
                box[low] = int(used[0] + first.argmax())
            if last.max() > 1.02 * whole + 5:
                box[high] = int(middle + 1 + last.argmax())
            keep = np.zeros(inside.shape[axis], bool)
            keep[box[low] : box[high]] = True
            inside = inside * (keep[:, None] if axis == 0 else keep[None])
        return box[0], box[1], box[2], box[3]

    def ratio(self, ellipse: Ellipse) -> np.ndarray:
        """(classes,) log of how much more usual a class is just inside the rim than just outside of it."""
        reach = np.hypot(*ellipse.unit(self.points).T)
        number = self._levels ** len(self._tables)
        inner = np.bincount(self._code[(reach > 0.75) & (reach < 0.97)], minlength=number) + 0.5
        outer = np.bincount(self._code[(reach > 1.03) & (reach < 1.25)], minlength=number) + 0.5
        return np.log(inner / inner.sum()) - np.log(outer / outer.sum())


def _hypotheses(edges: _Edges, colors: _Colors, squeezes: tuple[float, ...]) -> list[Ellipse]:
    """Find the ellipses that most edges follow and that part the colors best."""
    if len(edges.points) < 50:
        return []
    tried = []
    for squeeze in squeezes:
        for turn in np.arange(1 if squeeze == 1 else 4) * np.pi / 4:
            axis = np.array([np.cos(turn), np.sin(turn)])
            # Across `axis` everything is `squeeze` times as long.
            tried.append(_through_pairs(edges, squeeze * np.eye(2) + (1 - squeeze) * np.outer(axis, axis)))
    centers, frames = (np.concatenate(part) for part in zip(*tried))
    evidence = edges.weigh(centers, frames)[0]
    order = np.argsort(-evidence)[:150]
    centers, frames, evidence = centers[order], frames[order], evidence[order]
    unit = (colors.points - centers[:, None]) @ np.linalg.inv(frames).transpose(0, 2, 1)
    evidence += colors.parted((unit**2).sum(2) < 1)
    chosen: list[Ellipse] = []
    for k in np.argsort(-evidence):
        hypothesis = Ellipse(centers[k], frames[k])
        if not any(_near(hypothesis, other) for other in chosen):
            chosen.append(hypothesis)
        if len(chosen) == _TRIED:
            break
    return chosen


def _through_pairs(edges: _Edges, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def _judge(
    edges: _Edges,
    colors: _Colors,
    ellipse: Ellipse,
    steps: np.ndarray,
    box: tuple[float, float, float, float] | None = None,
) -> Rim:
    """Weigh what speaks for an ellipse, cut where straight edges cut the field.

    Args:
        edges: Of the small copy.
        colors: Of the same.
        ellipse: In pixels of the picture.
        steps: (x, y) pixels of the picture per pixel of the small copy.
        box: The cuts in pixel edges of the picture; looked for on the small copy when None.
    """
    small = ellipse.scaled(1 / steps)
    within = (small.unit(colors.points) ** 2).sum(1) < 1
    height, width = edges.along.shape[1:]

    def weigh(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float]:
        cut = x0, y0, x1, y1
        inside = within & ((colors.points + 0.5 > cut[:2]) & (colors.points + 0.5 < cut[2:])).all(1)
        evidence, share = edges.weigh(small.center[None], small.frame[None], cut)
        both = evidence[0] + edges.weigh_cuts(small, cut) + colors.parted(inside[None])[0]
        return float(both), float(share[0])

    if box is not None:
        return Rim(ellipse, box, *weigh(*(np.array(box) / [*steps, *steps]).tolist()))
    x0, y0, x1, y1 = (float(edge * _CELL) for edge in colors.cut(within))
    cut = [x0, y0, width if x1 >= width - _CELL else x1, height if y1 >= height - _CELL else y1]
    best, share = weigh(*cut)
    for side, end in enumerate((0.0, 0.0, float(width), float(height))):
        # Retina of the surround's colors makes a cut where there is no edge.
        if cut[side] != end:
            without = [*cut[:side], end, *cut[side + 1 :]]
            evidence, seen = weigh(*without)
            if evidence > best:
                cut, best, share = without, evidence, seen
    x0, y0, x1, y1 = (np.array(cut) * [*steps, *steps]).tolist()
    return Rim(ellipse, (x0, y0, x1, y1), best, share)


def _settle(picture: np.ndarray, colors: _Colors, ellipse: Ellipse, shape: bool) -> Ellipse | None:
    """Move an ellipse to where the color changes along its radii, first within a wide band, then within a narrow one.

    Args:
        picture: (height, width, 3) uint8, or gray.
        colors: Of a small copy of it.
        ellipse: Where to begin.
        shape: Change the shape as well, not the place and the size alone.

    Returns:
        The ellipse; None when too little of its rim is visible.
    """
    classes = colors.classes(picture)
    back = np.array([colors.columns * _CELL / picture.shape[1], colors.rows * _CELL / picture.shape[0]])
    whole = (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
    for reach in (0.1, 0.06):
        ratio = colors.ratio(ellipse.scaled(back))[classes].astype(np.float32)
        followed = _follow(ellipse, *_steps_of_color(ratio, ellipse, reach, whole, ratio=True), reach, shape)
        if followed is None:
            return None
        ellipse = followed
    return _follow(ellipse, *_steps_of_color(picture.astype(np.float32), ellipse, 0.04, whole), 0.04, shape)


def _follow(ellipse: Ellipse, angles: np.ndarray, offsets: np.ndarray, reach: float, shape: bool) -> Ellipse | None:
    """Fit an ellipse to what was found along its radii, with robust weights; None when that is too little."""
    if len(angles) < _RAYS * (0.33 if shape else _ARC):
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
        rim = Rim(ellipse, box, rim.evidence, rim.share)
    return rim


def fit_circle(points: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float, float]:
    """Fit a circle to (N, 2) points by algebraic least squares (Kasa): x, y, radius."""
    origin = points.mean(0)
    x, y = (points - origin).T
    root = np.ones(len(points)) if weights is None else np.sqrt(weights)
    design = np.stack([x, y, np.ones_like(x)], 1) * root[:, None]
    (a, b, c), *_ = np.linalg.lstsq(design, (x**2 + y**2) * root, rcond=None)
    return float(a / 2 + origin[0]), float(b / 2 + origin[1]), float(np.sqrt(max(c + (a**2 + b**2) / 4, 0.0)))


def _is_rim(picture: np.ndarray, rim: Rim) -> bool:
    """Tell whether the colors on both sides differ, and change at the rim and not on the way to it.

    Shadows and the fading light of a photograph without a surround pass for a rim by everything else.
    """
    x0, y0, x1, y1 = rim.box
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    unit = np.stack([np.cos(angles), np.sin(angles)], 1)
    radii = np.array([0.92, 0.94, 0.96, 0.98, 1.02, 1.04, 1.06, 1.08])
    places = rim.ellipse.points(unit[:, None] * radii[:, None]).astype(np.float32)
    places = np.ascontiguousarray(places[((places > [x0, y0]) & (places < [x1 - 1, y1 - 1])).all((1, 2))])
    if len(places) < 20:
        return False
    colors = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR).astype(np.float32)
    colors = colors.reshape(len(places), len(radii), -1)
    whole, step = colors[:, 0] - colors[:, -1], colors[:, 3] - colors[:, 4]
    sharp = np.median((whole * step).sum(1) / np.maximum((whole**2).sum(1), 30.0))
    apart = []  # Mahalanobis distance of inner and outer colors, part by part
    for part in np.array_split(colors, min(24, len(colors) // 4)):
        inner, outer = part[:, :4].reshape(-1, part.shape[2]), part[:, 4:].reshape(-1, part.shape[2])
        spread = (np.atleast_2d(np.cov(inner.T)) + np.atleast_2d(np.cov(outer.T))) / 2 + 4 * np.eye(part.shape[2])
        between = inner.mean(0) - outer.mean(0)
        apart.append(np.sqrt(between @ np.linalg.solve(spread, between)))
    middle, low = np.percentile(apart, (50, 25))
    return bool(sharp > _SHARP and middle > _APART and sharp * middle > _SHARP_AND_APART and low > 0.7 * _APART)


def _cuts(picture: np.ndarray, rim: Rim) -> tuple[float, float, float, float]:
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
    picture: np.ndarray, ellipse: Ellipse, reach: float, box: tuple[float, float, float, float], ratio: bool = False
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
    inside = ((places > [x0, y0]) & (places < [x1 - 1, y1 - 1])).all((1, 2))
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


__all__ = ["Ellipse", "Rim", "contrast_to_surround", "find_rim", "fit_circle"]
