"""The light, lens, disease and file of another visit, put on a view: everything about it that is not its geometry."""

import math
from collections.abc import Callable

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
    image, covered = change_rarely(image, rare, settings)
    image = blur_each(image, 0.3 + (settings.blur - 0.3) * blur[:, 0, 0, 0], radius=max(13, round(2.6 * settings.blur)))
    # Generators of their own: views of recipes without these changes stay as they were.
    shutter = [rng.spawn(1)[0] for rng in rare]
    image = move_while_open(image, shutter, settings)
    low, high = settings.contrast
    mean = (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1)
    image = mean + (image - mean) * (high + (low - high) * contrast)
    image = image + draw_grain(rngs, size, rgb.device) * settings.noise * noise
    image = quantize(image, shutter, settings)
    if settings.compression:
        image = compress(image, settings.compression * file**3)
    image = save_small(image, rare, settings)
    return local_normalize(image, mask), covered


def draw_grain(rngs: list[np.random.Generator], size: int, device: torch.device) -> Tensor:
    """Draw normal noise (batch, 1, size, size) on the device: drawing it elsewhere and copying it takes longer."""
    seeds = [int(rng.integers(2**63)) for rng in rngs]
    generators = (torch.Generator(device).manual_seed(seed) for seed in seeds)
    return torch.stack([torch.randn(1, size, size, generator=own, device=device) for own in generators])


def mix_channels(rgb: Tensor, draw: Draw, rare: list[np.random.Generator], settings: ViewSettings) -> Tensor:
    """Make gray images (batch, 1, size, size): green with a little red and blue, as other cameras mix them, or less."""
    weights = torch.cat([draw(-0.1, 0.25, 1, 1, 1), draw(0.8, 1.0, 1, 1, 1), draw(-0.1, 0.25, 1, 1, 1)], 1)
    other = np.zeros((len(rare), 3, 1, 1), np.float32)
    for row, rng in zip(other, rare, strict=True):
        if settings.channels.draw(rng) is not None:
            row[:, 0, 0] = np.eye(3)[rng.integers(3)] if rng.uniform() < 0.5 else rng.dirichlet(np.ones(3))
    if other.any():
        other = torch.from_numpy(other).to(rgb.device)
        weights = torch.where(other.sum(1, keepdim=True) > 0, other, weights)
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


def change_rarely(image: Tensor, rare: list[np.random.Generator], settings: ViewSettings) -> tuple[Tensor, Tensor]:
    """Put haze, reversed contrast and occluders on some images (batch, 1, size, size).

    All of a batch at once: a GPU waits for every operation that is started.

    Returns:
        The images, and where an occluder covers them, (batch, 1, size, size) bool.
    """
    drawn = np.zeros((5, len(rare), 1, 1, 1), np.float32)  # haze, its gray; brightness if reversed; occluders, gray
    noise = np.zeros((len(rare), 1, 7, 7), np.float32)
    for k, rng in enumerate(rare):
        if (thickness := settings.haze.draw(rng)) is not None:
            drawn[:2, k, 0, 0, 0] = thickness, rng.uniform(0.4, 0.9)
        if settings.reversed.draw(rng) is not None:
            drawn[2, k] = rng.uniform(0.5, 1.0)
        if (fraction := settings.occluders.draw(rng)) is not None:
            noise[k] = rng.standard_normal((1, 7, 7))
            drawn[3:, k, 0, 0, 0] = fraction, rng.uniform(0, 1)
    thickness, veil, brightness, fraction, gray = torch.from_numpy(drawn).to(image.device).unbind(0)
    image = image.lerp(veil, thickness) if drawn[0].any() else image
    image = torch.where(brightness > 0, brightness * (1 - image), image) if drawn[2].any() else image
    covered = torch.zeros_like(image, dtype=torch.bool)
    if drawn[3].any():
        some = torch.from_numpy(drawn[3].ravel().nonzero()[0]).to(image.device)
        covered[some] = draw_patches(image.shape[-1], fraction[some], torch.from_numpy(noise).to(image.device)[some])
        image = torch.where(covered, gray, image)
    return image, covered


