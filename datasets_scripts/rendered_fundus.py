"""Rendered fundus photographs: eyes drawn by a seed, photographed with exact geometry, as often as one likes.

python -m datasets_scripts.rendered_fundus --out build/rendered --count 12 --seed 0
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from tqdm import tqdm

from .fundus_painter import draw_vessels, paint_lesion, reflectance, sheen, vessel_depth
from .rendered_eye import Lesion, RenderedEye, draw_eye, draw_lesions, grow_lesions
from .retina_view import RetinaView


# How much a vessel has to darken its surroundings, after the blur, for its junctions to count as visible.
LEAST_CONTRAST = 0.06
BLOOD = np.array([0.35, 1.15, 0.9], np.float32)  # absorption in red, green and blue
BEHIND_VESSELS = ("drusen", "exudate", "scar")
EXAMPLE_SEED, EXAMPLE_SIZE, EXAMPLE_BYTES = 14, 1000, 150_000


@dataclass
class Light:
    """How one photograph was taken.

    Attributes:
        exposure: Factor of the brightness.
        contrast: Factor of all deviations from the mean colour.
        ramp: Change of brightness from the centre to the right and to the lower rim, as a share.
        vignette: Loss of light at the rim, as a share.
        haze: Light scattered by cloudy media, 0 to about 1.
        blur: Standard deviation, pixels of a field of view 768 pixels wide.
        noise: Grey levels.
        colour: Factors of red, green and blue.
        gamma: Exponent.
        top: The field of view is cut above this share of its radius; 1 is a full circle.
        bottom: The same below.
    """

    exposure: float = 1.0
    contrast: float = 1.0
    ramp: tuple[float, float] = (0.0, 0.0)
    vignette: float = 0.3
    haze: float = 0.0
    blur: float = 0.8
    noise: float = 1.5
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    top: float = 1.0
    bottom: float = 1.0


@dataclass
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
        """Maps points (N, 2) of the moving photograph to the fixed one, pixels."""
        return self.fixed.view.to_pixels(self.moving.view.to_retina(moving_points))

    def correspond_back(self, fixed_points: np.ndarray) -> np.ndarray:
        """Maps points (N, 2) of the fixed photograph to the moving one, pixels."""
        return self.moving.view.to_pixels(self.fixed.view.to_retina(fixed_points))

    def shared_keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints visible in both: points (K, 2) of the moving photograph and (K, 2) of the fixed one."""
        _, moving, fixed = np.intersect1d(self.moving.indices, self.fixed.indices, return_indices=True)
        return self.moving.keypoints[moving], self.fixed.keypoints[fixed]


def draw_view(rng: np.random.Generator, eye: RenderedEye, size: int = 768) -> RetinaView:
    """Draws a camera that looks at the macula, the disc, or between and around them.

    Args:
        rng: Source of randomness.
        eye: The eye.
        size: Height and width of the photograph in pixels; the field of view nearly fills it.

    Returns:
        The view; its field measures 28 to 60 degrees.
    """
    kind = rng.choice(3, p=[0.25, 0.6, 0.15])
    field = rng.uniform((28, 40, 50)[kind], (36, 52, 60)[kind])
    gaze = eye.disc * rng.choice([0.0, 0.35, 1.0], p=[0.35, 0.4, 0.25]) + rng.normal(0, 2.0, 2)
    return _camera(rng, gaze, field, size)


def _camera(rng: np.random.Generator, gaze: np.ndarray, field: float, size: int) -> RetinaView:
    tilt = np.eye(3)
    tilt[:2, :2] += rng.normal(0, 0.008, (2, 2))
    tilt[2, :2] = rng.normal(0, 0.008, 2)
    diameter = size * rng.uniform(0.94, 0.995)
    center = (size - 1) / 2 + rng.uniform(-0.4, 0.4, 2) * (size - diameter)
    return RetinaView(gaze, field, diameter, center, rng.normal(0, 0.05), rng.uniform(0.2, 0.55), tilt)


def draw_light(rng: np.random.Generator, difficulty: float = 0.3) -> Light:
    """Draws the light, the optics and the sensor of one photograph, good (`difficulty` 0) to bad (1)."""
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
        colour=tuple(np.exp(rng.normal(0, [0.08, 0.1, 0.25]))),
        gamma=float(np.exp(rng.normal(0, 0.1))),
        top=cut,
        bottom=cut * rng.uniform(0.97, 1.0) if cut < 1 else 1.0,
    )


