"""The command line: words to the functions of the library, and their outcome to exit codes; see `commands.options`."""

import json
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from tqdm.auto import tqdm

from . import results
from .commands.change import change, evaluate_change
from .commands.models import convert, export
from .commands.options import (
    NO_MATCH,
    Dtype,
    Effort,
    Engine,
    Fixed,
    JsonFile,
    Model,
    Moving,
    TransformName,
    bad_input,
    files_of,
    photographs_in,
)
from .commands.study import study
from .commands.transfer import apply, itk
from .evaluation import compare_on_fire, evaluate_fire, evaluate_identity
from .evaluation.agreement import DIFFERENT, agreement_table, judge_right_pairs, judge_wrong_pairs
from .evaluation.conditions import CONDITIONS
from .evaluation.fire import fire_table
from .evaluation.impostors import (
    DEFAULT_CONDITIONS,
    IMPOSTOR_CONDITIONS,
    impostors_table,
    judge_impostors,
    list_eyes,
    summarize_impostors,
)
from .evaluation.noise import measure_noise
from .evaluation.stress import outcomes_to_dicts, run_stress, stress_table, summarize_stress
from .evaluation.surrounds import evaluate_surrounds, surrounds_table
from .extractor import AUTO, DEFAULT_MODEL, ROOTSIFT, known_models
from .files import check_output_file, check_output_folder, json_text, standard_output, write_text
from .memory import keep_freed_memory
from .photographs import photograph_name
from .registrar import FAST, THOROUGH, Registrar, Step, finish
from .series import SeriesError, gather, list_photographs, register_visits, write_series


COMPARED = [DEFAULT_MODEL, ROOTSIFT]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
evaluate = typer.Typer(help="Measure on annotated photographs.", no_args_is_help=True)
app.add_typer(evaluate, name="evaluate")
app.add_typer(study, name="study")
app.command()(apply)
app.command()(itk)
app.command()(change)
evaluate.command("change")(evaluate_change)
app.command()(convert)
app.command()(export)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("retinamatch"))
        raise typer.Exit


@app.callback()
def common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Registration of retinal fundus photographs. Not a medical device."""


@app.command()
def register(
    moving: Moving,
    fixed: Fixed,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and registration.json.")] = Path("out"),
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    points: Annotated[
        Path | None,
        typer.Option("--points", help="CSV of 3 or more places set by hand: x_moving,y_moving,x_fixed,y_fixed."),
    ] = None,
) -> None:
    """Map one photograph onto another: aligned image, overlay, checkerboard, difference, matches, record."""
    with bad_input(ValueError, OSError):
        inputs = [moving, fixed, *files_of(model), *([points] if points else [])]
        check_output_folder(out, inputs, results.FILES)
        by_hand = None if points is None else results.read_points(points)
        with _progress() as show:
            registration, (image, onto) = finish(
                Registrar(model, transform, effort=effort, dtype=dtype, engine=engine).steps(
                    moving, fixed, points=by_hand
                ),
                show,
            )
            show(Step("pictures", "drawing", 0.85))
            written = results.write_registration(registration, image, onto, out)
    typer.echo(registration)
    if not registration:
        raise typer.Exit(NO_MATCH)
    typer.echo(", ".join(f"{step} {seconds:.2f} s" for step, seconds in registration.timings.items()))
    typer.echo("\n".join(str(path) for path in written))


@app.command()
def match(
    moving: Moving,
    fixed: Fixed,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of CSV; a file .json is JSON anyway.")] = False,
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
) -> None:
    """Print the matches of two photographs: x_moving, y_moving, x_fixed, y_fixed, score, inlier."""
    with bad_input(ValueError, OSError):
        if out is not None:
            check_output_file(out, [moving, fixed, *files_of(model)])
        with _progress() as show:
            registration, _ = finish(
                Registrar(model, transform, effort=effort, dtype=dtype, engine=engine).steps(moving, fixed), show
            )
        text = results.matches_text(registration, as_json or (out is not None and out.suffix.lower() == ".json"))
        if out is None:
            typer.echo(text, nl=False)
        else:
            write_text(out, text)
    if not registration:
        typer.echo(registration, err=out is None)
        raise typer.Exit(NO_MATCH)


@app.command()
def series(
    folder: Annotated[Path, typer.Argument(help="Folder of three or more photographs of one eye, in order of names.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and series.json.")] = Path("out"),
    fixed: Annotated[
        str, typer.Option("--fixed", help="Name of the photograph that the others are registered to; else the first.")
    ] = "",
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
) -> None:
    """Register a history to one photograph: aligned images, strip, animation, series.json; what fails is named."""
    with bad_input(ValueError, OSError):
        photographs = list_photographs(folder)
        number = _position(fixed, photographs) if fixed else 0
        if out.resolve() == folder.resolve():
            raise SeriesError("The results go to another folder than that of the photographs; name one with --out.")
        check_output_folder(out, [*photographs, *files_of(model)])
        visits = register_visits(
            photographs, number, Registrar(model, transform, effort=effort, dtype=dtype, engine=engine)
        )
        outcome = gather(iter(tqdm(visits, total=len(photographs), unit="visit", disable=None, leave=False)), number)
        written = write_series(outcome, out)
    for visit in outcome.failed:
        typer.echo(f"{visit.name} is left out: {visit.problem}", err=True)
    if not outcome.registered:
        typer.echo(f"no reliable match: nothing could be registered to {outcome.visits[number].name}")
        raise typer.Exit(NO_MATCH)
    typer.echo(
        f"registered: {len(outcome.registered)} of {len(photographs) - 1} photographs to {outcome.visits[number].name}"
    )
    typer.echo("\n".join(str(path) for path in written))


@app.command()
def models() -> None:
    """List the models that travel with the package, and the baseline that needs none."""
    for name in known_models():
        typer.echo(f"{name} (default)" if name == DEFAULT_MODEL else name)
    typer.echo(f"{ROOTSIFT} (classical baseline, no network)")


@evaluate.command()
def fire(
    root: Annotated[Path, typer.Argument(help="Folder in FIRE's layout, any part of it: Images, Ground Truth.")],
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    degrade: Annotated[int, typer.Option(min=0, max=3, help="How much the moving images are made worse.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Measure registration on FIRE: mean error of the control points, area under the curve for each class."""
    with bad_input(ValueError, OSError):
        _check_json(json_file, root.glob("*/*"), model)
        figures = evaluate_fire(
            root, Registrar(model, transform, effort=effort, dtype=dtype, engine=engine), degrade=degrade, progress=True
        )
        _report(figures, json_file)


