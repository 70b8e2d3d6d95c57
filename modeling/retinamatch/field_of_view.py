"""Where the photograph of the retina lies in the picture: a circle or an ellipse, often cut by straight edges.

Most photographs have a dark surround, and the circle of what is brighter is the answer. Where that is not clear, the
search for a rim on any surround (`rim`) decides; without a rim, what stands out from a dark or smooth surround is the
field of view, whatever its shape.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from .not_retina import find_marks, why_no_retina
from .rim import Ellipse, contrast_to_surround, find_rim, fit_circle


# So much of the radius a cut takes away, or moves what is seen, before the circle counts instead of what is seen.
_CUT = 0.05
_SEARCH_SIDE = 512  # the search runs on a copy with at most this many pixels a side
_DARK = 40.0  # gray levels of a surround that is darker than nearly all retina
_LEAST_CONTRAST = 4.0  # gray levels between retina and surround; below, the picture counts as black or uniform
_CLEAR = 0.85  # share of the outline that circle and box explain; below, a rim is searched on any surround
_INSET = 0.005  # of the radius: the light falls off over the rim, which is left out


@dataclass(frozen=True)
class FieldOfView:
    """The part of a picture that shows the retina: a circle or an ellipse, cut by an upright rectangle.

    Attributes:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        center: (x, y) of the circle or ellipse in pixels of the picture, (0, 0) being the center of the top-left pixel;
            None when the field of view has another shape.
        radius: Radius in pixels of the circle, or of the circle with the area of the ellipse; None without a center.
        box: (x0, y0, x1, y1), the rectangle around the visible part, in pixel edges: the whole picture is
            (0, 0, width, height). It cuts the circle where the camera or the picture does.
        found: False when no field of view stands out from a surround; `box` is the whole picture then.
        stretch: ((a, b), (c, d)), the ellipse is the circle around `center` under this matrix of determinant 1; None
            for a circle.
        left_out: (rows, columns) bool, a coarse picture of what else is not retina: writing, marks, rulers and logos;
            None when there is nothing. It takes no part in comparisons.
        problem: Why the picture evidently shows no retina (noise, a pattern, a page, one color), in words; else "".
    """

    width: int
    height: int
    center: tuple[float, float] | None
    radius: float | None
    box: tuple[float, float, float, float]
    found: bool
    stretch: tuple[tuple[float, float], tuple[float, float]] | None = None
    left_out: np.ndarray | None = field(default=None, compare=False, repr=False)
    problem: str = ""

    @property
    def shows_retina(self) -> bool:
        """Whether the picture may show a retina; when not, `problem` says why."""
        return not self.problem

    @property
    def camera(self) -> tuple[float, float, float] | None:
        """Circle of the camera, (x, y, radius) in pixels, where the picture or the camera cuts off much of it."""
        if self.center is None or self.radius is None:
            return None
        x0, y0, x1, y1 = self.box
        shown = max(x1 - x0, y1 - y0) / 2
        middle = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
        apart = np.hypot(*np.subtract(middle, self.center))
        whole = max(abs(shown / self.radius - 1), apart / self.radius) < _CUT
        return None if whole else (*self.center, self.radius)

    def reach(self, angles: np.ndarray) -> np.ndarray:
        """Distance in pixels from the center to the rim in (N,) directions, radians from the x to the y axis."""
        directions = np.stack([np.cos(angles), np.sin(angles)], -1)
        return self.radius / np.hypot(*(directions @ self._circled().T).T)

    def _circled(self) -> np.ndarray:
        """Give the matrix that makes the ellipse a circle."""
        return np.eye(2) if self.stretch is None else np.linalg.inv(self.stretch)

    def contains(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Tell which points lie in the field of view.

        Args:
            points: (N, 2), (x, y) in pixels of the picture.
            margin: Least distance from the rim, in pixels of the picture.

        Returns:
            (N,) bool.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return self._inside(points[:, 0], points[:, 1], margin)

    def mask(self, frame: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
        """Draw the field of view on any frame.

        Args:
            frame: (x0, y0, x1, y1), the rectangle that the drawing covers, relative to the picture: (0, 0, 1, 1) is the
                whole picture, values outside [0, 1] lie beyond it.
            size: (height, width) of the drawing.

        Returns:
            (height, width) bool, True where a pixel's center lies in the field of view.
        """
        x0, y0, x1, y1 = frame
        height, width = size
        x = (x0 + (np.arange(width) + 0.5) / width * (x1 - x0)) * self.width - 0.5
        y = (y0 + (np.arange(height) + 0.5) / height * (y1 - y0)) * self.height - 0.5
        return self._inside(x[None, :], y[:, None], 0.0)

    def _inside(self, x: np.ndarray, y: np.ndarray, margin: float) -> np.ndarray:
        x0, y0, x1, y1 = self.box
        inside = (np.minimum(x + 0.5 - x0, x1 - x - 0.5) >= margin) & (np.minimum(y + 0.5 - y0, y1 - y - 0.5) >= margin)
        if self.center is not None and self.radius is not None:
            x_, y_ = x - self.center[0], y - self.center[1]
            if self.stretch is None:
                inside = inside & (x_**2 + y_**2 <= max(self.radius - margin, 0.0) ** 2)
            else:
                # Distance from the rim to first order: how far inside the circle, by how fast that grows.
                (a, b), (c, d) = self._circled()
                u, v = a * x_ + b * y_, c * x_ + d * y_
                length = np.maximum(np.hypot(u, v), 1e-9)
                growth = np.hypot(a * u + c * v, b * u + d * v) / length
                inside = inside & (self.radius - length >= margin * growth)
        if self.left_out is None:
            return inside
        # Nearest cell of the coarse picture, and how far from there the next one lies that is left out.
        rows, columns = self.left_out.shape
        column = np.clip(np.floor((x + 0.5) * (columns / self.width)).astype(int), 0, columns - 1)
        row = np.clip(np.floor((y + 0.5) * (rows / self.height)).astype(int), 0, rows - 1)
        away = cv2.distanceTransform((~self.left_out).astype(np.uint8), cv2.DIST_L2, 5) * (self.width / columns)
        return inside & (away[row, column] > margin)


def find_field_of_view(photo: np.ndarray) -> FieldOfView:
    """Find the field of view of a picture on whatever surround.

    The surround is what is as dark as the darkest corners; the largest bright region against it is the candidate. A
    circle is fitted to its outline (sample consensus, then radial edge positions with robust weights), so cuts,
    notches and writing do not pull it. Straight cuts inside the picture become edges of the box. When a circle does not
    explain the outline well, a rim is searched on a surround of any color or texture, see `find_rim`. Without one, what
    stands out from a dark or smooth surround is the field of view, as a rectangle or, coarsely, in its own shape.

    Args:
        photo: (height, width, 3) uint8 RGB, or (height, width) gray.

    Returns:
        The field of view; the whole picture with `found=False` when nothing stands out from a surround (black or
        uniform pictures, photographs without a surround, photographs of something else).
    """
    small = _reduced(photo)
    view = _field(small, *photo.shape[:2])
    inside = view.mask((0.0, 0.0, 1.0, 1.0), small.shape[:2])
    marks = find_marks(small, inside)
    if marks is not None:
        view = replace(view, left_out=marks if view.left_out is None else marks | view.left_out)
    problem = why_no_retina(small, inside)
    if problem and marks is not None:  # thick lines make two gray levels of any photograph
        problem = why_no_retina(small, inside & ~marks)
    return replace(view, problem=problem)


def _field(small: np.ndarray, height: int, width: int) -> FieldOfView:
    """Find the field of view on the small copy of a picture of the given size."""
    # From the small copy to the picture; edges scale as they are, pixel centers with half a pixel.
    steps = np.array([width / small.shape[1], height / small.shape[0]])
    brightness = cv2.max(cv2.max(*cv2.split(small)[:2]), small[..., 2]) if small.ndim == 3 else small
    candidate = _Candidate.search(cv2.medianBlur(np.ascontiguousarray(brightness), 5).astype(np.float32))
    clear = candidate.circle if candidate.is_clear() else None
    if clear is not None and candidate.surround < _DARK:
        return _round_view(width, height, steps, _circle(clear), candidate.box)
    other = _Candidate.search(contrast_to_surround(cv2.medianBlur(small, 5)))
    if clear is not None and other.circle is not None and other.is_clear():
        # Beside a surround that is not dark, a part of the retina may be as dark as it is and of another color.
        return _round_view(width, height, steps, _circle(other.circle), other.box)
    rim = find_rim(small, candidate.region if other.region is None else other.region)
    if rim is not None:
        return _round_view(width, height, steps, rim.ellipse, rim.box)
    if candidate.circle is not None:
        return _round_view(width, height, steps, _circle(candidate.circle), candidate.box)
    for found in (candidate, other):
        box = None if found.region is None else _rectangle(found.region)
        if box is not None and (found is candidate or found.rises):
            return FieldOfView(width, height, None, None, _scaled(box, steps), True)
    for found in (candidate, other):
        if found.rises and found.region is not None:
            filled = _filled(found.region)
            rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
            box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
            return FieldOfView(width, height, None, None, _scaled(box, steps), True, left_out=~filled)
    return FieldOfView(width, height, None, None, (0.0, 0.0, float(width), float(height)), False)


def _reduced(photo: np.ndarray) -> np.ndarray:
    """Reduce a picture to the copy that is searched."""
    height, width = photo.shape[:2]
    scale = min(1.0, _SEARCH_SIDE / max(height, width))
    if scale == 1:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    while scale < 0.5 and height % 2 == width % 2 == 0:  # by halves is several times as fast
        height, width, scale = height // 2, width // 2, scale * 2
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def _circle(circle: tuple[float, float, float]) -> Ellipse:
    return Ellipse(np.array(circle[:2]), circle[2] * np.eye(2))


def _scaled(box: tuple[float, float, float, float], steps: np.ndarray) -> tuple[float, float, float, float]:
    x, y = map(float, steps)
    return (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def _round_view(
    width: int, height: int, steps: np.ndarray, ellipse: Ellipse, box: tuple[float, float, float, float]
) -> FieldOfView:
    """Make the field of view of an ellipse in pixels of the small copy, a little within its rim."""
    within = Ellipse(ellipse.center, ellipse.frame * (1 - _INSET)).scaled(steps)
    reach = np.sqrt((within.frame**2).sum(1))  # half the sides of the upright rectangle around it
    low, high = within.center + 0.5 - reach, within.center + 0.5 + reach
    x0, y0, x1, y1 = _scaled(box, steps)
    x0, y0, x1, y1 = max(x0, low[0], 0.0), max(y0, low[1], 0.0), min(x1, high[0], width), min(y1, high[1], height)
    box = (float(x0), float(y0), float(x1), float(y1))
    axes = np.linalg.svd(within.frame, compute_uv=False)
    stretch = None
    if axes[1] < 0.985 * axes[0]:
        (a, b), (c, d) = (within.frame / within.radius).tolist()
        stretch = ((a, b), (c, d))
    center = (float(within.center[0]), float(within.center[1]))
    return FieldOfView(width, height, center, within.radius, box, True, stretch)


@dataclass(frozen=True)
class _Candidate:
    """What stands out from the surround of a small copy.

    Attributes:
        region: The largest bright region, or None.
        circle: The circle that explains its outline, or None.
        box: The rectangle around the visible part of the circle.
        surround: Its gray level.
        rises: The region ends at once and does not fade into the surround.
    """

    region: np.ndarray | None
    circle: tuple[float, float, float] | None
    box: tuple[float, float, float, float]
    surround: float
    rises: bool = False

    @classmethod
    def search(cls, brightness: np.ndarray) -> "_Candidate":
        whole = (0.0, 0.0, float(brightness.shape[1]), float(brightness.shape[0]))
        surround, region = _bright_region(brightness)
        circle = None if region is None else _fit_circle(_outline(region))
        circle = circle and _refine_circle(brightness, surround, circle)
        if region is None or not circle or not _is_plausible(region, (*circle[:2], circle[2] * (1 - _INSET))):
            rises = region is not None and _rises(brightness - surround, region)
            return cls(region, None, whole, surround, rises)
        return cls(region, circle, _visible_box(region, (*circle[:2], circle[2] * (1 - _INSET))), surround)

    def is_clear(self) -> bool:
        """Tell whether circle and box together explain nearly all of the outline."""
        if self.region is None or self.circle is None:
            return False
        points = _outline(self.region)
        x0, y0, x1, y1 = self.box
        free = (points + 0.5 > [x0 + 4, y0 + 4]).all(1) & (points + 0.5 < [x1 - 4, y1 - 4]).all(1)
        near = np.abs(_distance(points[free], self.circle)) < max(3.0, 0.012 * self.circle[2])
        return bool(len(near) > 20 and near.mean() > _CLEAR)


def _rises(contrast: np.ndarray, region: np.ndarray) -> bool:
    """Tell whether a region has a good part of its contrast near its outline, and all around it there is little."""
    inner = cv2.erode(region.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1)
    core = cv2.erode(inner, np.ones((7, 7), np.uint8), borderValue=1)
    ring, around = (inner > 0) & (core == 0), cv2.erode((~_filled(region)).astype(np.uint8), np.ones((7, 7), np.uint8))
    if not ring.any() or not around.any():
        return False
    usual = float(np.median(contrast[region]))
    flat = np.percentile(contrast[around > 0], 90) < max(_LEAST_CONTRAST, 0.1 * usual)
    return bool(flat and np.percentile(contrast[ring], 20) > 0.35 * usual)


def _filled(region: np.ndarray) -> np.ndarray:
    """Close the holes of a region: what the retina shows is not surround, however dark."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(region.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return cv2.erode(filled, np.ones((3, 3), np.uint8)) > 0


