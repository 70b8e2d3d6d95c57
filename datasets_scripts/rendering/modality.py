"""Kinds of photographs of one retina: in which light it is taken, what shines in it, and the shape of its frame.

Numbers are reflectance or emission in red, green and blue, 0 to 1; gray modalities have three equal channels.
"""

from dataclasses import dataclass, replace


RGB = tuple[float, float, float]


def _gray(value: float) -> RGB:
    return (value, value, value)


@dataclass(frozen=True, kw_only=True)
class Modality:
    """How one kind of photograph shows the layers of a retina.

    Attributes:
        base: Reflectance of the unpigmented retina.
        pigment: What pigment takes from it.
        texture: Strength of the mottle of the pigment epithelium.
        choroid: Strength of the large vessels behind it.
        fibers: Strength of the nerve fibers.
        macula: How much the macula darkens.
        halo: How much the surroundings of the disc brighten.
        disc_rim: Color of the disc.
        disc_cup: Color of its middle.
        blood: Absorption of a deep vessel.
        dye: Light of the dye in the vessels; 0 without dye.
        reflex: Strength of the light streak of arteries.
        sheen: Strength of the reflections beside vessels.
        lesions: Kind of lesion -> color.
        leaks: Whether dye leaves the microaneurysms.
        gray: One channel, shown three times.
        frame: Shape of the picture, see `RetinaView`.
        field: Range of the diameter of the field in degrees; `None` for that of color photographs.
        eyelashes: Whether lashes hang into the picture.
    """

    base: RGB
    pigment: RGB
    texture: RGB
    choroid: RGB
    fibers: float
    macula: RGB
    halo: RGB
    disc_rim: RGB
    disc_cup: RGB
    blood: RGB
    dye: float = 0.0
    reflex: RGB
    sheen: RGB
    lesions: dict[str, RGB]
    leaks: bool = False
    gray: bool = False
    frame: str = "circle"
    field: tuple[float, float] | None = None
    eyelashes: bool = False


COLOR = Modality(
    base=(0.80, 0.34, 0.13),
    pigment=(0.2, 0.12, 0.06),
    texture=(0.6, 1.0, 1.0),
    choroid=(1.2, 1.0, 1.0),
    fibers=0.03,
    macula=(0.5, 1.0, 1.1),
    halo=(0.3, 1.0, 0.8),
    disc_rim=(0.95, 0.55, 0.28),
    disc_cup=(1.05, 0.85, 0.55),
    blood=(0.35, 1.15, 0.9),
    reflex=(0.2, 0.6, 0.4),
    sheen=(0.1, 0.3, 0.2),
    lesions={
        "drusen": (0.95, 0.72, 0.30),
        "exudate": (1.0, 0.88, 0.45),
        "cotton_wool": (0.95, 0.82, 0.60),
        "hemorrhage": (0.42, 0.10, 0.05),
        "microaneurysm": (0.45, 0.12, 0.06),
        "scar": (0.80, 0.62, 0.40),
    },
)


def _lesions(**grays: float) -> dict[str, RGB]:
    return {kind: _gray(value) for kind, value in grays.items()}


# Green light: vessels and nerve fibers stand out, the choroid does not.
RED_FREE = Modality(
    base=_gray(0.50),
    pigment=_gray(0.17),
    texture=_gray(1.0),
    choroid=_gray(0.5),
    fibers=0.07,
    macula=_gray(1.0),
    halo=_gray(0.8),
    disc_rim=_gray(0.75),
    disc_cup=_gray(1.0),
    blood=_gray(1.25),
    reflex=_gray(0.6),
    sheen=_gray(0.35),
    lesions=_lesions(drusen=0.8, exudate=1.0, cotton_wool=0.92, hemorrhage=0.1, microaneurysm=0.12, scar=0.7),
    gray=True,
)
# A laser of 815 nm that scans a square: pigment and blood take little of it, the choroid shows.
INFRARED = Modality(
    base=_gray(0.46),
    pigment=_gray(0.04),
    texture=_gray(0.5),
    choroid=_gray(1.8),
    fibers=0.02,
    macula=_gray(0.15),
    halo=_gray(0.0),
    disc_rim=_gray(0.40),
    disc_cup=_gray(0.72),
    blood=_gray(0.6),
    reflex=_gray(0.55),
    sheen=_gray(0.0),
    lesions=_lesions(drusen=0.58, exudate=0.8, cotton_wool=0.55, hemorrhage=0.28, microaneurysm=0.34, scar=0.7),
    gray=True,
    frame="square",
    field=(28.0, 36.0),
)
# Fluorescein under blue light: the vessels shine, the choroid flushes, the macula and bleedings are dark.
ANGIOGRAM = Modality(
    base=_gray(0.30),
    pigment=_gray(0.14),
    texture=_gray(1.6),
    choroid=_gray(2.2),
    fibers=0.0,
    macula=_gray(1.7),
    halo=_gray(0.0),
    disc_rim=_gray(0.36),
    disc_cup=_gray(0.26),
    blood=_gray(2.4),
    dye=0.92,
    reflex=_gray(0.0),
    sheen=_gray(0.0),
    lesions=_lesions(drusen=0.5, exudate=0.25, cotton_wool=0.12, hemorrhage=0.05, microaneurysm=1.0, scar=0.55),
    leaks=True,
    gray=True,
)
# Lasers of two colors, red and green, that see far into the periphery; lids and lashes come into the picture.
ULTRA_WIDE = replace(
    COLOR,
    base=(0.60, 0.36, 0.06),
    pigment=(0.14, 0.12, 0.02),
    choroid=(1.8, 0.8, 0.8),
    fibers=0.02,
    disc_rim=(0.78, 0.60, 0.17),
    disc_cup=(0.9, 0.78, 0.25),
    blood=(0.3, 1.15, 0.6),
    frame="ellipse",
    field=(88.0, 100.0),
    eyelashes=True,
)
MODALITIES = {
    "color": COLOR,
    "red-free": RED_FREE,
    "infrared": INFRARED,
    "angiogram": ANGIOGRAM,
    "ultra-wide": ULTRA_WIDE,
}


def find_modality(name: str) -> Modality:
    """Look a modality up by name.

    Raises:
        ValueError: There is none of this name.
    """
    if name not in MODALITIES:
        raise ValueError(f"{name!r} is not a known modality; known are {', '.join(MODALITIES)}.")
    return MODALITIES[name]


__all__ = ["COLOR", "MODALITIES", "Modality", "find_modality"]