@evaluate.command()
def identity(
    root: Annotated[Path, typer.Argument(help="A folder per person with photographs of one eye each.")],
    transform: TransformName = "auto",
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    json_file: JsonFile = None,
) -> None:
    """Count the pairs of one eye that are registered, and the pairs of different eyes that are accepted."""
    with bad_input(ValueError, OSError):
        _check_json(json_file, root.glob("*/*"), model)
        figures = evaluate_identity(root, Registrar(model, transform, dtype=dtype, engine=engine), progress=True)
        _report(figures, json_file)


@evaluate.command()
def impostors(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Photographs or folders of them, each of another eye, or folders with a folder per eye."),
    ],
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of different eyes, at least, for each condition.")] = 400,
    genuine: Annotated[
        list[Path] | None, typer.Option("--genuine", help="Folder in FIRE's layout, or with a folder per person.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th photograph of a folder.")] = 1,
    condition: Annotated[
        list[str], typer.Option("--condition", help=f"Names of conditions of {', '.join(IMPOSTOR_CONDITIONS)}.")
    ] = DEFAULT_CONDITIONS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many processes share the work.")] = 1,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    effort: Effort = FAST,
    engine: Engine = AUTO,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file as they come, and go on from it.")
    ] = None,
    summary: Annotated[Path | None, typer.Option("--summary", help="Write the table's figures to this file.")] = None,
) -> None:
    """Register photographs of different eyes and mirror images, and genuine pairs: how many are accepted."""
    with bad_input(ValueError, OSError):
        eyes = list_eyes(folders, every)
        inputs = [*(one.photograph for one in eyes), *(path for folder in genuine or () for path in folder.glob("*/*"))]
        _check_json(json_file, inputs, model)
        _check_json(summary, [*inputs, *([json_file] if json_file else [])], model)
        rows = judge_impostors(
            eyes,
            model,
            pairs,
            genuine or (),
            condition,
            seed,
            processes,
            json_file,
            progress=True,
            dtype=dtype,
            effort=effort,
            engine=engine,
        )
        groups = summarize_impostors(rows)
        _write_figures({"groups": groups}, summary)
    typer.echo(impostors_table(groups))


@evaluate.command()
def agreement(
    root: Annotated[Path, typer.Argument(help="Folder in FIRE's layout: the right pairs.")],
    folders: Annotated[list[Path], typer.Argument(help="Photographs or folders of them, each of another eye.")],
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of different eyes to draw for each condition.")] = 200,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th photograph of a folder.")] = 1,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="Names of conditions of right and wrong pairs; else all.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    json_file: JsonFile = None,
) -> None:
    """Compare the photographs themselves under right and wrong transforms: least, median and greatest figures."""
    with bad_input(ValueError, OSError):
        photographs = photographs_in(folders, every)
        _check_json(json_file, [*root.glob("*/*"), *photographs], model)
        registrar = Registrar(model, dtype=dtype, engine=engine)
        right, wrong = ([name for name in condition or known if name in known] for known in (CONDITIONS, DIFFERENT))
        if unknown := [name for name in condition or () if name not in {*right, *wrong}]:
            raise ValueError(f"Unknown conditions {unknown}; known are: {', '.join((*CONDITIONS, *DIFFERENT))}.")
        judged = judge_right_pairs(root, registrar, right, progress=True)
        judged += judge_wrong_pairs(photographs, registrar, pairs, conditions=wrong, progress=True)
        _write_figures({"pairs": [asdict(one) for one in judged]}, json_file)
    typer.echo(agreement_table(judged))


