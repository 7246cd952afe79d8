"""Memory that is freed goes back to the system, though blocks that stay are between those that are freed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROGRAM = """
import ctypes, sys
from server.storage.vectors import memory

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def block(size):
    found = library.malloc(size)
    ctypes.memset(found, 1, size)
    return found

if sys.argv[1] == "bound":
    memory.bound()
# Once a large block was freed, the C library keeps others up to its size.
library.free(block(30_000_000))
before = resident()
large = []
for _ in range(60):
    large.append(block(1_000_000))
    block(2000)
for each in large:
    library.free(each)
print(resident() - before)
memory.give_back()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_large_blocks_go_back_at_once_and_others_when_they_are_asked_for() -> None:
    def kept(how: str) -> list[int]:
        command = [sys.executable, "-c", PROGRAM, how]
        found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return [*map(int, found.split())]

    bound, usual = kept("bound"), kept("usual")
    assert max(bound) < 5_000_000
    assert usual[0] > 50_000_000
    assert usual[1] < 5_000_000
