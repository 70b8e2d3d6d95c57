"""The field of view on surrounds of every kind: fields cut out of photographs and set into pictures whose rim is known.

    retinamatch evaluate surrounds FOLDERS... [--photographs 30] [--seed 0] [--model NAME] [--json FILE]

Every photograph is set into a picture with each kind of surround once, at a random place and size, in part cut off by
the picture, squeezed to an ellipse, with a sharp or a smoothed rim, with noise, as a JPEG, and with writing, rulers and
logos burnt in. The circle of the photograph itself is the one that `find_field_of_view` finds, on its own surround.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm.auto import tqdm

from ..field_of_view import FieldOfView, find_field_of_view
from ..photographs import read_photograph
from ..registrar import Registrar


TOLERANCE = 0.015  # of the radius
RIM = 2.0  # pixels of the working size: a keypoint nearer to the rim, or to a mark, lies on it
_SIDE = 900
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX)
_INK = ((255, 255, 255), (0, 0, 0), (255, 255, 0), (0, 255, 0), (80, 160, 255), (255, 0, 255))


@dataclass
class Composite:
    """A picture whose field of view is known.

    Attributes:
        picture: (height, width, 3) uint8 RGB.
        center: (x, y) of the ellipse in pixels.
        axes: Its horizontal and vertical semi-axis in pixels.
        field: (height, width) bool, the part of the ellipse that shows the photograph: straight edges may cut it.
        marks: (height, width) bool, True where writing, a ruler or a logo covers the retina.
    """

    picture: np.ndarray
    center: tuple[float, float]
    axes: tuple[float, float]
    field: np.ndarray
    marks: np.ndarray


def _plain(color: Sequence[int]) -> Callable:
    return lambda height, width, rng: np.full((height, width, 3), color, np.float32)


def _clouds(height: int, width: int, rng: np.random.Generator, cells: int = 8) -> np.ndarray:
    """Smooth random colors, (height, width, 3), about 0 to 1."""
    coarse = rng.random((cells, cells, 3), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _skin(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    tone = np.array([[224, 172, 145], [198, 134, 102], [141, 85, 58], [92, 58, 42]], np.float32)[rng.integers(4)]
    pores = cv2.GaussianBlur(rng.normal(0, 12, (height, width, 1)).astype(np.float32), (0, 0), 1.2)[..., None]
    return tone * (0.75 + 0.5 * _clouds(height, width, rng, 4)[..., :1]) + pores


def _cloth(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    period = rng.uniform(5, 12)
    weave = np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)
    return rng.uniform(60, 180, 3) + 25 * weave[..., None] + rng.normal(0, 8, (height, width, 1))


def _page(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    page = np.full((height, width, 3), 244, np.uint8)
    letters = list("abcdefghijklmnoprstuvwxyz     ")
    for line in range(14, height + 20, 22):
        words = "".join(rng.choice(letters, width // 8))
        cv2.putText(
            page, words, (int(rng.integers(-10, 20)), line), cv2.FONT_HERSHEY_COMPLEX, 0.55, (20, 20, 25), 1, 16
        )
    return page.astype(np.float32)


def _wood(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = _clouds(height, width, rng, 5)[..., 0]
    grain = np.sin(y / rng.uniform(4, 9) + 9 * bend) + 0.5 * np.sin(y / 3 + 0.02 * x)
    return np.array([150, 105, 65]) + 18 * grain[..., None] * np.array([1.0, 0.8, 0.6])


def _tiles(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    side = int(rng.integers(20, 70))
    return np.where(((x // side + y // side) % 2)[..., None] == 1, rng.uniform(150, 255, 3), rng.uniform(0, 100, 3))


def _gradient(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = (x / width - 0.5) * np.cos(turn) + (y / height - 0.5) * np.sin(turn)
    return np.repeat(np.clip(0.5 + 0.8 * ramp, 0, 1)[..., None] * 255, 3, 2)


#: The kinds of surround: functions of height, width and a random generator.
SURROUNDS = {
    "black": _plain((3, 3, 3)),
    "dark gray": _plain((60, 60, 60)),
    "mid gray": _plain((128, 128, 128)),
    "light gray": _plain((211, 211, 211)),
    "white": _plain((255, 255, 255)),
    "black to white": _gradient,
    "skin": _skin,
    "printed page": _page,
    "cloth": _cloth,
    "wood": _wood,
    "tiles": _tiles,
    "colored clouds": lambda height, width, rng: 255 * _clouds(height, width, rng),
}


def compose(photo: np.ndarray, view: FieldOfView, surround: str, rng: np.random.Generator) -> Composite:
    """Set the field of view of a photograph into a picture with another surround.

    Args:
        photo: (height, width, 3) uint8 RGB.
        view: Its round field of view.
        surround: A name of `SURROUNDS`.
        rng: Source of place, size, shape, rim, marks, noise and compression.
    """
    if view.center is None or view.radius is None:
        raise ValueError("Only a round field of view can be set on another surround.")
    height, width = rng.permutation([_SIDE, int(_SIDE * rng.choice([0.66, 0.75, 1.0]))]).tolist()
    radius = rng.uniform(0.3, 0.55) * min(height, width)
    squeeze = rng.uniform(0.75, 1) if rng.random() < 0.25 else 1.0
    axes = (radius, radius * squeeze) if rng.random() < 0.5 else (radius * squeeze, radius)
    center = (float(rng.uniform(0.4, 0.6) * width), float(rng.uniform(0.4, 0.6) * height))
    turn = rng.integers(4) * np.pi / 2
    rim = rng.choice([0.6, 2.0, 5.0])

    # From the picture back to the photograph: the circle a hair smaller than it was found, so that no old rim is seen.
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u, v = (x - center[0]) / axes[0] * 0.99, (y - center[1]) / axes[1] * 0.99
    source_x = view.center[0] + view.radius * (u * np.cos(turn) - v * np.sin(turn))
    source_y = view.center[1] + view.radius * (u * np.sin(turn) + v * np.cos(turn))
    reduced = min(1.0, 1.2 * radius / view.radius)
    small = cv2.resize(photo, None, fx=reduced, fy=reduced, interpolation=cv2.INTER_AREA)
    place = [(((source + 0.5) * reduced) - 0.5).astype(np.float32) for source in (source_x, source_y)]
    retina = cv2.remap(small, place[0], place[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    x0, y0, x1, y1 = view.box
    seen = (source_x > x0 + 2) & (source_x < x1 - 3) & (source_y > y0 + 2) & (source_y < y1 - 3)
    inside = (u / 0.99) ** 2 + (v / 0.99) ** 2 <= 1
    alpha = cv2.GaussianBlur((seen & inside).astype(np.float32), (0, 0), rim)[..., None]

    retina, marks = _stamp(retina, center, axes, rng) if rng.random() < 0.5 else (retina, np.zeros(inside.shape, bool))
    picture = alpha * retina + (1 - alpha) * np.clip(SURROUNDS[surround](height, width, rng), 0, 255)
    picture += rng.normal(0, rng.choice([0.0, 4.0]), picture.shape)
    picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    quality = int(rng.choice([95, 60, 30]))
    coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    picture = cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    field = inside & seen
    return Composite(picture, center, axes, field, marks & field)


def _stamp(
    retina: np.ndarray, center: tuple[float, float], axes: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Burn writing, a ruler or a logo into the retina; returns the picture and where it is covered."""
    height, width = retina.shape[:2]
    cover = np.zeros((height, width), np.uint8)
    x, y = (int(c + rng.uniform(-0.4, 0.2) * a) for c, a in zip(center, axes))
    kind, size = rng.integers(3), int(rng.uniform(0.2, 0.4) * min(axes))
    thickness = int(rng.integers(1, 4))
    if kind == 0:
        text = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTUVXYZ0123456789./-"), int(rng.integers(4, 14))))
        font = _FONTS[rng.integers(len(_FONTS))]
        cv2.putText(cover, text, (x, y), font, rng.uniform(0.5, 1.2), 255, thickness, cv2.LINE_AA)
    elif kind == 1:
        cv2.line(cover, (x, y), (x + 3 * size // 2, y), 255, thickness, cv2.LINE_AA)
        for tick in range(9):
            at = x + tick * 3 * size // 16
            cv2.line(cover, (at, y), (at, y - (8 if tick % 4 else 16)), 255, thickness, cv2.LINE_AA)
    else:
        cv2.circle(cover, (x, y), size // 2, 255, thickness + 1, cv2.LINE_AA)
        cv2.rectangle(cover, (x - size // 5, y - size // 5), (x + size // 5, y + size // 5), 255, -1)
    share = cover[..., None] / 255.0
    stamped = retina * (1 - share) + share * np.array(_INK[rng.integers(len(_INK))])
    return np.rint(stamped).astype(np.uint8), cover > 40


def compare(view: FieldOfView, truth: Composite) -> tuple[float, float]:
    """Distance of the centers, and the greatest difference of the radii over all directions, in radii of the truth."""
    if view.center is None:
        return np.inf, np.inf
    scale = float(np.sqrt(truth.axes[0] * truth.axes[1]))
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    reach = 1 / np.hypot(np.cos(angles) / truth.axes[0], np.sin(angles) / truth.axes[1])
    difference = np.abs(view.reach(angles) - reach).max()
    return float(np.hypot(*np.subtract(view.center, truth.center)) / scale), float(difference / scale)


def evaluate_surrounds(
    photographs: Sequence, registrar: Registrar | None = None, number: int = 30, seed: int = 0, progress: bool = False
) -> list[dict]:
    """Measure the field of view, and where keypoints lie, on every kind of surround.

    Args:
        photographs: What `read_photograph` reads.
        registrar: A `Registrar`, which finds keypoints; None measures the field of view alone.
        number: How many photographs to take, evenly over all; those without a round field of view are passed over.
        seed: Of the pictures.
        progress: Show a progress bar.

    Returns:
        A dict per kind of surround: `surround`, `pictures`, `within` (share with center and radius within 1.5 per cent
        of the radius), `missed` (no circle found), `median` and `95 %` of the larger of both errors in per cent of the
        radius, `marks covered` (share of the marks' pixels that the field leaves out, None without marks), and with a
        registrar `keypoints`, `on rim` and `on marks` (how many lie there).

    Raises:
        ValueError: There is no photograph.
    """
    if not photographs:
        raise ValueError("There is no photograph to set on other surrounds.")
    chosen = [photographs[k] for k in np.unique(np.linspace(0, len(photographs) - 1, number).round().astype(int))]
    rows: dict[str, list[dict]] = {kind: [] for kind in SURROUNDS}
    for index, source in enumerate(tqdm(chosen, unit="photo", disable=not progress)):
        photo = read_photograph(source)
        view = find_field_of_view(photo)
        if view.center is None:
            continue
        for kind_index, kind in enumerate(SURROUNDS):
            truth = compose(photo, view, kind, np.random.default_rng([seed, index, kind_index]))
            rows[kind].append(_measure(truth, registrar))
    return [{"surround": kind, **_summary(found)} for kind, found in rows.items()]


def surrounds_table(rows: list[dict]) -> str:
    """Write what `evaluate_surrounds` gives as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = ("-" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measure(truth: Composite, registrar: Registrar | None) -> dict:
    view = find_field_of_view(truth.picture)
    left_out = ~view.mask((0, 0, 1, 1), truth.marks.shape)
    row = {"error": max(compare(view, truth)), "marks": int(truth.marks.sum())}
    row["covered"] = int((truth.marks & left_out).sum())
    if registrar is not None:
        keypoints = registrar.keypoints([truth.picture])[0]
        points = keypoints.points
        near = RIM * keypoints.scale
        row["keypoints"] = len(points)
        row["on rim"] = int((_at(truth.field, points) < near).sum())
        row["on marks"] = int((_at(~truth.marks, points) < near).sum())
    return row


def _at(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance in pixels from each of (N, 2) points to the nearest pixel outside a mask; the picture's edge is none."""
    if mask.all():
        return np.full(len(points), np.inf)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    x, y = np.clip(np.rint(points).astype(int), 0, np.array(mask.shape[::-1]) - 1).T
    return distance[y, x]


def _summary(rows: list[dict]) -> dict:
    errors = np.array([row["error"] for row in rows])
    found = 100 * errors[np.isfinite(errors)]
    marks = sum(row["marks"] for row in rows)
    return {
        "pictures": len(rows),
        "within": float((errors <= TOLERANCE).mean()) if rows else 0.0,
        "missed": int(np.isinf(errors).sum()),
        "median": float(np.median(found)) if len(found) else None,
        "95 %": float(np.percentile(found, 95)) if len(found) else None,
        "marks covered": sum(row["covered"] for row in rows) / marks if marks else None,
        **{
            key: sum(row[key] for row in rows) for key in ("keypoints", "on rim", "on marks") if rows and key in rows[0]
        },
    }


__all__ = ["SURROUNDS", "Composite", "compare", "compose", "evaluate_surrounds", "surrounds_table"]