def _bright_region(brightness: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Separate the largest bright region from the dark surround; returns the surround's gray level and the region."""
    height, width = brightness.shape
    side = max(4, min(height, width) // 32)
    top, bottom = brightness[:side], brightness[-side:]
    corners = [top[:, :side], top[:, -side:], bottom[:, :side], bottom[:, -side:]]
    # Corners nearly as dark as the darkest show the surround, which may be uneven; others hold retina or writing.
    levels = np.array([np.median(corner) for corner in corners])
    darkest = levels.min()
    dark = levels <= darkest + 0.2 * max(float(np.percentile(brightness, 75)) - darkest, 0)
    surround = float(levels[dark].max())
    deviations = [np.median(np.abs(corner - level)) for corner, level in zip(corners, levels)]
    noise = 1.4826 * float(np.array(deviations)[dark].max())

    least = surround + max(_LEAST_CONTRAST, 5 * noise)
    bright = brightness[brightness > least]
    if bright.size < 0.04 * brightness.size:
        return surround, None
    # A low share of the typical brightness: the rim is often in shadow.
    threshold = max(least, surround + 0.12 * (float(np.median(bright)) - surround))
    region: np.ndarray = (brightness > threshold).astype(np.uint8)
    region = cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))  # cuts off letters and bumps
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region)
    if count < 2:
        return surround, None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    area = int(stats[largest, cv2.CC_STAT_AREA])
    if area < 0.04 * region.size or area > 0.995 * region.size:
        return surround, None
    return surround, labels == largest


