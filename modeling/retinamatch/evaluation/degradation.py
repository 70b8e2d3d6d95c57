"""Photographs made worse in the ways hospitals know, to see how far a registration holds."""

import zlib

import cv2
import numpy as np


MAXIMUM_LEVEL = 6


def degrade(photo: np.ndarray, level: int, seed: int | str = 0) -> np.ndarray:
    """Make a photograph worse in the ways hospitals know: blur, uneven light, low contrast, noise.

    In this order, at the photograph's own resolution: Gaussian blur with a sigma of 1.5 * `level` pixels at a width of
    1024; an illumination ramp of +-25 * `level` per cent in a random direction; contrast divided by 1 + 0.35 * `level`;
    noise with a standard deviation of 1.5 * `level` gray levels.

    Args:
        photo: uint8 RGB (H, W, 3).
        level: 0 (unchanged) to 6.
        seed: Number or word (the name of the pair); the same seed gives the same result.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: The level is not 0 to 6.
    """
    if level not in range(MAXIMUM_LEVEL + 1):
        raise ValueError(f"The level of degradation must be 0 to {MAXIMUM_LEVEL}, got {level!r}.")
    if level == 0:
        return photo
    rng = np.random.default_rng(zlib.crc32(str(seed).encode()))
    height, width = photo.shape[:2]
    result = cv2.GaussianBlur(photo, (0, 0), 1.5 * level * width / 1024).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    ramp = (np.cos(angle) * x[None, :] + np.sin(angle) * y[:, None]).astype(np.float32)
    result *= (1 + 0.25 * level * ramp)[..., None]
    result /= 1 + 0.35 * level
    result += rng.standard_normal(result.shape, dtype=np.float32) * (1.5 * level)
    return result.round().clip(0, 255).astype(np.uint8)


__all__ = ["degrade"]
