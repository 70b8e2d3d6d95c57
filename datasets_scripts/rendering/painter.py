"""What light an eye sends back to a camera, layer by layer: background, vessels, lesions, reflections."""

from functools import lru_cache

import cv2
import numpy as np

from .eye import Lesion, RenderedEye
from .modality import COLOR, Modality
from .view import RetinaView


SUPERSAMPLING = 4  # vessels are drawn on a canvas this much finer
PIECE = 6  # points of a center line that are drawn with one width


LESION_OPACITY = {"drusen": 0.35, "cotton_wool": 0.7, "exudate": 0.75, "scar": 0.75}
LESION_SOFTNESS = {"cotton_wool": 0.8, "drusen": 0.5}
ROUGH_LESIONS = ("hemorrhage", "exudate")
STRETCHED_LESIONS = ("hemorrhage", "cotton_wool")


@lru_cache(maxsize=8)
def _noise_tile(seed: int, layer: int, size: int, low: float, high: float, slope: float) -> np.ndarray:
    """Draw periodic noise of unit variance: frequencies `low` to `high` cycles a tile, amplitude ~ frequency ** -slope.

    Args:
        seed: Of the eye.
        layer: Tiles of other layers are independent.
        size: Height and width of the tile.
        low: Lowest frequency.
        high: Highest frequency.
        slope: Exponent of the fall.

    Returns:
        float32 (size, size).
    """
    rng = np.random.default_rng([seed, layer])
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    amplitude = np.where((frequency >= low) & (frequency <= high), np.maximum(frequency, 1) ** -slope, 0)
    tile = np.fft.irfft2(np.fft.rfft2(rng.normal(0, 1, (size, size))) * amplitude, (size, size))
    return (tile / tile.std()).astype(np.float32)


def _lookup(tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a periodic tile at real coordinates of any size."""
    x, y = np.mod(x, len(tile)).astype(np.float32), np.mod(y, len(tile)).astype(np.float32)
    return cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def vessel_depth(contrast: float, diameter: float) -> float:
    """Give the absorption in the middle of a vessel of `diameter` degrees: more depth absorbs more, and saturates."""
    return contrast * (1 - np.exp(-diameter / 0.16))


def draw_vessels(eye: RenderedEye, view: RetinaView, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw the vessels, anti-aliased, to a fraction of a pixel.

    Args:
        eye: The eye.
        view: The camera.
        shape: Height and width of the photograph.

    Returns:
        Absorption (H, W) float32 of all vessels, 0 to about 1, and where wide arteries reflect light (H, W), 0 to 1.
    """
    height, width = shape
    scale = view.pixels_per_degree * SUPERSAMPLING
    strokes: list[tuple[int, bool, int, np.ndarray]] = []
    canvas = (height * SUPERSAMPLING, width * SUPERSAMPLING)
    arteries, veins, shine = (np.zeros(canvas, np.uint8) for _ in range(3))
    for vessel in eye.vessels:
        pixels = view.to_pixels(vessel.points)
        inside = ((pixels > -20) & (pixels < np.array([width, height]) + 20)).all(axis=1)
        if not inside.any():
            continue
        contrast = eye.looks["artery_contrast" if vessel.artery else "vein_contrast"]
        # Sixteenths of a pixel of the canvas, the center of its top-left pixel being (0, 0).
        line = np.round(((pixels.clip(-1e4, 1e4) + 0.5) * SUPERSAMPLING - 0.5) * 16).astype(np.int32)
        for begin in range(0, len(line) - 1, PIECE):
            piece = slice(begin, begin + PIECE + 1)
            if not inside[piece].any():
                continue
            diameter = float(vessel.widths[piece].mean())
            depth = 255 * vessel_depth(contrast, diameter)
            # The profile of a cylinder, in four steps.
            for ratio, level in ((1.0, 0.45), (0.85, 0.7), (0.65, 0.87), (0.4, 1.0)):
                thickness = max(1, round(diameter * scale * ratio))
                strokes.append((int(depth * level), vessel.artery, thickness, line[piece]))
            if vessel.artery and diameter * view.pixels_per_degree > 4:
                cv2.polylines(shine, [line[piece]], False, 255, max(1, round(diameter * scale * 0.22)), cv2.LINE_8, 4)
    # Painted from faint to dark, every pixel keeps the darkest stroke, and nothing shows where two pieces join.
    for level, artery, thickness, line in sorted(strokes, key=lambda stroke: stroke[0]):
        cv2.polylines(arteries if artery else veins, [line], False, level, thickness, cv2.LINE_8, 4)
    arteries, veins, shine = (
        cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        for layer in (arteries, veins, shine)
    )
    return np.maximum(veins, arteries) + 0.35 * np.minimum(veins, arteries), shine


def paint_lesion(
    image: np.ndarray, hidden: np.ndarray, lesion: Lesion, view: RetinaView, modality: Modality = COLOR
) -> None:
    """Paint one lesion into a reflectance `image` (H, W, 3), and its opacity into `hidden` (H, W), both in place."""
    height, width = hidden.shape
    center = view.to_pixels(lesion.place)
    radius = lesion.radius * view.pixels_per_degree
    reach = int(2.2 * radius + 3)
    x0, y0 = np.maximum(np.round(center).astype(int) - reach, 0)
    x1, y1 = np.minimum(np.round(center).astype(int) + reach + 1, [width, height])
    if x0 >= x1 or y0 >= y1:
        return
    rng = np.random.default_rng(lesion.seed)
    x, y = np.meshgrid(np.arange(x0, x1) - center[0], np.arange(y0, y1) - center[1])
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6 if lesion.kind in STRETCHED_LESIONS else 1.25)
    u = (x * np.cos(turn) + y * np.sin(turn)) / stretch
    v = (y * np.cos(turn) - x * np.sin(turn)) * stretch
    angle, rough = np.arctan2(v, u), 0.18 if lesion.kind in ROUGH_LESIONS else 0.07
    waves = [rough / k**0.5 * rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 7)]
    distance = np.hypot(u, v) / np.maximum(1 + sum(waves), 0.3)
    soft = LESION_SOFTNESS.get(lesion.kind, 0.25) * radius + 0.7
    opacity = LESION_OPACITY.get(lesion.kind, 0.8) * rng.uniform(0.6, 1.0)
    opacity = (opacity * (1 - _smoothstep(radius - soft, radius + soft, distance))).astype(np.float32)
    color = np.array(modality.lesions[lesion.kind], np.float32)
    if lesion.kind == "scar" and rng.random() < 0.5:  # a scar with pigment in the middle
        color = color * (1 - 0.75 * (1 - _smoothstep(0.2 * radius, 0.7 * radius, distance)))[..., None]
    region = image[y0:y1, x0:x1]
    region += opacity[..., None] * (color - region).astype(np.float32)
    np.maximum(hidden[y0:y1, x0:x1], opacity, out=hidden[y0:y1, x0:x1])