def _field_mask(view: RetinaView, light: Light, shape: tuple[int, int]) -> np.ndarray:
    x, y = np.meshgrid(np.arange(shape[1]) - view.center[0], np.arange(shape[0]) - view.center[1])
    radius = view.diameter / 2
    return (x * x + y * y <= radius * radius) & (y >= -light.top * radius) & (y <= light.bottom * radius)


def expose(image: np.ndarray, mask: np.ndarray, view: RetinaView, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Light, optics and sensor.

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
    image = image * np.clip(light.exposure * shade, 0.05, None)[..., None] * np.array(light.colour, np.float32)
    if light.haze:
        side = rng.uniform(0, 2 * np.pi)
        veil = light.haze * (0.35 + 2 * np.clip(np.cos(side) * x + np.sin(side) * y, 0, None) ** 2)
        milk = np.array([0.22, 0.19, 0.15], np.float32)
        image = image * (1 - 0.5 * np.clip(veil, 0, 1))[..., None] + veil[..., None] * milk

    image = np.clip(image, 0, None) ** np.float32(light.gamma)
    # Highlights saturate softly.
    image = 255 * np.where(image > 0.75, 0.75 + 0.25 * np.tanh((image - 0.75) / 0.25), image)
    # Sensors interpolate colours and compress: their noise is smooth over a pixel or two, and grows with the light.
    noise = rng.standard_normal((height, width, 3), np.float32) * np.sqrt(0.3 + image / 128)
    image = image + light.noise * (0.5 * noise + 1.2 * cv2.GaussianBlur(noise, (0, 0), 0.8))
    # The rim is soft over a pixel or two: the aperture is not in focus.
    soft = np.clip((1 - radius) * view.diameter / 2 / (1.5 * scale), 0, 1) * mask
    return np.clip(np.round(image * soft[..., None]), 0, 255).astype(np.uint8)


def render(
    eye: RenderedEye,
    size: int = 768,
    view: RetinaView | None = None,
    lesions: list[Lesion] | None = None,
    light: Light | None = None,
    seed: int = 0,
) -> RenderedPhotograph:
    """Photographs an eye.

    Args:
        eye: From `draw_eye`.
        size: Height and width of the square photograph, pixels; the field of view fills nearly all of it.
        view: The camera; drawn from `seed` when not given.
        lesions: Disease; drawn from `seed` when not given, [] is a healthy eye.
        light: Light, optics and sensor; drawn from `seed` when not given.
        seed: Of what is not given, and of the noise: photographs of one eye with other seeds have other noise.

    Returns:
        The photograph, its field of view and its visible junctions.
    """
    rng = np.random.default_rng([eye.seed, seed, 2])
    view = draw_view(rng, eye, size) if view is None else view
    lesions = draw_lesions(rng, eye, max(0.0, rng.uniform(-0.6, 1.0))) if lesions is None else lesions
    light = draw_light(rng) if light is None else light
    shape = (size, size)

    image, hidden = reflectance(eye, view, shape), np.zeros(shape)
    for lesion in lesions:
        if lesion.kind in BEHIND_VESSELS:
            paint_lesion(image, np.zeros(shape), lesion, view)
    absorption, shine = draw_vessels(eye, view, shape)
    glint = (eye.looks["reflex"] * shine * absorption)[..., None] * np.array([0.2, 0.6, 0.4], np.float32)
    image = image * (np.exp(-absorption[..., None] * BLOOD) + glint)
    image += sheen(eye, absorption, rng)[..., None] * np.array([0.1, 0.3, 0.2], np.float32)
    for lesion in lesions:
        if lesion.kind not in BEHIND_VESSELS:
            paint_lesion(image, hidden, lesion, view)

    mask = _field_mask(view, light, shape)
    kept, keypoints, widths = _visible_junctions(eye, view, light, mask, hidden)
    types = eye.junctions()[1][kept]
    directions = [branch_directions(eye.meetings.branches[index], view) for index in kept]
    return RenderedPhotograph(
        expose(image, mask, view, light, rng), mask, keypoints, types, widths, kept, absorption, view, directions
    )


def branch_directions(branches: list[np.ndarray], view: RetinaView) -> np.ndarray:
    """Angles at which branches (K, 2), in degrees, leave their junction in a photograph, sorted."""
    chords = [view.to_pixels(branch[[0, -1]]) for branch in branches]
    return np.sort([np.arctan2(*(end - start)[::-1]) for start, end in chords])


def _visible_junctions(
    eye: RenderedEye, view: RetinaView, light: Light, mask: np.ndarray, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices (N,), pixels (N, 2) and widths (N,) of the junctions that a photograph shows."""
    points, _, diameters = eye.junctions()
    height, width = mask.shape
    pixels, widths = view.to_pixels(points), diameters * view.pixels_per_degree
    # The blur spreads a thin vessel: what is left of its contrast is its share of the blurred width.
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


def render_visits(seed: int, size: int = 768, overlap: float | None = None, difficulty: float = 0.5) -> RenderedVisits:
    """Photographs one eye twice, with another gaze, another light and another state of disease.

    Args:
        seed: Of everything.
        size: Height and width of both photographs, pixels.
        overlap: Share of the diameter over which the two fields of view overlap along the line between them (1: the
            same gaze); 0.55 to 1 by chance when not given.
        difficulty: 0 (easy) to 1: rotation and scale between the two, light, blur, noise, disease.

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
    for gaze in (first.gaze - shift / 2, first.gaze + shift / 2):
        view = _camera(rng, gaze, first.field * rng.uniform(1 - 0.1 * difficulty, 1 + 0.1 * difficulty), size)
        views.append(replace(view, roll=view.roll * (1 + 2 * difficulty)))
    lesions = draw_lesions(rng, eye, difficulty * rng.uniform(0, 0.8))
    later = grow_lesions(rng, eye, lesions, difficulty * rng.uniform(0, 0.8))
    fixed = render(eye, size, views[0], lesions, draw_light(rng, difficulty * 0.6), seed=1)
    moving = render(eye, size, views[1], later, draw_light(rng, difficulty), seed=2)
    return RenderedVisits(fixed, moving, eye)


def example_pair() -> RenderedVisits:
    """The two visits of the package's example: disease has appeared, the light is worse, two thirds overlap."""
    return render_visits(EXAMPLE_SEED, EXAMPLE_SIZE, overlap=0.68, difficulty=0.8)


def write_example_pair(folder: Path) -> None:
    """Writes `fixed.jpg`, `moving.jpg` (150 kB at most) and `truth.json` (corresponding points) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    visits = example_pair()
    for name, photograph in (("fixed", visits.fixed), ("moving", visits.moving)):
        for quality in range(95, 40, -3):
            encoded = cv2.imencode(".jpg", photograph.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            if len(encoded) <= EXAMPLE_BYTES:
                break
        (folder / f"{name}.jpg").write_bytes(encoded.tobytes())
    moving, fixed = visits.shared_keypoints()
    chosen = np.unique(np.linspace(0, len(moving) - 1, 12).round().astype(int))
    truth = {
        "columns": "x and y in moving.jpg, x and y in fixed.jpg; pixels, the centre of the top-left pixel is (0, 0)",
        "points": np.hstack([moving, fixed])[chosen].round(3).tolist(),
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    count: Annotated[int, typer.Option(min=1, help="Number of eyes.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first eye.")] = 0,
    size: Annotated[int, typer.Option(min=128, help="Height and width in pixels.")] = 768,
    example: Annotated[bool, typer.Option(help="Write the package's example pair instead.")] = False,
) -> None:
    """Render photographs of different eyes, and a contact sheet with their keypoints drawn."""
    if example:
        write_example_pair(out)
        return
    # Here, not above: only this command needs pyarrow, on which the sheet's rows depend.
    from .contact_sheet import contact_sheet
    from .parquet import LabelledPhotograph

    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in tqdm(range(seed, seed + count), desc="rendering", unit="eye"):
        photo = render(draw_eye(number), size)
        name = f"rendered_{number:05d}"
        cv2.imwrite(str(out / f"{name}.jpg"), photo.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        rows.append(
            LabelledPhotograph(
                name, photo.image, photo.mask, photo.keypoints, photo.types, "rendered", name, "", "Apache-2.0"
            )
        )
    cv2.imwrite(str(out / "contact_sheet.png"), contact_sheet(rows)[..., ::-1])


__all__ = [
    "Lesion",
    "Light",
    "RenderedEye",
    "RenderedPhotograph",
    "RenderedVisits",
    "RetinaView",
    "branch_directions",
    "draw_eye",
    "draw_lesions",
    "draw_light",
    "draw_view",
    "example_pair",
    "expose",
    "grow_lesions",
    "render",
    "render_visits",
    "write_example_pair",
]


if __name__ == "__main__":
    app()
