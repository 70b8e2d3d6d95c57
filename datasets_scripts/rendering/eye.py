"""Eyes drawn by a seed: where the disc lies, how the vessels run, what the retina looks like, which disease it has."""

from dataclasses import dataclass, replace

import numpy as np

from .tree_junctions import TreeJunctions, list_junctions
from .vessel_tree import TreeStyle, Vessel, grow_vessels


@dataclass
class Lesion:
    """A spot of disease.

    Attributes:
        kind: "drusen", "exudate", "cotton_wool", "hemorrhage", "microaneurysm" or "scar".
        place: (2,) on the chart, degrees.
        radius: Degrees.
        seed: Of its outline.
    """

    kind: str
    place: np.ndarray
    radius: float
    seed: int


@dataclass
class RenderedEye:
    """One eye, apart from any photograph of it.

    Attributes:
        seed: What it was drawn from.
        disc: (2,) center of the optic disc on the chart, degrees; the fovea is the origin.
        disc_radius: Degrees.
        vessels: Both trees.
        looks: Numbers that say how it looks (pigment, textures, cup, fovea).
        junctions: Where the vessels meet, seen from the front.
    """

    seed: int
    disc: np.ndarray
    disc_radius: float
    vessels: list[Vessel]
    looks: dict[str, float]
    junctions: TreeJunctions


def draw_eye(seed: int) -> RenderedEye:
    """Draw an eye: left or right, disc, vessels, pigment; everything follows from `seed`."""
    rng = np.random.default_rng([seed, 1])
    side = rng.choice([-1.0, 1.0])
    disc = np.array([side * rng.normal(15.5, 0.8), rng.normal(-1.6, 0.8)])
    style = TreeStyle(
        spacing=rng.uniform(2.2, 3.6),
        tortuosity=rng.gamma(2.0, 0.35),
        arcade=rng.uniform(9.0, 15.0),
        vein_width=rng.uniform(0.38, 0.56),
        artery_ratio=rng.uniform(0.65, 0.88),
        murray=rng.uniform(2.4, 3.0),
    )
    vessels = grow_vessels(rng, disc, style)
    looks = {
        "pigment": rng.beta(2, 2),
        "choroid": rng.gamma(1.5, 0.7),
        "fibers": rng.gamma(1.5, 0.7),
        "mottle": float(np.exp(rng.uniform(np.log(0.6), np.log(2.2)))),
        "cup": rng.uniform(0.2, 0.7),
        "disc_pallor": rng.uniform(0.5, 1.2),
        "disc_tilt": rng.uniform(-0.5, 0.5),
        "disc_oval": rng.uniform(1.0, 1.2),
        "disc_shape": rng.uniform(0, 2 * np.pi),
        "crescent": rng.uniform(-0.3, 0.3),
        "halo": rng.uniform(0, 1),
        "fovea": rng.uniform(0.3, 1.0),
        "macula": rng.uniform(2.5, 5.0),
        "vein_contrast": rng.uniform(0.45, 0.85),
        "artery_contrast": rng.uniform(0.3, 0.6),
        "reflex": rng.uniform(0.0, 0.5),
        "sheen": max(0.0, rng.uniform(-0.5, 1.0)),
    }
    return RenderedEye(seed, disc, rng.uniform(2.5, 3.2), vessels, looks, list_junctions(vessels))


def draw_lesions(rng: np.random.Generator, eye: RenderedEye, amount: float) -> list[Lesion]:
    """Draw disease: age-related spots, diabetic disease, laser scars, a bleeding, each by chance.

    Args:
        rng: Source of randomness.
        eye: The eye.
        amount: 0 (none) to 1 (a lot).

    Returns:
        The lesions.
    """
    lesions: list[Lesion] = []

    def scatter(kind: str, count: float, center: np.ndarray, spread: float, low: float, high: float) -> None:
        for _ in range(rng.poisson(count * amount)):
            radius = np.exp(rng.uniform(np.log(low), np.log(high)))
            lesions.append(Lesion(kind, center + rng.normal(0, spread, 2), float(radius), int(rng.integers(1 << 31))))

    fovea = np.zeros(2)
    if rng.random() < 0.45:
        scatter("drusen", 90, fovea, 4.0, 0.06, 0.3)
    if rng.random() < 0.6:
        scatter("microaneurysm", 40, fovea, 10.0, 0.05, 0.1)
        scatter("hemorrhage", 16, fovea, 11.0, 0.1, 0.6)
        for _ in range(rng.poisson(3 * amount)):
            scatter("exudate", 30, rng.normal(0, 6, 2), 1.2, 0.05, 0.25)
        scatter("cotton_wool", 5, eye.disc * 0.6, 7.0, 0.4, 0.9)
    if rng.random() < 0.15:
        for _ in range(int(220 * amount)):
            angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(11, 40)
            place = np.array([np.cos(angle), np.sin(angle)]) * radius
            if np.linalg.norm(place - eye.disc) > 5:
                lesions.append(Lesion("scar", place, rng.uniform(0.3, 0.6), int(rng.integers(1 << 31))))
    if rng.random() < 0.15:
        scatter("hemorrhage", 3, rng.normal(0, 8, 2), 3.0, 0.8, 2.0)
    return lesions


def grow_lesions(rng: np.random.Generator, eye: RenderedEye, lesions: list[Lesion], amount: float) -> list[Lesion]:
    """Draw the lesions of a later visit: most have grown, some have healed, and `amount` (0 to 1) has come."""
    kept = [lesion for lesion in lesions if rng.random() < 0.85]
    grown = [replace(lesion, radius=lesion.radius * rng.uniform(0.8, 1.6)) for lesion in kept]
    return grown + draw_lesions(rng, eye, amount)


def rendered_eye_seed(number: int, seed: int) -> int:
    """Give the seed of the rendered eye with this number in the data set of this seed."""
    return seed * 1_000_000 + number


def rendered_person(number: int, seed: int) -> str:
    """Give the name of the rendered eye with this number, which is a person of its own."""
    return f"rendered_{seed}_{number:05d}"


def side_of(eye) -> str:
    """Tell the side of a rendered eye, "left" or "right": the disc lies toward the nose."""
    return "right" if eye.disc[0] > 0 else "left"


__all__ = [
    "Lesion",
    "RenderedEye",
    "draw_eye",
    "draw_lesions",
    "grow_lesions",
    "rendered_eye_seed",
    "rendered_person",
    "side_of",
]
