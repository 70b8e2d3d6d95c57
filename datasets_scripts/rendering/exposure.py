"""Light, optics and sensor: from the reflectance of an eye to the pixels of a photograph."""

from dataclasses import dataclass

import cv2
import numpy as np

from .view import RetinaView


@dataclass
class Light:
    """How one photograph was taken.

    Attributes:
        exposure: Factor of the brightness.
        contrast: Factor of all deviations from the mean color.
        ramp: Change of brightness from the center to the right and to the lower rim, as a fraction.
        vignette: Loss of light at the rim, as a fraction.
        haze: Light scattered by cloudy media, 0 to about 1.
        blur: Standard deviation, pixels of a field of view 768 pixels wide.
        noise: Gray levels.
        color: Factors of red, green and blue.
        gamma: Exponent.
        top: The field of view is cut above this fraction of its radius; 1 is a full circle.
        bottom: The same below.
    """

    exposure: float = 1.0
    contrast: float = 1.0
    ramp: tuple[float, float] = (0.0, 0.0)
    vignette: float = 0.3
    haze: float = 0.0
    blur: float = 0.8
    noise: float = 1.5
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    top: float = 1.0
    bottom: float = 1.0


def draw_light(rng: np.random.Generator, difficulty: float = 0.3) -> Light:
    """Draw the light, the optics and the sensor of one photograph, good (`difficulty` 0) to bad (1)."""
    strength = 0.3 + difficulty
    cut = rng.uniform(0.68, 0.95) if rng.random() < 0.3 else 1.0
    return Light(
        exposure=float(np.exp(rng.normal(0, 0.18 + 0.2 * difficulty))),
        contrast=float(rng.uniform(1 - 0.5 * difficulty, 1.1)),
        ramp=tuple(rng.normal(0, 0.18 * strength, 2)),
        vignette=float(rng.uniform(0.1, 0.3 + 0.35 * strength)),
        haze=float(rng.exponential(0.24) * difficulty),
        blur=float(rng.uniform(0.5, 0.9 + 1.6 * difficulty)),
        noise=float(rng.uniform(0.6, 1.5 + 3 * difficulty)),
        color=tuple(np.exp(rng.normal(0, [0.08, 0.1, 0.25]))),
        gamma=float(np.exp(rng.normal(0, 0.1))),
        top=cut,
        bottom=cut * rng.uniform(0.97, 1.0) if cut < 1 else 1.0,
    )


def expose(image: np.ndarray, mask: np.ndarray, view: RetinaView, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Turn reflectance into the pixels of a photograph: light, optics and sensor.

    Args:
        image: Reflectance, float32 (H, W, 3), about 0 to 1.
        mask: bool (H, W), the field of view.
        view: The geometry.
        light: The light.
        rng: Of the noise.

    Returns:
        uint8 (H, W, 3), black outside the field of view.
    """
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width) - view.center[0], np.arange(height) - view.center[1])
    x, y = np.float32(x / (view.diameter / 2)), np.float32(y / (view.diameter / 2))
    radius, scale = np.hypot(x, y), view.diameter / 768

    image = cv2.GaussianBlur(image, (0, 0), max(light.blur * scale, 0.3))
    mean = image[mask].mean(axis=0)
    image = mean + (image - mean) * np.float32(light.contrast)
    shade = (1 + light.ramp[0] * x + light.ramp[1] * y) * (1 - light.vignette * radius**3)
    image = image * np.clip(light.exposure * shade, 0.05, None)[..., None] * np.array(light.color, np.float32)
    if light.haze:
        side = rng.uniform(0, 2 * np.pi)
        veil = light.haze * (0.35 + 2 * np.clip(np.cos(side) * x + np.sin(side) * y, 0, None) ** 2)
        milk = np.array([0.22, 0.19, 0.15], np.float32)
        image = image * (1 - 0.5 * np.clip(veil, 0, 1))[..., None] + veil[..., None] * milk

    image = np.clip(image, 0, None) ** np.float32(light.gamma)
    # Highlights saturate softly.
    image = 255 * np.where(image > 0.75, 0.75 + 0.25 * np.tanh((image - 0.75) / 0.25), image)
    # Sensors interpolate colors and compress: their noise is smooth over a pixel or two, and grows with the light.
    noise = rng.standard_normal((height, width, 3), np.float32) * np.sqrt(0.3 + image / 128)
    image = image + light.noise * (0.5 * noise + 1.2 * cv2.GaussianBlur(noise, (0, 0), 0.8))
    # The rim is soft over a pixel or two: the aperture is not in focus.
    soft = np.clip(view.depth(x, y) * view.diameter / 2 / (1.5 * scale), 0, 1) * mask
    return np.clip(np.round(image * soft[..., None]), 0, 255).astype(np.uint8)


__all__ = ["Light", "draw_light", "expose"]
