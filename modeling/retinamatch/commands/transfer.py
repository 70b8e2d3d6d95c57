"""Commands that use a registration again: `apply` carries images, masks and points along, `itk` writes for ITK."""

import os
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from ..files import check_output_file, check_output_folder, replacing, write_text
from ..itk import FILES, Spacing, write_itk
from ..photographs import read_photograph
from ..transfer import MASK_SUFFIXES, LocatedTransform, carry_mask, carry_points, read_mask, read_table
from .options import bad_input


Registrations = Annotated[
    list[Path], typer.Argument(help="registration.json; or several, each from the fixed photograph of the one before.")
]


def apply(
    registrations: Registrations,
    out: Annotated[Path, typer.Option("--out", help="File to write: a picture, or the table of points.")],
    image: Annotated[Path | None, typer.Option("--image", help="Another photograph of the moving visit.")] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="A mask of the moving photograph; its values stay as they are.")
    ] = None,
    points: Annotated[
        Path | None, typer.Option("--points", help="CSV of points x,y in pixels of the moving photograph.")
    ] = None,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="From the fixed photograph back to the moving one.")
    ] = False,
) -> None:
    """Carry an image, a mask or points of the moving photograph over to the fixed one, by a saved registration."""
    with bad_input(ValueError, OSError):
        given = [path for path in (image, mask, points) if path is not None]
        if len(given) != 1:
            raise ValueError(f"One of --image, --mask and --points is wanted, got {len(given)} of them.")
        _check_files(*registrations, *given)
        check_output_file(out, [*registrations, *given])
        located = LocatedTransform.load(*registrations)
        located = located.inverted() if inverse else located
        if points is not None:
            text = read_table(points)
            try:
                write_text(out, carry_points(located.transform, text))
            except ValueError as error:
                raise ValueError(f"{points}: {error}") from None
        elif mask is not None:
            suffix = out.suffix.lower()
            if suffix not in MASK_SUFFIXES:
                raise ValueError(f"A mask is written as {', '.join(MASK_SUFFIXES)}, not as {out.suffix or out.name}.")
            _save(carry_mask(located, read_mask(mask), suffix), out)
        else:
            _save(Image.fromarray(located.warp_image(str(image))), out)
    typer.echo(out)


def itk(
    registrations: Registrations,
    out: Annotated[Path, typer.Option("--out", help="Folder for the transform and the upright copies.")] = Path("out"),
    moving: Annotated[Path | None, typer.Option("--moving", help="The moving photograph, to copy upright.")] = None,
    fixed: Annotated[Path | None, typer.Option("--fixed", help="The fixed photograph, to copy upright.")] = None,
    moving_spacing: Annotated[
        tuple[float, float], typer.Option(help="Millimeters per pixel of the moving photograph, down and across.")
    ] = (1.0, 1.0),
    fixed_spacing: Annotated[
        tuple[float, float], typer.Option(help="Millimeters per pixel of the fixed photograph, down and across.")
    ] = (1.0, 1.0),
    nifti: Annotated[bool, typer.Option("--nifti", help="The field as .nii.gz instead of .mha.")] = False,
    slices: Annotated[bool, typer.Option("--slices", help="In three dimensions, for 3D Slicer.")] = False,
) -> None:
    """Write a registration for ITK, elastix and 3D Slicer: a displacement field, and a .tfm where it is a matrix."""
    with bad_input(ValueError, OSError):
        photographs = [path for path in (moving, fixed) if path is not None]
        spacings = Spacing(*moving_spacing), Spacing(*fixed_spacing)
        _check_files(*registrations, *photographs)
        check_output_folder(out, [*registrations, *photographs], FILES)
        located = LocatedTransform.load(*registrations)
        written = write_itk(
            located,
            out,
            None if moving is None else read_photograph(moving),
            None if fixed is None else read_photograph(fixed),
            *spacings,
            ".nii.gz" if nifti else ".mha",
            slices,
        )
    typer.echo("\n".join(str(path) for path in written))


def _check_files(*paths: Path) -> None:
    for path in paths:
        if os.path.isdir(path):
            raise ValueError(f"{path} is a folder; a file is wanted.")


def _save(picture: Image.Image, out: Path) -> None:
    with replacing(out) as aside:
        try:
            picture.save(aside)
        except (ValueError, KeyError):
            raise ValueError(f"{out} is no kind of picture that can be written; .png is.") from None


__all__ = ["apply", "itk"]
