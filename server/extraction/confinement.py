"""The walls around a child process that reads a file of a caller.

A confined process can open no file, reach no network or socket and start no process, and its memory and time are
limited. Three means build the walls, each as far as the system has it: namespaces with an empty root, Landlock, and a
filter of system calls. `confine` tries the walls afterwards, and tells what it found.

This module runs in the child, so it imports the standard library and modules of this package alone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from server.extraction.landlock import lock_files_and_ports
from server.extraction.limits import BYTES_PER_SECOND, CPU_SECONDS, MEMORY, MOST_CPU_SECONDS, OPEN_FILES
from server.extraction.system_calls import filter_system_calls

FILES: Final = "files"
NETWORK: Final = "network"
PROCESSES: Final = "processes"
WALLS: Final = (FILES, NETWORK, PROCESSES)
"""What a confined process can't reach."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_NICE: Final = 10
_WORST_OOM_SCORE: Final = b"1000"

_NEW_MOUNTS: Final = 0x00020000
_NEW_UTS: Final = 0x04000000
_NEW_IPC: Final = 0x08000000
_NEW_USER: Final = 0x10000000
_NEW_NET: Final = 0x40000000
_MOUNT_READ_ONLY: Final = 1 | 2 | 4 | 8  # and nosuid, nodev, noexec
_MOUNT_PRIVATE: Final = 0x4000 | 0x40000  # with all below
_DETACH: Final = 2
_CAPABILITIES_3: Final = 0x20080522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}


def cpu_limit(size: int) -> int:
    """Return the seconds of a processor that a file of this many bytes may take."""
    return min(MOST_CPU_SECONDS, CPU_SECONDS + size // BYTES_PER_SECOND)


def die_with(parent: int) -> None:
    """Have Linux kill this process when the one that started it ends; it ends here if that is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def limit(cpu_seconds: int) -> None:
    """Limit the memory, time and files of this process, and let all others come first."""
    with suppress(OSError):  # where memory runs out all the same, let it be this process that Linux ends
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, _WORST_OOM_SCORE)
        os.close(score)
    os.nice(_NICE)
    for kind, amount, most in (
        (resource.RLIMIT_AS, MEMORY, MEMORY),
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),  # at the second one, Linux doesn't say why it kills
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),  # a core file would hold the text
    ):
        with suppress(ValueError, OSError):  # some systems know no such limit
            resource.setrlimit(kind, (amount, most))


def confine(parent: int) -> tuple[str, ...]:
    """Build the walls, and return those of WALLS that hold when they are tried. What is needed is imported before."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        _enter_namespaces(libc)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        lock_files_and_ports(libc)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    die_with(parent)  # the kernel forgets it when a process changes its user
    if sys.platform == "linux":
        filter_system_calls(libc)
    return tuple(wall for wall, reaches in _ATTEMPTS.items() if not _succeeds(reaches))


def _enter_namespaces(libc: ctypes.CDLL) -> None:
    """Leave the network, the mounts and the rights of the system, as far as it lets this process."""
    everything = _NEW_USER | _NEW_NET | _NEW_IPC | _NEW_UTS
    if libc.unshare(everything | _NEW_MOUNTS) == 0:
        _enter_empty_root(libc)
    else:
        libc.unshare(everything)
    _drop_capabilities(libc)


def _enter_empty_root(libc: ctypes.CDLL) -> None:
    """Make an empty directory in memory the root, so that no socket has a path either."""
    pivot_root = _PIVOT_ROOT.get(os.uname().machine)
    if pivot_root is None or libc.mount(None, b"/", None, _MOUNT_PRIVATE, None) != 0:
        return
    if libc.mount(b"none", b"/proc", b"tmpfs", _MOUNT_READ_ONLY, b"size=4k,nr_inodes=2,mode=555") != 0:
        return
    with suppress(OSError):
        os.chdir("/proc")
        if libc.syscall(pivot_root, b".", b".") == 0:
            libc.umount2(b".", _DETACH)
            os.chdir("/")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up the rights that a new namespace of users brings, and those of root."""
    capset = _CAPSET.get(os.uname().machine)
    if capset is not None:
        header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
        libc.syscall(capset, header, (ctypes.c_uint32 * 6)())


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, ImportError):
        return False
    return True


def _reach_a_file() -> None:
    os.close(os.open(sys.executable, os.O_RDONLY))


def _reach_the_network() -> None:
    """Reach an address, to which nothing is sent, or a socket with a path; raises OSError where neither can be."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.connect(("127.0.0.1", 9))
    except OSError:
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
        os.stat(sys.executable)  # noqa: PTH116 - in an empty root no socket has a path


def _start_a_process() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


_ATTEMPTS: Final[dict[str, Callable[[], None]]] = {
    FILES: _reach_a_file,
    NETWORK: _reach_the_network,
    PROCESSES: _start_a_process,
}
