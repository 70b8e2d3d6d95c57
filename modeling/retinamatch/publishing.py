"""Files on the Hugging Face Hub, in one commit, and every refusal as one sentence; what is there is not sent again."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id


# huggingface_hub 1 speaks through httpx and 2 through httpx2: its own error knows which, and what a lost connection is.
_TRANSPORT_ERRORS = (HfHubHTTPError.__bases__[0], OSError)


class PublishError(ValueError):
    """Nothing was, or nothing can be published; the message is one sentence for the user."""


@dataclass
class Change:
    """What publishing does to a repository.

    Attributes:
        added: Files that the repository lacks or has otherwise.
        deleted: Files of an earlier time that are no longer part of it.
        kept: Files that are there already.
    """

    added: list[str]
    deleted: list[str]
    kept: list[str]


def check_repository_name(name: str) -> None:
    """Refuse what is not "owner/name".

    Raises:
        PublishError: It is not.
    """
    try:
        validate_repo_id(name)
        right = name.count("/") == 1
    except HFValidationError:
        right = False
    if not right:
        raise PublishError(f"{name!r} is not the name of a repository; owner/name is wanted.")


@contextmanager
def hub_errors(repository: str, again: str = "push again to go on") -> Iterator[None]:
    """Turn what the Hub's client raises into sentences.

    Args:
        repository: "owner/name".
        again: What the user can do when the Hub refuses or cannot be reached.

    Raises:
        PublishError: The client has raised an error.
    """
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise PublishError("The Hub may not be asked: HF_HUB_OFFLINE is set.") from error
    except LocalTokenNotFoundError as error:
        raise PublishError("The Hub does not know who pushes: log in with `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise PublishError(f"The Hub refused the push of {repository} ({status}); {again}.") from error
    except _TRANSPORT_ERRORS as error:
        raise PublishError(f"The Hub could not be reached ({type(error).__name__}); {again}.") from error


def publish_files(
    repository: str, kind: str, files: dict[str, Path], ours: tuple[str, ...], message: str, private: bool = False
) -> Change:
    """Bring a repository to a state, in one commit; files that are there already are not sent again.

    Args:
        repository: "owner/name"; made when missing.
        kind: "dataset" or "space".
        files: Path there -> file here.
        ours: Beginnings of the paths under which files that are not among `files` are deleted.
        message: Of the commit.
        private: Make the repository as a private one.

    Raises:
        PublishError: The Hub refuses or cannot be reached; a push that broke off goes on the next time.
    """
    api = HfApi()
    with hub_errors(repository):
        sdk = {"space_sdk": "gradio"} if kind == "space" else {}
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True, **sdk)
        tree = api.list_repo_tree(repository, repo_type=kind, recursive=True)
        remote = {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in tree if hasattr(one, "blob_id")}
        change = compare(files, remote, ours)
        if change.added or change.deleted:
            operations = [CommitOperationAdd(name, str(files[name])) for name in change.added]
            operations += [CommitOperationDelete(name) for name in change.deleted]
            api.create_commit(repository, operations, commit_message=message, repo_type=kind, num_threads=2)
    return change


def compare(files: dict[str, Path], remote: dict[str, str], ours: tuple[str, ...]) -> Change:
    """Compare the files here with those of a repository.

    Args:
        files: Path there -> file here.
        remote: Path there -> SHA-256 of a large file, or Git's identifier of a small one.
        ours: See `publish_files`.
    """
    kept = [name for name, path in files.items() if name in remote and remote[name] in _identifiers(path)]
    deleted = [name for name in sorted(remote) if name not in files and name.startswith(ours)]
    return Change([name for name in files if name not in kept], deleted, kept)


def _identifiers(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def report(repository: str, files: dict[str, Path], change: Change, dry_run: bool, say: Callable[[str], None]) -> None:
    """Tell the user what was done, or would be."""
    if dry_run:
        size = sum(files[name].stat().st_size for name in change.added)
        say("\n".join(change.added))
        say(f"Would push {len(change.added)} files, {size / 2**20:.1f} MiB, to {repository}; nothing was changed.")
    elif not change.added and not change.deleted:
        say(f"{repository} has everything already; nothing was changed.")
    else:
        numbers = f"{len(change.added)} files sent, {len(change.deleted)} deleted, {len(change.kept)} kept"
        say(f"{repository}: {numbers}.")


__all__ = ["Change", "PublishError", "check_repository_name", "compare", "hub_errors", "publish_files", "report"]
