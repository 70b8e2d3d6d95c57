"""Warped pairs: one photograph through two cameras.

Two round windows on it, one of which is turned, bent, blurred, lit otherwise, or covered with lesions. The mapping
between the windows is a quadratic polynomial, exactly.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from retinamatch.field_of_view import find_field_of_view
from retinamatch.transforms import Quadratic, Transform

from ..format.rows import origin
from ..labelling.labels import find_labels, read
from ..labelling.points import look_up
from ..rendering.eye import Lesion
from ..rendering.painter import paint_lesion
from ..rendering.view import RetinaView
from ..sources import Photograph
from .pairs import pair_row
from .rendered import render_photograph


CATEGORIES = ("overlap", "curvature", "blur", "light", "lesions", "all")
# Strengths at grade 1 to 3, and what the other categories have of it. Lengths are pixels of a photograph 768 wide.
WINDOW = {0: 0.84, 1: 0.80, 2: 0.70, 3: 0.62}  # diameter of a window, as a share of the photograph's
CURVATURE = {0: 2.0, 1: 6.0, 2: 12.0, 3: 20.0}  # largest bend at the rim of the window
BLUR = {0: 0.5, 1: 1.2, 2: 2.2, 3: 3.5}  # standard deviation
LIGHT = {0: 0.1, 1: 0.35, 2: 0.65, 3: 1.0}  # of the greatest change that is drawn
LESIONS = {0: 0, 1: 8, 2: 25, 3: 60}  # number
LESION_KINDS = ("drusen", "exudate", "cotton_wool", "haemorrhage", "microaneurysm")
GRID = 12  # places a side, where no keypoints are known


@dataclass
class Strengths:
    """How different the two photographs of a warped pair are; the names are those of the columns."""

    window: float
    curvature: float
    blur: float
    light: float
    lesions: int

    @classmethod
    def of(cls, category: str, grade: int) -> "Strengths":
        """Give the strengths of a category: its own at the grade, the others mild; "all" has all at the grade."""

        def at(name: str, scale: dict):
            return scale[grade] if category in (name, "all") else scale[0]

        return cls(
            at("overlap", WINDOW),
            at("curvature", CURVATURE),
            at("blur", BLUR),
            at("light", LIGHT),
            at("lesions", LESIONS),
        )


@dataclass
class Subject:
    """What a warped pair is made from.

    Attributes:
        name: Unique over all sources.
        photo: (H, W, 3) uint8.
        mask: (H, W) bool, its field of view.
        center: (2,) of the field of view in pixels.
        radius: Of the field of view in pixels.
        keypoints: (N, 2) in pixels; `None` when it is not labelled.
        origin: The columns of `schema.origin`.
    """

    name: str
    photo: np.ndarray
    mask: np.ndarray
    center: np.ndarray
    radius: float
    keypoints: np.ndarray | None
    origin: dict

    @classmethod
    def read(cls, photograph: Photograph, licence: str, redistributable: bool, labelled: bool) -> "Subject":
        """Read a file of a source; the arguments are those of `labelling.label`."""
        photo = read(photograph)
        view = find_field_of_view(photo)
        box = np.array(view.box)
        center = np.array(view.center) if view.center is not None else (box[:2] + box[2:] - 1) / 2
        return cls(
            name=f"{photograph.source}_{photograph.name}",
            photo=photo,
            mask=view.mask((0.0, 0.0, 1.0, 1.0), photo.shape[:2]),
            center=center,
            radius=float(view.radius or min(box[2:] - box[:2]) / 2),
            keypoints=find_labels(photograph, photo, view)["keypoints"] if labelled else None,
            origin=origin(
                photograph.source,
                photograph.patient,
                photograph.eye,
                licence,
                redistributable and (not labelled or photograph.labels_redistributable),
            ),
        )

    @classmethod
    def render(cls, number: int, size: int, seed: int) -> "Subject":
        """Photograph a rendered eye, larger than the pair will be, as a camera would."""
        one = render_photograph(number, round(size * 1.3), seed)
        rows, columns = np.nonzero(one.mask)
        center = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
        radius = max(np.ptp(columns), np.ptp(rows)) / 2
        about = origin(one.source, one.patient, one.eye, one.licence, one.redistributable)
        return cls(one.name, one.image, one.mask, center, radius, one.keypoints, about)


def warped_pair(subject: Subject, category: str, grade: int, size: int, seed: int) -> dict:
    """Make a row of `pairs` out of one photograph.

    Args:
        subject: The photograph.
        category: One of `CATEGORIES`: what makes the pair hard.
        grade: 1 to 3.
        size: Side of both square photographs in pixels.
        seed: Of everything random; each name, category and grade has its own draw.
    """
    name = f"{subject.name}_{category}_{grade}"
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    strengths = Strengths.of(category, grade)
    middle, radius = (size - 1) / 2, 0.485 * size
    # Where the two windows lie on the photograph: photograph pixels per view pixel, and both centres.
    scale = strengths.window * subject.radius / radius
    direction = rng.uniform(0, 2 * np.pi)
    half = np.array([np.cos(direction), np.sin(direction)]) * (1 - strengths.window) * subject.radius
    half *= rng.uniform(0.7, 1.0)
    mapping = _draw_mapping(rng, middle, radius, 2 * half / scale, strengths.curvature * size / 768)

    y, x = np.mgrid[:size, :size].astype(np.float64)
    pixels = np.stack([x, y], -1).reshape(-1, 2)
    window = np.hypot(x - middle, y - middle) <= radius

    def to_photo(points: np.ndarray) -> np.ndarray:
        return subject.center - half + (points - middle) * scale

    # Pixels that shrink are averaged, as a lens would.
    photo = cv2.GaussianBlur(subject.photo, (0, 0), 0.5 * np.sqrt(scale**2 - 1)) if scale > 1.1 else subject.photo
    images, masks = [], []
    for places in (to_photo(pixels), to_photo(mapping(pixels))):
        grid = places.astype(np.float32).reshape(size, size, 2)
        images.append(cv2.remap(photo, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC))
        seen = cv2.remap(subject.mask.astype(np.uint8), grid[..., 0], grid[..., 1], cv2.INTER_NEAREST) > 0
        masks.append(window & seen)
        images[-1][~masks[-1]] = 0
    fixed, moving = images[0], _another_visit(rng, images[1], masks[1], strengths)

    fixed_points, kind = None, "grid"
    if subject.keypoints is not None:
        found = (subject.keypoints - subject.center + half) / scale + middle
        fixed_points, moving_points = _seen_by_both(found, mapping, masks)
        kind = "keypoints"
    if fixed_points is None or len(fixed_points) == 0:
        fixed_points, moving_points = _grid_points(mapping, masks)
        kind = "grid"
    return {
        **pair_row(name, fixed, moving, masks, fixed_points, moving_points, kind, mapping, category, grade),
        "blur": strengths.blur,
        "light": strengths.light,
        "lesions": strengths.lesions,
        **subject.origin,
    }


def _draw_mapping(rng, middle: float, radius: float, shift: np.ndarray, curvature: float) -> Quadratic:
    """Draw the mapping from the moving to the fixed window: a turn, a zoom, a shift and a bend of so many pixels."""
    turn, zoom = np.radians(rng.uniform(-12, 12)), np.exp(rng.uniform(-0.06, 0.06))
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    bend = rng.normal(size=(3, 2))
    angles = np.linspace(0, 2 * np.pi, 360)
    u, v = np.cos(angles), np.sin(angles)
    bend *= curvature / np.linalg.norm(np.stack([u * u, u * v, v * v], 1) @ bend, axis=1).max()
    coefficients = np.concatenate([[middle + shift], radius * linear.T, bend])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 2 * middle
    return Quadratic(coefficients, (middle, middle), radius, corners)


def _another_visit(rng, image: np.ndarray, mask: np.ndarray, strengths: Strengths) -> np.ndarray:
    """Give the moving photograph its lesions, light, blur and noise."""
    size = len(image)
    image = image.astype(np.float32) / 255
    if strengths.lesions:
        # The painter's colours are those of a retina under the renderer's light.
        light = float(image[mask].mean()) / 0.3
        view = RetinaView(np.zeros(2), 45.0, 0.97 * size, np.full(2, (size - 1) / 2))
        image, hidden = image / light, np.zeros((size, size))
        for _ in range(strengths.lesions):
            place = rng.normal(0, 9, 2)
            radius = float(np.exp(rng.uniform(np.log(0.08), np.log(0.7))))
            kind = LESION_KINDS[rng.integers(len(LESION_KINDS))]
            paint_lesion(image, hidden, Lesion(kind, place, radius, int(rng.integers(1 << 31))), view)
        image = image * light
    strength = strengths.light
    y, x = np.mgrid[:size, :size].astype(np.float32) / size * 2 - 1
    direction = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(direction) * x + np.sin(direction) * y
    veil = 0.25 * strength * rng.uniform(0, 1) * (0.6 + 0.4 * ramp)[..., None]
    image = image.clip(0, 1) ** np.float32(np.exp(strength * rng.uniform(-0.4, 0.4)))
    mean = image[mask].mean(axis=0)
    image = mean + (image - mean) * np.float32(1 - 0.5 * strength * rng.uniform(0.5, 1))
    image = image * (1 + 0.6 * strength * ramp)[..., None] * np.exp(strength * rng.normal(0, [0.1, 0.1, 0.25]))
    image = image * (1 - veil) + veil
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), max(strengths.blur * size / 768, 0.3))
    image += rng.standard_normal(image.shape, dtype=np.float32) * (1 + 4 * strength) / 255
    return (255 * image * mask[..., None]).round().clip(0, 255).astype(np.uint8)


def _seen_by_both(fixed_points: np.ndarray, mapping: Transform, masks: list[np.ndarray]):
    """Keep the places (N, 2) of the fixed photograph that both show, with their partners."""
    moving_points = mapping.inverse(fixed_points)
    both = look_up(masks[0], fixed_points) & look_up(masks[1], moving_points)
    return fixed_points[both], moving_points[both]


def _grid_points(mapping: Transform, masks: list[np.ndarray]):
    """Take places on a regular grid over the overlap."""
    axis = (np.arange(GRID) + 0.5) / GRID * len(masks[0]) - 0.5
    return _seen_by_both(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), mapping, masks)


__all__ = ["CATEGORIES", "Strengths", "Subject", "warped_pair"]
