"""Functions without arguments, run in several processes, their results in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any

import cv2

from retinamatch.processes import end_with_parent


class Workers:
    """A pool of processes, or none; used as a context.

    Args:
        count: Number of processes; 1 does the work in this one.
    """

    def __init__(self, count: int):
        self.count, self._pool = count, None

    def __enter__(self):
        if self.count > 1:
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), initializer=_begin)
        return self

    def run(self, work: Sequence[Callable[[], Any]]) -> Iterator[Any]:
        """Call every function and give the results in the order of the functions.

        Only a window of them is under way or waits, so that memory stays bounded.
        """
        if self._pool is None:
            yield from (job() for job in work)
            return
        left = iter(work)
        window = [self._pool.submit(job) for job in islice(left, 8 * self.count)]
        while window:
            yield window.pop(0).result()
            window += [self._pool.submit(job) for job in islice(left, 1)]

    def start(self, job: Callable[[], Any]) -> Callable[[], Any]:
        """Begin a job beside the others; give the function that waits for its result (without a pool, does it)."""
        return job if self._pool is None else self._pool.submit(job).result

    def __exit__(self, *error):
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _begin() -> None:
    end_with_parent()
    # One thread a process: the processes share the cores already.
    cv2.setNumThreads(1)


__all__ = ["Workers"]
