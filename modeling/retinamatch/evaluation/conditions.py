"""Harder versions of a pair of photographs, the control points carried along exactly: the rows of a stress test.

Each condition is a function from an `AnnotatedPair` to an `AnnotatedPair`, seeded by the pair's name alone, so that the
same pair gives the same photographs in every run. A photograph that a condition leaves as it is stays the same object:
whoever runs several conditions finds its keypoints once.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from ..field_of_view import find_field_of_view
from ..keypoint_set import Keypoints
from ..photographs import read_photograph
from ..registrar import Registrar
from .degradation import degrade
from .fire import FirePair


@dataclass(frozen=True)
class AnnotatedPair:
    """Two photographs and the places that are the same in both.

    Attributes:
        name: Seeds what is random.
        moving: uint8 RGB (H, W, 3).
        fixed: uint8 RGB (H, W, 3).
        moving_points: (N, 2) float64, pixels of the moving photograph; (0, 2) where nothing is known.
        fixed_points: (N, 2) float64, pixels of the fixed photograph.
    """

    name: str
    moving: np.ndarray
    fixed: np.ndarray
    moving_points: np.ndarray
    fixed_points: np.ndarray

    @classmethod
    def read(cls, pair: FirePair) -> "AnnotatedPair":
        """Read the photographs of a pair of FIRE.

        Raises:
            PhotographError: One cannot be read.
        """
        photographs = read_photograph(pair.moving), read_photograph(pair.fixed)
        return cls(pair.name, *photographs, pair.moving_points, pair.fixed_points)


Condition = Callable[[AnnotatedPair], AnnotatedPair]


def _generator(pair: AnnotatedPair, condition: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{condition} {pair.name}".encode()))


def degraded(pair: AnnotatedPair, level: int) -> AnnotatedPair:
    """Degrade the moving photograph; see `degrade`."""
    return replace(pair, moving=degrade(pair.moving, level, pair.name))


def both_degraded(pair: AnnotatedPair, level: int) -> AnnotatedPair:
    """Degrade both photographs, each with a ramp and noise of its own."""
    return replace(degraded(pair, level), fixed=degrade(pair.fixed, level, f"{pair.name} fixed"))


def single_channel(pair: AnnotatedPair, channel: int) -> AnnotatedPair:
    """Show one channel of the moving photograph as gray."""
    return replace(pair, moving=np.repeat(pair.moving[..., channel : channel + 1], 3, axis=2))


def reversed_contrast(pair: AnnotatedPair) -> AnnotatedPair:
    """Show the moving photograph as an angiogram does: vessels bright on a dark ground, and noise."""
    rng = _generator(pair, "reversed contrast")
    green = pair.moving[..., 1].astype(np.float32)
    inside = _inside(pair.moving)
    high = float(np.percentile(green[inside], 99)) if inside.any() else 255.0
    turned = np.where(inside, (high - green).clip(0) * 0.9 + 10, green)
    turned += rng.standard_normal(turned.shape, dtype=np.float32) * 4 * inside
    return replace(pair, moving=np.repeat(turned.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))


def haze(pair: AnnotatedPair, density: float) -> AnnotatedPair:
    """Veil the moving photograph: within its field, this fraction of the light is a smooth, uneven white.

    Args:
        pair: The pair.
        density: Share of the veil, 0 to 1.
    """
    rng = _generator(pair, "haze")
    height, width = pair.moving.shape[:2]
    veil = cv2.resize(rng.uniform(150, 230, (4, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    mixed = (1 - density) * pair.moving.astype(np.float32) + density * veil[..., None]
    mixed = np.where(_inside(pair.moving)[..., None], mixed, pair.moving)
    return replace(pair, moving=mixed.round().clip(0, 255).astype(np.uint8))


def resized(pair: AnnotatedPair, scale: float) -> AnnotatedPair:
    """Resample the moving photograph to `scale` times its size."""
    height, width = pair.moving.shape[:2]
    return _at_size(pair, max(1, round(width * scale)), max(1, round(height * scale)))


def compressed(pair: AnnotatedPair, quality: int, width: int) -> AnnotatedPair:
    """Store the moving photograph as JPEG of this quality and this many pixels across."""
    small = resized(pair, width / pair.moving.shape[1])
    coded = cv2.imencode(".jpg", small.moving[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return replace(small, moving=np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1]))


def motion_blurred(pair: AnnotatedPair, length: float) -> AnnotatedPair:
    """Take the moving photograph while the eye moves by this fraction of its width, in any direction."""
    rng = _generator(pair, "motion blur")
    pixels = length * pair.moving.shape[1]
    reach = int(np.ceil(pixels / 2)) + 1
    angle = rng.uniform(0, np.pi)
    x, y = np.meshgrid(*[np.arange(-reach, reach + 1, dtype=np.float32)] * 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    streak = np.clip((pixels + 1) / 2 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return replace(pair, moving=cv2.filter2D(pair.moving, -1, streak / streak.sum(), borderType=cv2.BORDER_REPLICATE))


def overexposed(pair: AnnotatedPair, factor: float) -> AnnotatedPair:
    """Take the moving photograph with so many times its light; what is brighter than white is white."""
    return replace(pair, moving=cv2.convertScaleAbs(pair.moving, alpha=factor))


def posterized(pair: AnnotatedPair, levels: int) -> AnnotatedPair:
    """Leave the channels of the moving photograph so many levels."""
    table = (np.arange(256) * (levels - 1) / 255).round() * 255 / (levels - 1)
    return replace(pair, moving=table.round().astype(np.uint8)[pair.moving])


def blobs(pair: AnnotatedPair, fraction: float) -> AnnotatedPair:
    """Cover this fraction of the moving field with opaque blobs, as hemorrhages, floaters and reflexes do."""
    rng = _generator(pair, "blobs")
    moving, inside = pair.moving.copy(), _inside(pair.moving)
    rows, columns = np.nonzero(inside)
    covered = np.zeros(inside.shape, np.uint8)
    radius = np.sqrt(inside.sum() / np.pi)
    while covered[inside].mean() < fraction:
        k = rng.integers(len(rows))
        axes = (rng.uniform(0.08, 0.25, 2) * radius).round().astype(int)
        blob = np.zeros_like(covered)
        cv2.ellipse(blob, (int(columns[k]), int(rows[k])), tuple(map(int, axes)), rng.uniform(0, 180), 0, 360, 1, -1)
        moving[(blob > 0) & inside] = rng.integers((20, 10, 5), (230, 180, 140))
        covered |= blob
    return replace(pair, moving=moving)


def turned(pair: AnnotatedPair, degrees: float) -> AnnotatedPair:
    """Turn the moving photograph about its middle; the picture grows so that nothing is cut off."""
    height, width = pair.moving.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (round(height * sine + width * cosine), round(height * cosine + width * sine))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return replace(
        pair,
        moving=cv2.warpAffine(pair.moving, matrix, size, flags=cv2.INTER_LINEAR),
        moving_points=pair.moving_points @ matrix[:, :2].T + matrix[:, 2],
    )


def narrowed(pair: AnnotatedPair, fraction: float) -> AnnotatedPair:
    """Show the middle of the moving field alone, a round field of `fraction` of its width, enlarged to the old size."""
    center, whole = _circle(pair.moving)
    radius, scale = fraction * whole, 1 / fraction
    height, width = pair.moving.shape[:2]
    shift = (np.array([width, height]) - 1) / 2 - scale * center
    matrix = np.column_stack([scale * np.eye(2), shift])
    moving = cv2.warpAffine(pair.moving, matrix, (width, height), flags=cv2.INTER_CUBIC)
    ys, xs = np.mgrid[:height, :width]
    outside = np.hypot(xs - (width - 1) / 2, ys - (height - 1) / 2) > scale * radius
    moving[outside] = 0
    return replace(pair, moving=moving, moving_points=pair.moving_points * scale + shift)


def cut_off(pair: AnnotatedPair, fraction: float) -> AnnotatedPair:
    """Show the left or the right part of the moving picture alone, the one with more control points, and those alone.

    Args:
        pair: The pair.
        fraction: Of the picture's width that is left.
    """
    width = pair.moving.shape[1]
    kept = round(fraction * width)
    sides = [pair.moving_points[:, 0] < kept - 0.5, pair.moving_points[:, 0] > width - kept - 0.5]
    right = bool(sides[1].sum() > sides[0].sum())
    first, shown = (width - kept if right else 0), sides[right]
    return replace(
        pair,
        moving=np.ascontiguousarray(pair.moving[:, first : first + kept]),
        moving_points=pair.moving_points[shown] - [first, 0],
        fixed_points=pair.fixed_points[shown],
    )


def squeezed(pair: AnnotatedPair, fraction: float) -> AnnotatedPair:
    """Make the moving photograph so much lower and leave its width: pixels that are not square."""
    height, width = pair.moving.shape[:2]
    return _at_size(pair, width, max(1, round(fraction * height)))


def distorted(pair: AnnotatedPair, strength: float) -> AnnotatedPair:
    """Show the moving photograph through a lens that distorts.

    Args:
        pair: The pair.
        strength: A place at a distance d from the center of the field, the rim being at 1, is shown at
            d (1 + strength d^2) / (1 + strength): a barrel below 0, a pincushion above.
    """
    center, radius = _circle(pair.moving)

    def through(distance: np.ndarray) -> np.ndarray:
        return distance * (1 + strength * np.minimum(distance, 1.2) ** 2) / (1 + strength)

    height, width = pair.moving.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x - center[0]) / radius, (y - center[1]) / radius
    known = np.linspace(0, 3, 3001)
    seen = np.hypot(x, y)
    factor = np.interp(seen, through(known), known) / np.maximum(seen, 1e-6) * radius
    x, y = ((middle + axis * factor).astype(np.float32) for middle, axis in zip(center, (x, y)))
    moving = cv2.remap(pair.moving, x, y, cv2.INTER_CUBIC)
    beside = (pair.moving_points - center) / radius
    distance = np.linalg.norm(beside, axis=1, keepdims=True)
    points = center + beside * through(distance) / np.maximum(distance, 1e-6) * radius
    return replace(pair, moving=moving, moving_points=points)


def surrounded(pair: AnnotatedPair, color: tuple[int, int, int], rim: float = 0.0) -> AnnotatedPair:
    """Give both photographs a surround of one color.

    Args:
        pair: The pair.
        color: RGB, 0 to 255.
        rim: Standard deviation of the blur of the border between field and surround, as a fraction of the width.
    """
    return replace(pair, moving=_surround(pair.moving, color, rim), fixed=_surround(pair.fixed, color, rim))


def marked(
    pair: AnnotatedPair,
    text: str,
    opacity: float,
    height: float,
    tiles: int = 1,
    color: int | tuple[int, int, int] = 255,
    angle: float = 0.0,
    along: bool = False,
) -> AnnotatedPair:
    """Print the same text across both photographs, at the same place of the picture.

    Args:
        pair: The pair.
        text: What is printed.
        opacity: 0 to 1; 1 is burnt in.
        height: Of the letters, as a fraction of the picture's height.
        tiles: The text is repeated on so many lines.
        color: Gray level or RGB of the letters.
        angle: Degrees by which the lines are turned.
        along: Repeat the text along the lines.
    """
    letters = partial(_letters, text=text, height=height, tiles=tiles, angle=angle, along=along)
    return printed(pair, letters, opacity, color)


def printed(
    pair: AnnotatedPair,
    pattern: Callable[[tuple[int, int]], np.ndarray],
    opacity: float,
    color: int | tuple[int, int, int] = 255,
) -> AnnotatedPair:
    """Print the same pattern across both photographs, at the same place of the picture.

    Args:
        pair: The pair.
        pattern: Gives a pattern of a size (height, width): (H, W) float32 from 0 to 1.
        opacity: 0 to 1.
        color: Gray level or RGB of the pattern.
    """

    def mark(photo: np.ndarray) -> np.ndarray:
        weight = opacity * pattern(photo.shape[:2])[..., None]
        return (photo * (1 - weight) + np.array(color) * weight).round().astype(np.uint8)

    return replace(pair, moving=mark(pair.moving), fixed=mark(pair.fixed))


def askew(pair: AnnotatedPair, pattern: Condition, degrees: float = 8.0, tilt: float = 0.05) -> AnnotatedPair:
    """Photograph or scan both prints of a pattern askew: each is turned and tilted by itself, and so is what it shows.

    Args:
        pair: The pair; its name seeds both ways of lying, and its control points are not carried along.
        pattern: Put on both before that.
        degrees: Largest turn either way.
        tilt: How far a corner is moved inward at most, as a fraction of the picture's sides.
    """
    both, rng = pattern(pair), _generator(pair, "askew")

    def lay(photo: np.ndarray) -> np.ndarray:
        height, width = photo.shape[:2]
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (width - 1, height - 1)
        inward = np.sign((width / 2, height / 2) - corners) * rng.uniform(0, tilt, (4, 2)) * (width, height)
        tilted = cv2.getPerspectiveTransform(corners.astype(np.float32), (corners + inward).astype(np.float32))
        middle = (width - 1) / 2, (height - 1) / 2
        turn = np.vstack([cv2.getRotationMatrix2D(middle, rng.uniform(-degrees, degrees), 1.0), [0, 0, 1]])
        return cv2.warpPerspective(photo, turn @ tilted, (width, height), flags=cv2.INTER_LINEAR)

    return replace(both, moving=lay(both.moving), fixed=lay(both.fixed))


def mapped_in_color(pair: AnnotatedPair, opacity: float) -> AnnotatedPair:
    """Lay the same map in colors over both fields, as of a measurement, from the middle of the fields outward."""
    heights = np.random.default_rng(3).uniform(0, 255, (7, 7)).astype(np.uint8)
    colors = cv2.applyColorMap(cv2.resize(heights, (256, 256), interpolation=cv2.INTER_CUBIC), cv2.COLORMAP_JET)

    def lay(photo: np.ndarray) -> np.ndarray:
        x0, y0, x1, y1 = (round(side) for side in find_field_of_view(photo).box)
        over = photo.copy()
        over[y0:y1, x0:x1] = cv2.resize(colors[..., ::-1], (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        mixed = (photo * (1 - opacity) + over * opacity).round().astype(np.uint8)
        return np.where(_inside(photo)[..., None], mixed, photo)

    return replace(pair, moving=lay(pair.moving), fixed=lay(pair.fixed))


def _at_size(pair: AnnotatedPair, width: int, height: int) -> AnnotatedPair:
    before = pair.moving.shape[1::-1]
    larger = width > before[0] or height > before[1]
    moving = cv2.resize(pair.moving, (width, height), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)
    points = (pair.moving_points + 0.5) * (width, height) / np.array(before) - 0.5
    return replace(pair, moving=moving, moving_points=points)


def _circle(photo: np.ndarray) -> tuple[np.ndarray, float]:
    """Find center, (x, y), and radius of the field; where it is not round, of the box that it fills."""
    view = find_field_of_view(photo)
    x0, y0, x1, y1 = view.box
    return np.array(view.center or ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)), view.radius or (x1 - x0) / 2


def _inside(photo: np.ndarray) -> np.ndarray:
    return find_field_of_view(photo).mask((0.0, 0.0, 1.0, 1.0), photo.shape[:2])


def _surround(photo: np.ndarray, color: tuple[int, int, int], rim: float) -> np.ndarray:
    inside: np.ndarray = _inside(photo).astype(np.float32)
    if rim:
        inside = cv2.GaussianBlur(inside, (0, 0), rim * photo.shape[1])
    mixed = photo * inside[..., None] + np.array(color, np.float32) * (1 - inside[..., None])
    return mixed.round().astype(np.uint8)


def _letters(size: tuple[int, int], text: str, height: float, tiles: int, angle: float, along: bool) -> np.ndarray:
    """Draw lines of text, (H, W) float32 from 0 to 1."""
    rows, columns = size
    drawn: np.ndarray = np.zeros((rows, columns), np.uint8)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height * rows / 8))
    extent, _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = height * rows / extent[1]
    middle, step = (columns - scale * extent[0]) / 2, 1.3 * scale * extent[0]
    reach = int(columns / step) + 1 if along else 0
    for k in range(tiles):
        y = round(rows * (k + 1) / (tiles + 1) + height * rows / 2)
        for n in range(-reach, reach + 1):
            cv2.putText(drawn, text, (round(middle + n * step), y), font, scale, 255, thickness, cv2.LINE_AA)
    if angle:
        turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1.0)
        drawn = cv2.warpAffine(drawn, turn, (columns, rows))
    return drawn.astype(np.float32) / 255


def _rules(size: tuple[int, int], step: float) -> np.ndarray:
    """Draw the lines of graph paper, every fifth one broader; `step` is a fraction of the width."""
    drawn: np.ndarray = np.zeros(size, np.uint8)
    for number, place in enumerate(np.arange(0, max(size), step * size[1]).astype(int).tolist()):
        thickness = max(1, round((0.004 if number % 5 == 0 else 0.002) * size[1]))
        cv2.line(drawn, (place, 0), (place, size[0]), 255, thickness)
        cv2.line(drawn, (0, place), (size[1], place), 255, thickness)
    return drawn.astype(np.float32) / 255


def _guilloche(size: tuple[int, int]) -> np.ndarray:
    """Draw the curved net of banknotes and certificates."""
    y, x = 2 * np.pi * np.mgrid[: size[0], : size[1]].astype(np.float32) / size[1]
    wave = np.sin(9 * x + 3.8 * np.sin(3.1 * y)) * np.sin(8 * y + 4.4 * np.sin(2.3 * x + 1))
    drawn: np.ndarray = (np.abs(wave) < 0.12).astype(np.float32)
    return drawn


def _dots(size: tuple[int, int], number: int = 400) -> np.ndarray:
    """Draw equal dots at random places."""
    drawn: np.ndarray = np.zeros(size, np.uint8)
    for x, y in (np.random.default_rng(5).uniform(0, 1, (number, 2)) * size[::-1]).astype(int).tolist():
        cv2.circle(drawn, (x, y), max(2, round(0.008 * size[1])), 255, -1, cv2.LINE_AA)
    return drawn.astype(np.float32) / 255


CONDITIONS: dict[str, Condition] = {
    "clean": lambda pair: pair,
    **{f"degraded {level}": partial(degraded, level=level) for level in (3, 4, 5, 6)},
    **{f"both degraded {level}": partial(both_degraded, level=level) for level in (3, 4)},
    **{f"turned {angle}": partial(turned, degrees=angle) for angle in (15, 30, 45, 90, 180)},
    **{f"field {fraction} %": partial(narrowed, fraction=fraction / 100) for fraction in (70, 50)},
    "cut to 60 %": partial(cut_off, fraction=0.6),
    "squeezed to 80 %": partial(squeezed, fraction=0.8),
    **{
        f"{name} {percent} %": partial(distorted, strength=sign * percent / 100)
        for name, sign, percent in (("barrel", -1, 5), ("barrel", -1, 15), ("pincushion", 1, 10))
    },
    "red channel": partial(single_channel, channel=0),
    "blue channel": partial(single_channel, channel=2),
    "reversed contrast": reversed_contrast,
    **{f"haze {density}": partial(haze, density=density) for density in (0.6, 0.9)},
    **{f"blobs {fraction} %": partial(blobs, fraction=fraction / 100) for fraction in (15, 45)},
    **{f"motion blur {percent} %": partial(motion_blurred, length=percent / 100) for percent in (2, 4)},
    "overexposed 2.5": partial(overexposed, factor=2.5),
    "12 levels": partial(posterized, levels=12),
    "half size": partial(resized, scale=0.5),
    "JPEG 10 at 512": partial(compressed, quality=10, width=512),
    "JPEG 30 at 256": partial(compressed, quality=30, width=256),
}

_TILES = partial(marked, text="DO NOT COPY", height=0.05, tiles=9, along=True, angle=20)

# What both photographs of a pair show that is not retina: nothing of it may make different eyes agree.
SHARED_BY_BOTH: dict[str, Condition] = {
    **{
        f"{name} surround": partial(surrounded, color=color)
        for name, color in {"white": (255,) * 3, "light gray": (200,) * 3, "mid gray": (128,) * 3}.items()
    },
    "white surround, soft rim": partial(surrounded, color=(255,) * 3, rim=0.004),
    "stamp": partial(marked, text="EYE CLINIC 2024-03-11", opacity=1.0, height=0.05),
    "watermark": partial(marked, text="SPECIMEN COPY", opacity=0.35, height=0.12, tiles=3),
    "faint watermark": partial(marked, text="SPECIMEN COPY", opacity=0.2, height=0.12, tiles=3),
    "small lines": partial(marked, text="EYE CLINIC 2024-03-11 PATIENT 4711", opacity=0.5, height=0.03, tiles=6),
    "tiles": partial(_TILES, opacity=0.15),
    **{
        f"{name} tiles": partial(
            marked, text="SAMPLE CLINIC", opacity=0.25, height=0.05, tiles=9, color=color, along=True, angle=-30
        )
        for name, color in {"red": (255, 0, 0), "green": (0, 200, 0), "yellow": (255, 230, 0)}.items()
    },
    "color map": partial(mapped_in_color, opacity=0.3),
    **{
        f"{name} askew": partial(askew, pattern=pattern)
        for name, pattern in {
            "tiles": partial(_TILES, opacity=0.25),
            "dark tiles": partial(_TILES, opacity=0.35, color=0),
            "graph paper": partial(printed, pattern=partial(_rules, step=0.04), opacity=0.45, color=230),
            "guilloche": partial(printed, pattern=_guilloche, opacity=0.3),
            "pale dots": partial(printed, pattern=_dots, opacity=0.9, color=(235, 220, 170)),
        }.items()
    },
}


def choose_conditions(known: Mapping[str, Condition], names: Sequence[str] | None) -> dict[str, Condition]:
    """Choose conditions by their names, all of the known ones when None.

    Raises:
        ValueError: One is not known; the sentence lists those that are.
    """
    if unknown := [name for name in names or () if name not in known]:
        raise ValueError(f"Unknown conditions {unknown}; known are: {', '.join(known)}.")
    return {name: known[name] for name in (known if names is None else names)}


def find_keypoints_under(
    clean: AnnotatedPair, conditions: Mapping[str, Condition], registrars: Mapping[str, Registrar]
) -> Iterator[tuple[str, AnnotatedPair, str, Keypoints, Keypoints]]:
    """Put a pair under conditions and find its keypoints; those of a photograph that stays as it is are found once.

    Args:
        clean: The pair as it is.
        conditions: By name.
        registrars: By name.

    Yields:
        The name of a condition, the pair under it, the name of a registrar, and the keypoints that this one finds in
        the moving and in the fixed photograph.
    """
    kept: dict[tuple[str, int], Keypoints] = {}
    for condition, change in conditions.items():
        pair = change(clean)
        for name, registrar in registrars.items():
            sides = []
            for photograph in (pair.moving, pair.fixed):
                keypoints = kept.get((name, id(photograph)))
                if keypoints is None:
                    keypoints = registrar.keypoints([photograph])[0]
                if photograph is clean.moving or photograph is clean.fixed:
                    kept[name, id(photograph)] = keypoints
                sides.append(keypoints)
            yield condition, pair, name, sides[0], sides[1]


__all__ = [
    "CONDITIONS",
    "SHARED_BY_BOTH",
    "AnnotatedPair",
    "Condition",
    "blobs",
    "both_degraded",
    "choose_conditions",
    "compressed",
    "cut_off",
    "degraded",
    "distorted",
    "find_keypoints_under",
    "haze",
    "marked",
    "narrowed",
    "resized",
    "reversed_contrast",
    "single_channel",
    "squeezed",
    "surrounded",
    "turned",
]
