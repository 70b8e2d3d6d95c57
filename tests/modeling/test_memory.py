import platform
import subprocess
import sys

import pytest

from retinamatch import memory


# Blocks of 64 MB, one after the other; page faults say whether the system had to hand out new memory for each.
PROGRAM = """
import resource, sys
import numpy as np
from retinamatch.memory import keep_freed_memory
took = sys.argv[1] == "keep" and keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8_000_000)
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
# Threads that allocate at the same time; malloc_info says how many arenas they did it from.
THREADS = """
import ctypes, runpy, sys, threading
memory = runpy.run_path(sys.argv[4])  # alone: the library itself has threads
took, many = sys.argv[1] == "one" and memory["use_one_arena"](), int(sys.argv[2])
library, together = ctypes.CDLL(None), threading.Barrier(many)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
def allocate():
    together.wait()
    library.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(many)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
library.fopen.restype, library.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
library.malloc_info.argtypes, library.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
told = library.fopen(sys.argv[3].encode(), b"w")
library.malloc_info(0, told), library.fclose(told)
print(took, open(sys.argv[3]).read().count("<heap nr="))
"""
of_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="needs Linux with glibc, whose allocator this is about"
)


def run(program, *words):
    done = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=True)
    took, number = done.stdout.split()
    return took == "True", int(number)


@of_glibc
@pytest.mark.slow
def test_freed_memory_is_used_again():
    took, faults = run(PROGRAM, "keep")
    assert took
    assert faults < run(PROGRAM, "leave")[1] / 2


@of_glibc
@pytest.mark.parametrize("threads", [1, 3, 12])
def test_threads_share_one_arena(threads, tmp_path):
    files = tmp_path / "told", memory.__file__
    assert run(THREADS, "one", threads, *files) == (True, 1)
    assert run(THREADS, "many", threads, *files)[1] > 1


@pytest.mark.parametrize("system", ["darwin", "win32", "linux"])
def test_nothing_happens_without_glibc(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # a library without mallopt, as musl is
    assert memory.keep_freed_memory() is memory.use_one_arena() is memory.give_back_freed_memory() is False