@evaluate.command()
def table(
    root: Annotated[Path, typer.Argument(help="Folder in FIRE's layout.")],
    model: Annotated[list[str], typer.Option("--model", help="Models to compare.")] = COMPARED,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    json_file: JsonFile = None,
) -> None:
    """Compare models, transforms and degradations on FIRE: a table of mean AUC, and failed pairs in brackets."""
    with bad_input(ValueError, OSError):
        _check_json(json_file, root.glob("*/*"), *model)
        rows = compare_on_fire(
            root, {name: Registrar(name, dtype=dtype, engine=engine) for name in model}, progress=True
        )
        _write_figures({"rows": rows}, json_file)
    typer.echo(fire_table(rows))


@evaluate.command()
def noise(
    root: Annotated[Path, typer.Argument(help="Folder in FIRE's layout.")],
    json_file: JsonFile = None,
) -> None:
    """Estimate how exactly control points were set by hand, and the AUC that a perfect transform would have."""
    with bad_input(ValueError, OSError):
        _check_json(json_file, root.glob("*/*"))
        figures = measure_noise(root)
        _write_figures(figures, json_file)
    typer.echo(json.dumps(figures, indent=2))


@evaluate.command()
def stress(
    root: Annotated[Path, typer.Argument(help="Folder in FIRE's layout.")],
    model: Annotated[list[str], typer.Option("--model", help="Models to compare.")] = COMPARED,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="Names of conditions, such as 'degraded 5'; else all.")
    ] = None,
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    json_file: JsonFile = None,
) -> None:
    """Compare models on pairs of FIRE made harder step by step: AUC, pairs registered, wrong answers."""
    with bad_input(ValueError, OSError):
        _check_json(json_file, root.glob("*/*"), *model)
        registrars = {name: Registrar(name, transform, effort=effort, dtype=dtype, engine=engine) for name in model}
        outcomes = run_stress(root, registrars, condition or None, progress=True)
        summary = summarize_stress(outcomes)
        _write_figures({**summary, "outcomes": outcomes_to_dicts(outcomes)}, json_file)
    typer.echo(stress_table(summary))


@evaluate.command()
def surrounds(
    folders: Annotated[list[Path], typer.Argument(help="Photographs with round fields of view, or folders of them.")],
    photographs: Annotated[int, typer.Option(min=1, help="How many photographs to take, evenly over all.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pictures made from them.")] = 0,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    json_file: JsonFile = None,
) -> None:
    """Set photographs on 12 kinds of surround: how well the field of view is found, and keypoints that lie on rims."""
    with bad_input(ValueError, OSError):
        pictures = photographs_in(folders, 1)
        _check_json(json_file, pictures, model)
        rows = evaluate_surrounds(
            pictures, Registrar(model, dtype=dtype, engine=engine), photographs, seed, progress=True
        )
        _write_figures({"surrounds": rows}, json_file)
    typer.echo(surrounds_table(rows))


def main() -> None:
    """Run the command line; the entry point `retinamatch`."""
    _end_in_order()
    keep_freed_memory()
    warnings.formatwarning = lambda message, *place, **line: f"retinamatch: {message}\n"
    with standard_output("retinamatch"):
        app()


def _end_in_order() -> None:
    """Let a request to end clean up on its way, as Ctrl-C does; what `nohup` ignores stays ignored."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


@contextmanager
def _progress() -> Iterator[Callable[[Step], None]]:
    """Show steps on a progress bar, which is there in a terminal only."""
    with tqdm(total=1.0, bar_format="{desc}: {percentage:3.0f}%|{bar}|", disable=None, leave=False) as bar:

        def show(step: Step) -> None:
            bar.set_description(step.words)
            bar.update(step.fraction - bar.n)

        yield show


def _check_json(json_file: Path | None, photographs: Iterable[Path], *models: str) -> None:
    if json_file is not None:
        check_output_file(json_file, [*photographs, *(file for model in models for file in files_of(model))])


def _position(name: str, photographs: list[Path]) -> int:
    names = [path.name for path in photographs]
    if name not in names:
        shown = ", ".join(photograph_name(path) for path in photographs)
        raise SeriesError(f"There is no {name} in the series; it has: {shown}.")
    return names.index(name)


def _write_figures(figures: dict, json_file: Path | None) -> None:
    if json_file is not None:
        write_text(json_file, json_text(figures, allow_nan=True))


def _report(figures: dict, json_file: Path | None) -> None:
    _write_figures(figures, json_file)
    typer.echo(json.dumps({name: value for name, value in figures.items() if name != "pairs"}, indent=2))


__all__ = ["app", "main"]