def _outline(region: np.ndarray) -> np.ndarray:
    """Outline of a region, (N, 2) float pixel centers, without what lies on the border of the picture."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(contours, key=len)[:, 0].astype(np.float64)
    height, width = region.shape
    free = (points > 2).all(1) & (points[:, 0] < width - 3) & (points[:, 1] < height - 3)
    return points[free]


def _fit_circle(points: np.ndarray, tolerance: float = 2.0) -> tuple[float, float, float] | None:
    """Fit a circle to points by sample consensus, then least squares on the supporting points."""
    if len(points) < 30:
        return None
    draws = np.random.default_rng(0).integers(0, len(points), (300, 3))  # seeded: the same picture, the same circle
    a, b, c = points[draws[:, 0]], points[draws[:, 1]], points[draws[:, 2]]
    ab, ac = b - a, c - a
    cross = 2 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    usable = np.abs(cross) > 1e-3 * np.square(points.max(0) - points.min(0)).sum()
    if not usable.any():
        return None
    a, ab, ac, cross = a[usable], ab[usable], ac[usable], cross[usable]
    ab2, ac2 = (ab**2).sum(1), (ac**2).sum(1)
    offset = np.stack([ac[:, 1] * ab2 - ab[:, 1] * ac2, ab[:, 0] * ac2 - ac[:, 0] * ab2], 1) / cross[:, None]
    centers, radii = a + offset, np.hypot(*offset.T)
    thinned = points[:: max(1, len(points) // 400)]
    distances = np.hypot(*(thinned[None] - centers[:, None]).transpose(2, 0, 1)) - radii[:, None]
    best = int((np.abs(distances) < tolerance).sum(1).argmax())
    circle = (*centers[best], radii[best])
    for _ in range(3):
        support = np.abs(_distance(points, circle)) < tolerance
        if support.sum() < 20:
            return None
        circle = fit_circle(points[support])
    return circle


def _distance(points: np.ndarray, circle: tuple[float, float, float]) -> np.ndarray:
    """Signed distance of points from a circle, positive outside."""
    return np.hypot(points[:, 0] - circle[0], points[:, 1] - circle[1]) - circle[2]


def _refine_circle(
    brightness: np.ndarray, surround: float, circle: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Move the circle to where the brightness along its radii falls half-way to the surround.

    The first fit follows a low threshold and sits in the glow outside; the half-way place does not depend on how bright
    each side of the retina is. Tukey weights keep cuts and notches out.
    """
    x, y, radius = circle
    height, width = brightness.shape
    reach = max(6.0, 0.05 * radius)
    steps = np.arange(-reach, reach + 0.25, 0.25, dtype=np.float32)
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False, dtype=np.float32)[:, None]
    rays_x = (x + (radius + steps) * np.cos(angles)).astype(np.float32)
    rays_y = (y + (radius + steps) * np.sin(angles)).astype(np.float32)
    profile = cv2.remap(brightness, rays_x, rays_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inner = np.median(profile[:, : len(steps) // 4], axis=1)
    outer = np.median(profile[:, -len(steps) // 4 :], axis=1)
    half = (inner + np.maximum(outer, surround)) / 2
    above = profile > half[:, None]
    last = above.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)  # outermost place that is still bright
    row = np.arange(len(last))
    within = (rays_x[:, [0, -1]] > 0) & (rays_x[:, [0, -1]] < width - 1)
    within &= (rays_y[:, [0, -1]] > 0) & (rays_y[:, [0, -1]] < height - 1)
    usable = within.all(1) & (last > 0) & (last < len(steps) - 1) & (inner - outer > _LEAST_CONTRAST)
    if usable.sum() < 60:
        return circle
    last, row = last[usable], row[usable]
    bright, dark = profile[row, last], profile[row, last + 1]
    edge = radius + steps[last] + 0.25 * (bright - half[usable]) / np.maximum(bright - dark, 1e-6)
    points = np.stack([x + edge * np.cos(angles[row, 0]), y + edge * np.sin(angles[row, 0])], 1).astype(np.float64)
    refined = circle[:2] + (circle[2] + float(np.median(edge - radius)),)
    for _ in range(10):
        distance = _distance(points, refined)
        scale = max(1.4826 * float(np.median(np.abs(distance))), 0.15)
        weights = np.square(np.clip(1 - np.square(distance / (4 * scale)), 0, None))
        if np.count_nonzero(weights) < 30:
            return circle
        refined = fit_circle(points, weights)
    return refined


def _disk(shape: tuple[int, int], circle: tuple[float, float, float]) -> np.ndarray:
    """Pixels of a small picture that lie in a circle."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (x - circle[0]) ** 2 + (y - circle[1]) ** 2 <= circle[2] ** 2


def _is_plausible(region: np.ndarray, circle: tuple[float, float, float]) -> bool:
    """Tell whether a circle explains the outline and the area of the bright region."""
    x, y, radius = circle
    height, width = region.shape
    if not 0.15 * min(height, width) < radius < 1.2 * max(height, width):
        return False
    points = _outline(region)
    near = np.abs(_distance(points, circle)) < max(3.0, 0.012 * radius)
    angles = np.sort(np.arctan2(points[near, 1] - y, points[near, 0] - x))
    if len(angles) < 20:
        return False
    arc = len(np.unique((angles / (2 * np.pi) * 72).round())) / 72  # share of the circumference that is seen
    gap = np.diff(angles, append=angles[0] + 2 * np.pi).max()
    disk = _disk(region.shape, circle)
    spill = np.count_nonzero(region & ~disk) / np.count_nonzero(region)
    filled = np.count_nonzero(region & disk) / max(int(np.count_nonzero(disk)), 1)
    # Either a good part of the rim is seen or, when only the corners are dark, bits of it all around.
    rim = (arc >= 0.2 and near.mean() >= 0.4) or (arc >= 0.08 and near.mean() >= 0.7 and gap < 0.95 * np.pi)
    return bool(rim and spill < 0.05 and filled > 0.6)


def _visible_box(region: np.ndarray, circle: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """Rectangle around the visible part of the circle, in pixel edges of the small picture."""
    x, y, radius = circle
    height, width = region.shape
    disk = _disk(region.shape, circle)
    box = []
    for across, center, length in ((0, x, width), (1, y, height)):
        chord = disk.sum(across)
        share = (region & disk).sum(across) / np.maximum(chord, 1)
        bright = np.flatnonzero(share > 0.9)
        low, high = max(0.0, center + 0.5 - radius), min(float(length), center + 0.5 + radius)
        # A straight cut inside the picture: whole lines across the circle are dark, and a little further whole lines
        # are bright. Lines near its poles are too short to tell.
        if len(bright):
            first, last = bright[0], bright[-1]
            step = max(2, round(0.04 * radius))
            if first > low and chord[first] > 0.4 * radius and share[max(first - step, 0)] < 0.2:
                low = float(first + 1)
            if last + 1 < high and chord[last] > 0.4 * radius and share[min(last + step, length - 1)] < 0.2:
                high = float(last)
        box.append((low, high))
    return box[0][0], box[1][0], box[0][1], box[1][1]


def _rectangle(region: np.ndarray) -> tuple[float, float, float, float] | None:
    """Find the rectangle that a region fills, in pixel edges; None for other shapes and the whole picture."""
    rows, cols = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
    if np.count_nonzero(region) < 0.95 * (y1 - y0) * (x1 - x0) or (y1 - y0) * (x1 - x0) > 0.98 * region.size:
        return None
    return float(x0), float(y0), float(x1), float(y1)


__all__ = ["FieldOfView", "find_field_of_view"]
