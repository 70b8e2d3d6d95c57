"""However a process ends that has a pool, the processes of the pool end with it, busy or idle."""

import functools
import os
import signal
import subprocess
import sys
import time

import pytest

from retinamatch import processes


PARENT = """
import os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from runpy import run_path

def begin():
    run_path(sys.argv[1])["end_with_parent"]()

def compute(seconds):
    end = time.time() + seconds
    while time.time() < end:
        pass
    return os.getpid()

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, in all that it starts
    pool = ProcessPoolExecutor(2, get_context("spawn"), begin)
    first = [pool.submit(compute, 0.5) for _ in range(2)]
    print(*{job.result() for job in first}, flush=True)
    for _ in range(6 if sys.argv[2] == "busy" else 0):
        pool.submit(compute, 100)
    time.sleep(100)
"""


def running(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
@pytest.mark.parametrize("state", [pytest.param("busy", marks=pytest.mark.slow), "idle"])
def test_the_processes_of_a_pool_end_with_their_parent(tmp_path, end, state):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, tmp_path / "parent.py", processes.__file__, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(number) for number in parent.stdout.readline().split()]
        assert workers and all(map(running, workers))
        parent.send_signal(end)
    deadline = time.time() + 60
    while any(map(running, workers)) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(map(running, workers))


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_results_of_work(count):
    work = {str(number): functools.partial(pow, number, 2) for number in range(5)}
    assert dict(processes.results_of(work, count)) == {str(number): number**2 for number in range(5)}


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_work_is_raised(count):
    with pytest.raises(ValueError, match="invalid literal"):
        list(processes.results_of({"good": int, "bad": functools.partial(int, "x")}, count))


def _unit(calls, call):
    for function, *arguments in calls:
        try:
            yield call(function, *arguments)
        except processes.ProcessDiedError:
            yield "died"


@pytest.mark.slow
def test_a_process_that_dies_takes_one_call_along_and_an_error_is_raised():
    units = [[(pow, 3, 2)], [(pow, 4, 2), (os._exit, 3), (abs, -5)], [(int, "x")]]
    found = []
    with pytest.raises(ValueError, match="invalid literal"):
        for result in processes.surviving_results(units, _unit, 1, int):
            found.append(result)
    assert found == [9, 16, "died", 5]
