"""The memory that programs of tools have together: it is looked at while they run, and what takes most makes way.

No process can be kept from taking memory that others count too, but by means of the system that need rights of its
administrator. So this looks at what is taken, and ends programs before the machine has none left. It does so on Linux.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from server.background.pauses import until_woken
from server.background.tasks import BackgroundTasks
from server.fairness.caller import Caller

LOOK_SECONDS: Final = 0.25
"""Seconds between two looks at the memory of programs of tools."""

SHARE_OF_MACHINE: Final = 2
"""The part of the machine's memory that programs of tools have together unless the configuration says otherwise: one in
so many.
"""

_THREADS: Final = Path("/proc/thread-self/children")
_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")
_REST: Final = 10
_LOOK: Final = "look at the memory of programs of tools"
_COUNTED: Final = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_EXACT: Final = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")

_log: Final = logging.getLogger("ostiary.tools")


class Measured(Protocol):
    """A program that runs for a caller: `launcher` is the process that all of its own descend from."""

    @property
    def caller(self) -> Caller:
        """The caller whose calls it answers."""
        ...

    @property
    def launcher(self) -> int:
        """The parent of all of its processes."""
        ...

    @property
    def is_called(self) -> bool:
        """True if a call is under way."""
        ...

    def give_up(self) -> None:
        """End the process at once; calls that are under way fail."""
        ...


class ProgramMemory:
    """Has programs make way where all of them have more than `most` bytes; belongs to one event loop."""

    def __init__(self, most: int, background: BackgroundTasks) -> None:
        self._most = most
        self._background = background
        self._programs: dict[Measured, None] = {}
        self._looks = False
        self._woken = asyncio.Event()

    def started(self, program: Measured) -> None:
        """Count a program from now on."""
        self._programs[program] = None
        self._woken.clear()
        if not self._looks:
            self._looks = True
            self._background.start(_LOOK, self._look())

    def ended(self, program: Measured) -> None:
        """Count a program no more."""
        self._programs.pop(program, None)
        if not self._programs:
            self._woken.set()

    async def _look(self) -> None:
        try:
            pause, clock = LOOK_SECONDS, asyncio.get_running_loop().time
            while self._programs:
                await until_woken(self._woken, pause)
                launchers, began = [program.launcher for program in self._programs], clock()
                self._make_way(await asyncio.to_thread(measured, launchers, self._most))
                # Programs that start thousands of processes make a look long, and not the looks a load.
                pause = max(LOOK_SECONDS, (clock() - began) * _REST)
        finally:
            self._looks = False

    def _make_way(self, found: Mapping[int, int]) -> None:
        sizes = {program: found.get(program.launcher, 0) for program in self._programs}
        leaving = ways(sizes, self._most)
        for program in leaving:
            self.ended(program)
            program.give_up()
        if leaving:
            _log.warning(
                "programs of tools had %d bytes of memory, and may have %d together: %d of them have ended",
                sum(sizes.values()),
                self._most,
                len(leaving),
            )


def ways(sizes: Mapping[Measured, int], most: int) -> list[Measured]:
    """Return the programs that have to end for the others to have at most so many bytes.

    They are those without a call under way, the largest first, where these are enough. Else they are the largest of the
    caller whose programs have most, one after the other.
    """
    excess = sum(sizes.values()) - most
    if excess <= 0:
        return []
    idle = sorted((each for each in sizes if not each.is_called), key=lambda each: -sizes[each])
    found = list[Measured]()
    if sum(sizes[each] for each in idle) >= excess:
        while excess > 0:
            found.append(idle.pop(0))
            excess -= sizes[found[-1]]
        return found
    left = dict(sizes)
    while excess > 0:
        held = defaultdict[Caller, int](int)
        for each, size in left.items():
            held[each.caller] += size
        found.append(max(left, key=lambda each: (held[each.caller], left[each])))
        excess -= left.pop(found[-1])
    return found


def part_of_machine() -> int:
    """Return the bytes that programs of tools have together by default."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        whole = min(whole, int(_CGROUP.read_text("ascii")))
    return whole // SHARE_OF_MACHINE


def measured(launchers: Iterable[int], most: int) -> dict[int, int]:
    """Return the bytes of memory of the descendants of each process; none where the system does not tell them.

    Memory that processes share is divided among them where all have more than `most` if it is counted for each.
    """
    below = _told_children if _THREADS.exists() else _all_children().__getitem__
    trees = {launcher: _descendants(launcher, below) for launcher in launchers}
    quick = {launcher: sum(_bytes(each, "status", _COUNTED) for each in tree) for launcher, tree in trees.items()}
    if sum(quick.values()) <= most:
        return quick
    return {launcher: sum(map(_exactly, tree)) for launcher, tree in trees.items()}


def _told_children(process: int) -> list[int]:
    """Return the children of a process as the kernel tells them for each of its threads."""
    found = list[int]()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208 - it is looked at several times a second
            with suppress(OSError):
                found += map(int, _read(f"/proc/{process}/task/{thread}/children").split())
    return found


def _all_children() -> dict[int, list[int]]:
    """Return the children of all processes, for kernels that do not tell those of one."""
    found = defaultdict[int, list[int]](list)
    with suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - as above
            if name.isdigit():
                with suppress(OSError, ValueError, IndexError):
                    # Its name stands in brackets, and may hold anything.
                    found[int(_read(f"/proc/{name}/stat").rpartition(b")")[2].split()[1])].append(int(name))
    return found


def _descendants(process: int, below: Callable[[int], list[int]]) -> list[int]:
    found, ahead = list[int](), [process]
    while ahead:
        children = below(ahead.pop())
        found += children
        ahead += children
    return found


def _exactly(process: int) -> int:
    """Return the bytes of a process, with its part of what it shares; all of that where the system does not tell."""
    return _bytes(process, "smaps_rollup", _EXACT) or _bytes(process, "status", _COUNTED)


def _bytes(process: int, file: str, names: tuple[bytes, ...]) -> int:
    """Return the sum of these lines, each a name and a number of kilobytes; 0 for a process that has ended."""
    with suppress(OSError):
        lines = _read(f"/proc/{process}/{file}").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))
    return 0


def _read(file: str) -> bytes:
    with open(file, "rb") as told:  # noqa: PTH123 - as above
        return told.read()
