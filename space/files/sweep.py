"""Files that people handed in and files that were made for them go after a while, whoever wrote them.

The folder is walked at start and regularly, and only the age of a file counts: what an earlier run of this program
left, killed or not, and the parts of uploads that broke off go like everything else.
"""

import os
import tempfile
import threading
import time
from pathlib import Path

from retinamatch.files import OutputError


MOST_DISK = 5_000_000_000  # bytes of all files together
LEAST_FILE = 50_000  # bytes that a file counts for at least: as many as are to be walked over are limited, too
_FRESH = 5.0  # seconds for which a sum is believed
_PRIVATE = 0o700
_BASE = "retinamatch-page-"


class NoRoomError(OutputError):
    """The disk space of the page is used up."""


def run_folder() -> str:
    """Make a folder for the files of this run, beside those of other runs, that no other user can read or replace."""
    user = os.getuid() if hasattr(os, "getuid") else "files"
    base = Path(tempfile.gettempdir()) / f"{_BASE}{user}"
    try:
        base.mkdir(mode=_PRIVATE, exist_ok=True)
        owned = user == "files" or base.lstat().st_uid == user
        if owned and not base.is_symlink():
            base.chmod(_PRIVATE)
            return tempfile.mkdtemp(prefix="run-", dir=base)
    except OSError:
        pass
    return tempfile.mkdtemp(prefix=_BASE)


def all_runs(folder: str | Path) -> Path:
    """Return the folder that holds the files of all runs of which `folder` is one; itself where it stands alone."""
    folder = Path(folder)
    return folder.parent if folder.parent.name.startswith(_BASE) else folder


def sweep(folder: Path, lifetime: float) -> int:
    """Delete what is older than `lifetime` seconds, and folders that are empty then.

    Returns:
        How many bytes are left; a small file counts for `LEAST_FILE`.
    """
    oldest, left = time.time() - lifetime, 0
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place) / name
            try:
                state = path.lstat()
                if lifetime <= 0 or state.st_mtime < oldest:
                    path.unlink()
                else:
                    left += max(state.st_size, LEAST_FILE)
            except OSError:  # it has gone meanwhile
                continue
        for name in folders:
            _remove_if_empty(Path(place) / name, oldest if lifetime > 0 else time.time())
    return left


def _remove_if_empty(folder: Path, oldest: float) -> None:
    try:
        if folder.lstat().st_mtime < oldest:  # a run that has just made it may be about to write
            folder.rmdir()
    except OSError:
        pass


class Sweeper:
    """Sweeps a folder at start and then regularly, until it is stopped.

    Args:
        folder: The folder.
        lifetime: Seconds that a file is kept.
        every: Seconds between two rounds.
    """

    def __init__(self, folder: str | Path, lifetime: float, every: float):
        self.folder, self.lifetime, self.every = Path(folder), lifetime, every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> "Sweeper":
        """Begin; returns itself."""
        sweep(self.folder, self.lifetime)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End after the round that is at work."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self.every):
            sweep(self.folder, self.lifetime)


class Room:
    """How much of the disk is used, counted anew every few seconds."""

    def __init__(self, most: int = MOST_DISK):
        self.most = most
        self._lock = threading.Lock()
        self._counted: tuple[float, str, int] = (-_FRESH, "", 0)

    def check(self, folder: str | Path) -> None:
        """Check that there is room for more.

        Raises:
            NoRoomError: There is none; the sentence is for the visitor.
        """
        with self._lock:
            when, where, used = self._counted
            if where != str(folder) or time.monotonic() - when > _FRESH:
                used = sweep(Path(folder), float("inf"))
                self._counted = time.monotonic(), str(folder), used
        if used > self.most:
            raise NoRoomError("This page has no room left for files; the oldest ones go soon, please try again later.")


ROOM = Room()

__all__ = ["MOST_DISK", "ROOM", "NoRoomError", "Room", "Sweeper", "all_runs", "run_folder", "sweep"]
