"""Which photographs go into a build: the sources that are there, less what may not be used, and a split for each."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..format.annotations import list_annotations, read_annotation
from ..labeling.labels import has_labels
from ..sources import PhotographFile, Source, find_source, locate, patients, plain_folder, verify
from .fingerprints import without
from .options import BuildError, BuildOptions


PLAIN = re.compile(r"plain:([A-Za-z0-9_-]+)=(.+)")


@dataclass(kw_only=True)
class Use:
    """A source in a build.

    Attributes:
        source: The source.
        folder: Where it lies.
        photographs: What is taken of it; labels that may not be used are taken off.
        splits: Person -> split.
        corrections: Name of a photograph -> annotation that takes the place of its labels.
    """

    source: Source
    folder: Path
    photographs: list[PhotographFile]
    splits: dict[str, str]
    corrections: dict[str, Path] = field(default_factory=dict)

    def has_labels(self, photograph: PhotographFile) -> bool:
        """Tell whether a photograph of the source is part of `keypoints`, else it is part of `unlabeled`."""
        return photograph.name in self.corrections or has_labels(photograph)


def select(root: str | os.PathLike | None, options: BuildOptions) -> tuple[list[Use], list[str], Path | None]:
    """Find the sources, list their photographs, and leave out what may not be used.

    Returns:
        The sources to use; one sentence about each thing left out; FIRE's folder if there is one.

    Raises:
        BuildError: A source was asked for and is not there, or an annotation belongs to no photograph.
        SourceError: A source folder that is not as expected.
        AnnotationError: An annotation cannot be read.
    """
    downloads = locate(root) if root is not None else {}
    uses: list[Use] = []
    left_out: list[str] = []
    for source, folder in _wanted_sources(root, downloads, options):
        if options.publishable and not source.redistributable:
            left_out.append(f"{source.title}: its photographs may not be passed on ({source.license}). {source.terms}")
            continue
        verify(source, folder)
        photographs = source.photographs(folder)
        for other in map(find_source, source.may_contain):
            if other.name not in downloads:
                raise BuildError(
                    f"{source.title} holds photographs of {other.title} under other names; put a download of "
                    f"{other.title} beside it, so that they can be found and left out."
                )
            known = [one.path for one in other.photographs(downloads[other.name])]
            photographs, dropped = without(photographs, known)
            if dropped:
                left_out.append(f"{source.title}: {len(dropped)} photographs are {other.title}'s, found by content.")
        if options.publishable and any(map(has_labels, photographs)):
            photographs = [
                one if one.labels_redistributable else replace(one, vessels=None, annotation=None)
                for one in photographs
            ]
            if not any(map(has_labels, photographs)):
                left_out.append(f"{source.title}: its labels may not be passed on; the photographs are in, unlabeled.")
        if step := options.every.get(source.name):
            people = set(patients(photographs)[::step])
            photographs = [one for one in photographs if one.patient in people]
        splits = options.split(source.name, patients(photographs))
        uses.append(Use(source=source, folder=folder, photographs=photographs, splits=splits))
    if options.annotations is not None:
        _correct(uses, options.annotations)
    return uses, left_out, downloads.get("fire")


def _wanted_sources(
    root: str | os.PathLike | None, downloads: dict[str, Path], options: BuildOptions
) -> list[tuple[Source, Path]]:
    """List the sources that the options ask for, with their folders."""
    wanted: list[tuple[Source, Path]] = []
    for name in sorted(downloads) if options.sources is None else options.sources:
        if match := PLAIN.fullmatch(name):
            if match[1] in downloads or any(source.name == match[1] for source, _ in wanted):
                raise BuildError(
                    f"The name {match[1]!r} is taken by another source; choose another one for {match[2]}."
                )
            wanted.append((plain_folder(match[1]), Path(match[2])))
            continue
        source = find_source(name)
        if name not in downloads:
            raise BuildError(f"The source {name!r} was not found under {root}: {source.expected}")
        wanted.append((source, downloads[name]))
    if astray := sorted(set(options.every) - {source.name for source, _ in wanted}):
        raise BuildError(f"{astray[0]!r} is not among the sources to build.")
    return wanted


def _correct(uses: list[Use], folder: Path) -> None:
    """Give every annotation of a folder to its photograph, by its name; drafts are left out."""
    owners = defaultdict(list)
    for use in uses:
        for one in use.photographs:
            for name in {one.name, f"{use.source.name}-{one.name}"}:
                owners[name].append((use, one))
    for name, path in list_annotations(folder).items():
        if len(owners[name]) != 1:
            several = "several photographs" if owners[name] else "no photograph"
            raise BuildError(f"The annotation {path} belongs to {several} of this build; SOURCE-NAME.json is wanted.")
        if read_annotation(path).complete:
            use, photograph = owners[name][0]
            use.corrections[photograph.name] = path


__all__ = ["Use", "select"]
