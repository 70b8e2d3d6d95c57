import signal

import pytest


pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")

from space import attack, load_test
from space.attack import ATTACKS, Row, Target, run_attack, table
from space.load_test import EXAMPLES
from space.service.ending import end_on_signals
from tests.helpers.space_server import serving


@pytest.mark.slow
def test_short_attack_leaves_no_trace(tmp_path, monkeypatch, capfd):
    """`python -m space.attack` is the whole of it: every bomb with a visitor behind it, memory, and a killed server."""
    kept = {name: make for name, make in attack.BOMBS.items() if "scans" in name or "chunks" in name}
    monkeypatch.setattr(attack, "BOMBS", kept)
    monkeypatch.setattr(attack, "NUMBERS", (500, float("nan"), "3"))
    monkeypatch.setattr(attack, "VISITORS", 20)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with serving() as address:
        target = Target(address, str(tmp_path))
        alone = target.register()
        rows = [run_attack(target, kind, send) for kind, send in ATTACKS.items()]
    for row in rows:
        assert (row.leaks, row.wordless, row.crashes) == (0, 0, 0), row
        assert row.requests >= len(kept) and len(row.waits) == 2
    # Far more than is promised: the machine that tests may be busy.
    assert max(wait for row in rows for wait in row.waits) < alone + 40
    assert table(rows, alone).count("\n") == len(rows) + 2
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err + printed.out and "patient.jpg" not in printed.err + printed.out


def test_only_this_computer_is_attacked():
    for address in ("http://example.com", "http://127.0.0.2:7860", "https://10.0.0.1"):
        with pytest.raises(ValueError, match="Only a server on 127.0.0.1 is attacked"):
            Target(address, "")


def test_answers_are_judged():
    row = Row("kind")
    row.note(500, b"Traceback (most recent call last)")
    row.note(200, b'event: error\ndata: {"error": null}')
    row.note(404, b'{"error": "There is nothing at this address."}')
    assert (row.requests, row.leaks, row.wordless) == (3, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_request_to_end_is_not_lost_in_a_destructor(number):
    class Asked:
        def __del__(self):
            signal.raise_signal(number)

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        ended = end_on_signals()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert ended.is_set()
        ended.clear()
        Asked()  # Python drops what is raised there
        assert ended.wait(0)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@pytest.mark.slow
def test_a_server_that_is_asked_to_end_leaves_nothing(tmp_path):
    """SIGTERM is what a container sends; the server of the load test ends with it."""
    with load_test.served(folder=tmp_path / "files") as (address, _):
        Target(address, "").upload((EXAMPLES / "visit_1.jpg").read_bytes())
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert not list((tmp_path / "files").rglob("*.jpg")) and not list((tmp_path / "files").rglob("*.png"))
