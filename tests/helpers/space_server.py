"""The Space served from this process, so that tests can look inside and make parts of it fail."""

import socket
import tempfile
from contextlib import contextmanager

import pytest


@contextmanager
def serving(prepare: bool = True, **options):
    """Serve the page; gives its address. Skips the test where gradio is missing.

    Args:
        prepare: Load the models first.
        **options: For `space.app.launch`.
    """
    pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")
    from space.app import launch
    from space.page import build
    from space.service.models import load_all

    if prepare:
        load_all()
    page = build()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _, address, _ = launch(page, "127.0.0.1", port, prevent_thread_lock=True, quiet=True, **options)
    try:
        yield address.rstrip("/")
    finally:
        page.close()


def client(address: str):
    """A visitor with a session of their own, who keeps what they are given in a folder of their own."""
    from gradio_client import Client

    folder = tempfile.TemporaryDirectory(prefix="visitor-")
    visitor = Client(address, verbose=False, download_files=folder.name)
    visitor.folder = folder  # goes with the visitor
    return visitor


__all__ = ["client", "serving"]
