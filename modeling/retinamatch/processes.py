"""Work in several processes, which end with the one that started them."""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

import cv2


Result = TypeVar("Result")
Unit = TypeVar("Unit")


class ProcessDiedError(Exception):
    """The process that did some work ended, twice: what it worked on is the likely cause."""


class Call(Protocol):
    """Call a function in another process; raises `ProcessDiedError`, and what the function raises."""

    def __call__(self, function: Callable[..., Result], *arguments: Any) -> Result: ...


def results_of(work: Mapping[str, Callable[[], Result]], processes: int = 1) -> Iterator[tuple[str, Result]]:
    """Do work in several processes.

    Args:
        work: Functions without arguments by name; with several processes they have to be picklable.
        processes: How many processes share the work; 1 does it in this one.

    Yields:
        A name and what its function returned, as they are finished. Whoever stops listening stops the work.
    """
    if processes == 1:
        yield from ((name, function()) for name, function in work.items())
        return
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        names = {pool.submit(function): name for name, function in work.items()}
        yield from ((names[done], done.result()) for done in as_completed(names))
    finally:
        pool.shutdown(cancel_futures=True)


def surviving_results(
    units: Iterable[Unit],
    work: Callable[[Unit, Call], Iterable[Result]],
    processes: int,
    begin: Callable[[], object],
    threads: int = 1,
) -> Iterator[Result]:
    """Do units of work in several processes, any of which may die.

    A process that dies takes nothing along but the one call it was busy with, which another one tries once again.

    Args:
        units: What there is to do, taken one by one.
        work: Does a unit in this process: it lets another process do what takes long, by the function it is given, and
            yields results. All calls of a unit go to one process, one after the other.
        processes: How many there are.
        begin: Called once in each process; picklable.
        threads: Of each process.

    Yields:
        The results, as they come. Whoever stops listening stops the work.
    """
    crew = _Crew(iter(units), work, queue.Queue(maxsize=4 * processes))
    servers = [threading.Thread(target=crew.serve, args=(begin, threads), daemon=True) for _ in range(processes)]
    for server in servers:
        server.start()
    try:
        at_work = processes
        while at_work:
            results, error = crew.results.get()
            if error is not None:
                raise error
            yield from results
            at_work -= not results
    finally:
        crew.stopped.set()
        for server in servers:
            server.join()


@dataclass
class _Crew(Generic[Unit, Result]):
    """What the threads of `surviving_results` have in common: a thread serves a process.

    Attributes:
        units: What there is to do.
        work: Does a unit.
        results: One result at a time with None, none when a thread is through, or an error.
    """

    units: Iterator[Unit]
    work: Callable[[Unit, Call], Iterable[Result]]
    results: queue.Queue
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    def serve(self, begin: Callable[[], object], threads: int) -> None:
        """Do units with a process until there are no more."""
        with _LoneProcess(begin, threads) as lone:
            try:
                for unit in self._take():
                    for result in self.work(unit, lone.call):
                        self._put([result])
                        if self.stopped.is_set():
                            return
                self._put([])
            except BaseException as error:  # whatever it is, the listener has to hear of it
                self._put([], error)

    def _take(self) -> Iterator[Unit]:
        while not self.stopped.is_set():
            with self.lock:
                try:
                    unit = next(self.units)
                except StopIteration:
                    return
            yield unit

    def _put(self, results: list[Result], error: BaseException | None = None) -> None:
        while not self.stopped.is_set():
            try:
                return self.results.put((results, error), timeout=0.2)
            except queue.Full:
                pass


class _LoneProcess:
    """A process that is started again when it dies."""

    def __init__(self, begin: Callable[[], object], threads: int):
        self.begin, self.threads = begin, threads
        self.pool = self._start()

    def __enter__(self) -> "_LoneProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, initializer=_begin_surviving, initargs=(self.begin, self.threads))

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        for _ in range(2):
            try:
                return self.pool.submit(function, *arguments).result()
            except BrokenProcessPool:
                self.pool.shutdown()
                self.pool = self._start()
        raise ProcessDiedError("the process that worked on it died, twice")


def _begin_surviving(begin: Callable[[], object], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the work
    _begin(threads)
    begin()


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends; an initializer for pools of processes.

    The processes of a pool go on with the work they have, and then wait for more for ever, when a signal ends the
    process that would tell them to stop.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="end_with_parent", daemon=True).start()


def _begin(threads: int = 1) -> None:
    end_with_parent()
    # One thread a process, unless it has cores of its own: the processes share the cores already.
    set_thread_count(threads)


def thread_count() -> int:
    """Say how many threads a library may take here: as `OMP_NUM_THREADS` says, else the cores this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else cores


def set_thread_count(number: int) -> None:
    """Let OpenCV, torch and ONNX Runtime take so many threads each in this process, whenever they are loaded."""
    os.environ["OMP_NUM_THREADS"] = str(number)
    cv2.setNumThreads(number)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


__all__ = [
    "Call",
    "ProcessDiedError",
    "end_with_parent",
    "results_of",
    "set_thread_count",
    "surviving_results",
    "thread_count",
]
