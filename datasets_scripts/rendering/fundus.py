"""Rendered fundus photographs: eyes drawn by a seed, photographed with exact geometry, as often as one likes."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .exposure import Light, draw_light, expose
from .eye import Lesion, RenderedEye, draw_eye, draw_lesions, grow_lesions
from .modality import COLOR, Modality, find_modality
from .painter import (
    draw_vessels,
    paint_eyelashes,
    paint_leakage,
    paint_lesion,
    reflectance,
    sheen,
    vessel_depth,
)
from .view import RetinaView


# How much a vessel has to darken its surroundings, after the blur, for its junctions to count as visible.
LEAST_CONTRAST = 0.06
BEHIND_VESSELS = ("drusen", "exudate", "scar")


@dataclass(kw_only=True)
class RenderedPhotograph:
    """A photograph of a rendered eye.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        mask: bool (H, W), the field of view.
        keypoints: (N, 2) visible junctions in pixels.
        types: (N,) int8, 0 bifurcation, 1 crossing.
        widths: (N,) width of the thinner vessel, pixels.
        indices: (N,) position among the junctions of the eye: equal indices in two photographs are one place.
        vessels: float32 (H, W), absorption of the vessels alone, 0 to about 1.
        view: The geometry.
        directions: N sorted arrays of angles in radians, (-pi, pi], atan2(dy, dx) in the frame of the photograph, of
            the vessels that leave each keypoint: three at a bifurcation, four at a crossing.
    """

    image: np.ndarray
    mask: np.ndarray
    keypoints: np.ndarray
    types: np.ndarray
    widths: np.ndarray
    indices: np.ndarray
    vessels: np.ndarray
    view: RetinaView
    directions: list[np.ndarray]


@dataclass
class RenderedVisits:
    """Two photographs of one eye and the exact map between them."""

    fixed: RenderedPhotograph
    moving: RenderedPhotograph
    eye: RenderedEye

    def correspond(self, moving_points: np.ndarray) -> np.ndarray:
        """Map points (N, 2) of the moving photograph to the fixed one, pixels."""
        return self.fixed.view.to_pixels(self.moving.view.to_retina(moving_points))

    def shared_keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        """List the keypoints visible in both: points (K, 2) of the moving photograph and (K, 2) of the fixed one."""
        _, moving, fixed = np.intersect1d(self.moving.indices, self.fixed.indices, return_indices=True)
        return self.moving.keypoints[moving], self.fixed.keypoints[fixed]


def draw_view(rng: np.random.Generator, eye: RenderedEye, size: int = 768, modality: Modality = COLOR) -> RetinaView:
    """Draw a camera that looks at the macula, the disc, or between and around them.

    Args:
        rng: Source of randomness.
        eye: The eye.
        size: Height and width of the photograph in pixels; the field of view nearly fills it.
        modality: Kind of the photograph.

    Returns:
        The view; its field measures 28 to 60 degrees, or what the modality says.
    """
    kind = rng.choice(3, p=[0.25, 0.6, 0.15])
    field = rng.uniform((28, 40, 50)[kind], (36, 52, 60)[kind])
    gaze = eye.disc * rng.choice([0.0, 0.35, 1.0], p=[0.35, 0.4, 0.25]) + rng.normal(0, 2.0, 2)
    return _camera(rng, gaze, field, size, modality)


def _camera(rng: np.random.Generator, gaze: np.ndarray, field: float, size: int, modality: Modality) -> RetinaView:
    tilt = np.eye(3)
    tilt[:2, :2] += rng.normal(0, 0.008, (2, 2))
    tilt[2, :2] = rng.normal(0, 0.008, 2)
    diameter = size * rng.uniform(0.94, 0.995)
    center = (size - 1) / 2 + rng.uniform(-0.4, 0.4, 2) * (size - diameter)
    roll, projection = rng.normal(0, 0.05), rng.uniform(0.2, 0.55)
    if modality.field is not None:
        field = rng.uniform(*modality.field)
    if modality.frame == "square":  # the whole picture
        diameter, center = size + 4.0, np.full(2, (size - 1) / 2)
    return RetinaView(gaze, field, diameter, center, roll, projection, tilt, modality.frame)


def _field_mask(view: RetinaView, light: Light, shape: tuple[int, int]) -> np.ndarray:
    x, y = np.meshgrid(np.arange(shape[1]) - view.center[0], np.arange(shape[0]) - view.center[1])
    radius = view.diameter / 2
    inside = view.depth(x / radius, y / radius) >= 0
    return inside & (y >= -light.top * radius) & (y <= light.bottom * radius)


def render(
    eye: RenderedEye,
    size: int = 768,
    view: RetinaView | None = None,
    lesions: list[Lesion] | None = None,
    light: Light | None = None,
    seed: int = 0,
    modality: str = "color",
) -> RenderedPhotograph:
    """Photograph an eye.

    Args:
        eye: From `draw_eye`.
        size: Height and width of the square photograph, pixels; the field of view fills nearly all of it.
        view: The camera; drawn from `seed` when not given.
        lesions: Disease; drawn from `seed` when not given, [] is a healthy eye.
        light: Light, optics and sensor; drawn from `seed` when not given.
        seed: Of what is not given, and of the noise: photographs of one eye with other seeds have other noise.
        modality: One of `MODALITIES`.

    Returns:
        The photograph, its field of view and its visible junctions.
    """
    kind = find_modality(modality)
    rng = np.random.default_rng([eye.seed, seed, 2])
    view = draw_view(rng, eye, size, kind) if view is None else view
    lesions = draw_lesions(rng, eye, max(0.0, rng.uniform(-0.6, 1.0))) if lesions is None else lesions
    light = _seen_in(draw_light(rng) if light is None else light, kind)
    shape = (size, size)

    image, hidden = reflectance(eye, view, shape, kind), np.zeros(shape)
    for lesion in lesions:
        if lesion.kind in BEHIND_VESSELS:
            paint_lesion(image, np.zeros(shape), lesion, view, kind)
    absorption, shine = draw_vessels(eye, view, shape)
    through = np.exp(-absorption[..., None] * np.array(kind.blood, np.float32))
    glint = (eye.looks["reflex"] * shine * absorption)[..., None] * np.array(kind.reflex, np.float32)
    image = image * (through + glint)
    image += sheen(eye, absorption, rng)[..., None] * np.array(kind.sheen, np.float32)
    if kind.dye:
        image += kind.dye * (1 - through)
    for lesion in lesions:
        if lesion.kind not in BEHIND_VESSELS:
            paint_lesion(image, hidden, lesion, view, kind)
    if kind.leaks:
        paint_leakage(image, lesions, view)
    if kind.eyelashes:
        paint_eyelashes(image, hidden, view, rng)

    mask = _field_mask(view, light, shape)
    kept, keypoints, widths = _visible_junctions(eye, view, light, mask, hidden)
    pixels = expose(image, mask, view, light, rng)
    return RenderedPhotograph(
        image=np.repeat(pixels[..., 1:2], 3, axis=2) if kind.gray else pixels,
        mask=mask,
        keypoints=keypoints,
        types=eye.junctions.types[kept],
        widths=widths,
        indices=kept,
        vessels=absorption,
        view=view,
        directions=[branch_directions(eye.junctions.branches[index], view) for index in kept],
    )


def _seen_in(light: Light, modality: Modality) -> Light:
    """Change a light into that of a modality: gray ones have no cast, scanning lasers no vignette and no cut field."""
    if modality.gray:
        light = replace(light, color=(1.0, 1.0, 1.0))
    if modality.frame != "circle":
        light = replace(light, top=1.0, bottom=1.0, vignette=0.3 * light.vignette)
    return light


def branch_directions(branches: list[np.ndarray], view: RetinaView) -> np.ndarray:
    """Give the angles at which branches (K, 2), in degrees, leave their junction in a photograph, sorted."""
    chords = [view.to_pixels(branch[[0, -1]]) for branch in branches]
    return np.sort([np.arctan2(*(end - start)[::-1]) for start, end in chords])


def _visible_junctions(
    eye: RenderedEye, view: RetinaView, light: Light, mask: np.ndarray, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give indices (N,), pixels (N, 2) and widths (N,) of the junctions that a photograph shows."""
    points, diameters = eye.junctions.points, eye.junctions.widths
    height, width = mask.shape
    pixels, widths = view.to_pixels(points), diameters * view.pixels_per_degree
    # The blur spreads a thin vessel: what is left of its contrast is its fraction of the blurred width.
    blurred = 2.35 * light.blur * view.diameter / 768
    contrast = vessel_depth(min(eye.looks["artery_contrast"], eye.looks["vein_contrast"]), diameters)
    contrast = contrast * light.contrast * widths / np.hypot(widths, blurred) * (1 - 0.5 * min(light.haze, 1))
    margin = max(3, round(view.diameter / 150))
    inner = cv2.erode(np.pad(mask.astype(np.uint8), 1), np.ones((3, 3), np.uint8), iterations=margin)[1:-1, 1:-1]
    column, row = np.round(pixels).clip(-1, [width, height]).astype(int).T
    seen = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    column, row = np.where(seen, column, 0), np.where(seen, row, 0)
    seen &= (inner[row, column] > 0) & (hidden[row, column] < 0.4) & (contrast > LEAST_CONTRAST)
    # In the middle of the disc vessels lie over each other.
    seen &= np.linalg.norm(points - eye.disc, axis=1) > 0.75 * eye.disc_radius
    kept = np.flatnonzero(seen)
    return kept, pixels[kept], widths[kept]


