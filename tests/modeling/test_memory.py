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


def run(word):
    done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
    took, faults = done.stdout.split()
    return took == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs Linux with glibc, whose allocator this is about")
@pytest.mark.slow
def test_freed_memory_is_used_again():
    took, faults = run("keep")
    assert took
    assert faults < run("leave")[1] / 2


@pytest.mark.parametrize("system", ["darwin", "win32", "linux"])
def test_nothing_happens_without_glibc(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # a library without mallopt, as musl is
    assert memory.keep_freed_memory() is False
