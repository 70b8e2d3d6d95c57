"""How long a pair takes on this computer, from the last ones."""

import statistics
import threading
from collections import deque


class Pace:
    """The median of the last durations; safe to use from several threads."""

    def __init__(self, remembered: int = 15):
        self._seconds: deque[float] = deque(maxlen=remembered)
        self._lock = threading.Lock()

    def note(self, seconds: float) -> None:
        """Remember how long one pair took."""
        with self._lock:
            self._seconds.append(seconds)

    def words(self) -> str:
        """Write a sentence for the page."""
        with self._lock:
            seconds = statistics.median(self._seconds) if self._seconds else None
        waiting = "when others are before you, your place in the queue is shown"
        if seconds is None:
            return f"A pair takes a few seconds; {waiting}."
        return f"A pair takes about {max(1, round(seconds))} seconds here; {waiting}."


PACE = Pace()

__all__ = ["PACE", "Pace"]
