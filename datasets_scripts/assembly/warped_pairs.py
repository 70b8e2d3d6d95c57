"""Warped pairs: one photograph through two cameras.

Two round windows on it, one of which is rotated, bent, blurred, lit otherwise, or covered with lesions. The mapping
between the windows is a quadratic polynomial, exactly.
"""

import zlib
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from retinamatch.field_of_view import find_field_of_view
from retinamatch.transforms import Quadratic, Transform

from ..format.rows import origin
from ..labeling.labels import find_labels, has_labels, read
from ..labeling.points import look_up
from ..rendering.eye import Lesion
from ..rendering.painter import paint_lesion
from ..rendering.view import RetinaView
from ..sources import PhotographFile
from .pairs import pair_row
from .rendered import render_photograph


LESION_KINDS = ("drusen", "exudate", "cotton_wool", "hemorrhage", "microaneurysm")
GRID = 12  # places a side, where no keypoints are known


@dataclass(frozen=True)
class Strengths:
    """How different the two photographs of a warped pair are; lengths are pixels of a photograph 768 wide.

    Attributes:
        overlap: Diameter of a window as a fraction of the photograph's: small windows overlap little.
        curvature: Largest bend at the rim of the window.
        blur: Standard deviation.
        light: Fraction of the greatest change that is drawn.
        lesions: Number.
    """

    overlap: float
    curvature: float
    blur: float
    light: float
    lesions: int


MILD = Strengths(0.84, 2.0, 0.5, 0.1, 0)
GRADED = {
    1: Strengths(0.80, 6.0, 1.2, 0.35, 8),
    2: Strengths(0.70, 12.0, 2.2, 0.65, 25),
    3: Strengths(0.62, 20.0, 3.5, 1.0, 60),
}
CATEGORIES = (*(field.name for field in fields(Strengths)), "all")


def strengths_of(category: str, grade: int) -> Strengths:
    """Give the strengths of a category: its own at the grade, the others mild; "all" has all at the grade."""
    graded = GRADED[grade]
    return graded if category == "all" else replace(MILD, **{category: getattr(graded, category)})


@dataclass(kw_only=True)
class Subject:
    """What a warped pair is made from.

    Attributes:
        name: Unique over all sources.
        photo: (H, W, 3) uint8.
        mask: (H, W) bool, its field of view.
        center: (2,) of the field of view in pixels.
        radius: Of the field of view in pixels.
        keypoints: (N, 2) in pixels; `None` when it is not labeled.
        origin: The columns of `rows.origin`.
    """

    name: str
    photo: np.ndarray
    mask: np.ndarray
    center: np.ndarray
    radius: float
    keypoints: np.ndarray | None
    origin: dict

    @classmethod
    def read(cls, photograph: PhotographFile) -> "Subject":
        """Read a file of a source."""
        photo, labeled = read(photograph), has_labels(photograph)
        view = find_field_of_view(photo)
        box = np.array(view.box)
        center = np.array(view.center) if view.center is not None else (box[:2] + box[2:] - 1) / 2
        return cls(
            name=f"{photograph.source}_{photograph.name}",
            photo=photo,
            mask=view.mask((0.0, 0.0, 1.0, 1.0), photo.shape[:2]),
            center=center,
            radius=float(view.radius or min(box[2:] - box[:2]) / 2),
            keypoints=find_labels(photograph, photo, view)["keypoints"] if labeled else None,
            origin=origin(
                photograph.source,
                photograph.patient,
                photograph.eye,
                photograph.license,
                photograph.redistributable and (not labeled or photograph.labels_redistributable),
            ),
        )

    @classmethod
    def render(cls, number: int, size: int, seed: int) -> "Subject":
        """Photograph a rendered eye, larger than the pair will be, as a camera would."""
        one = render_photograph(number, round(size * 1.3), seed)
        rows, columns = np.nonzero(one.mask)
        center = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
        return cls(
            name=one.name,
            photo=one.image,
            mask=one.mask,
            center=center,
            radius=max(np.ptp(columns), np.ptp(rows)) / 2,
            keypoints=one.keypoints,
            origin=origin(one.source, one.patient, one.eye, one.license, one.redistributable),
        )


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
    strengths = strengths_of(category, grade)
    middle, radius = (size - 1) / 2, 0.485 * size
    # Where the two windows lie on the photograph: photograph pixels per view pixel, and both centers.
    scale = strengths.overlap * subject.radius / radius
    direction = rng.uniform(0, 2 * np.pi)
    half = np.array([np.cos(direction), np.sin(direction)]) * (1 - strengths.overlap) * subject.radius
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

    keypoints = np.zeros((0, 2)) if subject.keypoints is None else subject.keypoints
    points, kind = _seen_by_both((keypoints - subject.center + half) / scale + middle, mapping, masks), "keypoints"
    if len(points[0]) == 0:
        points, kind = _seen_by_both(_grid(size), mapping, masks), "grid"
    return {
        **pair_row(
            name=name,
            images=(images[0], _another_visit(rng, images[1], masks[1], strengths)),
            masks=masks,
            points=points,
            kind=kind,
            mapping=mapping,
            category=category,
            grade=grade,
        ),
        "blur": strengths.blur,
        "light": strengths.light,
        "lesions": strengths.lesions,
        **subject.origin,
    }


def _draw_mapping(
    rng: np.random.Generator, middle: float, radius: float, shift: np.ndarray, curvature: float
) -> Quadratic:
    """Draw the mapping from the moving to the fixed window: a rotation, a zoom, a shift and a bend in pixels."""
    angle, zoom = np.radians(rng.uniform(-12, 12)), np.exp(rng.uniform(-0.06, 0.06))
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    bend = rng.normal(size=(3, 2))
    angles = np.linspace(0, 2 * np.pi, 360)
    u, v = np.cos(angles), np.sin(angles)
    bend *= curvature / np.linalg.norm(np.stack([u * u, u * v, v * v], 1) @ bend, axis=1).max()
    coefficients = np.concatenate([[middle + shift], radius * linear.T, bend])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 2 * middle
    return Quadratic(coefficients, (middle, middle), radius, corners)


def _another_visit(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, strengths: Strengths) -> np.ndarray:
    """Give the moving photograph its lesions, light, blur and noise."""
    size = len(image)
    image = image.astype(np.float32) / 255
    if strengths.lesions:
        # The painter's colors are those of a retina under the renderer's light.
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


def _seen_by_both(
    fixed_points: np.ndarray, mapping: Transform, masks: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the places (N, 2) of the fixed photograph that both show, with their partners."""
    moving_points = mapping.inverse(fixed_points)
    both = look_up(masks[0], fixed_points) & look_up(masks[1], moving_points)
    return fixed_points[both], moving_points[both]


def _grid(size: int) -> np.ndarray:
    """Give places (N, 2) on a regular grid over a square photograph."""
    axis = (np.arange(GRID) + 0.5) / GRID * size - 0.5
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)


__all__ = ["CATEGORIES", "Strengths", "Subject", "strengths_of", "warped_pair"]
