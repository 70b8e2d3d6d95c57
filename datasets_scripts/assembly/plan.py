"""What goes into a build, and the work that makes it: which photograph gets which split, and what it becomes."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from retinamatch.evaluation import read_fire

from ..format.annotations import list_annotations, read_annotation
from ..format.rows import encode
from ..labelling.labels import has_labels, label
from ..sources import Photograph, Source, find_source, locate, patients, plain_folder, verify
from .fingerprints import without
from .pairs import GRADES, fire_pair, rendered_visits
from .rendered import render_photograph
from .warped_pairs import CATEGORIES, Subject, warped_pair


# Rendered eyes are numbered: the configurations share none, but for the warped pairs, which show test eyes.
FIRST_VISITS, FIRST_PERSON, FIRST_UNLABELLED = 100_000, 200_000, 300_000
# So many photographs of a source become warped pairs: each gives one pair a category.
MOST_SUBJECTS = 12
PLAIN = re.compile(r"plain:([A-Za-z0-9_-]+)=(.+)")


class BuildError(ValueError):
    """Something in the input or the options is wrong; the message is one sentence for the user."""


@dataclass
class BuildOptions:
    """What goes into a build.

    Attributes:
        sources: Names of sources, or `plain:NAME=FOLDER` for photographs of one's own; `None` takes all that are found.
        publishable: Leave out what may not be passed on.
        rendered: Number of rendered eyes with labels.
        unlabelled: Number of rendered eyes whose labels are withheld, for semi-supervised training without a download.
        visits: Number of rendered pairs of visits.
        people: Number of rendered persons of the identity set.
        shots: Photographs of each of them.
        size: Side of the canvas in pixels.
        validation_share: Share of the persons of each source in the validation split.
        test_share: Share in the test split.
        seed: Of the splits, the pairs and the rendered eyes.
        every: Source name -> take only every n-th person.
        annotations: Folder of annotations that take the place of what the sources say; those made on a split of a
            former build, in pixels of its canvas, are among them.
        png: Store images without loss.
        measured: Number of rendered eyes on which the label maker is measured for the card; 0 for no measurement.
    """

    sources: list[str] | None = None
    publishable: bool = False
    rendered: int = 24
    unlabelled: int = 8
    visits: int = 6
    people: int = 4
    shots: int = 3
    size: int = 768
    validation_share: float = 0.1
    test_share: float = 0.15
    seed: int = 0
    every: dict[str, int] = field(default_factory=dict)
    annotations: str | None = None
    png: bool = False
    measured: int = 8

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            BuildError: They do.
        """
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise BuildError(f"The {name.replace('_', ' ')} must lie between 0 and 1, got {getattr(self, name):g}.")
        if self.validation_share + self.test_share > 1:
            raise BuildError(
                f"The shares of validation and test must not exceed 1 together, got {self.validation_share:g} + "
                f"{self.test_share:g}."
            )
        if self.size < 64:
            raise BuildError(f"The canvas must have at least 64 pixels a side, got {self.size}.")


@dataclass
class Use:
    """A source in this build: where it lies, and what of it is taken."""

    source: Source
    folder: Path
    photographs: list[Photograph]
    labels: bool


