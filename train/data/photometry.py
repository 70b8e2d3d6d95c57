"""The light, lens, disease and file of another visit, put on a view: everything about it that is not its geometry."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retinamatch.enhancement import local_normalize

from .view_settings import ViewSettings


Draw = Callable[..., Tensor]  # of the smallest and the largest value and a shape: uniform numbers (batch, *shape)


def augment(
    rgb: Tensor,
    mask: Tensor,
    rngs: list[np.random.Generator],
    rare: list[np.random.Generator],
    settings: ViewSettings,
) -> tuple[Tensor, Tensor]:
    """Give views the light, lens, disease and file of another visit, then enhance them as the image processor does.

    Args:
        rgb: (batch, 3, size, size) in [0, 1].
        mask: (batch, 1, size, size), 1 inside the field of view.
        rngs: One generator per view.
        rare: One generator per view, of the changes that only some views undergo.
        settings: Strengths.

    Returns:
        Images (batch, 1, size, size), and where an occluder covers them (batch, 1, size, size) bool.
    """
    size = rgb.shape[-1]

    def draw(low: float, high: float, *shape: int) -> Tensor:
        values = np.stack([rng.uniform(low, high, shape) for rng in rngs]).astype(np.float32)
        return torch.from_numpy(values).to(rgb.device)

    # Strengths that are independent of each other.
    blur, light, contrast, noise, file = (draw(0, 1, 5, 1, 1, 1) ** settings.hardness).unbind(1)
    image = mix_channels(rgb, draw, rare, settings) ** draw(0.7, 1.4, 1, 1, 1)
    image = add_lesions(image, draw(0, 1, settings.lesions, 8)) if settings.lesions else image
    image = light_unevenly(image, draw, settings.light * light, light)
    covered = change_rarely(image, rare, settings)
    image = blur_each(image, 0.3 + (settings.blur - 0.3) * blur[:, 0, 0, 0], radius=max(13, round(2.6 * settings.blur)))
    low, high = settings.contrast
    mean = (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1)
    image = mean + (image - mean) * (high + (low - high) * contrast)
    # One thread a view: numpy's generators let go of Python's lock, and a GPU would wait for this.
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        grain = list(pool.map(lambda rng: rng.standard_normal((1, size, size), dtype=np.float32), rngs))
    image = (image + torch.from_numpy(np.stack(grain)).to(rgb.device) * settings.noise * noise).clamp(0, 1)
    if settings.compression:
        image = compress(image, settings.compression * file**3)
    for view, rng in zip(image, rare, strict=True):
        if (factor := settings.small_file.draw(rng)) is not None:
            step = rng.uniform(*settings.small_file_compression) / factor
            view.copy_(through_small_file(view[None], factor, step)[0])
    return local_normalize(image, mask), covered


def mix_channels(rgb: Tensor, draw: Draw, rare: list[np.random.Generator], settings: ViewSettings) -> Tensor:
    """Make gray images (batch, 1, size, size): green with a little red and blue, as other cameras mix them, or less."""
    weights = torch.cat([draw(-0.1, 0.25, 1, 1, 1), draw(0.8, 1.0, 1, 1, 1), draw(-0.1, 0.25, 1, 1, 1)], 1)
    for weight, rng in zip(weights, rare, strict=True):
        if settings.channels.draw(rng) is not None:
            mix = np.eye(3)[rng.integers(3)] if rng.uniform() < 0.5 else rng.dirichlet(np.ones(3))
            weight.copy_(torch.from_numpy(mix)[:, None, None])
    return ((rgb * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)).clamp(0, 1)


def light_unevenly(image: Tensor, draw: Draw, unevenness: Tensor, haze: Tensor) -> Tensor:
    """Light images (batch, 1, size, size) by a ramp and a slow field; veil them, more densely toward one side.

    Args:
        image: In [0, 1].
        draw: Of uniform numbers per image.
        unevenness: (batch, 1, 1, 1), largest relative change of light.
        haze: (batch, 1, 1, 1), strength of the veil, 0 to 1.
    """
    size = image.shape[-1]
    axis = torch.linspace(-1, 1, size, device=image.device)
    direction = draw(0, 2 * math.pi, 1, 1, 1)
    ramp = axis[None, None, None, :] * direction.cos() + axis[None, None, :, None] * direction.sin()
    field = F.interpolate(draw(-1, 1, 1, 4, 4), size=(size, size), mode="bicubic", align_corners=False)
    image = image * (1 + unevenness * (0.7 * ramp + 0.4 * field)).clamp_min(0.1)
    veil = draw(0, 0.6, 1, 1, 1) * haze * (0.6 + 0.4 * ramp).clamp(0, 1)
    return image * (1 - veil) + veil * draw(0.4, 0.9, 1, 1, 1)


def change_rarely(image: Tensor, rare: list[np.random.Generator], settings: ViewSettings) -> Tensor:
    """Put haze, reversed contrast and occluders on some images (batch, 1, size, size), in place.

    Returns:
        Where an occluder covers them, (batch, 1, size, size) bool.
    """
    covered = torch.zeros_like(image, dtype=torch.bool)
    for view, cover, rng in zip(image, covered, rare, strict=True):
        if (thickness := settings.haze.draw(rng)) is not None:
            view.lerp_(torch.full_like(view, rng.uniform(0.4, 0.9)), thickness)
        if settings.reversed.draw(rng) is not None:
            view.copy_(rng.uniform(0.5, 1.0) * (1 - view))
        if (fraction := settings.occluders.draw(rng)) is not None:
            cover.copy_(draw_patches(view.shape[-1], fraction, rng, view.device))
            view.masked_fill_(cover, rng.uniform(0, 1))
    return covered


def draw_patches(size: int, fraction: float, rng: np.random.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Draw patches with smooth outlines that cover a fraction of a view, (1, size, size) bool."""
    noise = torch.from_numpy(rng.standard_normal((1, 1, 7, 7)).astype(np.float32)).to(device)
    field = F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)[0]
    return field > field.quantile(1 - fraction)


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
    """Add bright and dark spots (exudates, drusen, hemorrhages, scars), some sharp and some soft.

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


__all__ = ["add_lesions", "augment", "blur_each", "compress", "draw_patches", "through_small_file"]
