"""Two views of one photograph, as two visits would give them, and the exact mapping between them.

Geometry: view 0 sees the photograph through a similarity, view 1 sees view 0 through a homography with a quadratic
bend, as the curved retina has it. All mappings run from the pixels of a view to where its content comes from, so
images are sampled without holes and points are mapped without approximation (the inverse by Newton's fixed point,
below 0.01 px).

Everything random depends on (seed, epoch, index of the photograph) alone: not on the batch, the process, or the
number of workers.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retinamatch.enhancement import local_normalize

from .store import Photograph


@dataclass(frozen=True)
class Sometimes:
    """A change that some views undergo.

    Attributes:
        probability: Share of the views, each by itself.
        low: Least strength, where the change has one.
        high: Largest strength; drawn uniformly.
    """

    probability: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def draw(self, rng: np.random.Generator) -> float | None:
        """Draw the strength for one view, None for most."""
        happens, strength = rng.uniform() < self.probability, rng.uniform(self.low, self.high)
        return strength if happens else None


@dataclass
class ViewSettings:
    """How different two views may be; lengths in pixels of a view.

    The changes that a view undergoes only sometimes are off by default: those are the narrow views, which
    `lk-superretina-small` was trained with at first.

    Attributes:
        size: Side of the square views.
        scale: Smallest and largest scale of view 0: photograph pixels per view pixel.
        tilt: Largest rotation of view 0 against the photograph, degrees.
        rotation: Largest rotation between the views, degrees.
        zoom: Largest ratio of scales between the views, either way.
        shear: Largest shear between the views.
        shift: Largest shift between the views.
        perspective: Largest change of scale across half a view.
        bend: Largest displacement by the quadratic term at the rim of a view.
        flip: Share of photographs that are mirrored (both views alike).
        blur: Largest standard deviation of the blur.
        light: Largest relative change of light across a view.
        contrast: Smallest and largest factor on the contrast.
        noise: Largest standard deviation of the noise, of 1.
        lesions: Largest number of lesions in a view.
        compression: Largest quantization step of JPEG, gray levels.
        hardness: Exponent on the uniform strength of the photometric changes: above 1 most views are mild.
        magnified: One of the two views shows a narrower field, magnified so many times.
        channels: One channel alone, or any mix of the three, in place of the green one with a little of the others; no
            strength.
        reversed: Bright vessels on a dark ground, as in an angiogram; no strength.
        haze: An even veil that leaves so much less contrast, 0 to 1.
        occluders: Opaque patches over so large a share of the view; no place under them is trained.
        small_file: A file so many times smaller than the view, with JPEG's blocks at that size.
        small_file_compression: Smallest and largest quantization step of such a file, gray levels; divided by how many
            times smaller it is, so that the smallest files are not the coarsest too.
    """

    size: int = 256
    scale: tuple[float, float] = (0.75, 1.2)
    tilt: float = 15.0
    rotation: float = 25.0
    zoom: float = 1.25
    shear: float = 0.08
    shift: float = 36.0
    perspective: float = 0.06
    bend: float = 6.0
    flip: float = 0.5
    blur: float = 4.5
    light: float = 0.8
    contrast: tuple[float, float] = (0.35, 1.3)
    noise: float = 0.025
    lesions: int = 6
    compression: float = 60.0
    hardness: float = 1.3
    magnified: Sometimes = Sometimes()
    channels: Sometimes = Sometimes()
    reversed: Sometimes = Sometimes()
    haze: Sometimes = Sometimes()
    occluders: Sometimes = Sometimes()
    small_file: Sometimes = Sometimes()
    small_file_compression: tuple[float, float] = (100.0, 600.0)


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


def pixel_grid(size: int, device: torch.device | None = None) -> Tensor:
    """Return (size * size, 2), the pixels (x, y) of a square view in reading order."""
    axis = torch.arange(size, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
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
    centered = np.eye(3)
    centered[:2, :2], centered[:2, 2] = linear, shift
    centered[2, :2] = rng.uniform(-settings.perspective, settings.perspective, 2) / half
    move = np.array([[1, 0, half], [0, 1, half], [0, 0, 1]])
    homography = move @ centered @ np.linalg.inv(move)
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
    source = torch.stack([p.image for p in photographs]).to(device).float() / 255
    source = torch.cat([source, torch.stack([p.mask for p in photographs])[:, None].to(device).float()], 1)
    grid = pixel_grid(settings.size, source.device).expand(len(photographs), -1, -1)

    images, masks, untouched, first_of_second = [], [], [], warp.to_first(grid)
    for points in (grid, first_of_second):
        view = sample_at(source, project(to_photograph, points)).unflatten(-1, (settings.size, settings.size))
        field = (view[:, 3:] > 0.999).float()
        image, covered = photograph_again(view[:, :3], field, rngs, rare, settings)
        images.append(image)
        masks.append(field * ~covered)
        if clean:
            untouched.append(local_normalize(view[:, 1:2], field))
    return Views(tuple(images), tuple(masks), to_photograph, warp, first_of_second, tuple(untouched) or None)


def photograph_again(
    rgb: Tensor,
    mask: Tensor,
    rngs: list[np.random.Generator],
    rare: list[np.random.Generator],
    settings: ViewSettings,
) -> tuple[Tensor, Tensor]:
    """Give views the light, lens, disease and file of another visit, then enhance them as the image processor does.

    Args:
        rgb: (batch, 3, size, size) in [0, 1].
        mask: (batch, 1, size, size).
        rngs: One generator per view.
        rare: One generator per view, of the changes that only some views undergo.
        settings: Strengths.

    Returns:
        Images (batch, 1, size, size), and where an occluder covers them (batch, 1, size, size) bool.
    """
    device, size = rgb.device, settings.size

    def draw(low: float, high: float, *shape: int) -> Tensor:
        values = np.stack([rng.uniform(low, high, shape) for rng in rngs]).astype(np.float32)
        return torch.from_numpy(values).to(device)

    strength = (
        draw(0, 1, 5, 1, 1, 1) ** settings.hardness
    )  # blur, light, contrast, noise, file: independent of each other
    blur, light, contrast, noise, file = strength.unbind(1)

    # Color: other cameras mix other amounts of red and blue into the green channel.
    weights = torch.cat([draw(-0.1, 0.25, 1, 1, 1), draw(0.8, 1.0, 1, 1, 1), draw(-0.1, 0.25, 1, 1, 1)], 1)
    for weight, rng in zip(weights, rare, strict=True):
        if settings.channels.draw(rng) is not None:
            mix = np.eye(3)[rng.integers(3)] if rng.uniform() < 0.5 else rng.dirichlet(np.ones(3))
            weight.copy_(torch.from_numpy(mix)[:, None, None])
    image = (rgb * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    image = image.clamp(0, 1) ** draw(0.7, 1.4, 1, 1, 1)
    image = add_lesions(image, draw(0, 1, settings.lesions, 8)) if settings.lesions else image

    # Uneven light: a ramp and a slow field; haze: a veil, denser toward one side.
    axis = torch.linspace(-1, 1, size, device=device)
    direction = draw(0, 2 * math.pi, 1, 1, 1)
    ramp = axis[None, None, None, :] * direction.cos() + axis[None, None, :, None] * direction.sin()
    field = F.interpolate(draw(-1, 1, 1, 4, 4), size=(size, size), mode="bicubic", align_corners=False)
    image = image * (1 + settings.light * light * (0.7 * ramp + 0.4 * field)).clamp_min(0.1)
    veil = draw(0, 0.6, 1, 1, 1) * light * (0.6 + 0.4 * ramp).clamp(0, 1)
    image = image * (1 - veil) + veil * draw(0.4, 0.9, 1, 1, 1)
    covered = torch.zeros_like(image, dtype=torch.bool)
    for view, cover, rng in zip(image, covered, rare, strict=True):
        if (thickness := settings.haze.draw(rng)) is not None:
            view.lerp_(torch.full_like(view, rng.uniform(0.4, 0.9)), thickness)
        if settings.reversed.draw(rng) is not None:
            view.copy_(rng.uniform(0.5, 1.0) * (1 - view))
        if (share := settings.occluders.draw(rng)) is not None:
            cover.copy_(draw_patches(size, share, rng))
            view.masked_fill_(cover, rng.uniform(0, 1))

    image = blur_each(image, 0.3 + (settings.blur - 0.3) * blur[:, 0, 0, 0], radius=max(13, round(2.6 * settings.blur)))
    low, high = settings.contrast
    mean = (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1)
    image = mean + (image - mean) * (high + (low - high) * contrast)
    # One thread a view: numpy's generators let go of Python's lock, and a GPU would wait for this.
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        grain = list(pool.map(lambda rng: rng.standard_normal((1, size, size), dtype=np.float32), rngs))
    image = image + torch.from_numpy(np.stack(grain)).to(device) * settings.noise * noise
    image = image.clamp(0, 1)
    if settings.compression:
        image = compress(image, settings.compression * file**3)
    for view, rng in zip(image, rare, strict=True):
        if (factor := settings.small_file.draw(rng)) is not None:
            view.copy_(
                through_small_file(view[None], factor, rng.uniform(*settings.small_file_compression) / factor)[0]
            )
    return local_normalize(image, mask), covered


def draw_patches(size: int, share: float, rng: np.random.Generator) -> Tensor:
    """Draw patches with smooth outlines that cover a share of a view, (1, size, size) bool."""
    noise = torch.from_numpy(rng.standard_normal((1, 1, 7, 7)).astype(np.float32))
    field = F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)[0]
    return field > field.quantile(1 - share)


def through_small_file(image: Tensor, factor: float, step: float) -> Tensor:
    """Save an image (1, 1, size, size) in [0, 1] as a JPEG `factor` times smaller and enlarge it again.

    `step` is the quantization step of the highest frequency in gray levels; 150 is about quality 30, 400 quality 10.
    """
    size = image.shape[-1]
    side = max(8, round(size / factor / 8) * 8)
    small = F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    small = compress(small, image.new_tensor(step).view(1, 1, 1, 1)).clamp(0, 1)
    return F.interpolate(small, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)


def add_lesions(image: Tensor, draws: Tensor) -> Tensor:
    """Add bright and dark spots (exudates, drusen, haemorrhages, scars), some sharp and some soft.

    Args:
        image: (batch, 1, size, size).
        draws: (batch, lesions, 8) uniform in [0, 1].
    """
    size = image.shape[-1]
    axis = torch.arange(size, dtype=torch.float32, device=image.device)
    count = draws[:, 0, 7:] * draws.shape[1]  # how many of the slots are used
    for k in range(draws.shape[1]):
        x, y, radius, stretch, turn, sign, sharpness, _ = draws[:, k, :, None, None, None].unbind(1)
        dx, dy = axis[None, None, None, :] - x * size, axis[None, None, :, None] - y * size
        turn = turn * math.pi
        u, v = dx * turn.cos() + dy * turn.sin(), dy * turn.cos() - dx * turn.sin()
        radius = 2 * torch.exp(2.3 * radius**2)  # 2 to 20 pixels, mostly small
        distance = ((u / radius) ** 2 + (v / radius / (0.5 + stretch)) ** 2).clamp_max(30)
        spot = torch.exp(-(distance ** (1 + 3 * sharpness)).clamp_max(30))
        amplitude = torch.where(sign > 0.5, 0.3 * sign, -0.4 * (0.5 - sign) - 0.05)
        image = image + spot * amplitude * (k < count[:, :, None, None])
    return image


def blur_each(image: Tensor, sigma: Tensor, radius: int = 13) -> Tensor:
    """Blur every image (batch, 1, height, width) with its own Gaussian, `sigma` (batch,) in pixels."""
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    window = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    window = window / window.sum(1, keepdim=True)
    batch = image.shape[0]
    stacked = F.pad(image.transpose(0, 1), (radius,) * 4, mode="replicate")
    stacked = F.conv2d(stacked, window.view(batch, 1, 1, -1), groups=batch)
    return F.conv2d(stacked, window.view(batch, 1, -1, 1), groups=batch).transpose(0, 1)


def compress(image: Tensor, step: Tensor) -> Tensor:
    """Quantize 8x8 blocks in the cosine domain, as JPEG does.

    Args:
        image: (batch, 1, size, size) in [0, 1], size a multiple of 8.
        step: (batch, 1, 1, 1), quantization step of the highest frequency in gray levels of 255; near 0 changes
            nothing.
    """
    k = torch.arange(8, dtype=image.dtype, device=image.device)
    basis = torch.cos(math.pi * k[:, None] * (2 * k[None] + 1) / 16) * math.sqrt(2 / 8)
    basis[0] /= math.sqrt(2)
    steps = ((1 + k[:, None] + k[None]) / 15 * step[:, :, :, :, None, None].clamp_min(0.1)).to(image) / 255
    blocks = image.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-2, -3)  # (batch, 1, rows, columns, 8, 8)
    coefficients = basis @ blocks @ basis.T
    coefficients = (coefficients / steps).round() * steps
    return (basis.T @ coefficients @ basis).transpose(-2, -3).flatten(-4, -3).flatten(-2, -1)


__all__ = [
    "Sometimes",
    "ViewSettings",
    "Views",
    "Warp",
    "draw_geometry",
    "make_views",
    "pixel_grid",
    "project",
    "sample_at",
]
