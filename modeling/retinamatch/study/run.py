"""Run a study: all its pairs, on this machine or on a cluster, and go on where it was stopped."""

import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from ..files import check_output_folder, json_text, write_text, written_aside
from ..processes import Call, surviving_results
from ..transforms import read_record
from .identity import MIX_UPS, MixUp, find_mix_ups, write_mix_ups
from .journal import ROWS, TABLE, Journal
from .report import REPORT, Summary, thumbnail_name, write_report
from .table import Pair, Photograph, StudyError, import_parquet, read_table
from .units import FIRST, check_choice, plan_units
from .work import REGISTERED, Outcome, Settings, begin, fingerprint, work_on


RECORD, THUMBNAILS, IMAGES, EYES = "study.json", "thumbnails", "images", "eyes"
# The table takes this part of the time at most: it is written again when so much time has passed since.
_TABLE_SHARE, _LEAST_WAIT = 0.03, 20.0

#: What does a unit, given a function that calls others where the model is.
Work = Callable[[Any, Call], Iterator[Any]]


class Engine(Protocol):
    """Does units of work, wherever, and gives what comes of them as it comes."""

    def __call__(self, units: Sequence[Any], settings: Settings, work: Work = work_on) -> Iterator[Any]: ...


@dataclass
class Study:
    """What a run has done.

    Attributes:
        summary: Of all rows of the study, those of earlier runs too.
        files: The table and the report.
        done: Pairs that this run did.
        seconds: That it took.
        mix_ups: Photographs that match another eye than their own, where that was asked for.
    """

    summary: Summary
    files: list[Path]
    done: int
    seconds: float
    mix_ups: list[MixUp] = field(default_factory=list)

    @property
    def all_registered(self) -> bool:
        """Whether every pair is registered."""
        return set(self.summary.statuses) <= {REGISTERED}


