"""How different two views of a photograph may be."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sometimes:
    """A change that some views undergo.

    Attributes:
        probability: Fraction of the views, each by itself.
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
        flip: Fraction of the photographs that are mirrored (both views alike).
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
        occluders: Opaque patches over so large a fraction of the view; no place under them is trained.
        small_file: A file so many times smaller than the view, with JPEG's blocks at that size.
        small_file_compression: Smallest and largest quantization step of such a file, gray levels; divided by how many
            times smaller it is, so that the smallest files are not the coarsest too.
        moved: The eye moves while the shutter is open, in any direction, by so many pixels.
        overexposed: So many times too much light; what is brighter than white is white.
        few_grays: So many levels of gray and no more.
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
    moved: Sometimes = Sometimes()
    overexposed: Sometimes = Sometimes()
    few_grays: Sometimes = Sometimes()


__all__ = ["Sometimes", "ViewSettings"]
