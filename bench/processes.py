"""Separate processes for each measured server, and their cost by the kernel's account."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SERVES: Final = re.compile(r"serves on \S+:(\d+)\s")
_LOOK_SECONDS: Final = 0.005
_END_SECONDS: Final = 40.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PROCESSOR_CLOCK: Final = 2
"""Linux' CPUCLOCK_SCHED, as in clock_getcpuclockid(3)."""

ROOT: Final = Path(__file__).parent.parent
"""This checkout."""


class NotStarted(Exception):
    """Raised if a process ended before it was ready; the message is its output."""


class NotEnded(Exception):
    """Raised if a process had to be killed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds and resident bytes, of the server's own processes and of its OPA."""

    server: float
    opa: float
    server_bytes: int
    opa_bytes: int


@dataclass(frozen=True, slots=True)
class Running:
    """A process and its children, listening on 127.0.0.1:`port`."""

    pid: int
    port: int

    def processes(self) -> list[int]:
        """Return their ids."""
        return [*_tree(self.pid)]

    def kill(self) -> None:
        """End them at once."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cost(self) -> Cost:
        """Return their processor time since they started, and their current memory."""
        seconds, size = {True: 0.0, False: 0.0}, {True: 0, False: 0}
        for pid, stat in _tree(self.pid).items():
            # Fields as in proc(5), after the name's bracket; the name of a binary is the file's.
            name, _, rest = stat.partition("(")[2].rpartition(")")
            fields = rest.split()
            is_opa = name.startswith("opa")
            # One that has ended since has no clock.
            with suppress(OSError):
                seconds[is_opa] += time.clock_gettime(_clock_of(pid))
            size[is_opa] += int(fields[21]) * _PAGE
        return Cost(seconds[False], seconds[True], size[False], size[True])


@contextmanager
def running(
    arguments: Sequence[str], said: Path, environment: Mapping[str, str] | None = None, root: Path = ROOT
) -> Iterator[Running]:
    """Run `python -m ARGUMENTS` and wait for its line `serves on …:PORT`; end it with the context. Raises NotStarted,
    and NotEnded where it has to be killed.

    `root` is the checkout whose code runs. Its output goes to the file `said`: a pipe that is never read would block
    it.
    """
    with said.open("w") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            [sys.executable, "-m", *arguments], cwd=root, env=environment, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        while (found := _SERVES.search(said.read_text())) is None:
            if process.poll() is not None:
                raise NotStarted(f"`{arguments[0]}` did not start: {said.read_text()}")
            time.sleep(_LOOK_SECONDS)
        yield Running(process.pid, int(found[1]))
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            Running(process.pid, 0).kill()
            process.wait()
            raise NotEnded(f"`{arguments[0]}` did not end within {_END_SECONDS:.0f} s") from None


def _clock_of(pid: int) -> int:
    """Return the clock of a process's processor time, which counts nanoseconds; `stat` has it in ticks of 10 ms."""
    return (~pid << 3) | _PROCESSOR_CLOCK


def _tree(root: int) -> dict[int, str]:
    """Return the `stat` lines of a process and its descendants, by their ids."""
    stats: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(path.parent.name)
        stats[pid] = stat
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(pid)
    found, waiting = {}, [root]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            found[pid] = stats[pid]
        waiting += children.get(pid, [])
    return found
