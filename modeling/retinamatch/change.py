"""What has changed between two visits of one eye that are registered: regions, with areas in pixels and mm2.

The light of both photographs is brought together first, over the field by a robust polynomial; then each is compared
with its own neighborhood, in units of its own local contrast, so that a darker, duller or unevenly lit photograph
changes nothing. The difference is shown in units of its own noise: what it is, where nothing has changed, grows with
the slopes of the picture, because no two photographs lie on each other to a hundredth of a pixel. Both parts are
estimated robustly from the pair itself; what is to be believed, a multiple of that noise over an area, was chosen on
repeated photographs of eyes without a change.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from .field_of_view import find_field_of_view
from .normalized_picture import masked_blur
from .registration import Registration
from .transfer import scaling
from .transforms import Transform


# Pixels across the field of view on which photographs are compared; a smaller photograph stays as it is.
_SIDE = 1000
# In pixels of that picture: the blur that takes noise away, and the neighborhood that light is measured in.
_BLUR, _NEIGHBORHOOD = 2.0, 30.0
_COARSE = 6  # times smaller is the copy on which wide neighborhoods are averaged
# Of the polynomial of the light, and gray levels below which ratios say little.
_ORDER, _DARK = 4, 5.0
# Of the radius: how far inside of both fields of view.
_MARGIN = 0.04
# In units of the noise: a region grows down to the first, and has the second somewhere.
_GROWS, _STANDS_OUT = 6.0, 12.0
# Least area of a region in pixels of the picture: a spot of 12 pixels across, 1.2 per cent of the field.
_LEAST = 110
DARKER, BRIGHTER = "darker", "brighter"


@dataclass(frozen=True, eq=False)
class Region:
    """A region that has changed.

    Attributes:
        kind: "darker" or "brighter" in the moving photograph than in the fixed one.
        fixed_outline: (K, 2) corners in pixels of the fixed photograph.
        moving_outline: (K, 2) the same in pixels of the moving one.
        area: In pixels of the fixed photograph.
        strength: Greatest difference in units of its noise.
    """

    kind: str
    fixed_outline: np.ndarray
    moving_outline: np.ndarray
    area: float
    strength: float

    def to_dict(self, spacing: tuple[float, float] | None = None) -> dict[str, Any]:
        """Put the region into numbers and strings, ready for JSON.

        Args:
            spacing: Millimeters per pixel of the fixed photograph, down and across; None where it is not known.

        Returns:
            `kind`; `x` and `y`, the mean of the outline's corners in pixels of the fixed photograph; `area_px`;
            `area_mm2`, None without a spacing; `strength`.
        """
        x, y = self.fixed_outline.mean(0)
        return {
            "kind": self.kind,
            "x": round(float(x), 1),
            "y": round(float(y), 1),
            "area_px": round(self.area, 1),
            "area_mm2": None if spacing is None else self.area * spacing[0] * spacing[1],
            "strength": round(self.strength, 2),
        }


@dataclass(frozen=True, eq=False)
class Change:
    """What has changed between two photographs.

    Attributes:
        regions: The largest first.
        difference: (H, W) float32, moving less fixed in units of the noise; 0 where they cannot be compared.
        compared: (H, W) bool, where they can.
        scale: Pixels of the fixed photograph per pixel of these two.
        spacing: Millimeters per pixel of the fixed photograph, down and across; None where it is not known.
    """

    regions: list[Region]
    difference: np.ndarray
    compared: np.ndarray
    scale: float
    spacing: tuple[float, float] | None

    @property
    def area(self) -> float:
        """Area of all regions in pixels of the fixed photograph."""
        return sum((region.area for region in self.regions), 0.0)

    @property
    def area_mm2(self) -> float | None:
        """Area of all regions in mm2; None where the spacing is not known."""
        return None if self.spacing is None else self.area * self.spacing[0] * self.spacing[1]

    def to_dict(self) -> dict[str, Any]:
        """Put the outcome into numbers, strings, lists and dicts, ready for JSON."""
        return {
            "changed_regions": len(self.regions),
            "changed_area_px": round(self.area, 1),
            "changed_area_mm2": self.area_mm2,
            "compared_area_px": round(float(self.compared.sum()) * self.scale**2, 1),
            "regions": [region.to_dict(self.spacing) for region in self.regions],
        }


def find_change(registration: Registration, moving: np.ndarray, fixed: np.ndarray) -> Change:
    """Find the regions that differ between two registered photographs.

    Args:
        registration: Of the two; with a `fixed_spacing` areas are given in mm2 too.
        moving: (H, W, 3) uint8 RGB, the moving photograph.
        fixed: (H', W', 3) uint8 RGB, the fixed photograph.

    Returns:
        The regions, and the difference they were found in, on the grid of the fixed photograph or a smaller copy of it.

    Raises:
        ValueError: The pair is not registered.
    """
    if registration.transform is None:
        raise ValueError(f"There is nothing to compare: {registration.status} ({registration.reason}).")
    scale = max(1.0, 2 * registration.fixed_keypoints.radius / _SIDE) if registration.fixed_keypoints.scale else 1.0
    onto = _reduced(fixed, scale)
    own = _reduced(moving, max(1.0, scale * _zoom(registration.transform, moving)))
    whole = scaling(own, moving).then(registration.transform).then(scaling(fixed, onto))
    seen = _field(onto) & (whole.warp(_field(own).astype(np.uint8), onto.shape[:2], order=0) > 0)
    pictures = onto[..., 1].astype(np.float32), whole.warp(own[..., 1].astype(np.float32), onto.shape[:2])
    compared = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    difference = _in_noise(*pictures, compared)
    scales = fixed.shape[1] / onto.shape[1], fixed.shape[0] / onto.shape[0]
    regions = _regions(difference, scaling(onto, fixed), registration.transform, scales[0] * scales[1])
    return Change(regions, difference, compared, float(np.sqrt(scales[0] * scales[1])), registration.fixed_spacing)


def _in_noise(fixed: np.ndarray, moving: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Give the difference of two gray pictures in units of its noise, (H, W) float32."""
    if seen.sum() < _LEAST:
        return np.zeros_like(fixed)
    fixed, moving = (masked_blur(picture, seen, _BLUR) for picture in (fixed, moving))
    moving, trusted = _in_light_of(moving, fixed, seen), seen
    for _ in range(2):  # what stands out takes no part in the light around it
        one, other = (_against_neighborhood(picture, seen, trusted) for picture in (fixed, moving))
        difference = other - one
        slope = np.hypot(cv2.Sobel(one + other, cv2.CV_32F, 1, 0) / 16, cv2.Sobel(one + other, cv2.CV_32F, 0, 1) / 16)
        noise = _noise(difference, slope, seen)
        trusted = seen & (np.abs(difference) < 3 * noise)
    return np.where(seen, difference / noise, 0).astype(np.float32)


