"""What the page stands: everything a bad visitor can send, to a server of its own on this computer, and a table of it.

python -m space.attack

It starts the page on 127.0.0.1 and sends nothing anywhere else; the number of requests is fixed. Behind each attack a
normal visitor asks for a registration: how long does that take? Then come many normal visitors: how much memory does
the server hold? Afterwards it is killed and started again.
"""

import http.client
import json
import os
import re
import secrets
import signal
import socket
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from gradio_client import Client, handle_file

from retinamatch.extractor import ROOTSIFT

from .hostile import BOMBS, EXAMPLE
from .load_test import EXAMPLES, held_memory, peak_memory, served


# What no answer and no line of the log may hold: files of the server, its places, errors of the program.
LEAKS = re.compile(rb"root:x:|Traceback|File \"/|retinamatch-attack|site-packages|\[project\]")
FILE = {"meta": {"_type": "gradio.FileData"}, "orig_name": "a.jpg"}
CLOSED = (
    *(("POST", f"/gradio_api/{name}") for name in ("process_recording", "component_server", "vibe-edit/", "stream/1")),
    *(("GET", f"/gradio_api/{name}") for name in ("deep_link", "monitoring/summary", "profiling/traces")),
    *(
        ("GET", name)
        for name in ("/monitoring", "/runs", "/login_check/../monitoring", "/gradio_api/proxy=http://[::1]/")
    ),
    *(("PUT", "/"), ("TRACE", "/"), ("DELETE", "/gradio_api/upload")),
)
PATHS = ("/etc/passwd", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "file:///etc/passwd", "{temp}", "{here}")
VISITORS = 500  # more than are remembered
EVERY = 25  # registrations between two looks at the memory
NUMBERS = (500, -1, 1e308, float("nan"), float("inf"), "3", True, [], {}, None)


@dataclass
class Row:
    """What one kind of attack did.

    Attributes:
        kind: In words.
        requests: How many were sent.
        leaks: Answers that hold what none may.
        wordless: Refusals without a word.
        crashes: Times that the server did not answer afterwards.
        waits: Seconds that a normal visitor waited behind one.
    """

    kind: str
    requests: int = 0
    leaks: int = 0
    wordless: int = 0
    crashes: int = 0
    waits: list[float] = field(default_factory=list)

    def note(self, status: int, answer: bytes) -> None:
        """Judge one answer."""
        self.requests += 1
        self.leaks += bool(LEAKS.search(answer))
        refused = status >= 400 or b"event: error" in answer
        self.wordless += refused and (b'"error": null' in answer or b"data: null" in answer or len(answer) < 10)