def move_while_open(image: Tensor, rngs: list[np.random.Generator], settings: ViewSettings) -> Tensor:
    """Smear some images (batch, 1, size, size) along a line: the eye moved while the shutter was open."""
    drawn = [(settings.moved.draw(rng), rng.uniform(0, math.pi)) for rng in rngs]
    some = [k for k, (length, _) in enumerate(drawn) if length is not None]
    if some:
        length, angle = torch.tensor([drawn[k] for k in some], device=image.device).T[:, :, None, None]
        image = image.clone()
        image[some] = smear(image[some], length, angle)
    return image


def smear(image: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    """Average images (batch, 1, size, size) along lines of `length` pixels at `angle` radians, each (batch, 1, 1)."""
    radius = math.ceil(float(length.max()) / 2) + 1
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    along = offsets * angle.cos() + offsets[:, None] * angle.sin()
    across = offsets[:, None] * angle.cos() - offsets * angle.sin()
    window = ((length + 1) / 2 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(0, 1)
    window = window / window.sum((1, 2), keepdim=True)
    padded = F.pad(image.transpose(0, 1), (radius,) * 4, mode="replicate")
    return F.conv2d(padded, window[:, None], groups=len(image)).transpose(0, 1)


def quantize(image: Tensor, rngs: list[np.random.Generator], settings: ViewSettings) -> Tensor:
    """Clip images (batch, 1, size, size) to [0, 1], some of them overexposed, some with few levels of gray."""
    drawn = [(settings.overexposed.draw(rng) or 1.0, settings.few_grays.draw(rng) or 0.0) for rng in rngs]
    factor, levels = torch.tensor(drawn, device=image.device).T[:, :, None, None, None]
    image = (image * factor).clamp(0, 1)
    steps = (levels.round() - 1).clamp_min(1)
    return torch.where(levels > 0, (image * steps).round() / steps, image)


def draw_patches(size: int, fraction: Tensor, noise: Tensor) -> Tensor:
    """Draw patches with smooth outlines that cover a fraction of each view.

    Args:
        size: Side of the views.
        fraction: (batch, 1, 1, 1).
        noise: (batch, 1, 7, 7), normal.

    Returns:
        (batch, 1, size, size) bool.
    """
    field = F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)
    levels = field.flatten(1).sort(1).values
    place = ((1 - fraction.flatten(1)) * (levels.shape[1] - 1)).round().long()
    return field > levels.gather(1, place)[..., None, None]


def save_small(image: Tensor, rare: list[np.random.Generator], settings: ViewSettings) -> Tensor:
    """Save some images (batch, 1, size, size) in [0, 1] as smaller files and enlarge them again.

    The sides of the files are eighths of the view's, so that files of one size are made together.
    """
    files: dict[int, list[tuple[int, float]]] = {}
    size = image.shape[-1]
    unit = max(8, round(size / 64) * 8)
    for k, rng in enumerate(rare):
        if (factor := settings.small_file.draw(rng)) is not None:
            side = max(unit, round(size / factor / unit) * unit)
            files.setdefault(side, []).append((k, rng.uniform(*settings.small_file_compression) / factor))
    for side, chosen in files.items():
        rows, steps = (torch.tensor(values, device=image.device) for values in zip(*chosen, strict=True))
        image[rows] = through_small_file(image[rows], side, steps.to(image))
    return image


def through_small_file(image: Tensor, side: int, step: Tensor) -> Tensor:
    """Save images (batch, 1, size, size) in [0, 1] as JPEG files of `side` pixels and enlarge them again.

    `step` (batch,) is the quantization step of the highest frequency in gray levels; 150 is about quality 30, 400
    quality 10.
    """
    size = image.shape[-1]
    small = F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    small = compress(small, step.view(-1, 1, 1, 1)).clamp(0, 1)
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


__all__ = ["add_lesions", "augment", "blur_each", "compress", "draw_patches", "quantize", "smear", "through_small_file"]
