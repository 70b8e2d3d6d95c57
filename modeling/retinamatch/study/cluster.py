"""The engine of many machines: the workers of a Dask scheduler; needs the extra `cluster`.

Work goes in batches, a few more than there are workers, so that neither the scheduler nor the network has much to do.
A batch whose worker is lost is done again by another one. One that has taken several workers with it is split, and
what still does so by itself is named in the table.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..processes import ProcessDiedError, Result, set_thread_count
from .run import Engine, Work
from .table import StudyError
from .work import Settings, begin, work_on


# Pairs of a batch: at a second each, Dask's few milliseconds a task are nothing, and little is lost with a worker.
_PAIRS = 32
_AHEAD = 1  # batches that wait for each thread of the workers
_SECONDS = 30  # to reach the scheduler
_loading = threading.Lock()


def cluster_engine(scheduler: str | os.PathLike) -> Engine:
    """Give the engine of a cluster.

    Args:
        scheduler: Address, "tcp://HOST:8786", or the file that a scheduler wrote for its clients.

    Raises:
        StudyError: By the engine: the extra is not installed, or the scheduler is not reached.
    """

    def run(units: Sequence[Any], settings: Settings, work: Work = work_on) -> Iterator[Any]:
        distributed = _distributed()
        where = {"scheduler_file": str(scheduler)} if Path(scheduler).is_file() else {"address": str(scheduler)}
        try:
            client = distributed.Client(**where, timeout=_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise StudyError(f"The scheduler {scheduler} is not reached: {error}") from None
        with client:
            yield from _Crew(client, distributed, settings, work).results(units)

    return run


class _Crew:
    """The workers of a scheduler, for one piece of work."""

    def __init__(self, client: Any, distributed: ModuleType, settings: Settings, work: Work):
        self.client, self.distributed, self.settings, self.work = client, distributed, settings, work
        self.running: dict[Any, list[Any]] = {}
        self.finished = distributed.as_completed(loop=client.loop)

    def results(self, units: Iterable[Any]) -> Iterator[Any]:
        """Do units; gives results as the batches are finished."""
        waiting, again = _batches(units), deque[list[Any]]()
        try:
            self._fill(waiting, again)
            while self.running:
                future = next(self.finished)
                batch = self.running.pop(future)
                error = future.exception()
                if error is None:
                    yield from future.result()
                elif not isinstance(error, self.distributed.KilledWorker):
                    raise error
                elif len(batch) > 1:
                    again.extend([unit] for unit in batch)
                else:
                    yield from self.work(batch[0], self._call)
                future.release()
                self._fill(waiting, again)
        finally:
            self.client.cancel(list(self.running))

    def _fill(self, waiting: Iterator[list[Any]], again: deque[list[Any]]) -> None:
        """Submit batches until there are a few more than the workers have threads."""
        most = max(1, sum(self.client.nthreads().values())) * (1 + _AHEAD)
        while len(self.running) < most:
            batch = again.popleft() if again else next(waiting, None)
            if batch is None:
                return
            future = self.client.submit(do_batch, batch, self.settings, self.work, pure=False)
            self.running[future] = batch
            self.finished.add(future)

    def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function on a worker, alone, to find out what ends workers."""
        try:
            return self.client.submit(do_call, self.settings, function, *arguments, pure=False).result()
        except self.distributed.KilledWorker:
            raise ProcessDiedError("the workers that worked on it died, one after the other") from None


def do_batch(batch: Sequence[Any], settings: Settings, work: Work) -> list[Any]:
    """Do some units on a worker."""
    _begin(settings)
    return [result for unit in batch for result in work(unit, lambda function, *arguments: function(*arguments))]


def do_call(settings: Settings, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function on a worker that has the model."""
    _begin(settings)
    return function(*arguments)


def _begin(settings: Settings) -> None:
    """Load the model once a worker, which has as many cores as it has threads."""
    threads = _distributed().get_worker().state.nthreads
    with _loading:
        set_thread_count(threads)
        begin(settings)


def _batches(units: Iterable[Any]) -> Iterator[list[Any]]:
    """Put units together to about `_PAIRS` pairs a batch; of units of another kind as many."""
    units, batch, pairs = iter(units), [], 0
    for unit in units:
        batch.append(unit)
        pairs += len(unit) if hasattr(unit, "pairs") else 1
        if pairs >= _PAIRS:
            yield batch
            batch, pairs = [], 0
    if batch:
        yield batch


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError:
        raise StudyError("Clusters need Dask: pip install 'retinamatch[cluster]'.") from None
    return distributed


__all__ = ["cluster_engine", "do_batch", "do_call"]
