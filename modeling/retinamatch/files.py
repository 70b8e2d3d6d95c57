"""Files: an input is never touched, and a result is complete or not there, never half-written.

Everything is written aside, in the place where it will stay, and renamed when it is whole. A symbolic link is written
through; what is no regular file, a device or a pipe, is written to and never replaced.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO


class OutputError(OSError):
    """A place that results cannot, or must not, be written to; the sentence names it."""


class StandardOutputError(Exception):
    """Standard output cannot be written: a full disk, or nobody who reads."""


def check_inputs_stay(outputs: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike]) -> None:
    """Make sure that no result takes the place of an input, under whatever name: resolved paths and inodes count.

    Args:
        outputs: Files that are going to be written.
        inputs: Files that the work reads; a folder stands for the files in it.

    Raises:
        OutputError: An output is an input.
    """
    known = {identity: source for source in _each_file(inputs) for identity in _identities(source)}
    for output in outputs:
        for identity in _identities(output):
            if identity in known:
                raise OutputError(
                    f"The result {output} would overwrite the input {known[identity]}; choose another place for it."
                )


def check_holds_no_input(folder: str | os.PathLike, inputs: Iterable[str | os.PathLike]) -> None:
    """Make sure that a folder that is going to be written anew is no input and holds none, at any depth.

    Args:
        folder: The folder, which need not exist yet.
        inputs: Files and folders that the work reads.

    Raises:
        OutputError: It holds one.
    """
    own = Path(os.path.realpath(folder))
    for source in inputs:
        if Path(os.path.realpath(source)).is_relative_to(own):
            raise OutputError(f"The output folder {folder} holds the input {source}; choose another one.")


def _each_file(paths: Iterable[str | os.PathLike]) -> Iterator[Path]:
    for path in map(Path, paths):
        # Not `Path.is_dir`, which raises where a name is too long: that is said when the input is read.
        yield from (entry for entry in path.iterdir() if entry.is_file()) if os.path.isdir(path) else [path]


def _identities(path: str | os.PathLike) -> set:
    """Say what a regular file is known by, existing or not; nothing for devices, pipes and folders."""
    try:
        info = os.stat(path)
    except OSError:
        return {os.path.realpath(path)}
    return {os.path.realpath(path), (info.st_dev, info.st_ino)} if stat.S_ISREG(info.st_mode) else set()


def check_output_folder(
    folder: str | os.PathLike, inputs: Iterable[str | os.PathLike] = (), names: Sequence[str] | None = None
) -> Path:
    """Make sure, before the work starts, that results can be written to a folder; nothing is left behind.

    Args:
        folder: The folder, which need not exist yet.
        inputs: What the work reads; see `check_inputs_stay`.
        names: Of the files that may be written; None for those of all files that are there already.

    Raises:
        OutputError: It cannot be written to, or a result would take the place of an input.
    """
    folder = Path(folder)
    _check_names(folder)
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"The output folder {folder} cannot be made: {existing} is a file.")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
        present = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error
    check_inputs_stay([folder / name for name in (present if names is None else names)], inputs)
    _check_no_folders(folder, names or ())
    return folder


def _check_names(path: Path) -> None:
    """Make sure that the system takes a path, and each name in it, also below a folder that does not exist yet."""
    for place in (path, *(Path(path.anchor, name) for name in path.parts)):
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise OutputError(f"The output {path} cannot be written: {error.strerror}.") from None


def _check_no_folders(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            raise OutputError(f"The result {folder / name} cannot be written: a folder of that name is there.")


def check_output_file(path: str | os.PathLike, inputs: Iterable[str | os.PathLike] = ()) -> Path:
    """Make sure, before the work starts, that a file can be written; nothing is left behind.

    Args:
        path: The file, which need not exist yet, nor its folder.
        inputs: What the work reads; see `check_inputs_stay`.

    Returns:
        The path.

    Raises:
        OutputError: It is a folder or cannot be written, or would take the place of an input.
    """
    path = Path(path)
    _check_names(path)
    if path.is_dir():
        raise OutputError(f"The output file {path} is a folder.")
    check_inputs_stay([path], inputs)
    if not _is_special(path):
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError(f"The output file {path} may not be overwritten: permission denied.")
        check_output_folder(_target(path).parent, names=())
    return path


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with replacing(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def json_text(content: Any, allow_nan: bool = False) -> str:
    """Write JSON with a line for each innermost list and object: what is compared stands below each other."""
    text = json.dumps(content, indent=2, allow_nan=allow_nan)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda inner: re.sub(r"\n *", " ", inner[0]), text) + "\n"


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a place aside for a file that takes the place of `path` when the block ends without an error.

    Raises:
        OutputError: It cannot be written.
    """
    path = Path(path)
    with written_aside(Path(tempfile.gettempdir()) if _is_special(path) else _target(path).parent, path) as aside:
        yield aside / path.name
        _place(aside / path.name, path)


