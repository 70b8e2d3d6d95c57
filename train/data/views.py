"""Two views of one photograph, as two visits would give them, and the exact mapping between them.

View 0 sees the photograph through a similarity, view 1 sees view 0 through a homography with a quadratic bend, as the
curved retina has it. All mappings run from the pixels of a view to where its content comes from, so images are sampled
without holes and points are mapped without approximation (the inverse by fixed-point iteration, below 0.01 px).

Everything random depends on (seed, epoch, index of the photograph) alone: not on the batch, the process, or the
number of workers.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retinamatch.enhancement import local_normalize

from .photometry import augment
from .store import Photograph
from .view_settings import ViewSettings


@dataclass
class Warp:
    """View 1 -> view 0: a homography plus a quadratic bend.

    Attributes:
        homography: (batch, 3, 3), pixels of view 1 to pixels of view 0.
        bend: (batch, 2, 3), coefficients of (u², uv, v²) per axis in pixels, u and v in [-1, 1] across view 1.
        size: Side of the views.
    """

    homography: Tensor
    bend: Tensor
    size: int

    def _bend(self, points: Tensor) -> Tensor:
        half = (self.size - 1) / 2
        u, v = ((points - half) / half).unbind(-1)
        a, b, c = self.bend[:, None].unbind(-1)  # (batch, 1, 2) each
        u, v = u[..., None], v[..., None]
        return (a * u + b * v) * u + c * v * v

    def to_first(self, points: Tensor) -> Tensor:
        """Map points (batch, n, 2) of view 1 to view 0."""
        return project(self.homography, points) + self._bend(points)

    def to_second(self, points: Tensor, steps: int = 8) -> Tensor:
        """Map points (batch, n, 2) of view 0 to view 1."""
        inverse = torch.linalg.inv(self.homography)
        guess = project(inverse, points)
        for _ in range(steps):
            guess = project(inverse, points - self._bend(guess))
        return guess


@dataclass
class Views:
    """A batch of view pairs.

    Attributes:
        images: Two of (batch, 1, size, size), locally normalized.
        masks: Two of (batch, 1, size, size), 1 inside the field of view where nothing covers it.
        to_photograph: (batch, 3, 3), pixels of view 0 to pixels of the photograph.
        warp: View 1 -> view 0.
        first_of_second: (batch, size * size, 2), where every pixel of view 1 lies in view 0.
        clean: Like `images`, before light, lens, disease and file of the visit; None unless asked for.
    """

    images: tuple[Tensor, Tensor]
    masks: tuple[Tensor, Tensor]
    to_photograph: Tensor
    warp: Warp
    first_of_second: Tensor
    clean: tuple[Tensor, Tensor] | None = None


def project(matrix: Tensor, points: Tensor) -> Tensor:
    """Apply homographies (batch, 3, 3) to points (batch, n, 2)."""
    mapped = points @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]
    return mapped / (points @ matrix[:, 2:, :2].mT + matrix[:, None, 2:, 2])


def pixel_grid(height: int, width: int | None = None, device: torch.device | str | None = None) -> Tensor:
    """Return (height * width, 2), the pixels (x, y) of a picture in reading order; without a width, of a square one."""
    axes = (torch.arange(n, dtype=torch.float32, device=device) for n in (height, width or height))
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def sample_at(image: Tensor, points: Tensor, mode: str = "bilinear") -> Tensor:
    """Read images (batch, channels, height, width) at pixels (batch, n, 2), zeros outside: (batch, channels, n)."""
    size = points.new_tensor([image.shape[-1], image.shape[-2]])
    grid = (points + 0.5) / size * 2 - 1
    return F.grid_sample(image, grid[:, None], mode=mode, align_corners=False)[:, :, 0]


def draw_center(mask: np.ndarray, rng: np.random.Generator, reach: float, tries: int = 20) -> np.ndarray:
    """Draw the center (x, y) of a view such that most of the view lies in the field of view.

    Args:
        mask: (height, width), non-zero inside the field of view.
        rng: Source of randomness.
        reach: The mask must hold at this distance from the center, left, right, above and below; the middle of the
            photograph is taken when that cannot be had.
        tries: Number of draws.
    """
    size = np.array(mask.shape[::-1])
    for x, y in rng.uniform(0, 1, (tries, 2)) * (size - 1):
        around = np.array([[x, y], [x - reach, y], [x + reach, y], [x, y - reach], [x, y + reach]]).round().astype(int)
        if (around >= 0).all() and (around < size).all() and mask[around[:, 1], around[:, 0]].all():
            return np.array([x, y])
    return (size - 1) / 2


def draw_geometry(photograph: Photograph, rng: np.random.Generator, settings: ViewSettings, magnification: float = 1.0):
    """Draw the geometry of one pair: matrices view 0 -> photograph and view 1 -> view 0, and the bend.

    A `magnification` above 1 gives view 1 a narrower field, one below 1 view 0.
    """
    size, half = settings.size, (settings.size - 1) / 2
    scale = math.exp(rng.uniform(*np.log(settings.scale))) * min(magnification, 1.0)
    tilt = math.radians(rng.uniform(-settings.tilt, settings.tilt))
    center = draw_center(photograph.mask.numpy(), rng, 0.3 * size * scale)
    mirror = -1.0 if rng.uniform() < settings.flip else 1.0
    linear = (
        scale * np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]]) @ np.diag([mirror, 1])
    )
    to_photograph = np.eye(3)
    to_photograph[:2, :2], to_photograph[:2, 2] = linear, center - linear @ [half, half]

    turn = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    zoom = math.exp(rng.uniform(-1, 1) * math.log(settings.zoom)) / magnification
    shear = np.eye(2) + rng.uniform(-settings.shear, settings.shear, (2, 2))
    linear = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ shear
    shift = rng.uniform(-settings.shift, settings.shift, 2)
    centerd = np.eye(3)
    centerd[:2, :2], centerd[:2, 2] = linear, shift
    centerd[2, :2] = rng.uniform(-settings.perspective, settings.perspective, 2) / half
    move = np.array([[1, 0, half], [0, 1, half], [0, 0, 1]])
    homography = move @ centerd @ np.linalg.inv(move)
    bend = rng.uniform(-1, 1, (2, 3)) * settings.bend / 2
    return to_photograph, homography, bend


def make_views(
    photographs: list[Photograph],
    keys: list[tuple[int, ...]],
    settings: ViewSettings,
    device: torch.device | str = "cpu",
    clean: bool = False,
) -> Views:
    """Make one pair of views of every photograph.

    Args:
        photographs: All of one size.
        keys: One tuple of integers per photograph, the seed of everything random about its pair.
        settings: How different the views may be.
        device: Where to compute.
        clean: Give the views before the photometric changes too.

    Returns:
        `Views`.
    """
    rngs = [np.random.default_rng(key) for key in keys]
    # Of what happens sometimes: its own, so that the narrow views stay what they were.
    rare = [np.random.default_rng((*key, 11)) for key in keys]
    magnified = [(settings.magnified.draw(rng) or 1.0) ** rng.choice([-1, 1]) for rng in rare]
    geometry = [draw_geometry(p, r, settings, m) for p, r, m in zip(photographs, rngs, magnified, strict=True)]
    to_photograph, homography, bend = (
        torch.from_numpy(np.stack(part)).float().to(device) for part in zip(*geometry, strict=True)
    )
    warp = Warp(homography, bend, settings.size)
    source = torch.stack([p.on(device) for p in photographs]).to(device).float()
    source[:, :3] /= 255
    grid = pixel_grid(settings.size, device=source.device).expand(len(photographs), -1, -1)

    images, masks, untouched, first_of_second = [], [], [], warp.to_first(grid)
    for points in (grid, first_of_second):
        view = sample_at(source, project(to_photograph, points)).unflatten(-1, (settings.size, settings.size))
        field = (view[:, 3:] > 0.999).float()
        image, covered = augment(view[:, :3], field, rngs, rare, settings)
        images.append(image)
        masks.append(field * ~covered)
        if clean:
            untouched.append(local_normalize(view[:, 1:2], field))
    return Views(tuple(images), tuple(masks), to_photograph, warp, first_of_second, tuple(untouched) or None)


__all__ = [
    "Views",
    "Warp",
    "draw_geometry",
    "make_views",
    "pixel_grid",
    "project",
    "sample_at",
]
