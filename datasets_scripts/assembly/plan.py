"""The work that makes a build: for every configuration, functions without arguments that each give a row or several."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import filterfalse
from pathlib import Path

from retinamatch.evaluation import read_fire

from ..format.rows import encode
from ..labeling.labels import label
from ..sources import PhotographFile
from .options import BuildOptions
from .pairs import GRADES, MODALITY_PAIRS, fire_pair, rendered_visits
from .rendered import render_photograph
from .selection import Use
from .warped_pairs import CATEGORIES, Subject, warped_pair


# Rendered eyes are numbered: the configurations share none, but for the warped pairs, which show test eyes.
FIRST_VISITS, FIRST_PERSON, FIRST_UNLABELED, FIRST_MODALITIES = 100_000, 200_000, 300_000, 400_000

Job = Callable[[], dict | list[dict]]
Work = Iterator[tuple[str, Job]]  # each with its split


def plan(uses: list[Use], options: BuildOptions) -> dict[tuple[str, str], list[Job]]:
    """List the work: (configuration, split) -> functions that each give one row, or several in a list."""
    jobs: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for config, work in WORK.items():
        for split, job in work(uses, options):
            jobs[config, split].append(job)
    return dict(jobs)


def keypoints(uses: list[Use], options: BuildOptions) -> Work:
    """List the work of `keypoints`: photographs with labels, and rendered eyes with theirs."""
    for use in _of_kind(uses, "training"):
        for one in filter(use.has_labels, use.photographs):
            yield use.splits[one.patient], partial(photograph_row, one, options, use.corrections.get(one.name))
    for number, split in _rendered_eyes(0, options.rendered, options).items():
        yield split, partial(rendered_row, number, options)


def unlabeled(uses: list[Use], options: BuildOptions) -> Work:
    """List the work of `unlabeled`: photographs without labels, and rendered eyes whose labels are withheld."""
    for use in _of_kind(uses, "training"):
        for one in filterfalse(use.has_labels, use.photographs):
            yield use.splits[one.patient], partial(photograph_row, one, options)
    for number, split in _rendered_eyes(FIRST_UNLABELED, options.unlabeled, options).items():
        yield split, partial(rendered_row, number, options, labeled=False)


def pairs(uses: list[Use], options: BuildOptions) -> Work:
    """List the work of `pairs`: FIRE's, warped ones of test photographs and eyes, visits, and pairs of modalities."""
    for use in uses:
        if use.source.use == "evaluation":
            yield from (("test", partial(fire_pair, pair, use.source.license)) for pair in read_fire(use.folder))
        elif use.source.use == "training":
            tests = [one for one in use.photographs if use.splits[one.patient] == "test"]
            yield from _warped([partial(Subject.read, one) for one in tests], options)
    eyes = _rendered_eyes(0, options.rendered, options)
    tests = [number for number, split in eyes.items() if split == "test"]
    yield from _warped([partial(Subject.render, number, options.size, options.seed) for number in tests], options)
    for number in range(options.visits):
        grade = GRADES[number % len(GRADES)]
        yield "test", partial(rendered_visits, FIRST_VISITS + number, grade, options.size, options.seed)
    for number in range(options.modalities):
        grade, kinds = GRADES[number % len(GRADES)], MODALITY_PAIRS[number % len(MODALITY_PAIRS)]
        yield "test", partial(rendered_visits, FIRST_MODALITIES + number, grade, options.size, options.seed, kinds)


def identity(uses: list[Use], options: BuildOptions) -> Work:
    """List the work of `identity`: photographs of the sources for it, and several of each rendered person."""
    for use in _of_kind(uses, "identity"):
        yield from (("test", partial(photograph_row, one, options)) for one in use.photographs)
    for number in range(FIRST_PERSON, FIRST_PERSON + options.people):
        for shot in range(options.shots):
            yield "test", partial(rendered_row, number, options, shot, labeled=False)


WORK = {"keypoints": keypoints, "unlabeled": unlabeled, "pairs": pairs, "identity": identity}


def _of_kind(uses: list[Use], kind: str) -> list[Use]:
    return [use for use in uses if use.source.use == kind]


def _rendered_eyes(first: int, count: int, options: BuildOptions) -> dict[int, str]:
    """Give rendered eyes, each a person of its own, their splits."""
    names = {f"{number:05d}": number for number in range(first, first + count)}
    splits = options.split("rendered", list(names))
    return {number: splits[name] for name, number in names.items()}


def _warped(subjects: list[Callable[[], Subject]], options: BuildOptions) -> Work:
    """Give each of at most `options.warped` photographs a pair of every category, the grades in turn."""
    step = -(-len(subjects) // options.warped) if options.warped else 0
    for n, subject in enumerate(subjects[::step] if step else []):
        kinds = [(category, GRADES[(n + k) % len(GRADES)]) for k, category in enumerate(CATEGORIES)]
        yield "test", partial(warped_rows, subject, kinds, options)


def photograph_row(photograph: PhotographFile, options: BuildOptions, correction: Path | None = None) -> dict:
    """Read a file of a source as a row, see `label`."""
    return encode(label(photograph, options.size, correction), options.quality)


def rendered_row(number: int, options: BuildOptions, shot: int = 0, labeled: bool = True) -> dict:
    """Photograph a rendered eye as a row, with its labels or without."""
    photograph = render_photograph(number, options.size, options.seed, shot)
    if not labeled:
        photograph.keypoints = None
    return encode(photograph, options.quality)


def warped_rows(subject: Callable[[], Subject], kinds: list[tuple[str, int]], options: BuildOptions) -> list[dict]:
    """Read or render a photograph once and make all its warped pairs."""
    photograph = subject()
    return [warped_pair(photograph, category, grade, options.size, options.seed) for category, grade in kinds]


__all__ = ["plan"]
