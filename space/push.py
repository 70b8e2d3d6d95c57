"""Publish the Space on the Hugging Face Hub, in one commit.

python -m space.push OWNER/NAME [--private] [--dry-run]

The library travels with it, so that the Space needs no other repository: `app.py`, `README.md` and `requirements.txt`
lie at the root, the page in `space/`, the library with its weights in `retinamatch/`.
"""

from pathlib import Path
from typing import Annotated

import typer

from retinamatch.publishing import Change, PublishError, check_repository_name, publish_files, report


REPOSITORY = Path(__file__).resolve().parent.parent
AT_THE_ROOT = ("README.md", "requirements.txt", "app.py", "screenshot.jpg", "screenshot_phone.jpg")
ROOT_FILES = {name: f"space/{name}" for name in AT_THE_ROOT}
LIBRARY = "modeling/retinamatch"
# What lies at the root there, and what is run beside a page.
STAYS_HOME = {*AT_THE_ROOT, "Dockerfile", *(f"{name}.py" for name in ("push", "load_test", "attack", "hostile"))}
FOLDERS = ("space/", "retinamatch/")


def list_files() -> dict[str, Path]:
    """Say where each file of the Space lies here, by its path there.

    Raises:
        PublishError: Files are missing; the checkout is not whole.
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
        raise PublishError(
            f"The checkout is not whole, nothing was pushed: {', '.join(missing) or 'no weights'} missing."
        )
    return dict(sorted(files.items()))


def _tracked(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts and path.suffix not in (".pyc", ".pyi")]


def push(repository: str, private: bool = False, dry_run: bool = False) -> Change:
    """Publish the Space; files that are there already are not sent again.

    Args:
        repository: "owner/name".
        private: Create the repository as a private one.
        dry_run: Check everything, ask nobody, change nothing.

    Returns:
        What was (or, without the Hub, would be) done.

    Raises:
        PublishError: The name is wrong, files are missing, or the Hub rejects the push or cannot be reached.
    """
    check_repository_name(repository)
    files = list_files()
    if dry_run:
        return Change(list(files), [], None)
    return publish_files(repository, "space", files, FOLDERS, "Build of the Space", private)


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
        report(repository, list_files(), change, dry_run, typer.echo)
    except PublishError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


__all__ = ["list_files", "push"]

if __name__ == "__main__":
    app()
