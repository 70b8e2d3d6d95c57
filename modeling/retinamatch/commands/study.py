"""Commands for studies: `study plan` writes the table, `study run` registers all pairs of it."""

from pathlib import Path
from typing import Annotated

import typer

from ..dicom import Pseudonyms
from ..extractor import AUTO, DEFAULT_MODEL
from ..files import check_output_file, json_text, write_text
from ..registrar import THOROUGH
from ..study import (
    CHOICES,
    FIRST,
    Settings,
    Study,
    StudyError,
    cluster_engine,
    default_processes,
    local_engine,
    plan_from_dicom,
    plan_from_names,
    run_study,
    write_table,
)
from .options import NO_MATCH, Dtype, Effort, Engine, JsonFile, Model, TransformName, bad_input


study = typer.Typer(help="Register the visits of many eyes; what is done is not done again.", no_args_is_help=True)


@study.command()
def plan(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs, looked through at any depth.")],
    pattern: Annotated[
        str, typer.Option("--pattern", help="Such as '{patient}/{eye}_{visit}.jpg'; * stands for anything.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", help="Table to write, .csv or .parquet.")] = Path("study.csv"),
    mask: Annotated[str, typer.Option("--mask", help="The same for masks: '{patient}/{eye}_{visit}.png'.")] = "",
    points: Annotated[str, typer.Option("--points", help="The same for CSV tables of points.")] = "",
    dicom: Annotated[bool, typer.Option("--dicom", help="From the tags of DICOM files, with pseudonyms.")] = False,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="File of the secret behind the pseudonyms, made when there is none; keep it safe."),
    ] = None,
) -> None:
    """Write the table of a study from the names of files, or from the tags of DICOM files."""
    with bad_input(StudyError, ValueError, OSError):
        if dicom == bool(pattern):
            raise StudyError("Either --pattern or --dicom is wanted.")
        if dicom:
            pseudonyms = Pseudonyms.forgotten() if key is None else Pseudonyms.from_file(key)
            photographs, others = plan_from_dicom(folder, pseudonyms)
        else:
            photographs, others = plan_from_names(folder, pattern, mask, points)
        check_output_file(out, [*(one.path for one in photographs), *([] if key is None else [key])])
        write_table(photographs, out)
    if others:
        example = "" if dicom else f", such as {others[0].relative_to(folder).as_posix()}"
        typer.echo(f"{len(others)} files are left out{example}", err=True)
    if dicom:
        lost = "" if key else "; without --key, another plan gives other pseudonyms"
        typer.echo(f"the paths in {out} may hold names: keep it where the photographs are{lost}", err=True)
    eyes = len({one.whose for one in photographs})
    typer.echo(f"{out}: {len(photographs)} photographs of {eyes} eyes")


@study.command()
def run(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet: path, patient, eye, visit; or moving, fixed.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; a run in it goes on where it was.")],
    to: Annotated[
        str,
        typer.Option("--to", help=f"Onto which photograph of the eye: {', '.join(CHOICES)} (sharp, many keypoints)."),
    ] = FIRST,
    transform: TransformName = "auto",
    effort: Effort = THOROUGH,
    model: Model = DEFAULT_MODEL,
    dtype: Dtype = AUTO,
    engine: Engine = AUTO,
    images: Annotated[bool, typer.Option("--images", help="Write aligned photographs, masks and points.")] = False,
    change: Annotated[bool, typer.Option("--change", help="Count regions that have changed.")] = False,
    keypoints: Annotated[
        Path | None, typer.Option("--keypoints", help="Keep keypoints in this folder, 10 MB per photograph.")
    ] = None,
    check_identity: Annotated[
        bool, typer.Option("--check-identity", help="Find photographs that match another eye of the study.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Do the pairs again that failed or could not be read, not those answered.")
    ] = False,
    processes: Annotated[int, typer.Option("--processes", min=0, help="On this machine; 0: one per core.")] = 0,
    scheduler: Annotated[
        str, typer.Option("--scheduler", help="Of Dask workers, tcp://HOST:8786 or a scheduler file, instead of here.")
    ] = "",
    json_file: JsonFile = None,
    thumbnails: Annotated[int, typer.Option("--thumbnails", min=0, help="Pictures in the report, of each kind.")] = 200,
) -> None:
    """Register all pairs of a table: registrations.parquet and report.html; stopped, the same command goes on."""
    with bad_input(StudyError, ValueError, OSError):
        if json_file is not None:
            check_output_file(json_file, [table])
        settings = Settings(model, transform, effort, dtype, keypoints, change=change, engine=engine)
        workers = cluster_engine(scheduler) if scheduler else local_engine(processes)
        outcome = run_study(
            table, out, settings, to, workers, images, thumbnails, check_identity, progress=True, retry=retry
        )
        if json_file is not None:
            write_text(json_file, json_text(_figures(outcome, processes or default_processes())))
    counts = outcome.summary.statuses
    typer.echo(", ".join(f"{status}: {number}" for status, number in counts.most_common()) or "no pairs")
    if outcome.done:
        typer.echo(
            f"{outcome.done} pairs in {outcome.seconds:.0f} s, {3600 * outcome.done / outcome.seconds:.0f} per hour"
        )
    for mix_up in outcome.mix_ups:
        typer.echo(mix_up)
    typer.echo("\n".join(str(path) for path in outcome.files))
    if not outcome.all_registered:
        raise typer.Exit(NO_MATCH)


def _figures(outcome: Study, processes: int) -> dict:
    """Put what a run on this machine took into numbers: its own pairs, not those of runs before."""
    import resource  # there is none on Windows

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    most = max(usage.ru_maxrss for usage in used)
    return {
        "pairs": outcome.done,
        "processes": processes,
        "seconds": round(outcome.seconds, 1),
        "cpu_seconds": round(sum(usage.ru_utime + usage.ru_stime for usage in used), 1),
        "pairs_an_hour": round(3600 * outcome.done / outcome.seconds, 1),
        "peak_mb": round(most / 1024, 1),
        "statuses": dict(outcome.summary.statuses),
        "mixed_up": len(outcome.mix_ups),
    }


__all__ = ["study"]
