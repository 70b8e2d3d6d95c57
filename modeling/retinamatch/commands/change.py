"""The command `change`, what has changed between two visits, and `evaluate change`, what that is worth."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..change import compare_masks, draw_difference, draw_regions, find_change
from ..evaluation.changes import evaluate_changes
from ..extractor import AUTO, DEFAULT_MODEL
from ..files import check_output_file, check_output_folder, json_text, put_results, write_text, written_aside
from ..itk import Spacing
from ..registrar import FAST, THOROUGH, Registrar, finish
from ..results import save_picture
from ..transfer import LocatedTransform, inside_mask, read_mask
from .options import NO_MATCH, Dtype, Effort, Engine, Fixed, JsonFile, Model, Moving, TransformName, bad_input, files_of


RECORD = "change.json"
PICTURES = ("difference.png", "fixed_regions.png", "moving_regions.png")


def change(
    moving: Moving,
    fixed: Fixed,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and change.json.")] = Path("out"),
    moving_mask: Annotated[
        Path | None, typer.Option(help="A mask of the moving photograph, such as a lesion; both masks or none.")
    ] = None,
    fixed_mask: Annotated[
        Path | None, typer.Option(help="The same of the fixed photograph; both masks or none.")
    ] = None,
    days: Annotated[
        int, typer.Option(help="Days from the fixed visit to the moving one; gives the growth per year.")
    ] = 0,
    spacing: Annotated[
        tuple[float, float],
        typer.Option(
            help="Millimeters per pixel of the fixed photograph, down and across.",
            show_default="that of a DICOM file, else unknown",
        ),
    ] = (0.0, 0.0),
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
) -> None:
    """Outline what differs between two visits beyond the noise of photographs; areas, those of masks too."""
    with bad_input(ValueError, OSError):
        masks = [mask for mask in (moving_mask, fixed_mask) if mask is not None]
        if len(masks) == 1:
            raise ValueError("Masks of both photographs are compared; one of them is missing.")
        if any(spacing):
            Spacing(*spacing)
        check_output_folder(out, [moving, fixed, *masks, *files_of(model)], (*PICTURES, RECORD))
        there, here = (None if mask is None else inside_mask(read_mask(mask)) for mask in (fixed_mask, moving_mask))
        registrar = Registrar(model, transform, effort=effort, dtype=dtype, engine=engine)
        registration, (image, onto) = finish(registrar.steps(moving, fixed))
        if all(spacing):
            registration.fixed_spacing = spacing
        for name, mask, size in (("moving", here, image.shape[:2]), ("fixed", there, onto.shape[:2])):
            if mask is not None:
                LocatedTransform.check_size(mask.shape, f"mask of the {name} photograph", size)
        record: dict[str, Any] = {"status": registration.status, "reason": registration.reason}
        with written_aside(out) as aside:
            if registration.transform is not None:
                found = find_change(registration, image, onto)
                kinds = [region.kind for region in found.regions]
                record |= found.to_dict()
                pictures = (
                    draw_difference(found),
                    draw_regions(onto, [region.fixed_outline for region in found.regions], kinds),
                    draw_regions(image, [region.moving_outline for region in found.regions], kinds),
                )
                for name, picture in zip(PICTURES, pictures):
                    save_picture(picture, aside / name)
                if here is not None and there is not None:
                    located = LocatedTransform(registration.transform, image.shape[:2], onto.shape[:2])
                    growth = compare_masks(located.warp_mask(here), there, registration.fixed_spacing, days or None)
                    record["masks"] = growth.to_dict()
            written = put_results(aside, out, PICTURES if registration else (), RECORD, record)
    if not registration:
        typer.echo(registration)
        raise typer.Exit(NO_MATCH)
    area = f"{found.area:.0f} px" + ("" if found.area_mm2 is None else f", {found.area_mm2:.3f} mm2")
    typer.echo(f"{len(found.regions)} regions differ, {area}. Not a diagnosis.")
    typer.echo("\n".join(str(path) for path in written))


def evaluate_change(
    root: Annotated[Path, typer.Argument(help="A folder per person with repeated photographs of one eye each.")],
    every: Annotated[int, typer.Option(min=1, help="Take every n-th pair.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the lesions.")] = 0,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    json_file: JsonFile = None,
) -> None:
    """Count what `change` finds where nothing has changed, and of lesions that are painted in."""
    with bad_input(ValueError, OSError):
        if json_file is not None:
            check_output_file(json_file, [*root.glob("*/*"), *files_of(model)])
        registrar = Registrar(model, effort=FAST, dtype=dtype, engine=engine)
        figures = evaluate_changes(root, registrar, every, seed, progress=True)
        if json_file is not None:
            write_text(json_file, json_text(figures))
    typer.echo(json.dumps(figures, indent=2))


__all__ = ["change", "evaluate_change"]