class Target:
    """The server under attack, on this computer.

    Args:
        address: Of the page.
        temp: Its folder of files.
    """

    def __init__(self, address: str, temp: str):
        place = urllib.parse.urlsplit(address)
        if place.hostname != "127.0.0.1":
            raise ValueError(f"Only a server on 127.0.0.1 is attacked, got {place.hostname}.")
        self.address, self.port, self.temp = address, place.port, temp

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Send one request; 0 where the connection was closed without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Content-Type": "application/json", **sent})
            answer = connection.getresponse()
            return answer.status, answer.read(2_000_000)
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def call(self, endpoint: str, data: Any) -> tuple[int, bytes]:
        """Ask an endpoint with any JSON, as no client of gradio would."""
        status, answer = self.ask("POST", f"/gradio_api/call/{endpoint}", json.dumps({"data": data}).encode())
        if status != 200:
            return status, answer
        return self.ask("GET", f"/gradio_api/call/{endpoint}/{json.loads(answer)['event_id']}")

    def upload(self, content: bytes, name: str = "a.jpg") -> dict:
        """Upload a file; gives what an endpoint takes."""
        _, answer = self.send_form((name, content))
        return {**FILE, "path": json.loads(answer)[0]}

    def send_form(self, *parts: tuple[str, bytes]) -> tuple[int, bytes]:
        """Upload a form of files, each with its name, and of fields, without one."""
        head = '--attack\r\nContent-Disposition: form-data; name="files"'
        names = (f'; filename="{name}"' if name else "" for name, _ in parts)
        body = b"".join(
            f"{head}{name}\r\n\r\n".encode() + content + b"\r\n" for name, (_, content) in zip(names, parts)
        )
        kind = "multipart/form-data; boundary=attack"
        return self.ask("POST", "/gradio_api/upload", body + b"--attack--\r\n", **{"Content-Type": kind})

    def register(self) -> float:
        """Be a normal visitor; returns the seconds until the answer.

        Raises:
            RuntimeError: The answer is not the right one.
        """
        start = time.perf_counter()
        pair = [handle_file(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
        answer = Client(self.address, verbose=False).predict(*pair, ROOTSIFT, api_name="/same_eye")
        if not answer[0].startswith("Same eye"):
            raise RuntimeError(answer[0])
        return time.perf_counter() - start

    def register_with_pictures(self) -> None:
        """Be another normal visitor, with the default model and all files: both take memory."""
        pair = [handle_file(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
        Client(self.address, verbose=False, download_files=False).predict(*pair, api_name="/register")


def bombs(target: Target) -> Iterator[tuple[int, bytes]]:
    """Hand in files that hurt decoders."""
    for make in BOMBS.values():
        photograph = target.upload(make())
        yield target.call("same_eye", [photograph, photograph, ROOTSIFT])


def strange_paths(target: Target) -> Iterator[tuple[int, bytes]]:
    """Ask for files of the server, and hand them in."""
    for pattern in PATHS:
        path = pattern.format(temp=target.temp, here=__file__)
        for route in ("file=", "file/", "static/", "assets/"):
            status, answer = target.ask("GET", f"/gradio_api/{route}{urllib.parse.quote(path, safe='/%=:')}")
            yield status, answer.replace(path.encode(), b"what was asked for")  # said back, it is no leak
        for stolen in (path, {**FILE, "path": path}, {**FILE, "path": None, "url": path}):
            yield target.call("same_eye", [stolen, stolen, ROOTSIFT])
    stolen = {**FILE, "path": f"{target.address}/theme.css"}
    yield target.call("same_eye", [stolen, stolen, ROOTSIFT])


def closed_routes(target: Target) -> Iterator[tuple[int, bytes]]:
    """Ask for what this page does not use, and under names that are not its own."""
    for method, path in CLOSED:
        yield target.ask(method, path, b"{}" if method == "POST" else None)
    for name in ("evil.example", "127.0.0.1.evil.example", "<script>evil", "a" * 5000):
        yield target.ask("GET", "/", Host=name)
        status, answer = target.ask("GET", "/", X_Forwarded_Host=name)
        yield status, b"Traceback: the name is in the page" if name.encode() in answer else answer


def strange_values(target: Target) -> Iterator[tuple[int, bytes]]:
    """Hand in numbers out of range, other types, too few and too many values, and no JSON."""
    good = target.upload(EXAMPLE.read_bytes())
    for number in NUMBERS:
        for place in range(3):
            numbers = [0, 0, 2]
            numbers[place] = number
            if number is not None and not (number is True and place == 2):
                yield target.call("register", [good, good, ROOTSIFT, "auto", *numbers, "fast"])
        yield target.call("series", [[good, good], number, ROOTSIFT, "auto"])
        yield target.call("same_eye", [number, good, ROOTSIFT])
        yield target.call("same_eye", [good, good, number if number is not None else "none"])
    for data in ([], [good] * 30, {"a": 1}, "text", None, [[[[]]]]):
        yield target.call("register", data)
    for body in (b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"data": ' + b"[" * 5000):
        for path in ("call/register", "queue/join", "run/register", "cancel"):
            yield target.ask("POST", f"/gradio_api/{path}", body)


def too_much(target: Target) -> Iterator[tuple[int, bytes]]:
    """Send JSON of millions of parts, forms without files or with far too many, and a history without end."""
    for path in ("call/register", "queue/join", "mcp/", "call/mcp", "call/upload"):
        for number in (300_000, 13_000_000):
            yield target.ask("POST", f"/gradio_api/{path}", b'{"data": [' + b"[]," * number + b"0]}")
    yield target.send_form(("", bytes(300_000_000)))
    yield target.send_form(*((f"{number}.jpg", b"%d" % number) for number in range(1000)))
    good = target.upload(EXAMPLE.read_bytes())
    yield target.call("series", [[good] * 300, 1, ROOTSIFT, "auto"])


def many_sessions(target: Target) -> Iterator[tuple[int, bytes]]:
    """Come as one visitor after the other, each with the request that costs least."""
    for _ in range(VISITORS):
        body = json.dumps({"data": [], "session_hash": secrets.token_hex(8)}).encode()
        yield target.ask("POST", "/gradio_api/run/models", body)


def broken_connections(target: Target) -> Iterator[tuple[int, bytes]]:
    """Leave in the middle of uploads, answers and jobs."""
    lines = "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n"
    lines += "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    lines += 'Content-Disposition: form-data; name="files"; filename="patient.jpg"\r\n\r\n'
    for content in (b"", lines.encode(), lines.encode() + bytes(100_000), b"\x16\x03\x01" + bytes(500)):
        with socket.create_connection(("127.0.0.1", target.port), timeout=10) as connection:
            connection.sendall(content)
        yield 0, b"none is read"
    good = target.upload(EXAMPLE.read_bytes())
    for _ in range(2):
        data = json.dumps({"data": [good, good, ROOTSIFT]}).encode()
        yield target.ask("POST", "/gradio_api/call/same_eye", data)  # and nobody fetches the answer


ATTACKS: dict[str, Callable[[Target], Iterator[tuple[int, bytes]]]] = {
    "files that hurt decoders": bombs,
    "files and addresses of the server": strange_paths,
    "closed routes, other names": closed_routes,
    "numbers, types, JSON": strange_values,
    "too many parts, fields, files, visits": too_much,
    "sessions": many_sessions,
    "broken connections, jobs left alone": broken_connections,
}


def run_attack(target: Target, kind: str, attack: Callable[[Target], Iterator[tuple[int, bytes]]]) -> Row:
    """Carry out one kind of attack, with a normal visitor at its beginning and one at its end."""
    row = Row(kind)
    waits: list[float] = []

    def visit() -> None:
        try:
            waits.append(target.register())
        except Exception:  # whatever it is: a normal visitor was not served
            row.crashes += 1

    visitor = threading.Thread(target=visit)
    for number, (status, answer) in enumerate(attack(target)):
        if number == 0:
            visitor.start()
        if answer != b"none is read":
            row.note(status, answer)
        else:
            row.requests += 1
    visitor.join(120)
    visit()
    row.waits = waits
    return row


def bombs_one_by_one(target: Target) -> list[Row]:
    """Hand in each bomb with a normal visitor right behind it."""
    rows = []
    for kind, make in BOMBS.items():
        row = Row(kind)
        photograph = target.upload(make())
        data = json.dumps({"data": [photograph, photograph, ROOTSIFT]}).encode()
        status, answer = target.ask("POST", "/gradio_api/call/same_eye", data)
        try:
            row.waits.append(target.register())
        except Exception:
            row.crashes += 1
        event = json.loads(answer)["event_id"] if status == 200 else ""
        row.note(*target.ask("GET", f"/gradio_api/call/same_eye/{event}"))
        rows.append(row)
    return rows


def left_after_restart(folder: Path) -> int:
    """Age all files of a killed server by two hours, start another one, and count what it leaves."""
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (0, time.time() - 7200))
    with served(folder=folder):
        return sum(path.is_file() for path in folder.rglob("*"))


def memory_over(target: Target, process: int, registrations: int, minutes: float) -> Iterator[str]:
    """Register again and again, each time from a session of its own; says what memory the server holds meanwhile.

    Args:
        target: The server.
        process: Its number.
        registrations: How many at most.
        minutes: For how long at most.
    """
    deadline = time.monotonic() + 60 * minutes
    yield _memory(process, "after the attacks")
    for number in range(1, registrations + 1):
        target.register_with_pictures()
        last = number == registrations or time.monotonic() > deadline
        if last or number % EVERY == 0:
            yield _memory(process, f"after {number} registrations")
        if last:
            return


def _memory(process: int, when: str) -> str:
    return f"Memory {when}: {held_memory(process) or 0:.0f} MB, {peak_memory(process) or 0:.0f} MB at most until then."


def table(rows: list[Row], alone: float) -> str:
    """Write the rows as Markdown."""
    lines = [
        "| attack | requests | leaks | refusals without words | crashes | longest wait of a normal visitor, s |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| none | 0 | 0 | 0 | 0 | {alone:.1f} |",
    ]
    for row in rows:
        wait = f"{max(row.waits):.1f}" if row.waits else "not served"
        lines.append(f"| {row.kind} | {row.requests} | {row.leaks} | {row.wordless} | {row.crashes} | {wait} |")
    return "\n".join(lines)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    registrations: Annotated[int, typer.Option(min=0, help="Registrations after the attacks, for the memory.")] = 100,
    minutes: Annotated[float, typer.Option(min=0, help="End them after so many.")] = 120,
) -> None:
    """Attack a server of its own and print what it stood."""
    with tempfile.TemporaryDirectory(prefix="retinamatch-attack-") as temp:
        folder, log = Path(temp) / "files", Path(temp) / "log"
        with served(folder=folder, log=log) as (address, process):
            target = Target(address, str(folder))
            alone = max(target.register() for _ in range(3))
            rows = [*bombs_one_by_one(target), *(run_attack(target, *one) for one in ATTACKS.items())]
            print(table(rows, alone), end="\n\n", flush=True)
            for line in memory_over(target, process, registrations, minutes):
                print(line, flush=True)
            os.kill(process, signal.SIGKILL)
        left = left_after_restart(folder)
        said = log.read_bytes()
    tracebacks, names = said.count(b"Traceback"), len(re.findall(rb"patient\.jpg|visit_\d|a\.jpg", said))
    print(f"In the log: {tracebacks} tracebacks, {names} names of files.")
    print(f"Left of the files of the killed server, two hours old, after a restart: {left}.")
    bad = sum(row.leaks + row.crashes + row.wordless for row in rows) + tracebacks + names + left
    slow = any(not row.waits or max(row.waits) > alone + 5 for row in rows)
    raise typer.Exit(1 if bad or slow else 0)


__all__ = ["ATTACKS", "Row", "Target", "bombs_one_by_one", "left_after_restart", "memory_over", "run_attack", "table"]


if __name__ == "__main__":
    app()
