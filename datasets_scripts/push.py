"""Publish a built data set on the Hugging Face Hub, in one commit.

python -m datasets_scripts.push OWNER/NAME --folder build/dataset [--dry-run]
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from retinamatch.files import standard_output
from retinamatch.publishing import Change, PublishError, check_repository_name, publish_files, report

from .format.parquet import RECORD, ParquetError
from .format.schema import CONFIGURATIONS
from .sources import SourceError
from .validate import validate


# Below these a file that a build does not have is one of a former build.
FOLDERS = (*(f"{config}/" for config in CONFIGURATIONS), "figures/")


def list_files(folder: Path) -> dict[str, Path]:
    """Say where each file of a build lies here, by its path in the repository.

    Raises:
        PublishError: The folder is no build.
    """
    if not (folder / RECORD).is_file():
        raise PublishError(f"{folder} is not a data set that datasets_scripts.build wrote: it has no {RECORD}.")
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


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
        PublishError: The name or the folder is wrong, validation rejects the data set, or the Hub cannot be reached.
        ParquetError: A file of the data set cannot be read.
    """
    check_repository_name(repository)
    files = list_files(Path(folder))
    errors = validate(folder, publishable=True).errors
    if errors:
        raise PublishError(f"Nothing was pushed, validation rejects the data set: {' '.join(errors)}")
    if dry_run:
        return Change(list(files), [], None)
    return publish_files(repository, "dataset", files, FOLDERS, "Build of the data set", private)


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
        report(repository, list_files(folder), change, dry_run, typer.echo)
    except (PublishError, ParquetError, SourceError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


__all__ = ["list_files", "push"]

if __name__ == "__main__":
    with standard_output():
        app()
