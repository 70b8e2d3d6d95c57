"""What a data set is: where it comes from, under which terms, and which photograph shows which eye of which person."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from .layout import LayoutError, image_files, image_size, is_litter, stem


class SourceError(ValueError):
    """A download that is not as its provider hands it out; the message is one sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class PhotographFile:
    """One photograph of a source, in a file.

    Attributes:
        path: The image file; read it with `open_image`, which also takes `.gz`.
        patient: Whose eye it shows, unique within the source; the unit of every split.
        eye: "left", "right", or "" where the source does not say.
        vessels: Manual vessel map, of the same size as the image; None when there is none.
        annotation: Keypoints by hand, in a format of `format/annotations.py`; None when there are none.
        labels_redistributable: Whether keypoints made from the vessel map or the annotation may be published.
        label_license: Terms of the vessel map or annotation.
        prefix: What stands before the file's name where names repeat within the source.
        source: Name of its `Source`, which fills in this and the following two.
        license: Terms of the photograph.
        redistributable: Whether the photograph may be published again.
    """

    path: Path
    patient: str
    eye: str = ""
    vessels: Path | None = None
    annotation: Path | None = None
    labels_redistributable: bool = False
    label_license: str = ""
    prefix: str = ""
    source: str = ""
    license: str = ""
    redistributable: bool = False

    @property
    def name(self) -> str:
        """Name of the photograph, unique within its source."""
        return self.prefix + stem(self.path)


@dataclass(frozen=True)
class Source:
    """A data set of somebody else.

    Attributes:
        name: Short name, as in commands and in the column `source`.
        title: Its own name.
        url: Where to get it.
        license: Terms of the photographs: an SPDX identifier where one fits, else a phrase.
        redistributable: Whether the photographs may be published again.
        terms: One sentence: what may be done with it, and where that is written.
        citation: BibTeX.
        use: "training"; "evaluation" and "identity" are never in a training split.
        folders: Names of folders under which a download is looked for.
        expected: One sentence: what the provider hands out, and what is expected where.
        reader: Lists the photographs of a folder; called by `photographs`, which checks what it returns.
        checksums: The provider's file name -> "sha256:..." or "md5:...", where known.
        may_contain: Evaluation sources whose photographs may hide in this one under other names: to be found with
            `fingerprints.without` before anything of it is trained on.
    """

    name: str
    title: str
    url: str
    license: str
    redistributable: bool
    terms: str
    citation: str
    use: str
    folders: tuple[str, ...]
    expected: str
    reader: Callable[[Path], list[PhotographFile]] = field(repr=False, compare=False)
    checksums: dict[str, str] = field(default_factory=dict, compare=False)
    may_contain: tuple[str, ...] = ()

    def photographs(self, folder: str | os.PathLike) -> list[PhotographFile]:
        """List the photographs of a download, in the order of their names.

        Every file's header is read, so that a damaged or foreign file shows here and not in the middle of a build.

        Raises:
            SourceError: The folder is missing or empty, a file is missing, misnamed or unreadable, a vessel map has
                another size than its image, or two photographs have one name.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise self.error(f"{folder} is not a folder")
        try:
            photographs = self.reader(self._innermost(folder))
            if not photographs:
                raise LayoutError(f"{folder} holds no photograph")
            for one in photographs:
                _check_files(one)
        except LayoutError as error:
            raise self.error(str(error)) from error
        photographs = sorted(with_unique_names(photographs), key=lambda one: one.name)
        for first, second in pairwise(photographs):
            if first.name == second.name:
                raise self.error(f"{first.path} and {second.path} have one name, {first.name}")
        terms = {"source": self.name, "license": self.license, "redistributable": self.redistributable}
        return [replace(one, **terms) for one in photographs]

    def error(self, what: str) -> SourceError:
        """Say in one sentence what was found, and what is expected where."""
        return SourceError(f"{self.title}: {what}; expected: {self.expected}.")

    def _innermost(self, folder: Path) -> Path:
        """Step into archives that wrap everything in a folder of their own name, such as LES-AV/LES-AV."""
        while True:
            inside = [path for path in folder.iterdir() if path.is_dir() and not is_litter(path)]
            if len(inside) != 1 or inside[0].name.lower() not in self.folders or image_files(folder):
                return folder
            folder = inside[0]


def with_unique_names(photographs: Sequence[PhotographFile]) -> list[PhotographFile]:
    """Give photographs whose names repeat in several folders the name of their folder as a prefix."""
    names: dict[str, set[Path]] = {}
    for one in photographs:
        names.setdefault(one.name, set()).add(one.path.parent)
    return [
        replace(one, prefix=f"{one.prefix}{one.path.parent.name.replace(' ', '_')}_")
        if len(names[one.name]) > 1
        else one
        for one in photographs
    ]


def _check_files(photograph: PhotographFile) -> None:
    width, height = image_size(photograph.path)
    if photograph.vessels is not None:
        size = image_size(photograph.vessels)
        if size != (width, height):
            raise LayoutError(
                f"the vessel map {photograph.vessels} has {size[0]} x {size[1]} pixels, its image {photograph.path} "
                f"has {width} x {height}"
            )


def verify(source: Source, folder: str | os.PathLike) -> list[str]:
    """Compare the provider's files that lie directly in a folder with their known checksums.

    Args:
        source: Whose checksums.
        folder: Where the download lies. Files that are not there (an archive thrown away after unpacking) are no fault.

    Returns:
        Names of the files that were compared and agree.

    Raises:
        SourceError: A file is not the one that the provider hands out.
    """
    agree = []
    for name, wanted in source.checksums.items():
        path = Path(folder) / name
        if not path.is_file():
            continue
        method, _, digest = wanted.partition(":")
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, method).hexdigest()
        if actual != digest:
            raise SourceError(
                f"{source.title}: {path} has the {method} {actual}, but the file of {source.url} has {digest}; "
                "download it again."
            )
        agree.append(name)
    return agree


__all__ = ["PhotographFile", "Source", "SourceError", "verify", "with_unique_names"]
