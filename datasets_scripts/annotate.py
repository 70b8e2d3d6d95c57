"""The page on which a person sets, corrects and sorts the keypoints of photographs, in the browser.

python -m datasets_scripts.annotate FOLDER --out ANNOTATIONS --annotator NAME

It runs on this computer alone and reads and writes local folders. Every change is written at once as a draft; Next and
Save call the photograph done.
"""

import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from retinamatch.extractor import DEFAULT_MODEL, UnknownNameError
from retinamatch.files import standard_output

from .annotation.page import build_page, launch
from .annotation.pictures import PROPOSALS, list_pictures, load_detector
from .annotation.session import Session
from .format.annotations import AnnotationError


def check_port(port: int | None) -> None:
    """Make sure that a port of this computer is free.

    Raises:
        AnnotationError: Somebody listens on it.
    """
    with socket.socket() as probe:
        if port is not None and probe.connect_ex(("127.0.0.1", port)) == 0:
            raise AnnotationError(f"The port {port} is taken; choose another with --port.")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Photographs: a folder, images/ in a folder, or Parquet files.")],
    out: Annotated[Path, typer.Option(help="Folder of this person's annotations.")],
    annotator: Annotated[str, typer.Option(help="Name of the person, kept in every file.")],
    source: Annotated[str | None, typer.Option(help="Data set that FOLDER is a download of, such as hrf.")] = None,
    proposals: Annotated[
        str, typer.Option(help=f"Where keypoints come from at first: {', '.join(PROPOSALS)}.")
    ] = "auto",
    model: Annotated[str, typer.Option(help="Model that proposes keypoints, for --proposals model.")] = DEFAULT_MODEL,
    threshold: Annotated[float, typer.Option(min=0, help="Least score of a keypoint that the model proposes.")] = 0.3,
    split: Annotated[str | None, typer.Option(help="Of Parquet files, those of this split.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on this computer. [default: the first free from 7860]")] = None,
) -> None:
    """Annotate keypoints in the browser; start it again to go on."""
    try:
        if proposals not in PROPOSALS:
            raise AnnotationError(f"Unknown proposals {proposals!r}; known are {', '.join(PROPOSALS)}.")
        if not annotator.strip():
            raise AnnotationError("The name of the annotator is empty.")
        check_port(port)
        pictures = list_pictures(folder, source, split)
        detector = load_detector(model, threshold) if proposals == "model" else None
        session = Session(pictures, out, annotator.strip(), proposals, detector)
        # A page that is ended tidies up as one that is interrupted does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        launch(build_page(session), session, port)
    except (AnnotationError, UnknownNameError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    with standard_output():
        app()
