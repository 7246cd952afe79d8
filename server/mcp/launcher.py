"""The parent of a program of tools: starts it, bounds its memory, and ends all that it has started.

It runs as a script, `launcher.py SERVER BYTES COMMAND...`, in an interpreter of its own that imports the standard
library alone. On Linux, children whose parents have ended become its own, also those with a session of theirs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_IS_LINUX: Final = sys.platform == "linux"
_AWAITED: Final = (signal.SIGTERM, signal.SIGCHLD, signal.SIGCONT)
_PAUSE_SECONDS: Final = 0.005
_END_SECONDS: Final = 4.0


def launch(server: int, most: int, command: list[str]) -> None:
    """Run a command whose processes have `most` bytes of memory each, and return once all of them have ended.

    They are killed on SIGTERM, and on Linux where the process `server` has ended: the kernel tells that by SIGCONT,
    the one signal that reaches a launcher which its program has stopped. Other signals are ignored, which the program
    may send.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _call_kernel(_PR_SET_CHILD_SUBREAPER, 1)
    _call_kernel(_PR_SET_PDEATHSIG, signal.SIGCONT)
    if os.getppid() != server:
        return
    launcher = os.getpid()
    program = os.fork()
    if not program:
        try:
            _become(launcher, most, command, before)
        finally:
            os._exit(127)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        # The streams end with the program.
        os.dup2(null, stream)
    while _has_children():
        if signal.sigwait(_AWAITED) == signal.SIGTERM or os.getppid() != server:
            _end_all(program)
            return


def _become(launcher: int, most: int, command: list[str], mask: set[signal.Signals] | set[int]) -> None:
    """Turn this process into the program."""
    os.setpgid(0, 0)
    _call_kernel(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    # What is reserved and not used isn't counted, of which some languages reserve a lot.
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execv(command[0], command)  # noqa: S606 - it is a command of the configuration


def _has_children() -> bool:
    """Take note of children that have ended, and return whether there are others."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


def _end_all(program: int) -> None:
    """Kill every child; children of those that end come here, and are killed in turn."""
    until = time.monotonic() + _END_SECONDS
    while _has_children() and time.monotonic() < until:
        try:
            found = [(child, os.kill) for child in _children()]
        except OSError:
            # No system but Linux tells them.
            found = [(program, os.killpg)]
        for number, kill in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(number, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def _children() -> Iterator[int]:
    """Yield the children of this process; raises OSError where the system does not tell them."""
    own = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes longer to import than all else
        if name.isdigit() and _parent_of(name) == own:
            yield int(name)


def _parent_of(process: str) -> int | None:
    """Return the parent of a process; None where it has ended."""
    try:
        with open(f"/proc/{process}/stat", "rb") as told:  # noqa: PTH123 - as above
            # Its name stands in brackets, and may hold anything.
            return int(told.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _call_kernel(option: int, value: int) -> None:
    if _IS_LINUX:
        ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0)


if __name__ == "__main__":
    launch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