def default_processes() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_engine(processes: int = 0) -> Engine:
    """Give the engine of one machine.

    Args:
        processes: How many there are, each with its share of the cores; 0 for one for each core.
    """
    cores = default_processes()
    number = processes or cores

    def run(units: Sequence[Any], settings: Settings, work: Work = work_on) -> Iterator[Any]:
        start, threads = functools.partial(begin, settings), max(1, cores // number)
        return surviving_results(units, work, min(number, len(units)), start, threads)

    return run


def run_study(
    table: str | os.PathLike,
    folder: str | os.PathLike,
    settings: Settings,
    to: str = FIRST,
    engine: Engine | None = None,
    images: bool = False,
    thumbnails: int = 200,
    check_identity: bool = False,
    progress: bool = False,
    retry: bool = False,
) -> Study:
    """Register all pairs of a study that are not done yet.

    Args:
        table: See `table.read_table`.
        folder: For the results: `registrations.parquet`, `report.html`, and what it takes to go on.
        settings: How pairs are registered.
        to: Which photograph of an eye is the fixed one: "first", "previous" or "best".
        engine: What does the work; this machine when None.
        images: Write aligned photographs, masks and points.
        thumbnails: Small pictures in the report, of registered and of refused pairs each.
        check_identity: Look among all eyes for those that photographs show which do not match their own.
        progress: Show a progress bar.
        retry: Do the pairs again that failed or could not be read in an earlier run.

    Raises:
        StudyError: The table is none, or the folder holds another study.
        UnknownNameError: The model, transform or effort does not exist.
        OutputError: The folder cannot be written to; what is done stays.
    """
    folder = Path(folder)
    import_parquet()
    check_choice(to)
    photographs, pairs = read_table(table)
    check_output_folder(folder, _inputs(table, photographs, pairs), (RECORD, ROWS, TABLE, REPORT, MIX_UPS))
    settings = replace(settings, images=folder / IMAGES if images else None, thumbnails=thumbnails > 0)
    with written_aside(folder):  # makes the folder, or says why it cannot be made
        pass
    try:
        with FileLock(folder / ".lock", timeout=0):
            _check_record(folder / RECORD, settings, to, bool(pairs))
            plan = _Plan(folder, photographs, pairs, settings, to, thumbnails, check_identity, retry)
            return plan.run(engine or local_engine(), progress)
    except Timeout:
        raise StudyError(f"Another run is at work in {folder}.") from None


@dataclass
class _Plan:
    """A study that is about to be run; see `run_study`."""

    folder: Path
    photographs: Sequence[Photograph]
    pairs: Sequence[Pair]
    settings: Settings
    to: str
    thumbnails: int
    check_identity: bool
    retry: bool

    def run(self, engine: Engine, progress: bool) -> Study:
        start, journal = time.monotonic(), Journal(self.folder, self.retry)
        wanted, before = _membership(self.photographs, self.pairs), len(journal.done)
        try:
            self._register(engine, journal, wanted, progress)
            journal.write_table(wanted)
            mix_ups = self._find_mix_ups(engine, journal) if self.check_identity else []
            rows = (row for row in journal.rows() if wanted(row))
            report = self.folder / REPORT
            summary = write_report(rows, self.folder / THUMBNAILS, report, list(map(str, mix_ups)))
        finally:
            journal.close()
        files = [journal.table, report, *([self.folder / MIX_UPS] if mix_ups else [])]
        return Study(summary, files, len(journal.done) - before, time.monotonic() - start, mix_ups)

    def _register(self, engine: Engine, journal: Journal, wanted: Callable[[dict], bool], progress: bool) -> None:
        """Do the pairs that are left; the table is written now and then."""
        pictures = _Thumbnails(self.folder / THUMBNAILS, self.thumbnails, journal)
        units = list(plan_units(self.photographs, self.pairs, self.to, frozenset(journal.done)))
        before = len(journal.done)
        written, wait = time.monotonic(), _LEAST_WAIT
        total = before + sum(map(len, units))
        with tqdm(total=total, initial=before, unit="pair", disable=None if progress else True) as bar:
            for outcome in engine(units, self.settings) if units else ():
                journal.add(outcome.key, outcome.row)
                pictures.add(outcome)
                bar.update()
                bar.set_postfix(journal.statuses, refresh=False)
                if time.monotonic() - written > wait:
                    began = time.monotonic()
                    journal.write_table(wanted)
                    written = time.monotonic()
                    wait = max(_LEAST_WAIT, (written - began) / _TABLE_SHARE)

    def _find_mix_ups(self, engine: Engine, journal: Journal) -> list[MixUp]:
        def run(units: Sequence[Any], work: Work) -> Iterator[Any]:
            return engine(units, self.settings, work) if units else iter(())

        mix_ups = find_mix_ups(self.photographs, journal.rows, run, self.folder / EYES)
        if mix_ups:
            write_mix_ups(mix_ups, self.folder / MIX_UPS)
        else:
            (self.folder / MIX_UPS).unlink(missing_ok=True)
        return mix_ups


class _Thumbnails:
    """The small pictures of the first pairs, registered and not."""

    def __init__(self, folder: Path, most: int, journal: Journal):
        self.folder, self.most = folder, most
        self.count: Counter = Counter()
        known = {path.stem for path in folder.glob("*.jpg")} if folder.is_dir() else set()
        for row in journal.rows() if known else ():
            if thumbnail_name(row["key"]) in known:
                self.count[row["status"] == REGISTERED] += 1

    def add(self, outcome: Outcome) -> None:
        kind = outcome.row["status"] == REGISTERED
        if not outcome.thumbnail or self.count[kind] >= self.most:
            return
        self.count[kind] += 1
        with written_aside(self.folder) as aside:
            name = f"{thumbnail_name(outcome.key)}.jpg"
            (aside / name).write_bytes(outcome.thumbnail)
            os.replace(aside / name, self.folder / name)


def _membership(photographs: Sequence[Photograph], pairs: Sequence[Pair]) -> Callable[[dict[str, Any]], bool]:
    """Tell which rows belong to the table as it is now: photographs may have been taken out since."""
    if pairs:
        keys = {pair.key for pair in pairs}
        return lambda row: row["key"] in keys
    names = {photograph.name for photograph in photographs}
    return lambda row: row["moving"] in names and row["fixed"] in names


def _inputs(table: str | os.PathLike, photographs: Sequence[Photograph], pairs: Sequence[Pair]) -> list[Path]:
    both = [*photographs, *(side for pair in pairs for side in (pair.moving, pair.fixed))]
    extras = [extra for one in photographs for extra in (one.mask, one.points) if extra is not None]
    return [Path(table), *(one.path for one in both), *extras]


def _check_record(path: Path, settings: Settings, to: str, of_pairs: bool) -> None:
    """Make sure that the folder holds this study or none: rows of different settings must not mix."""
    registrar = settings.registrar()
    try:
        own = version("retinamatch")
    except PackageNotFoundError:
        own = ""
    wanted = {
        "model": settings.model,
        "fingerprint": fingerprint(registrar),
        "transform": settings.transform,
        "effort": settings.effort,
        "to": "pairs" if of_pairs else to,
        "keypoints kept": settings.cache is not None,
        "images": settings.images is not None,
        "change": settings.change,
        "retinamatch": own,
    }
    if not path.exists():
        if (path.parent / ROWS).exists():
            raise StudyError(f"{path.parent} holds rows of a study, but no {path.name}; name another folder.")
        write_text(path, json_text(wanted))
        return
    known = read_record(path)
    for name, value in wanted.items():
        if known.get(name) != value:
            raise StudyError(
                f"{path.parent} holds a study with other settings, {name}: {known.get(name)}, now {value}; name "
                "another folder, or delete that one to begin anew."
            )


__all__ = ["Engine", "Study", "default_processes", "local_engine", "run_study"]