@contextmanager
def filling(folder: str | os.PathLike) -> Iterator[Path]:
    """Give an empty folder aside, whose files are moved into `folder` when the block ends without an error.

    Raises:
        OutputError: The folder cannot be written to.
    """
    folder = Path(folder)
    with written_aside(folder) as aside:
        yield aside
        for path in sorted(aside.iterdir()):
            _place(path, folder / path.name)


@contextmanager
def written_aside(folder: Path, output: Path | None = None) -> Iterator[Path]:
    """Give a temporary folder inside `folder`, on the same disk, so that renaming out of it is one step.

    Raises:
        OutputError: Something cannot be written; the sentence names `output`, the folder when None.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".retinamatch-", dir=folder) as aside:
            yield Path(aside)
    except OutputError:
        raise
    except OSError as error:
        place = folder if output is None else output
        raise OutputError(f"Results could not be written to {place}: {error.strerror or error}.") from error


def put_results(aside: Path, folder: Path, names: Sequence[str], record: str, content: dict[str, Any]) -> list[Path]:
    """Move the results of a run to their folder, with a record that names them; what an earlier run left there goes.

    A file goes when the earlier record names it and it still is what that run wrote, by its SHA-256; a file that
    somebody else put there stays.

    Args:
        aside: Folder of the finished files, from `written_aside`.
        folder: Where to.
        names: Of the files.
        record: Name of the record, a JSON file.
        content: Of the record; "files", the sums of the files by name, is added where there are any.

    Returns:
        The files written, the record last.

    Raises:
        OutputError: A folder has the place of a file.
        ValueError: JSON cannot hold the record; nothing is moved then.
    """
    _check_no_folders(folder, (*names, record))
    earlier = _recorded(folder / record)
    sums = {name: _sum(aside / name) for name in names}
    text = json_text(content | {"files": sums} if sums else content)
    for name in names:
        _place(aside / name, folder / name)
    for name, checksum in earlier.items():
        if name not in sums and _sum(folder / name) == checksum:
            _target(folder / name).unlink()
    write_text(folder / record, text)
    return [folder / name for name in (*names, record)]


def _recorded(record: Path) -> dict[str, str]:
    """Read which files an earlier run wrote beside its record; none where the record is not ours."""
    try:
        files = json.loads(record.read_text(encoding="utf-8"))["files"]
        return {name: checksum for name, checksum in files.items() if name == Path(name).name}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _sum(path: Path) -> str | None:
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(aside: Path, path: Path) -> None:
    """Move a whole file to where it belongs; a device or a pipe is given what is in it."""
    if _is_special(path):
        with _opened(path) as stream, open(aside, "rb") as file:
            shutil.copyfileobj(file, stream)
        return
    target = _target(path)
    if os.stat(aside).st_dev != os.stat(target.parent).st_dev:  # a link leads to another disk
        with written_aside(target.parent) as near:
            return _place(Path(shutil.copy(aside, near)), target)
    if target.exists():
        shutil.copymode(target, aside)
    os.replace(aside, target)


def _target(path: Path) -> Path:
    """Give the file that a path stands for: where it leads to when it is a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_special(path: Path) -> bool:
    """Tell what is written to as it is, a device, a pipe, the output of this process, from files that are replaced."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode) or _own_stream(path) is not None
    except OSError:
        return False


def _own_stream(path: Path) -> int | None:
    """Find which of standard output and error a path leads to: `--out /dev/stdout > matches.csv`."""
    for descriptor in (1, 2):
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except OSError:
            pass
    return None


def _opened(path: Path) -> BinaryIO:
    descriptor = _own_stream(path)
    return open(path if descriptor is None else os.dup(descriptor), "wb")


class _Guarded:
    """A stream that tells its own failure from that of every other file."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise StandardOutputError(error.strerror) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise StandardOutputError(error.strerror) from error


@contextmanager
def standard_output(prefix: str = "Error") -> Iterator[None]:
    """Run a command; when what it says cannot be written, leave with one sentence and exit code 2."""
    stream = sys.stdout
    if stream is None:
        yield
        return
    sys.stdout = _Guarded(stream)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except StandardOutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # else the interpreter tries again when it ends
        print(f"{prefix}: Standard output could not be written: {error}.", file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        sys.stdout = stream


__all__ = [
    "OutputError",
    "StandardOutputError",
    "check_holds_no_input",
    "check_inputs_stay",
    "check_output_file",
    "check_output_folder",
    "filling",
    "json_text",
    "put_results",
    "replacing",
    "standard_output",
    "write_text",
    "written_aside",
]