def reflectance(eye: RenderedEye, view: RetinaView, shape: tuple[int, int], modality: Modality = COLOR) -> np.ndarray:
    """Paint the retina without vessels and lesions: pigment, choroid, nerve fibers, macula, disc.

    Args:
        eye: The eye.
        view: The camera.
        shape: Height and width of the photograph.
        modality: Its kind.

    Returns:
        float32 (H, W, 3), about 0 to 1.
    """
    height, width = shape
    place = view.to_retina(np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1))
    x, y = place[..., 0].astype(np.float32), place[..., 1].astype(np.float32)
    dx, dy = x - np.float32(eye.disc[0]), y - np.float32(eye.disc[1])
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    looks, pigment = eye.looks, eye.looks["pigment"]

    patches = _lookup(_noise_tile(eye.seed, 0, 512, 1, 90, 1.6), x * 4, y * 4)
    grain = _lookup(_noise_tile(eye.seed, 1, 1024, 10, 500, 1.05), x * 32, y * 32)
    # The choroid shows as bands of big vessels where the pigment epithelium is thin.
    bands = _lookup(_noise_tile(eye.seed, 2, 512, 8, 30, 0.5), (x + 0.4 * patches) * 7 + 37, y * 14 + 11)
    choroid = (np.exp(-(((bands - 0.6) / 0.8) ** 2)) - 0.5) * np.clip(0.6 + 0.4 * patches, 0, 1.5)
    # Nerve fibers: fine streaks that leave the disc, strongest above and below it.
    fibers = _lookup(_noise_tile(eye.seed, 3, 1024, 30, 250, 0.5), angle * (1024 / np.pi), 5 * radius)
    fibers = fibers * np.exp(-(((radius - 6) / 6) ** 2)) * (0.3 + 0.7 * np.abs(np.sin(angle)))

    texture = 0.06 * patches + 0.03 * looks["mottle"] * grain + modality.fibers * looks["fibers"] * fibers
    choroid = 0.05 * looks["choroid"] * choroid
    base = np.array([light - dark * pigment for light, dark in zip(modality.base, modality.pigment)], np.float32)
    image = base * np.stack([1 + a * texture + b * choroid for a, b in zip(modality.texture, modality.choroid)], -1)

    eccentricity = np.hypot(x, y)
    macula = 0.22 * np.exp(-((eccentricity / looks["macula"]) ** 2)) + 0.18 * np.exp(-((eccentricity / 0.9) ** 2))
    image *= 1 - (looks["fovea"] * macula)[..., None] * np.array(modality.macula, np.float32)
    halo = 0.25 * looks["halo"] * np.exp(-((radius / 7) ** 2))
    image *= 1 + halo[..., None] * np.array(modality.halo, np.float32)
    return _add_disc(image.astype(np.float32), eye, dx, dy, 1 + 0.05 * grain + 0.05 * patches, modality)


