"""The filter of system calls: a process that computes, and reads and writes what it has open, needs few of them.

All others fail with EPERM, so that Python raises OSError. This module runs in the child, so it imports the standard
library alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import pack
from typing import Final

_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The column in `_CALLS`, and the kernel's number of the architecture."""

_CALLS: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "poll": (7, 73),  # ppoll
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
"""The calls that stay, with their numbers on each architecture."""

_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_ARCHITECTURE_AT: Final = 4
_NUMBER_AT: Final = 0
_ALLOW: Final = 0x7FFF0000
_FAIL: Final = 0x00050000 | errno.EPERM
_KILL: Final = 0x80000000


class _Program(ctypes.Structure):
    """A filter as the kernel takes it: the number of its instructions, and their place."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def filter_system_calls(libc: ctypes.CDLL) -> bool:
    """Leave this process the calls of `_CALLS`, and return whether that could be done. It needs `no_new_privs`."""
    known = _ARCHITECTURES.get(os.uname().machine)
    if known is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    column, architecture = known
    code = _instructions([numbers[column] for numbers in _CALLS.values()], architecture)
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _instructions(numbers: list[int], architecture: int) -> bytes:
    """Return the filter: calls in another architecture's way end the process."""
    count = len(numbers)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, count - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _FAIL),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(pack("HBBI", *step) for step in steps)