def _in_light_of(moving: np.ndarray, fixed: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Give one gray picture the light of another: the ratio of both, a robust polynomial over the field, is undone."""
    height, width = seen.shape
    size = max(8, width // _COARSE), max(8, height // _COARSE)
    share = cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    one, other = (cv2.resize(picture * seen, size, interpolation=cv2.INTER_AREA) for picture in (fixed, moving))
    ratio = np.log((other / np.maximum(share, 1e-3) + _DARK) / (one / np.maximum(share, 1e-3) + _DARK))
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size[::-1]), indexing="ij")
    terms = np.stack([x**i * y**j for i in range(_ORDER + 1) for j in range(_ORDER + 1 - i)], axis=-1)
    good = share > 0.5
    design, target, weights = terms[good], ratio[good], np.ones(int(good.sum()))
    if len(target) < 10 * terms.shape[-1]:
        return moving
    for _ in range(6):  # iteratively reweighted least squares
        root = np.sqrt(weights)[:, None]
        solution = np.linalg.lstsq(design * root, target * root[:, 0], rcond=None)[0]
        residual = np.abs(target - design @ solution)
        weights = 1 / (1 + (residual / max(2 * float(np.median(residual)), 1e-3)) ** 2) ** 2
    light = cv2.resize((terms @ solution).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return (moving + _DARK) * np.exp(-light) - _DARK


def _against_neighborhood(picture: np.ndarray, seen: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """Subtract the mean of the trusted neighborhood and divide by the contrast there."""
    detail = picture - _smooth(picture, trusted, _NEIGHBORHOOD)
    contrast = np.sqrt(_smooth(detail**2, trusted, 2 * _NEIGHBORHOOD))
    # Hazy parts are made clearer, but what is nothing but noise is not made a picture of.
    least = 0.5 * np.median(contrast[seen])
    return np.where(seen, detail / np.maximum(contrast, max(float(least), 0.5)), 0).astype(np.float32)


def _smooth(picture: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Blur widely inside a mask, on a copy reduced `_COARSE` times."""
    height, width = picture.shape
    size = max(1, width // _COARSE), max(1, height // _COARSE)
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(picture * mask, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-3)
    return cv2.resize(masked_blur(mean, share > 0.2, sigma / _COARSE), (width, height), interpolation=cv2.INTER_LINEAR)


def _noise(difference: np.ndarray, slope: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Estimate the noise of a difference, place by place: a constant, and a part that grows with the slope."""
    values, slopes = np.abs(difference[seen]), slope[seen]
    edges = np.quantile(slopes, np.linspace(0, 1, 9))
    bins = np.clip(np.searchsorted(edges, slopes, side="right") - 1, 0, 7)
    # The median of absolute values is .6745 standard deviations, and what has changed does not move it.
    spread = np.array([np.median(values[bins == k]) / 0.6745 if (bins == k).any() else np.nan for k in range(8)])
    middle = np.array([slopes[bins == k].mean() if (bins == k).any() else np.nan for k in range(8)])
    good = np.isfinite(spread)
    design = np.stack([np.ones(good.sum()), middle[good] ** 2], axis=1)
    constant, growth = np.linalg.lstsq(design, spread[good] ** 2, rcond=None)[0]
    floor = max(float(np.nanmin(spread)) ** 2, 1e-4)
    return np.sqrt(np.maximum(constant, floor) + max(float(growth), 0.0) * slope**2).astype(np.float32)


def _regions(difference: np.ndarray, to_fixed: Transform, transform: Transform, pixels: float) -> list[Region]:
    regions = []
    for kind, sign in ((DARKER, -1), (BRIGHTER, 1)):
        signed = difference * sign
        number, labels, stats, _ = cv2.connectedComponentsWithStats((signed > _GROWS).astype(np.uint8), connectivity=4)
        strongest = np.zeros(number, np.float32)
        np.maximum.at(strongest, labels.ravel().astype(np.int64), signed.ravel())
        for label in range(1, number):
            if stats[label, cv2.CC_STAT_AREA] < _LEAST or strongest[label] < _STANDS_OUT:
                continue
            left, top, width, height = stats[label, :4]
            own = (labels[top : top + height, left : left + width] == label).astype(np.uint8)
            contours = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1, offset=(int(left), int(top)))[
                0
            ]
            outline = to_fixed(max(contours, key=cv2.contourArea)[:, 0].astype(np.float64))
            area = float(stats[label, cv2.CC_STAT_AREA]) * pixels
            regions.append(Region(kind, outline, transform.inverse(outline), area, float(strongest[label])))
    return sorted(regions, key=lambda region: -region.area)


def draw_regions(photograph: np.ndarray, outlines: list[np.ndarray], kinds: list[str]) -> np.ndarray:
    """Draw outlines on a photograph: what is darker in blue, what is brighter in orange.

    Args:
        photograph: (H, W, 3) uint8 RGB.
        outlines: (K, 2) each, pixels of it.
        kinds: "darker" or "brighter" for each.

    Returns:
        (H, W, 3) uint8 RGB, a copy with the outlines.
    """
    drawn = photograph.copy()
    width = max(1, round(max(drawn.shape) / 700))
    for outline, kind in zip(outlines, kinds):
        if np.isfinite(outline).all():
            corners = (outline * 8).round().astype(np.int32)[:, None]
            color = (86, 180, 233) if kind == DARKER else (230, 159, 0)
            cv2.polylines(drawn, [corners], True, color, width, cv2.LINE_AA, shift=3)
    return drawn


def draw_difference(change: Change) -> np.ndarray:
    """Draw the difference: gray is equal, blue darker in the moving photograph, orange brighter.

    Args:
        change: What `find_change` gave.

    Returns:
        (H, W, 3) uint8 RGB of the size of `change.difference`; black where the photographs cannot be compared.
    """
    strength = np.clip(change.difference / _STANDS_OUT, -1, 1)[..., None]
    gray, darker, brighter = (np.array(color, np.float32) for color in ((110, 110, 110), (86, 180, 233), (230, 159, 0)))
    drawn = gray + np.abs(strength) * (np.where(strength < 0, darker, brighter) - gray)
    return np.where(change.compared[..., None], drawn, 0).round().astype(np.uint8)


@dataclass(frozen=True)
class MaskGrowth:
    """How a mask of the fixed photograph and one of the moving photograph, brought onto it, compare.

    Attributes:
        fixed_area: In pixels of the fixed photograph.
        moving_area: The same, of the moving mask.
        overlap: Area that both have in common, over the area that either has (Jaccard); 1 where both are empty.
        spacing: Millimeters per pixel, down and across; None where it is not known.
        days: From the fixed visit to the moving one; None where they are not known.
    """

    fixed_area: int
    moving_area: int
    overlap: float
    spacing: tuple[float, float] | None = None
    days: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Put areas, overlap and growth per year into numbers, ready for JSON."""
        pixel = None if self.spacing is None else self.spacing[0] * self.spacing[1]
        growth = (self.moving_area - self.fixed_area) * 365.25 / self.days if self.days else None
        return {
            "fixed_area_px": self.fixed_area,
            "moving_area_px": self.moving_area,
            "overlap": round(self.overlap, 4),
            "fixed_area_mm2": None if pixel is None else self.fixed_area * pixel,
            "moving_area_mm2": None if pixel is None else self.moving_area * pixel,
            "growth_px_a_year": growth,
            "growth_mm2_a_year": None if pixel is None or growth is None else growth * pixel,
        }


def compare_masks(
    moving: np.ndarray, fixed: np.ndarray, spacing: tuple[float, float] | None = None, days: int | None = None
) -> MaskGrowth:
    """Compare two masks on the grid of the fixed photograph; what is not 0 belongs to them.

    Args:
        moving: (H, W), the mask of the moving photograph, warped onto the fixed one.
        fixed: (H, W), the mask of the fixed photograph.
        spacing: Millimeters per pixel, down and across; None where it is not known.
        days: From the fixed visit to the moving one; None where they are not known.

    Returns:
        Areas, overlap and growth.

    Raises:
        ValueError: They differ in size.
    """
    if moving.shape != fixed.shape:
        raise ValueError(f"Two masks of one size are compared, got {moving.shape} and {fixed.shape}.")
    one, other = moving != 0, fixed != 0
    either = int((one | other).sum())
    overlap = float((one & other).sum() / either) if either else 1.0
    return MaskGrowth(int(other.sum()), int(one.sum()), overlap, spacing, days)


def _field(photograph: np.ndarray) -> np.ndarray:
    """Mark the field of view a little inside its rim, (H, W) bool."""
    # Marks are left out elsewhere; here a strong spot may be the very lesion.
    view = replace(find_field_of_view(photograph), left_out=None)
    inside = view.mask((0, 0, 1, 1), photograph.shape[:2]).astype(np.uint8)
    radius = view.radius or min(photograph.shape[:2]) / 2
    side = 2 * round(_MARGIN * radius) + 1
    return cv2.erode(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), borderValue=0) > 0


def _zoom(transform: Transform, moving: np.ndarray) -> float:
    """Give how many pixels of the moving photograph are one of the fixed one, in its middle."""
    middle = np.array([[moving.shape[1] / 2, moving.shape[0] / 2]])
    determinant = abs(float(np.linalg.det(transform.jacobian(middle)[0])))
    return 1 / np.sqrt(determinant) if np.isfinite(determinant) and determinant > 1e-6 else 1.0


def _reduced(photograph: np.ndarray, scale: float) -> np.ndarray:
    if scale <= 1:
        return photograph
    size = [max(1, round(side / scale)) for side in photograph.shape[1::-1]]
    return cv2.resize(photograph, size, interpolation=cv2.INTER_AREA)


__all__ = [
    "Change",
    "MaskGrowth",
    "Region",
    "compare_masks",
    "draw_difference",
    "draw_regions",
    "find_change",
]
