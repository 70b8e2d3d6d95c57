"""Processes that end with the one that started them."""

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends; an initializer for pools of processes.

    The processes of a pool go on with the work they have, and then wait for more for ever, when a signal ends the
    process that would tell them to stop.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="end_with_parent", daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


__all__ = ["end_with_parent"]
