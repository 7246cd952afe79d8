"""Child processes: each has a process group of its own, and ends with the server."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def prepare_child() -> Callable[[], None]:
    """Return what a child runs before it becomes its program: Ctrl-C doesn't reach it, and it ends with this process.

    The first needs a process group of its own. A session would do, too, but is also a scheduling group of its own
    (Linux's autogroup): on one core such a group waited for 0.3 s beside two busy threads of the server. The second is
    for Linux alone: the kernel kills the child when its parent's thread ends.
    It runs between fork and exec, where only system calls are safe, so all else is prepared here.
    """
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def before_exec() -> None:
        os.setpgid(0, 0)
        if prctl is None:
            return
        failed = prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if failed or os.getppid() != parent:  # the parent may have ended before the kernel knew
            os._exit(1)

    return before_exec


def outlive_parent() -> None:
    """Take back, in a child, that it ends with its parent; it has to notice that end by itself from then on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
