"""Commands that write models: `convert` from checkpoints of others, `export` for the Hub or for ONNX Runtime."""

from pathlib import Path
from typing import Annotated

import typer

from ..engines import require_torch
from ..extractor import ONNX, ONNX_FILES, UnknownNameError
from ..files import check_output_folder
from .options import bad_input, files_of, photographs_in


HUB = "hub"
FORMATS = (HUB, ONNX)


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Official .pth checkpoint of SuperRetina, LKUNET or SwinEncoder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the converted model.")],
) -> None:
    """Convert a published checkpoint, downloaded by yourself, to a folder that --model takes."""
    with bad_input(ValueError, OSError):
        require_torch("Converting a checkpoint")
        from ..conversion import CONVERTED, convert_checkpoint

        check_output_folder(out, [checkpoint], CONVERTED)
        convert_checkpoint(checkpoint, out)
    typer.echo(f"written: {out}")


def export(
    model: Annotated[
        str, typer.Argument(help="A name from `retinamatch models`, a folder, or a repository of the Hub.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the repository, or for the ONNX files.")],
    wanted: Annotated[
        str, typer.Option("--format", help=f"{HUB}: a repository with code; {ONNX}: an ONNX file.")
    ] = HUB,
    int8: Annotated[
        list[Path] | None,
        typer.Option(
            "--int8", help=f"With {ONNX}: photographs, or a folder of them, to calibrate a file in int8 with."
        ),
    ] = None,
) -> None:
    """Write a model as a repository for the Hub, with its code, or as ONNX files, which need no torch to run."""
    with bad_input(ValueError, OSError):
        if wanted not in FORMATS:
            raise UnknownNameError(f"Unknown format {wanted!r}; known are: {', '.join(FORMATS)}.")
        if int8 and wanted != ONNX:
            raise UnknownNameError(f"--int8 goes with --format {ONNX}.")
        require_torch("Writing a model")
        if wanted == HUB:
            from ..hub import export_repository

            check_output_folder(out, files_of(model))
            export_repository(model, out)
        else:
            from ..onnx_export import export_onnx

            photographs = photographs_in(int8 or [])
            check_output_folder(
                out, [*files_of(model), *photographs], [Path(name).name for name in ONNX_FILES.values()]
            )
            export_onnx(model, out, photographs)
    typer.echo(f"written: {out}")


__all__ = ["convert", "export"]
