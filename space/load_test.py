"""Many visitors at once: are all answered, in the order they came, and how much memory does the server take?

python -m space.load_test --users 20
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from gradio_client import Client, handle_file
from gradio_client.utils import Status


REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = Path(__file__).parent / "examples"


@dataclass
class Load:
    """What happened.

    Attributes:
        waited: Seconds from asking to the answer, by visitor.
        order: The visitors in the order of their answers.
        answers: What each was told.
    """

    waited: list[float]
    order: list[int]
    answers: list[str]

    @property
    def in_order(self) -> bool:
        """Whether who came first was answered first."""
        return self.order == sorted(self.order)


def ask_at_once(address: str, pairs: list[tuple[Path, Path]], model: str | None = None) -> Load:
    """Let as many visitors as there are pairs ask one after the other, without waiting for answers.

    Args:
        address: Of the page.
        pairs: Moving and fixed photograph of each visitor.
        model: The default one when None.
    """
    clients = [Client(address, verbose=False) for _ in pairs]
    ended: dict[int, float] = {}
    started, jobs = [], []
    for visitor, (client, pair) in enumerate(zip(clients, pairs)):
        options = {} if model is None else {"model": model}
        moving, fixed = map(handle_file, map(str, pair))
        started.append(time.perf_counter())
        job = client.submit(moving, fixed, **options, api_name="/register")
        job.add_done_callback(lambda job, visitor=visitor: ended.setdefault(visitor, time.perf_counter()))
        jobs.append(job)
        # Who comes first has to be in the queue before the next one comes; uploads take turns otherwise.
        while job.status().code in (Status.STARTING, Status.JOINING_QUEUE) and not job.done():
            time.sleep(0.01)
    answers = [str(job.result()[0]) for job in jobs]
    waited = [ended[visitor] - start for visitor, start in enumerate(started)]
    return Load(waited, sorted(ended, key=ended.get), answers)


@contextmanager
def served(seconds: float = 120, folder: Path | None = None, log: Path | None = None) -> Iterator[tuple[str, int]]:
    """Serve the page from a process of its own; gives its address and the number of the process.

    Args:
        seconds: Within which it has to answer.
        folder: For files of visitors; the page's own choice when None.
        log: File for what it says; its errors are shown and the rest is not when None.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "modeling"), str(REPOSITORY)])}
    command = [sys.executable, "-m", "space.app", "--host", "127.0.0.1", "--port", str(port)]
    if folder is not None:
        environment["GRADIO_TEMP_DIR"] = str(folder)
    with open(log or os.devnull, "wb") as said:
        errors = None if log is None else subprocess.STDOUT
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=said, stderr=errors)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + seconds
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not answer within {seconds:.0f} seconds.")
            time.sleep(0.2)
        yield address, process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def held_memory(process: int) -> float | None:
    """Memory that a process holds, in MB; None where Linux does not tell."""
    return _told(process, "VmRSS")


def peak_memory(process: int) -> float | None:
    """Most memory that a process has held, in MB; None where Linux does not tell."""
    return _told(process, "VmHWM")


def _told(process: int, name: str) -> float | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(name)), None)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    users: Annotated[int, typer.Option(min=1, help="Visitors at once.")] = 20,
    moving: Annotated[Path, typer.Option(help="What each hands in.")] = EXAMPLES / "visit_2.jpg",
    fixed: Annotated[Path, typer.Option(help="And the fixed photograph.")] = EXAMPLES / "visit_1.jpg",
) -> None:
    """Serve the page and let many visitors ask at once; prints waiting times, order and memory."""
    with served() as (address, process):
        before = peak_memory(process)
        alone = ask_at_once(address, [(moving, fixed)])
        load = ask_at_once(address, [(moving, fixed)] * users)
        after = peak_memory(process)
    print(f"one visitor alone: {alone.waited[0]:.1f} s")
    waited = np.array(load.waited)
    first, median, last = waited.min(), np.median(waited), waited.max()
    print(f"{users} at once: first answer {first:.1f} s, median {median:.1f} s, last {last:.1f} s")
    print(f"answered: {len(load.answers)} of {users}; in the order they came: {'yes' if load.in_order else 'no'}")
    if after is not None:
        print(f"peak memory of the server: {before:.0f} MB before, {after:.0f} MB after")
    raise typer.Exit(0 if load.in_order else 1)


__all__ = ["Load", "ask_at_once", "held_memory", "peak_memory", "served"]


if __name__ == "__main__":
    app()
