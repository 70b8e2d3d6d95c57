"""Publish a built data set on the Hugging Face Hub, in one commit.

python -m datasets_scripts.push OWNER/NAME --folder build/dataset [--dry-run]
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from .parquet import RECORD, ParquetError
from .schema import CONFIGURATIONS
from .sources import SourceError
from .validate import validate


# huggingface_hub 1 speaks through httpx and 2 through httpx2: its own error knows which, and what a lost connection is.
TRANSPORT_ERRORS = (HfHubHTTPError.__bases__[0], OSError)


class PushError(ValueError):
    """The data set cannot be published; the message is one sentence for the user."""


@dataclass
class Change:
    """What a push does to the repository.

    Attributes:
        added: Files that the repository lacks or has otherwise.
        deleted: Files of a former build that this one does not have.
        kept: Files that are there already.
    """

    added: list[str]
    deleted: list[str]
    kept: list[str]


def list_files(folder: Path) -> list[str]:
    """Files of a build, as they lie in the repository.

    Raises:
        PushError: The folder is no build.
    """
    if not (folder / RECORD).is_file():
        raise PushError(f"{folder} is not a data set that datasets_scripts.build wrote: it has no {RECORD}.")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def compare(folder: Path, files: list[str], remote: dict[str, str]) -> Change:
    """Compare a build with the files of the repository.

    Args:
        folder: Root of the build.
        files: Its files.
        remote: Path -> SHA-256 of a large file, or Git's identifier of a small one.
    """
    same = [name for name in files if name in remote and remote[name] in _identifiers(folder / name)]
    ours = tuple(f"{config}/" for config in CONFIGURATIONS) + ("figures/",)
    deleted = [name for name in sorted(remote) if name not in files and name.startswith(ours)]
    return Change([name for name in files if name not in same], deleted, same)


def _identifiers(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def push(repository: str, folder: str | os.PathLike, private: bool = False, dry_run: bool = False) -> Change:
    """Publish a build; files that are there already are not sent again, so a push that broke off just goes on.

    Args:
        repository: "owner/name".
        folder: Root of the build.
        private: Create the repository as a private one.
        dry_run: Check everything, ask nobody, change nothing.

    Returns:
        What was (or, without the Hub, would be) done.

    Raises:
        PushError: The name or the folder is wrong, validation refuses the data set, or the Hub cannot be reached.
        ParquetError: A file of the data set cannot be read.
    """
    folder = Path(folder)
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise PushError(f"{repository!r} is not the name of a repository; owner/name is wanted.") from error
    if repository.count("/") != 1:
        raise PushError(f"{repository!r} is not the name of a repository; owner/name is wanted.")
    files = list_files(folder)
    report = validate(folder, publishable=True)
    if report.errors:
        raise PushError(f"Nothing was pushed, validation refuses the data set: {' '.join(report.errors)}")
    if dry_run:
        return Change(files, [], [])
    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        tree = api.list_repo_tree(repository, repo_type="dataset", recursive=True)
        remote = {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in tree if hasattr(one, "blob_id")}
        change = compare(folder, files, remote)
        if change.added or change.deleted:
            operations = [CommitOperationAdd(name, str(folder / name)) for name in change.added]
            operations += [CommitOperationDelete(name) for name in change.deleted]
            api.create_commit(
                repository, operations, commit_message="Build of the data set", repo_type="dataset", num_threads=2
            )
    except OfflineModeIsEnabled as error:
        raise PushError("The Hub may not be asked: HF_HUB_OFFLINE is set.") from error
    except LocalTokenNotFoundError as error:
        raise PushError("The Hub does not know who pushes: log in with `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise PushError(f"The Hub refused the push of {repository} ({status}); push again to go on.") from error
    except TRANSPORT_ERRORS as error:
        raise PushError(f"The Hub could not be reached ({type(error).__name__}); push again to go on.") from error
    return change


app = typer.Typer(add_completion=False)


@app.command()
def main(
    repository: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    folder: Annotated[Path, typer.Option(help="Folder that datasets_scripts.build wrote.")] = Path("build/dataset"),
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, ask nobody, change nothing.")] = False,
) -> None:
    """Publish a built data set on the Hugging Face Hub."""
    try:
        change = push(repository, folder, private, dry_run)
    except (PushError, ParquetError, SourceError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    if dry_run:
        size = sum((folder / name).stat().st_size for name in change.added)
        typer.echo("\n".join(change.added))
        typer.echo(
            f"Would push {len(change.added)} files, {size / 2**20:.1f} MiB, to {repository}; nothing was changed."
        )
    elif not change.added and not change.deleted:
        typer.echo(f"{repository} has everything already; nothing was changed.")
    else:
        typer.echo(
            f"{repository}: {len(change.added)} files sent, {len(change.deleted)} deleted, {len(change.kept)} kept."
        )


__all__ = ["Change", "PushError", "push"]

if __name__ == "__main__":
    app()
