"""A sampling profiler for `ostiary`: `python -m bench.sampler SAMPLES run CONFIG` writes its samples at the end.

It begins on SIGUSR1, so that the start of the server is left out. The kernel's profiling clock interrupts the process
after every millisecond (or tick) of processor time, and the stack of the main thread is counted. That costs little, so
the shares are close to those of an unprofiled server.
"""

from __future__ import annotations

import signal
import sys
import sysconfig
from collections import Counter
from functools import cache
from json import dumps
from pathlib import Path
from types import FrameType
from typing import Final

from server.cli.main import app

_SECONDS: Final = 0.001
_SITE: Final = f"{sysconfig.get_path('purelib')}/"
_STDLIB: Final = f"{sysconfig.get_path('stdlib')}/"
_OURS: Final = f"{Path(__file__).parent.parent}/"

Stack = tuple[str, ...]


class Sampler:
    """Counts stacks; a stack is `file:function` from the outermost call to the one that was running."""

    def __init__(self) -> None:
        self.stacks: Counter[Stack] = Counter()

    def start(self, number: int, frame: FrameType | None) -> None:
        """Begin to count, until `stop`; can handle a signal."""
        signal.signal(signal.SIGPROF, self._count)
        # An interrupted system call is restarted.
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)

    def stop(self) -> None:
        """End the count."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _count(self, number: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(f"{_short(frame.f_code.co_filename)}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        self.stacks[tuple(reversed(stack))] += 1


@cache
def _short(file: str) -> str:
    """Return the end of a path that identifies the code: `server/app.py`, `aiohttp/client.py`, `stdlib/json/…`."""
    for root, name in ((_SITE, ""), (_STDLIB, "stdlib/"), (_OURS, "")):
        if file.startswith(root):
            return name + file.removeprefix(root)
    return file


def main() -> None:
    """Run the command line under the profiler."""
    out = Path(sys.argv.pop(1))
    sampler = Sampler()
    signal.signal(signal.SIGUSR1, sampler.start)
    try:
        app(prog_name="ostiary")
    finally:
        sampler.stop()
        out.write_text(dumps([[list(stack), count] for stack, count in sampler.stacks.most_common()]))


if __name__ == "__main__":
    main()
