"""Real Chromium and real servers for the tests of pages; what is missing skips the test and says so.

A test module makes its fixtures of these: `with chromium() as browser`, `with serve([...]) as server`,
`with opened(browser, server.url) as page`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.helpers.paths import REPOSITORY


# Debian's names, then those of other systems.
EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")
# Without the last ones, Chromium calls its maker's servers at every start.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium():
    """A browser of playwright; skips the test where playwright or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    executable = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if executable is None:
        pytest.skip(f"needs one of {', '.join(EXECUTABLES)} (on Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser, url: str, width: int = 1280, height: int = 900, **options) -> Iterator:
    """A page that asks nobody but this computer; after the block, an error on its console fails the test.

    `page.errors` and `page.outside` hold what was seen so far: errors, and addresses of other computers.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.errors, page.outside = [], []

    def answer(route):
        if "//127.0.0.1" in route.request.url or not route.request.url.startswith("http"):
            return route.continue_()
        page.outside.append(route.request.url)
        return route.fulfill(status=200, body="")

    context.route("**/*", answer)

    def note(message):
        url = message.location.get("url", "")
        # Gradio's client ends work that has ended in the same moment; the server knows none of that name any more.
        late = "422" in message.text and url.endswith(("/gradio_api/cancel", "/gradio_api/reset"))
        if message.type == "error" and not late:
            page.errors.append(f"{message.text} {url}")

    page.on("console", note)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(url, wait_until="domcontentloaded")
    yield page
    context.close()
    assert not page.errors, page.errors


def free_port() -> int:
    """A port of this computer that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A process that answers at an address."""

    url: str
    process: subprocess.Popen

    def kill(self):
        """End it without a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def serve(arguments: list[str], port: int | None = None, seconds: float = 60) -> Iterator[Server]:
    """Start `python ARGUMENTS --port PORT` in the repository, wait until it answers, and end it after the block."""
    port = port or free_port()
    command = [sys.executable, *map(str, arguments), "--port", str(port)]
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "modeling"), str(REPOSITORY)])
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + seconds
        while not _answers(server.url):
            assert process.poll() is None, f"{command} ended:\n{process.stdout.read()}"
            assert time.monotonic() < deadline, f"{command} did not answer within {seconds} seconds"
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