def _add_disc(
    image: np.ndarray, eye: RenderedEye, dx: np.ndarray, dy: np.ndarray, texture: np.ndarray, modality: Modality
) -> np.ndarray:
    """Add the disc: an ellipse with a soft rim, a bright cup, a pale or pigmented crescent on its temporal side."""
    looks, temporal = eye.looks, np.float32(-np.sign(eye.disc[0]))
    angle, tilt = np.arctan2(dy, dx), looks["disc_tilt"]
    u = (dx * np.cos(tilt) + dy * np.sin(tilt)) * looks["disc_oval"] / eye.disc_radius
    v = (dy * np.cos(tilt) - dx * np.sin(tilt)) / eye.disc_radius
    outline = 1 + 0.04 * np.cos(3 * angle + looks["disc_shape"]) + 0.03 * np.cos(2 * angle + 2 * looks["disc_shape"])
    distance = np.hypot(u, v) / outline
    crescent = np.exp(-(((distance - 1.08) / 0.08) ** 2)) * (0.5 + 0.5 * temporal * np.cos(angle))
    image = image * (1 + looks["crescent"] * crescent)[..., None]
    cup = 1 - _smoothstep(looks["cup"] * 0.6, looks["cup"] * 1.15, np.hypot(u - 0.1 * temporal, v))
    brightness = np.float32(0.75 + 0.25 * looks["disc_pallor"])
    rim, middle = np.array(modality.disc_rim, np.float32), np.array(modality.disc_cup, np.float32)
    disc = brightness * (rim + (middle - rim) * cup[..., None]) * texture[..., None]
    inside = 1 - _smoothstep(0.86, 1.08, distance)
    return (image + inside[..., None] * (disc - image)).astype(np.float32)


def sheen(eye: RenderedEye, absorption: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint silky reflections of young eyes beside their vessels: they move with the light, from visit to visit.

    Args:
        eye: The eye.
        absorption: (H, W), as from `draw_vessels`.
        rng: Of the visit.

    Returns:
        float32 (H, W).
    """
    height, width = absorption.shape
    scale = width / 768
    beside = cv2.GaussianBlur(absorption, (0, 0), 9 * scale)
    beside *= np.exp(-4 * cv2.GaussianBlur(absorption, (0, 0), 1.5 * scale))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) / scale, np.arange(height, dtype=np.float32) / scale)
    shift = rng.uniform(0, 512, 2)
    noise = _lookup(_noise_tile(eye.seed, 2, 512, 8, 30, 0.5), x * 0.6 + shift[0], y * 0.6 + shift[1])
    return np.float32(eye.looks["sheen"] * rng.uniform(0.0, 1.5)) * beside * np.clip(noise - 0.6, 0, None)


def paint_leakage(image: np.ndarray, lesions: list[Lesion], view: RetinaView) -> None:
    """Let dye leave every third microaneurysm of an angiogram (H, W, 3): a glow around it, in place."""
    leakage = np.zeros(image.shape[:2], np.float32)
    for lesion in lesions:
        if lesion.kind == "microaneurysm" and lesion.seed % 3 == 0:
            radius = lesion.radius * view.pixels_per_degree * (5 + lesion.seed % 7)
            x, y = view.to_pixels(lesion.place).clip(-1e4, 1e4).round().astype(int).tolist()
            cv2.circle(leakage, (x, y), max(1, round(radius)), 1.0, -1)
    leakage = cv2.GaussianBlur(leakage, (0, 0), 0.35 * view.pixels_per_degree)[..., None]
    image += 0.6 * leakage * (1 - image)


def paint_eyelashes(image: np.ndarray, hidden: np.ndarray, view: RetinaView, rng: np.random.Generator) -> None:
    """Let lid and lashes hang into a picture (H, W, 3) from below, and cover `hidden` (H, W), both in place."""
    height, width = hidden.shape
    radius, scale = view.diameter / 2, view.diameter / 768
    lashes = np.zeros((height, width), np.uint8)
    along = np.linspace(0, 1, 24)[:, None]
    for place in rng.uniform(-0.9, 0.9, rng.integers(25, 60)):
        root = view.center + radius * np.array([place, 0.95])
        tip = root + radius * np.array([0.5 * place + rng.normal(0, 0.12), -rng.uniform(0.3, 0.75)])
        bend = (root + tip) / 2 + radius * rng.normal(0, 0.06, 2)
        line = root * (1 - along) ** 2 + 2 * bend * along * (1 - along) + tip * along**2
        for piece in range(0, 23, 4):  # thinner toward the tip
            thickness = max(1, round((5 - 0.18 * piece) * scale))
            points = np.round(line[piece : piece + 5] * 16).astype(np.int32)
            cv2.polylines(lashes, [points], False, 255, thickness, cv2.LINE_AA, 4)
    shade = cv2.GaussianBlur(lashes.astype(np.float32) / 255, (0, 0), 1.6 * scale)
    rows = (np.arange(height, dtype=np.float32) - view.center[1]) / radius
    lid = _smoothstep(rng.uniform(0.5, 0.62), 0.75, rows)[:, None]
    shade = np.maximum(0.85 * shade, 0.8 * lid).astype(np.float32)
    image *= 1 - shade[..., None]
    np.maximum(hidden, shade, out=hidden)


__all__ = [
    "draw_vessels",
    "paint_eyelashes",
    "paint_leakage",
    "paint_lesion",
    "reflectance",
    "sheen",
    "vessel_depth",
]
