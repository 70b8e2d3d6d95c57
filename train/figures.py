"""Figures stand in one place: README and cards show what commands wrote as JSON to modeling/figures, and nothing else.

python -m train.figures [--check]

A block of a text is rendered from files of that folder by one of `VIEWS`, all rows or those of the models named:

    <!-- figures: fire fire.json lk-superretina-small rootsift -->
    <!-- /figures -->
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from retinamatch.evaluation.agreement import Judged, agreement_table
from retinamatch.evaluation.fire import fire_table
from retinamatch.evaluation.impostors import impostors_table
from retinamatch.evaluation.stress import stress_summary, stress_table
from retinamatch.evaluation.surrounds import surrounds_table
from retinamatch.files import standard_output, write_text

from .ablation_report import format_table
from .benchmark import benchmark_table
from .curves import curves_table
from .run.configuration import errors_of_the_user


REPOSITORY = Path(__file__).resolve().parents[1]
FIGURES = REPOSITORY / "modeling" / "figures"
TEXTS = (
    "README.md",
    "modeling/README.md",
    "modeling/retinamatch/weights/*/README.md",
    "datasets_scripts/README.md",
    "space/ui/text.py",
    "train/README.md",
)
BLOCK = re.compile(r"(<!-- figures: (.+?) -->\n).*?(<!-- /figures -->)", re.DOTALL)

Contents = list[tuple[str, Any]]  # name of a file without its suffix, and what is in it
View = Callable[[Contents, list[str]], str]


def _heldout(contents: Contents, names: list[str]) -> str:
    lines = [
        "| model | registered | AUC | median error, px of 768 | repeatability | matching score |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in contents:
        registered = f"{one['registered'] * one['pairs']:.0f} of {one['pairs']}"
        figures = f"{one['auc']:.3f} | {one['error']:.2f} | {one['repeatability']:.3f} | {one['matching_score']:.3f}"
        lines.append(f"| {name} | {registered} | {figures} |")
    return "\n".join(lines)


def _identity(contents: Contents, names: list[str]) -> str:
    lines = ["| model | pairs of one eye registered | pairs of different eyes accepted |", "| --- | --- | --- |"]
    for name, one in contents:
        same, different = (f"{one[kind]['registered']:,} of {one[kind]['pairs']:,}" for kind in ("same", "different"))
        lines.append(f"| {name} | {same} | {different} |")
    return "\n".join(lines)


def _impostors(contents: Contents, names: list[str]) -> str:
    tables = [(name, impostors_table(one["groups"]).splitlines()) for name, one in contents]
    head, rule = tables[0][1][:2]
    lines = [f"| {name} {line}" for name, table in tables for line in table[2:]]
    return "\n".join([f"| model {head}", f"| --- {rule}", *lines])


def _impostors_summary(contents: Contents, names: list[str]) -> str:
    ((_, one),) = contents
    groups = [group for group in one["groups"] if group["kind"] in ("different", "mirrored")]
    number, accepted = (sum(group[name] for group in groups) for name in ("pairs", "accepted"))
    conditions = ", ".join(dict.fromkeys(group["condition"] for group in groups))
    return f"Accepted, different eyes and mirror images: **{accepted:,} of {number:,}** ({conditions})."


def _noise(contents: Contents, names: list[str]) -> str:
    ((_, one),) = contents
    return (
        f"The control points of these {one['pairs']} pairs were set by hand, each coordinate with a noise of about "
        f"{one['noise']:.1f} pixels:\na *perfect* transform would have an AUC of {one['auc']:.3f} ± "
        f"{one['deviation']:.3f}. Differences near that tell nothing."
    )


def _change(contents: Contents, names: list[str]) -> str:
    ((_, one),) = contents
    lines = ["| painted lesions | found |", "| --- | --- |"]
    for row in one["lesions"]:
        lines.append(f"| contrast {row['contrast']:.0%} | {row['found']} of {row['painted']} |")
    alarms = f"{one['false_regions']} in {one['pairs']} pairs; none in {one['pairs_without']} of them"
    return "\n".join([*lines, f"| false regions, nothing painted | {alarms} |"])


def _modalities(contents: Contents, names: list[str]) -> str:
    ((_, rows),) = contents
    lines = [
        "| two modalities | registered | wrong | median error, px | largest error, px |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        errors = " | ".join(
            "-" if row[name] is None else f"{row[name]:.1f}" for name in ("median_error", "largest_error")
        )
        lines.append(f"| {row['kind']} | {row['registered']} of {row['pairs']} | {row['wrong']} | {errors} |")
    return "\n".join(lines)


def _study(contents: Contents, names: list[str]) -> str:
    lines = [
        "| run | pairs | registered | seconds | core-seconds a pair | pairs an hour | peak memory of a process, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in contents:
        work = f"{one['seconds']:.0f} | {one['cpu_seconds'] / one['pairs']:.2f} | {one['pairs_an_hour']:,.0f}"
        registered = one["statuses"].get("registered", 0)
        lines.append(f"| {name} | {one['pairs']:,} | {registered:,} | {work} | {one['peak_mb']:,.0f} |")
    return "\n".join(lines)


def _rows(contents: Contents, names: list[str]) -> list[dict]:
    """Join the rows of all files: those of the models named, in that order, or all."""
    rows = [row for _, one in contents for row in one["rows"]]
    if not names:
        return rows
    if unknown := set(names) - {row["model"] for row in rows}:
        raise ValueError(f"no figures of {', '.join(sorted(unknown))} are there")
    return sorted((row for row in rows if row["model"] in names), key=lambda row: names.index(row["model"]))


def _of_models(contents: Contents, names: list[str]) -> dict:
    """Cut what `evaluate stress` wrote down to the models named, in that order, or take all."""
    ((_, one),) = contents
    models = {name: one["models"][name] for name in names or one["models"]}
    differences = [row for row in one["differences"] if set(row["models"]) <= set(models)]
    return {**one, "rows": _rows(contents, names), "models": models, "differences": differences}


VIEWS: dict[str, View] = {
    "agreement": lambda contents, names: agreement_table(
        [Judged(**pair) for _, one in contents for pair in one["pairs"]]
    ),
    "ablation": lambda contents, names: format_table([row for _, one in contents for row in one["rows"]]).rstrip(),
    "curves": lambda contents, names: curves_table([run for _, one in contents for run in one["runs"]]),
    "fire": lambda contents, names: fire_table(_rows(contents, names)),
    "heldout": _heldout,
    "identity": _identity,
    "change": _change,
    "impostors": _impostors,
    "impostors-summary": _impostors_summary,
    "modalities": _modalities,
    "noise": _noise,
    "surrounds": lambda contents, names: surrounds_table([row for _, one in contents for row in one["surrounds"]]),
    "study": _study,
    "stress": lambda contents, names: stress_table(_of_models(contents, names)),
    "stress-summary": lambda contents, names: stress_summary(_of_models(contents, names)),
    "time": lambda contents, names: benchmark_table(_rows(contents, names)),
}


def render(words: str, folder: Path = FIGURES) -> str:
    """Render the block of these words.

    Args:
        words: A name of `VIEWS`, files or patterns of files, names of models.
        folder: Where the files lie.

    Raises:
        ValueError: There is no such view, file or model, or a file is not what the view shows.
    """
    view, *rest = words.split()
    if view not in VIEWS:
        raise ValueError(f"`figures: {words}`: there is no view {view}; known are: {', '.join(VIEWS)}.")
    names = [word for word in rest if not word.endswith(".json")]
    contents: Contents = []
    for pattern in (word for word in rest if word.endswith(".json")):
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise ValueError(f"`figures: {words}`: there is no {pattern} in {folder}.")
        contents += [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    try:
        return VIEWS[view](contents, names)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"`figures: {words}` cannot be rendered: {error}.") from error


def rewrite(text: str, folder: Path = FIGURES) -> str:
    """Render every block of a text anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{render(found[2], folder)}\n{found[3]}", text)


def texts() -> list[Path]:
    """List the texts that show figures."""
    return [path for pattern in TEXTS for path in sorted(REPOSITORY.glob(pattern))]


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 when a text is behind.")] = False,
) -> None:
    """Render the figures of README and cards from the JSON files of modeling/figures."""
    with errors_of_the_user(OSError, ValueError):
        behind = {path: new for path in texts() if (new := rewrite(old := path.read_text(encoding="utf-8"))) != old}
    for path, new in behind.items():
        print(path.relative_to(REPOSITORY))
        if not check:
            write_text(path, new)
    if check and behind:
        raise typer.Exit(1)


if __name__ == "__main__":
    with standard_output():
        typer.run(main)