def split_patients(
    source: str, names: Sequence[str], validation_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Give every person of a source a split.

    A person's place in the draw depends on the seed, the source and the name alone: it is the same on every machine and
    whatever other sources are built.

    Args:
        source: Name of the source.
        names: Persons.
        validation_share: Share of them for validation, rounded; at least one where there are three or more and the
            share is not 0.
        test_share: The same for the test split, which is drawn first.
        seed: Which draw.
    """

    def draw(name: str) -> str:
        return hashlib.sha256(f"{seed}/{source}/{name}".encode()).hexdigest()

    def count(share: float) -> int:
        return max(round(share * len(names)), int(share > 0 and len(names) > 2))

    order = sorted(names, key=draw)
    tests = count(test_share)
    validations = min(count(validation_share), len(order) - tests)
    splits = ["test"] * tests + ["validation"] * validations + ["train"] * (len(order) - tests - validations)
    return dict(zip(order, splits, strict=True))


def find_uses(root: str | os.PathLike | None, options: BuildOptions) -> tuple[list[Use], list[str], Path | None]:
    """Find the sources, list their photographs, and leave out what may not be used.

    Returns:
        The sources to use; one sentence about each thing left out; FIRE's folder if there is one.

    Raises:
        BuildError: A source was asked for and is not there.
        SourceError: A source folder that is not as expected.
    """
    found = locate(root) if root is not None else {}
    wanted: list[tuple[Source, Path]] = []
    for name in sorted(found) if options.sources is None else options.sources:
        if match := PLAIN.fullmatch(name):
            if match[1] in found or any(source.name == match[1] for source, _ in wanted):
                raise BuildError(
                    f"The name {match[1]!r} is taken by another source; choose another one for {match[2]}."
                )
            wanted.append((plain_folder(match[1]), Path(match[2])))
            continue
        source = find_source(name)
        if name not in found:
            raise BuildError(f"The source {name!r} was not found under {root}: {source.expected}")
        wanted.append((source, found[name]))
    if astray := sorted(set(options.every) - {source.name for source, _ in wanted}):
        raise BuildError(f"{astray[0]!r} is not among the sources to build.")
    uses, left_out = [], []
    for source, folder in wanted:
        if options.publishable and not source.redistributable:
            left_out.append(f"{source.title}: its photographs may not be passed on ({source.licence}). {source.terms}")
            continue
        verify(source, folder)
        photographs = source.photographs(folder)
        for other in map(find_source, source.may_contain):
            if other.name not in found:
                raise BuildError(
                    f"{source.title} holds photographs of {other.title} under other names; put a download of "
                    f"{other.title} beside it, so that they can be found and left out."
                )
            known = [one.path for one in other.photographs(found[other.name])]
            photographs, dropped = without(photographs, known)
            if dropped:
                left_out.append(f"{source.title}: {len(dropped)} photographs are {other.title}'s, found by content.")
        labels = any(map(has_labels, photographs))
        if labels and options.publishable and not any(one.labels_redistributable for one in photographs):
            labels = False
            left_out.append(f"{source.title}: its labels may not be passed on; the photographs are in, unlabelled.")
        if step := options.every.get(source.name):
            people = set(patients(photographs)[::step])
            photographs = [one for one in photographs if one.patient in people]
        uses.append(Use(source, folder, photographs, labels))
    return uses, left_out, found.get("fire")


def plan(uses: list[Use], options: BuildOptions) -> dict[tuple[str, str], list[Callable[[], dict]]]:
    """List the work: (configuration, split) -> functions that each give one row."""
    jobs: dict[tuple[str, str], list] = defaultdict(list)
    size, seed, quality = options.size, options.seed, None if options.png else 95

    corrections = find_corrections(options.annotations, uses)
    for use in uses:
        source, photographs = use.source, use.photographs
        if source.use == "evaluation":
            jobs["pairs", "test"] += [partial(fire_pair, pair, source.licence) for pair in read_fire(use.folder)]
            continue
        if source.use == "identity":
            jobs["identity", "test"] += [
                partial(photograph_row, one, source.licence, source.redistributable, size, False, quality)
                for one in photographs
            ]
            continue
        splits = split_patients(source.name, patients(photographs), options.validation_share, options.test_share, seed)
        tests = []
        for one in photographs:
            labelled = use.labels and has_labels(one)
            labelled &= one.labels_redistributable or not options.publishable
            terms = (source.licence, source.redistributable)
            correction = corrections.get((source.name, one.name))
            config, split = "keypoints" if labelled or correction else "unlabelled", splits[one.patient]
            jobs[config, split].append(partial(photograph_row, one, *terms, size, labelled, quality, correction))
            if split == "test":
                tests.append(partial(Subject.read, one, *terms, labelled))
        jobs["pairs", "test"] += warped_jobs(tests, size, seed)

    for config, first, count in (
        ("unlabelled", FIRST_UNLABELLED, options.unlabelled),
        ("keypoints", 0, options.rendered),
    ):
        names = [f"{number:05d}" for number in range(first, first + count)]
        splits = split_patients("rendered", names, options.validation_share, options.test_share, seed)
        for name in names:
            labelled = config == "keypoints"
            jobs[config, splits[name]].append(partial(rendered_row, int(name), size, seed, 0, quality, labelled))
    tests = [partial(Subject.render, int(name), size, seed) for name in names if splits[name] == "test"]
    jobs["pairs", "test"] += warped_jobs(tests, size, seed)
    for number in range(options.visits):
        jobs["pairs", "test"].append(
            partial(rendered_visits, FIRST_VISITS + number, GRADES[number % len(GRADES)], size, seed)
        )
    for number in range(options.people):
        for shot in range(options.shots):
            jobs["identity", "test"].append(
                partial(rendered_row, FIRST_PERSON + number, size, seed, shot, quality, labelled=False)
            )
    return {key: found for key, found in jobs.items() if found}


def warped_jobs(subjects: list, size: int, seed: int) -> list:
    """Give each of at most `MOST_SUBJECTS` photographs a pair of every category, the grades in turn."""
    step = max(1, -(-len(subjects) // MOST_SUBJECTS))
    return [
        partial(
            warped_rows, subject, [(category, GRADES[(n + k) % 3]) for k, category in enumerate(CATEGORIES)], size, seed
        )
        for n, subject in enumerate(subjects[::step])
    ]


def find_corrections(folder: str | None, uses: list[Use]) -> dict[tuple[str, str], Path]:
    """Find whose annotation each file of a folder is; drafts are left out.

    Returns:
        (source, name of the photograph) -> file.

    Raises:
        AnnotationError: A file cannot be read.
        BuildError: A file belongs to no photograph, or to several.
    """
    owners = defaultdict(set)
    for use in uses:
        for one in use.photographs:
            for name in (one.name, f"{use.source.name}-{one.name}"):
                owners[name].add((use.source.name, one.name))
    found = {}
    for name, path in (list_annotations(folder) if folder is not None else {}).items():
        if len(owners[name]) != 1:
            several = "several photographs" if owners[name] else "no photograph"
            raise BuildError(f"The annotation {path} belongs to {several} of this build; SOURCE-NAME.json is wanted.")
        if read_annotation(path).complete:
            found[next(iter(owners[name]))] = path
    return found


def photograph_row(photograph, licence, redistributable, size, labelled, quality, correction=None) -> dict:
    """Read a file of a source as a row."""
    return encode(label(photograph, licence, redistributable, size, labelled, correction), quality)


def rendered_row(number: int, size: int, seed: int, shot: int, quality: int | None, labelled: bool) -> dict:
    """Photograph a rendered eye as a row, with its labels or without."""
    one = render_photograph(number, size, seed, shot)
    if not labelled:
        one.keypoints = None
    return encode(one, quality)


def warped_rows(subject: Callable[[], Subject], kinds: list[tuple[str, int]], size: int, seed: int) -> list[dict]:
    """Read or render a photograph once and make all its warped pairs."""
    read = subject()
    return [warped_pair(read, category, grade, size, seed) for category, grade in kinds]


__all__ = ["BuildError", "BuildOptions", "Use", "find_uses", "plan", "split_patients"]