def render_visits(
    seed: int,
    size: int = 768,
    overlap: float | None = None,
    difficulty: float = 0.5,
    modalities: tuple[str, str] = ("color", "color"),
) -> RenderedVisits:
    """Photograph one eye twice, with another gaze, another light and another state of disease.

    Args:
        seed: Of everything.
        size: Height and width of both photographs, pixels.
        overlap: Fraction of the diameter over which the two fields of view overlap along the line between them (1: the
            same gaze); 0.55 to 1 by chance when not given.
        difficulty: 0 (easy) to 1: rotation and scale between the two, light, blur, noise, disease.
        modalities: Those of the fixed and of the moving photograph, see `MODALITIES`; some have a field of their own.

    Returns:
        Both photographs and the exact map between them.
    """
    rng = np.random.default_rng([seed, 3])
    eye = draw_eye(seed)
    first = draw_view(rng, eye, size)
    overlap = rng.uniform(0.55, 1.0) if overlap is None else overlap
    direction = rng.uniform(0, 2 * np.pi)
    shift = np.array([np.cos(direction), np.sin(direction)]) * (1 - overlap) * first.field
    views = []
    for gaze, modality in zip((first.gaze - shift / 2, first.gaze + shift / 2), modalities, strict=True):
        field = first.field * rng.uniform(1 - 0.1 * difficulty, 1 + 0.1 * difficulty)
        view = _camera(rng, gaze, field, size, find_modality(modality))
        views.append(replace(view, roll=view.roll * (1 + 2 * difficulty)))
    lesions = draw_lesions(rng, eye, difficulty * rng.uniform(0, 0.8))
    later = grow_lesions(rng, eye, lesions, difficulty * rng.uniform(0, 0.8))
    fixed = render(eye, size, views[0], lesions, draw_light(rng, difficulty * 0.6), seed=1, modality=modalities[0])
    moving = render(eye, size, views[1], later, draw_light(rng, difficulty), seed=2, modality=modalities[1])
    return RenderedVisits(fixed, moving, eye)


__all__ = ["RenderedPhotograph", "RenderedVisits", "branch_directions", "draw_view", "render", "render_visits"]
