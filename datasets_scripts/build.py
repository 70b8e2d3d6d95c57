"""Build the data set: photographs of the sources that are there and rendered eyes, in Parquet, checked, with a card.

python -m datasets_scripts.build --out build/dataset                           # rendered eyes alone, no download
python -m datasets_scripts.build ../shared/data --out build/dataset            # every source found there
python -m datasets_scripts.build ../shared/data --out build/dataset --publishable
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from retinamatch.files import standard_output

from .assembly.identity import identity_pairs
from .assembly.options import BuildError, BuildOptions
from .assembly.plan import plan
from .assembly.selection import select
from .assembly.workers import Workers
from .format.annotations import AnnotationError
from .format.card import write_card
from .format.parquet import RECORD, ParquetError, check_target, replacing, write_table
from .format.rows import RowError
from .labeling.labels import LabelingError
from .labeling.quality import measure
from .sources import SourceError
from .validate import validate


def build(
    root: str | os.PathLike | None,
    out: str | os.PathLike,
    options: BuildOptions | None = None,
    workers: int = 1,
    progress: bool = False,
) -> dict:
    """Build a data set, check it, and put it in the place of the former build.

    Args:
        root: Folder in which sources are looked for; `None` for rendered eyes alone.
        out: Folder to write; a former build in it is replaced when the new one is whole.
        options: What goes in.
        workers: Processes that read and render; the bytes do not depend on their number.
        progress: Show bars.

    Returns:
        The record that `out/build.json` holds: options, counts, what was left out and why, quality of the labels.

    Raises:
        BuildError: Options that contradict each other, an unusable file, a data set that validation rejects.
        SourceError: A source folder that is not as expected.
        ParquetError: `out` may not be replaced.
    """
    options = options or BuildOptions()
    options.check()
    named = [source.partition("=")[2] for source in options.sources or () if "=" in source]
    check_target(out, [source for source in (root, options.annotations, *named) if source])
    try:
        uses, left_out, fire = select(root, options)
        jobs = plan(uses, options)
    except AnnotationError as error:
        raise BuildError(str(error)) from error
    if not jobs:
        raise BuildError("Nothing to build: name a folder with sources, or a number of rendered eyes.")
    with replacing(out) as folder, Workers(workers) as pool:
        try:
            quality = pool.start(partial(measure_labels, options.measured, options.seed, options.size))
            people = write_tables(folder, jobs, pool, progress)
            if people:
                rows = identity_pairs(people, options.seed)
                write_table(folder, "identity_pairs", "test", rows)
            report = validate(folder, fire, options.publishable, progress)
        except (LabelingError, AnnotationError, RowError) as error:
            raise BuildError(str(error)) from error
        except OSError as error:
            raise BuildError(f"The data set could not be written to {out}: {error.strerror or error}.") from error
        if report.errors:
            raise BuildError(f"Validation rejects the data set: {' '.join(report.errors)}")
        record = {
            "options": {
                **asdict(options),
                "sources": sorted(use.source.name for use in uses),
                "annotations": options.annotations is not None,  # where they lay is nobody's business
            },
            "rows": nested(report.rows),
            "keypoints": nested(report.keypoints),
            "left_out": left_out,
            "label_quality": quality(),
        }
        write_card(folder, record)
        (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def measure_labels(eyes: int, seed: int, size: int) -> dict | None:
    """Measure the label maker; `None` without eyes."""
    return measure(eyes, seed, size) if eyes else None


def nested(counts: dict) -> dict:
    """Turn counts by tuples into nested dictionaries for JSON."""
    tree: dict = {}
    for (first, second, third), count in sorted(counts.items()):
        tree.setdefault(str(first), {}).setdefault(str(second), {})[str(third)] = count
    return tree


def write_tables(folder: Path, jobs: dict, pool: Workers, progress: bool) -> list:
    """Do the work and write its rows.

    Returns:
        (source, patient, eye) of every photograph of the identity set, by its index.
    """
    people: list[tuple[str, str, int]] = []

    # One stream of work over all tables: the processes do not wait at the end of each.
    results = pool.run([job for _, work in sorted(jobs.items()) for job in work])

    def rows(config: str, split: str, count: int) -> Iterator[dict]:
        quiet = None if progress else True
        for result in tqdm(islice(results, count), f"{config} {split}", count, leave=False, disable=quiet):
            for row in result if isinstance(result, list) else [result]:
                if config == "identity":
                    row["index"] = len(people)
                    people.append((row["source"], row["patient"], row["eye"]))
                yield row

    for (config, split), work in sorted(jobs.items()):
        write_table(folder, config, split, rows(config, split, len(work)))
    return people


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
_DEFAULTS = BuildOptions()
_RENDERED, _PAIRS, _SPLITS = "Rendered eyes (0 for none)", "Pairs of the test split (0 for none)", "Splits"


def _count(text: str, panel: str | None = None, least: int = 0) -> Any:
    return typer.Option(min=least, help=text, rich_help_panel=panel)


@app.command()
def main(
    context: typer.Context,
    root: Annotated[Path | None, typer.Argument(help="Folder that holds the downloads of the sources.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the data set.")] = Path("build/dataset"),
    sources: Annotated[
        str | None,
        typer.Option(
            help="Sources, by comma; plain:NAME=FOLDER for your own photographs.", show_default="all found in ROOT"
        ),
    ] = None,
    every: Annotated[str, typer.Option(help="Take every n-th person: SOURCE=NUMBER, by comma.")] = "",
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of annotations that replace the labels of the photographs they name.")
    ] = None,
    publishable: Annotated[bool, typer.Option("--publishable", help="Leave out what may not be passed on.")] = False,
    rendered: Annotated[int, _count("With labels: configuration keypoints.", _RENDERED)] = _DEFAULTS.rendered,
    unlabeled: Annotated[
        int, _count("Whose labels are withheld: configuration unlabeled.", _RENDERED)
    ] = _DEFAULTS.unlabeled,
    people: Annotated[int, _count("Persons of the configuration identity.", _RENDERED)] = _DEFAULTS.people,
    shots: Annotated[int, _count("Photographs of each of these persons.", _RENDERED, least=2)] = _DEFAULTS.shots,
    measured: Annotated[
        int, _count("On which the label maker is measured for the card.", _RENDERED)
    ] = _DEFAULTS.measured,
    warped: Annotated[
        int,
        _count("Test photographs of each source, and test eyes, that become six warped pairs each.", _PAIRS),
    ] = _DEFAULTS.warped,
    visits: Annotated[int, _count("Rendered eyes that are photographed at two visits.", _PAIRS)] = _DEFAULTS.visits,
    modalities: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Rendered eyes that are photographed in two modalities, such as color and angiogram.",
            rich_help_panel=_PAIRS,
            show_default="as many as --visits",
        ),
    ] = None,
    validation_fraction: Annotated[
        float, typer.Option(help="Of each source's persons, for validation.", rich_help_panel=_SPLITS)
    ] = _DEFAULTS.validation_fraction,
    test_fraction: Annotated[
        float, typer.Option(help="Of each source's persons, for the test.", rich_help_panel=_SPLITS)
    ] = _DEFAULTS.test_fraction,
    seed: Annotated[int, _count("Seed of the splits, the pairs and the rendered eyes.", _SPLITS)] = _DEFAULTS.seed,
    size: Annotated[int, typer.Option(help="Side of the canvas in pixels.")] = _DEFAULTS.size,
    png: Annotated[bool, typer.Option("--png", help="Store images without loss.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one per core")] = None,
) -> None:
    """Turn photographs, their vessel maps and rendered eyes into a data set, split by patient."""
    try:
        given = {name: context.params[name] for name in asdict(_DEFAULTS)}
        given["sources"] = None if sources is None else _names(sources)
        options = BuildOptions(**{**given, "every": _steps(every)})
        record = build(root, out, options, workers or os.cpu_count() or 1, progress=True)
    except (BuildError, SourceError, ParquetError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    for sentence in record["left_out"]:
        typer.echo(f"Left out: {sentence}")
    for config, splits in record["rows"].items():
        for split, counts in splits.items():
            typer.echo(f"{config} {split}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    typer.echo(f"Written to {out}.")


__all__ = ["build"]

if __name__ == "__main__":
    with standard_output():
        app()
