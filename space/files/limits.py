"""What a process that decodes files of strangers may take."""

import os
import signal
from pathlib import Path


OPEN_SECONDS, CPU_SECONDS = 1, 4  # of CPU, until a file is known to be a photograph within the limits, and in all
WALL_SECONDS = 20.0  # a busy computer takes longer for the same work
MOST_MEMORY = 1_200_000_000  # bytes beside those that the process has at first


def set_limits() -> None:
    """Limit this process, which has been forked to decode a file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (OPEN_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(int(2 * WALL_SECONDS))  # should the process that waits for it have gone
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # no Linux: the time alone is limited
        return
    most = pages * os.sysconf("SC_PAGE_SIZE") + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def allow_decoding() -> None:
    """Give this process, if it is limited, the time to decode a file that was opened and found to be a photograph."""
    if hasattr(os, "fork"):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
        if soft == OPEN_SECONDS:
            resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


__all__ = ["CPU_SECONDS", "MOST_MEMORY", "WALL_SECONDS", "allow_decoding", "set_limits"]
