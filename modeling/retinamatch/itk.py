"""Transforms for ITK, SimpleITK, elastix and 3D Slicer; needs the extra `itk`.

ITK maps the other way, from the fixed image to the moving one, and in physical units: the index of a pixel, whose
center it is, times the spacing. So what is written is the inverse, between images whose spacing is written beside it.
ITK takes the dpi of a JPEG for a spacing and ignores its EXIF orientation: upright copies of the photographs go along.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from .files import put_results, written_aside
from .transfer import LocatedTransform
from .transforms import Affine


RECORD = "itk.json"
#: What `write_itk` may write.
FILES = ("displacement.mha", "displacement.nii.gz", "transform.tfm", "moving.mha", "fixed.mha", RECORD)
# Pixels of the fixed photograph between two nodes of the field: linear in between, it is exact to .01 pixel.
_STEP = 8
# Pixels, where nothing of the moving photograph lies: far outside of it.
_NOWHERE = 1e6


@dataclass(frozen=True)
class Spacing:
    """Millimeters, or any unit, per pixel: down (row) and across (column), as DICOM orders them."""

    row: float = 1.0
    column: float = 1.0

    def __post_init__(self) -> None:
        if not all(1e-6 <= value <= 1e6 for value in (self.row, self.column)):
            raise ValueError(
                f"A spacing is two numbers from 0.000001 to 1000000, down and across, got {self.row} and {self.column}."
            )

    @property
    def xy(self) -> np.ndarray:
        """(2,), across and down: the order of ITK."""
        return np.array([self.column, self.row])


def write_itk(
    located: LocatedTransform,
    folder: str | os.PathLike,
    moving: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
    moving_spacing: Spacing | None = None,
    fixed_spacing: Spacing | None = None,
    suffix: str = ".mha",
    slices: bool = False,
) -> list[Path]:
    """Write a transform for `sitk.Resample(moving, fixed, transform)` and its like.

    Args:
        located: The transform, with the sizes of the photographs.
        folder: Where to; it is made when missing.
        moving: (H, W, 3) uint8, the moving photograph, of which an upright copy with its spacing is written.
        fixed: The same of the fixed photograph.
        moving_spacing: Of the moving photograph; 1 when None.
        fixed_spacing: Of the fixed photograph; 1 when None.
        suffix: Of the field, ".mha" or ".nii.gz".
        slices: Write all in three dimensions with one slice, as 3D Slicer wants it.

    Returns:
        The files: `displacement` (any class), `transform.tfm` (similarity and affine), the copies `moving.mha` and
        `fixed.mha`, and `itk.json`, which names them: what it names is removed when the next run does not write it.

    Raises:
        ValueError: The extra is not installed, the suffix is another one, or a photograph has another size.
        OutputError: The folder cannot be written to.
    """
    sitk = _simpleitk()
    if suffix not in (".mha", ".nii.gz"):
        raise ValueError(f"The field is written as .mha or .nii.gz, not as {suffix}.")
    for word, photograph, size in (("moving", moving, located.moving), ("fixed", fixed, located.fixed)):
        if photograph is not None:
            located.check_size(photograph.shape[:2], f"{word} photograph", size)
    own, onto = moving_spacing or Spacing(), fixed_spacing or Spacing()
    folder = Path(folder)
    with written_aside(folder) as aside:
        sitk.WriteImage(_field(sitk, located, own, onto, slices), str(aside / f"displacement{suffix}"), True)
        if isinstance(located.transform, Affine):
            sitk.WriteTransform(_affine(sitk, located.transform, own, onto, slices), str(aside / "transform.tfm"))
        for name, photograph, spacing in (("moving", moving, own), ("fixed", fixed, onto)):
            if photograph is not None:
                sitk.WriteImage(_image(sitk, photograph, spacing, slices), str(aside / f"{name}.mha"), True)
        names = sorted(path.name for path in aside.iterdir())
        spacings = {f"{name}_spacing": [one.row, one.column] for name, one in (("moving", own), ("fixed", onto))}
        return put_results(aside, folder, names, RECORD, spacings)


def _field(sitk: ModuleType, located: LocatedTransform, own: Spacing, onto: Spacing, slices: bool) -> object:
    """Give the way from each place of the fixed photograph to its partner, in physical units."""
    height, width = located.fixed
    # One node beyond the last pixel: outside of its field ITK leaves every place where it is.
    x, y = (np.arange(0, side + _STEP, _STEP, dtype=np.float64) for side in (width, height))
    places = np.stack(np.meshgrid(x, y), axis=-1)
    back = located.transform.inverse(places.reshape(-1, 2)).reshape(places.shape)
    back = np.where(np.isfinite(back), back, -_NOWHERE)
    way = back * own.xy - places * onto.xy
    spacing = onto.xy * _STEP
    if slices:
        # Two slices: a NIfTI file of one is read back in two dimensions.
        way = np.repeat(np.concatenate([way, np.zeros_like(way[..., :1])], axis=-1)[None], 2, axis=0)
        spacing = np.append(spacing, 1.0)
    field = sitk.GetImageFromArray(way.astype(np.float32), isVector=True)
    field.SetSpacing(spacing.tolist())
    return field


def _affine(sitk: ModuleType, transform: Affine, own: Spacing, onto: Spacing, slices: bool) -> object:
    inverse = np.linalg.inv(transform.matrix)
    linear = np.diag(own.xy) @ inverse[:2, :2] @ np.diag(1 / onto.xy)
    shift = own.xy * inverse[:2, 2]
    if slices:
        whole = np.eye(3)
        whole[:2, :2] = linear
        linear, shift = whole, np.append(shift, 0.0)
    affine = sitk.AffineTransform(len(shift))
    affine.SetMatrix(linear.ravel().tolist())
    affine.SetTranslation(shift.tolist())
    return affine


def _image(sitk: ModuleType, photograph: np.ndarray, spacing: Spacing, slices: bool) -> object:
    image = sitk.GetImageFromArray(photograph[None] if slices else photograph, isVector=True)
    image.SetSpacing([*spacing.xy.tolist(), 1.0] if slices else spacing.xy.tolist())
    return image


def _simpleitk() -> ModuleType:
    try:
        import SimpleITK
    except ImportError:
        raise ValueError("Writing for ITK needs SimpleITK: pip install 'retinamatch[itk]'.") from None
    return SimpleITK


__all__ = ["FILES", "RECORD", "Spacing", "write_itk"]
