"""Work on files of strangers: in a process of its own, which has little time and memory and can be ended.

A template process has imported the decoders and little else; for every call it forks a child, which sets its limits,
works and ends. What a file does to a decoder ends with that child. Where a system cannot fork, the work is done here.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from . import limits


_LIBRARY = "retinamatch"


class OverrunError(RuntimeError):
    """The work was ended because it took too much time or memory."""


class Call:
    """A function at work in a child.

    Args:
        connection: To the child.
    """

    def __init__(self, connection: Connection):
        self._connection = connection
        self._process = connection.recv()
        self._deadline = time.monotonic() + limits.WALL_SECONDS

    def wait(self, seconds: float) -> bool:
        """Wait a while; returns whether there is a result."""
        return self._connection.poll(seconds) or time.monotonic() > self._deadline

    def result(self) -> Any:
        """Wait for the result.

        Raises:
            OverrunError: The child was ended by its limits.
            Exception: What the function raised.
        """
        try:
            if not self._connection.poll(max(0.0, self._deadline - time.monotonic())):
                raise OverrunError
            good, result = self._connection.recv()
        except (EOFError, OSError):
            raise OverrunError from None
        self._process = None
        if isinstance(result, MemoryError):
            raise OverrunError
        if not good:
            raise result
        return result

    def end(self) -> None:
        """End the child if it is still at work."""
        if self._process is not None:
            try:
                os.kill(self._process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._connection.close()


class _DoneHere:
    """The same for systems that cannot fork."""

    def __init__(self, function: Callable, arguments: tuple):
        self._work = function, arguments

    def wait(self, seconds: float) -> bool:
        return True

    def result(self) -> Any:
        function, arguments = self._work
        return function(*arguments)


class _Template:
    """The process that forks children, started when it is first needed and again when it has ended."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    def connect(self) -> Connection:
        """Let it fork a child; returns the connection to that."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self._control, [b"."], [theirs.fileno()])
            return Connection(ours.detach())

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
            )


_TEMPLATE = _Template()


@contextmanager
def begun(function: Callable, *arguments: Any) -> Iterator[Call | _DoneHere]:
    """Begin some work; what is not done at the end of the block is ended.

    Args:
        function: Of `decoding.py`.
        *arguments: Its arguments.
    """
    if not hasattr(os, "fork"):
        yield _DoneHere(function, arguments)
        return
    connection = _TEMPLATE.connect()
    connection.send((function, arguments))
    try:
        call = Call(connection)
    except EOFError:
        raise OverrunError from None
    try:
        yield call
    finally:
        call.end()


def _serve(control: socket.socket) -> None:
    """Fork a child for every connection that comes; ends with the process that started this one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            try:
                _work(Connection(descriptors[0]))
            finally:
                os._exit(0)
        os.close(descriptors[0])


def _work(connection: Connection) -> None:
    connection.send(os.getpid())
    function, arguments = connection.recv()
    limits.set_limits()
    try:
        answer = True, function(*arguments)
    except Exception as error:
        answer = False, error
    try:
        connection.send(answer)
    except (pickle.PicklingError, TypeError, AttributeError):
        connection.send((False, RuntimeError(type(answer[1]).__name__)))
    except MemoryError as error:
        connection.send((False, error))


def _import_decoders() -> None:
    """Import what children need; of the library the one file alone, for its `__init__` would bring its networks."""
    where = next(path for path in sys.path if (Path(path) / _LIBRARY / "photographs.py").is_file())
    library = types.ModuleType(_LIBRARY)
    library.__path__ = [str(Path(where) / _LIBRARY)]
    sys.modules[_LIBRARY] = library
    from PIL import Image

    from . import decoding  # noqa: F401

    Image.init()


if __name__ == "__main__":
    _import_decoders()
    _serve(socket.socket(fileno=int(sys.argv[1])))

__all__ = ["Call", "OverrunError", "begun"]
