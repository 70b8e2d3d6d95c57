"""Work in several processes, which end with the one that started them."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.process import BaseProcess
from typing import TypeVar

import cv2
import torch


Result = TypeVar("Result")


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


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends; an initializer for pools of processes.

    The processes of a pool go on with the work they have, and then wait for more for ever, when a signal ends the
    process that would tell them to stop.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="end_with_parent", daemon=True).start()


def _begin() -> None:
    end_with_parent()
    # One thread a process: the processes share the cores already.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


__all__ = ["end_with_parent", "results_of"]
