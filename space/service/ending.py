"""The program ends when it is asked to, wherever the request finds it."""

import signal
import threading


def end_on_signals() -> threading.Event:
    """Let SIGTERM and SIGINT set an event and raise KeyboardInterrupt, which Python drops in a destructor."""
    ended = threading.Event()

    def end(*_) -> None:
        ended.set()
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return ended


__all__ = ["end_on_signals"]
