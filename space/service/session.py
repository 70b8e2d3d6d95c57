"""What the page remembers of the last pair of each visitor, so that another threshold needs no network.

The memory is bounded: so many pairs, for so long; the oldest goes first. A pair is found by a key that stays on the
server, in the visitor's session.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from retinamatch.keypoint_set import Keypoints

from ..files.uploads import Upload


CAPACITY = 8  # about 25 MB each, nearly all of it descriptors
LIFETIME = 3600.0  # seconds


class SessionError(LookupError):
    """What was remembered is gone; the message is one sentence for the visitor."""


@dataclass
class Pair:
    """Two photographs, and what the network has found in them.

    Attributes:
        moving: The photograph that is mapped.
        fixed: The photograph that it is mapped onto.
        moving_keypoints: Its keypoints, with dense descriptors and heat map.
        fixed_keypoints: The same of the fixed one.
        model: What has found them.
        timings: Seconds of reading and of finding.
        points: (P, 4), places that a person set in both photographs; None for none.
    """

    moving: Upload
    fixed: Upload
    moving_keypoints: Keypoints
    fixed_keypoints: Keypoints
    model: str
    timings: dict[str, float] = field(default_factory=dict)
    points: np.ndarray | None = None


class Memory:
    """Pairs by key.

    Args:
        capacity: Most pairs kept.
        lifetime: Seconds that a pair is kept.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, capacity: int = CAPACITY, lifetime: float = LIFETIME, clock: Callable[[], float] = time.monotonic
    ):
        self.capacity, self.lifetime, self.clock = capacity, lifetime, clock
        self._pairs: OrderedDict[str, tuple[float, Pair]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pairs)

    def keep(self, pair: Pair, instead_of: str | None = None) -> str:
        """Remember a pair, instead of the visitor's former one; returns its key."""
        key = secrets.token_hex(16)
        with self._lock:
            self._pairs.pop(instead_of, None)
            self._pairs[key] = (self.clock(), pair)
            self._forget_old()
        return key

    def get(self, key: str | None) -> Pair:
        """Give a pair back.

        Raises:
            SessionError: There is none, or no longer.
        """
        with self._lock:
            self._forget_old()
            if key not in self._pairs:
                what = "There is no registered pair yet" if key is None else "The last pair is no longer remembered"
                raise SessionError(f"{what}; press Register first.")
            return self._pairs[key][1]

    def _forget_old(self) -> None:
        now = self.clock()
        while self._pairs:
            kept_at, _ = next(iter(self._pairs.values()))
            if len(self._pairs) <= self.capacity and now - kept_at <= self.lifetime:
                return
            self._pairs.popitem(last=False)


MEMORY = Memory()

__all__ = ["CAPACITY", "LIFETIME", "MEMORY", "Memory", "Pair", "SessionError"]
