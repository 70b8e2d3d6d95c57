"""Build a training set in Parquet from folders of photographs and from rendered eyes.

python -m datasets_scripts.build ../shared/data/fundus --out build/pack --sources hrf,chase_db1 --labels chase_db1
python -m datasets_scripts.build --out build/rendered --rendered 100
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

from retinamatch.field_of_view import FieldOfView, find_field_of_view
from retinamatch.image_processing_retina import canvas
from retinamatch.photographs import PhotographError, read_photograph

from .junctions import find_junctions
from .parquet import LabelledPhotograph, ParquetError, check_target, encode, write_splits
from .sources import Photograph, SourceError, find_source, list_photographs, patients


# Nearer to the rim than this, in pixels of a field of view 565 wide, a vessel's end and a junction look alike.
RIM_MARGIN = 4.0
# Rendered vessels thinner than this, in pixels of a field of view 768 wide, are felt rather than seen, and people who
# draw vessel maps leave them out: their junctions would ask the detector for what is not in the picture.
RENDERED_LEAST_WIDTH = 1.5
RENDERED_LICENCE = "Apache-2.0"


class BuildError(ValueError):
    """Something in the input or the options is wrong; the message is one sentence for the user."""


def split_patients(source: str, names: Sequence[str], share: float, seed: int) -> set[str]:
    """Choose the persons of a source that are kept for validation.

    A person's place in the draw depends on the seed, the source and the name alone: it is the same on every machine and
    whatever other sources are built.

    Args:
        source: Name of the source.
        names: Persons.
        share: Share of them to choose, rounded; at least one where there are two or more and the share is not 0.
        seed: Which draw.
    """
    count = round(share * len(names))
    if share > 0 and len(names) > 1:
        count = max(count, 1)

    def draw(name: str) -> str:
        return hashlib.sha256(f"{seed}/{source}/{name}".encode()).hexdigest()

    return set(sorted(names, key=draw)[:count])


def on_canvas(photo: np.ndarray, view: FieldOfView, keypoints: np.ndarray, size: int):
    """Crop a photograph to its field of view and scale it to a square canvas, keypoints along with it.

    Args:
        photo: Photograph (H, W, 3), uint8.
        view: Its field of view.
        keypoints: Points (N, 2) in pixels of the photograph.
        size: Side of the canvas in pixels.

    Returns:
        Canvas (size, size, 3), mask (size, size), keypoints (N, 2) in pixels of the canvas, and which of them (N,) lie
        in the field of view, clear of its rim.
    """
    pixels, mask, (x0, y0, x1, y1) = canvas(photo, view, (size, size))
    height, width = photo.shape[:2]
    relative = (keypoints + 0.5) / [width, height]
    placed = (relative - [x0, y0]) / [x1 - x0, y1 - y0] * size - 0.5
    inside = view.contains(keypoints, margin=RIM_MARGIN / 565 * (view.box[2] - view.box[0]))
    return pixels, mask, placed, inside & ((placed > -0.5) & (placed < size - 0.5)).all(axis=1)


def read_vessels(photograph: Photograph, size: tuple[int, int]) -> np.ndarray:
    """Read the vessel map of a photograph.

    Args:
        photograph: Whose map.
        size: Height and width that it must have.

    Returns:
        Map (H, W), bool.

    Raises:
        BuildError: It is missing, unreadable, or of another size than its image.
    """
    path = photograph.vessels
    if not path.is_file():
        raise BuildError(f"Labels of {photograph.path} were asked for, but its vessel map {path} does not exist.")
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise BuildError(f"The vessel map {path} cannot be read as an image.") from error
    if pixels.shape != size:
        raise BuildError(
            f"The vessel map {path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {photograph.path} has "
            f"{size[1]} x {size[0]}; they must agree."
        )
    return pixels > int(pixels.max()) // 2


def label(photograph: Photograph, size: int, labelled: bool) -> LabelledPhotograph:
    """Read a photograph, find its keypoints if its vessel map may be used, and put both on the canvas.

    Raises:
        BuildError: The image or its vessel map is missing, unreadable or does not fit.
    """
    try:
        photo = read_photograph(photograph.path)
    except PhotographError as error:
        raise BuildError(str(error)) from error
    view = find_field_of_view(photo)
    points, types = np.zeros((0, 2)), np.zeros(0, dtype=np.int8)
    if labelled:
        found = find_junctions(read_vessels(photograph, photo.shape[:2]), field_width=view.box[2] - view.box[0])
        points, types = found.points, found.types
    pixels, mask, points, inside = on_canvas(photo, view, points, size)
    return LabelledPhotograph(
        name=photograph.path.stem,
        image=pixels,
        mask=mask,
        keypoints=points[inside] if labelled else None,
        types=types[inside] if labelled else None,
        source=photograph.source.name,
        patient=photograph.patient,
        eye=photograph.eye,
        licence=photograph.source.licence,
    )


def render(number: int, size: int, seed: int) -> LabelledPhotograph:
    """Draw and photograph the rendered eye with this number; each is a person of its own."""
    # Here, not above: the renderer is heavy to import and packs of real photographs do without it.
    from .rendered_fundus import draw_eye
    from .rendered_fundus import render as photograph

    # Packs of different seeds share no eye.
    eye = draw_eye(seed * 1_000_000 + number)
    photo = photograph(eye, size=size, seed=0)
    rows, columns = np.nonzero(photo.mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    view = FieldOfView(size, size, tuple(photo.view.center), photo.view.diameter / 2, tuple(map(float, box)), True)
    pixels, mask, points, inside = on_canvas(photo.image, view, photo.keypoints, size)
    inside &= photo.widths >= RENDERED_LEAST_WIDTH / 768 * photo.view.diameter
    name = f"rendered_{seed}_{number:05d}"
    return LabelledPhotograph(
        name=name,
        image=pixels,
        mask=mask,
        keypoints=points[inside],
        types=photo.types[inside],
        source="rendered",
        patient=name,
        eye="right" if eye.disc[0] > 0 else "left",
        licence=RENDERED_LICENCE,
    )


def build(
    root: str | os.PathLike | None,
    out: str | os.PathLike,
    sources: Sequence[str] = ("hrf", "chase_db1"),
    labels: Sequence[str] = ("chase_db1",),
    rendered: int = 0,
    size: int = 768,
    validation_share: float = 0.15,
    seed: int = 0,
    every: dict[str, int] | None = None,
    png: bool = False,
) -> dict[str, Counter]:
    """Write `out/train-*.parquet` and `out/validation-*.parquet`.

    Args:
        root: Folder with a folder per source; `None` for rendered eyes alone.
        out: Folder to write; a former build in it is replaced when the new one is whole.
        sources: Sources to take.
        labels: Those of them whose vessel maps are turned into keypoints.
        rendered: Number of rendered eyes.
        size: Side of the canvas in pixels.
        validation_share: Share of the persons of each source kept for validation; 1 for a set that is never trained on.
        seed: Draw of the split, and the rendered eyes.
        every: Source name -> take only every n-th person.
        png: Store images without loss.

    Returns:
        Split -> source -> number of photographs, `SOURCE labelled` and `keypoints` counted along.

    Raises:
        BuildError: Options that contradict each other, or an unusable file.
        SourceError: A source folder that is not as expected.
        ParquetError: `out` may not be replaced.
    """
    every = every or {}
    if not 0 <= validation_share <= 1:
        raise BuildError(f"The validation share must lie between 0 and 1, got {validation_share:g}.")
    if size < 64:
        raise BuildError(f"The canvas must have at least 64 pixels a side, got {size}.")
    astray = sorted((set(labels) | set(every)) - set(sources))
    if astray:
        raise BuildError(f"{astray[0]!r} is not among the sources to build ({', '.join(sources) or 'none'}).")
    if sources and root is None:
        raise BuildError(f"The sources {', '.join(sources)} need the folder that they lie in.")
    if not sources and not rendered:
        raise BuildError("Nothing to build: name sources, or a number of rendered eyes.")
    check_target(out)

    jobs = {"train": [], "validation": []}
    for name in sources:
        photographs = list_photographs(root, find_source(name))
        people = patients(photographs)[:: every.get(name, 1)]
        validation = split_patients(name, people, validation_share, seed)
        for photograph in photographs:
            if photograph.patient in people:
                split = "validation" if photograph.patient in validation else "train"
                jobs[split].append(partial(label, photograph, size, name in labels))
    numbers = [f"{number:05d}" for number in range(rendered)]
    validation = split_patients("rendered", numbers, validation_share, seed)
    for number in numbers:
        jobs["validation" if number in validation else "train"].append(partial(render, int(number), size, seed))

    counts = {split: Counter() for split in jobs}

    def rows(split: str) -> Iterator[dict]:
        for job in tqdm(jobs[split], desc=split, unit="photograph", disable=None):
            photograph = job()
            counts[split][photograph.source] += 1
            if photograph.keypoints is not None:
                counts[split][f"{photograph.source} labelled"] += 1
                counts[split]["keypoints"] += len(photograph.keypoints)
            yield encode(photograph, jpeg_quality=None if png else 95)

    write_splits(out, {split: rows(split) for split in jobs})
    return counts


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _steps(text: str) -> dict[str, int]:
    steps = {}
    for item in _names(text):
        name, _, step = item.partition("=")
        if not step.isdigit() or int(step) < 1:
            raise BuildError(f"--every takes SOURCE=NUMBER, such as srahim_dr=12, got {item!r}.")
        steps[name] = int(step)
    return steps


app = typer.Typer(add_completion=False)


@app.command()
def main(
    root: Annotated[Path | None, typer.Argument(help="Folder with SOURCE/images and optional SOURCE/vessels.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files.")] = Path("build/pack"),
    sources: Annotated[str | None, typer.Option(help="Sources, by comma. [default: hrf,chase_db1 with a ROOT]")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Sources whose vessel maps become keypoints. [default: chase_db1 if built]")
    ] = None,
    rendered: Annotated[int, typer.Option(min=0, help="Number of rendered eyes.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the canvas in pixels.")] = 768,
    validation_share: Annotated[float, typer.Option(help="Share of each source's persons kept for validation.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Draw of the split, and the rendered eyes.")] = 0,
    every: Annotated[str, typer.Option(help="Take every n-th person: SOURCE=NUMBER, by comma.")] = "",
    png: Annotated[bool, typer.Option("--png", help="Store images without loss.")] = False,
) -> None:
    """Turn photographs, their vessel maps and rendered eyes into Parquet, split by patient."""
    try:
        chosen = _names(sources) if sources is not None else (["hrf", "chase_db1"] if root is not None else [])
        # The vessel maps of HRF carry no terms that could be found: they are used only when somebody asks for it.
        labelled = _names(labels) if labels is not None else [name for name in chosen if name == "chase_db1"]
        counts = build(
            root, out, chosen, labelled, rendered, size, validation_share, seed, every=_steps(every), png=png
        )
    except (BuildError, SourceError, ParquetError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    for split, found in counts.items():
        typer.echo(f"{split}: " + (", ".join(f"{name} {number}" for name, number in sorted(found.items())) or "empty"))
    typer.echo(f"Written to {out}.")


if __name__ == "__main__":
    app()
