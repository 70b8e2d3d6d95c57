"""Files on the Hugging Face Hub, in one commit; what the Hub's client raises becomes one sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of httpx, or of httpx2: of the library that this version of the client speaks through
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id


class PublishError(ValueError):
    """Nothing was, or nothing can be published; the message is one sentence for the user."""


@dataclass
class Change:
    """What publishing did to a repository, or would do.

    Attributes:
        files: Paths of all files that belong to it.
        deleted: Paths of files of an earlier time that are no longer part of it.
        commit: Address of the commit; None when the repository had everything already, or without the Hub.
    """

    files: list[str]
    deleted: list[str]
    commit: str | None


def check_repository_name(name: str) -> None:
    """Check that a name is "owner/name".

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
    """Raise what the Hub's client raises as one sentence.

    Args:
        repository: "owner/name".
        again: What the user can do when the Hub rejects the push or cannot be reached.

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
        raise PublishError(f"The Hub rejected the push of {repository} ({status}); {again}.") from error
    except (HTTPError, OSError) as error:
        raise PublishError(f"The Hub could not be reached ({type(error).__name__}); {again}.") from error


def publish_files(
    repository: str, kind: str, files: dict[str, Path], ours: tuple[str, ...], message: str, private: bool = False
) -> Change:
    """Bring a repository to a state, in one commit; the Hub's client sends only what is not there already.

    Args:
        repository: "owner/name"; made when missing.
        kind: "dataset" or "space".
        files: Path there -> file here.
        ours: Beginnings of the paths under which files that are not among `files` are deleted.
        message: Of the commit.
        private: Make the repository as a private one.

    Raises:
        PublishError: The Hub rejects the push or cannot be reached; a push that broke off goes on the next time.
    """
    api = HfApi()
    with hub_errors(repository):
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk)
        before = api.repo_info(repository, repo_type=kind).sha
        present = api.list_repo_files(repository, repo_type=kind)
        deleted = [name for name in sorted(present) if name not in files and name.startswith(ours)]
        commit = api.create_commit(
            repository,
            [
                *(CommitOperationAdd(name, str(path)) for name, path in files.items()),
                *(CommitOperationDelete(name) for name in deleted),
            ],
            commit_message=message,
            repo_type=kind,
            num_threads=2,
        )
    return Change(list(files), deleted, None if commit.oid == before else commit.commit_url)


def report(repository: str, files: dict[str, Path], change: Change, dry_run: bool, say: Callable[[str], None]) -> None:
    """Tell the user what was done, or would be."""
    if dry_run:
        size = sum(path.stat().st_size for path in files.values())
        say("\n".join(change.files))
        say(f"Would push {len(files)} files, {size / 2**20:.1f} MiB, to {repository}; nothing was changed.")
    elif change.commit is None:
        say(f"{repository} has everything already; nothing was changed.")
    else:
        say(f"{repository}: {len(files)} files, {len(change.deleted)} old ones deleted; {change.commit}")


__all__ = ["Change", "PublishError", "check_repository_name", "hub_errors", "publish_files", "report"]
