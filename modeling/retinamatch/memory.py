"""How the C library handles the memory between two tensors."""

import ctypes
import sys
from collections.abc import Callable


# Names of glibc's malloc.h: mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones.

    Linux's C library (glibc) gives a large block back to the system when it is freed, and the system fills the next one
    with zeros before it hands it out. On a CPU a third of a network's time goes there. The price is memory that other
    processes do not get while this one runs, and that is why programs call this (the command line does), never the
    library.

    Returns:
        Whether the C library took it; False, and nothing changes, where it is not glibc.
    """
    if (mallopt := _function("mallopt")) is None:
        return False
    settings = {_M_MMAP_THRESHOLD: 1 << 30, _M_TRIM_THRESHOLD: 2**31 - 1, _M_ARENA_MAX: 1}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])


def use_one_arena() -> bool:
    """Let all threads allocate from one arena: for a server whose work moves from thread to thread.

    glibc gives threads arenas of their own, up to eight for each processor, and what is freed in one cannot be used by
    another. To be called before there are threads.

    Returns:
        Whether the C library took it; False, and nothing changes, where it is not glibc.
    """
    mallopt = _function("mallopt")
    return mallopt is not None and mallopt(_M_ARENA_MAX, 1) == 1


def give_back_freed_memory() -> bool:
    """Give memory that was freed back to the system now: for a server that works now and then, and for long.

    Without it, glibc keeps what lies between blocks that are in use.

    Returns:
        Whether the C library did; False, and nothing changes, where it is not glibc.
    """
    if (trim := _function("malloc_trim")) is None:
        return False
    trim(0)
    return True


def _function(name: str) -> Callable[..., int] | None:
    """Look up a function of glibc; None where the C library is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None  # musl has none


__all__ = ["give_back_freed_memory", "keep_freed_memory", "use_one_arena"]
