"""Publish the Space on the Hugging Face Hub, in one commit.

python -m space.push OWNER/NAME [--private] [--dry-run]

The library travels with it, so that the Space needs no other repository: `app.py`, `README.md` and `requirements.txt`
lie at the root, the page in `space/`, the library with its weights in `retinamatch/`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id


REPOSITORY = Path(__file__).resolve().parent.parent
ROOT_FILES = {"README.md": "space/README.md", "requirements.txt": "space/requirements.txt", "app.py": "space/app.py"}
LIBRARY = "modeling/retinamatch"
STAYS_HOME = {"README.md", "requirements.txt", "app.py", "push.py", "load_test.py", "Dockerfile", "screenshot.jpg"}
FOLDERS = ("space/", "retinamatch/")
# huggingface_hub 1 speaks through httpx and 2 through httpx2: its own error knows which, and what a lost connection is.
TRANSPORT_ERRORS = (HfHubHTTPError.__bases__[0], OSError)


class PushError(ValueError):
    """The Space cannot be published; the message is one sentence for the user."""


@dataclass
class Change:
    """What a push does to the repository.

    Attributes:
        added: Files that the repository lacks or has otherwise.
        deleted: Files of a former push that are no longer part of it.
        kept: Files that are there already.
    """

    added: list[str]
    deleted: list[str]
    kept: list[str]


def list_files() -> dict[str, Path]:
    """Say where each file of the Space lies here, by its path there.

    Raises:
        PushError: Files are missing; the checkout is not whole.
    """
    files = {there: REPOSITORY / here for there, here in ROOT_FILES.items()}
    files["LICENSE"] = REPOSITORY / "LICENSE"
    for path in _tracked(REPOSITORY / "space"):
        if path.name not in STAYS_HOME:
            files[f"space/{path.relative_to(REPOSITORY / 'space').as_posix()}"] = path
    for path in _tracked(REPOSITORY / LIBRARY):
        files[f"retinamatch/{path.relative_to(REPOSITORY / LIBRARY).as_posix()}"] = path
    missing = [str(path.relative_to(REPOSITORY)) for path in files.values() if not path.is_file()]
    if missing or not any(name.endswith(".safetensors") for name in files):
        raise PushError(f"The checkout is not whole, nothing was pushed: {', '.join(missing) or 'no weights'} missing.")
    return dict(sorted(files.items()))


def _tracked(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts and path.suffix not in (".pyc", ".pyi")]


def compare(files: dict[str, Path], remote: dict[str, str]) -> Change:
    """Compare the files here with those of the repository.

    Args:
        files: From `list_files`.
        remote: Path -> SHA-256 of a large file, or Git's identifier of a small one.
    """
    kept = [name for name, path in files.items() if name in remote and remote[name] in _identifiers(path)]
    deleted = [name for name in sorted(remote) if name not in files and name.startswith(FOLDERS)]
    return Change([name for name in files if name not in kept], deleted, kept)


def _identifiers(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def push(repository: str, private: bool = False, dry_run: bool = False) -> Change:
    """Publish the Space; files that are there already are not sent again.

    Args:
        repository: "owner/name".
        private: Create the repository as a private one.
        dry_run: Check everything, ask nobody, change nothing.

    Returns:
        What was (or, without the Hub, would be) done.

    Raises:
        PushError: The name is wrong, files are missing, or the Hub refuses or cannot be reached.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise PushError(f"{repository!r} is not the name of a repository; owner/name is wanted.") from error
    if repository.count("/") != 1:
        raise PushError(f"{repository!r} is not the name of a repository; owner/name is wanted.")
    files = list_files()
    if dry_run:
        return Change(list(files), [], [])
    api = HfApi()
    try:
        api.create_repo(repository, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
        tree = api.list_repo_tree(repository, repo_type="space", recursive=True)
        remote = {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in tree if hasattr(one, "blob_id")}
        change = compare(files, remote)
        if change.added or change.deleted:
            operations = [CommitOperationAdd(name, str(files[name])) for name in change.added]
            operations += [CommitOperationDelete(name) for name in change.deleted]
            api.create_commit(
                repository, operations, commit_message="Build of the Space", repo_type="space", num_threads=2
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
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, ask nobody, change nothing.")] = False,
) -> None:
    """Publish the Space on the Hugging Face Hub."""
    try:
        change = push(repository, private, dry_run)
    except PushError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    if dry_run:
        size = sum(path.stat().st_size for path in list_files().values())
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
