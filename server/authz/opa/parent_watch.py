"""Ending a process together with this one, for systems whose kernel doesn't do that."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final

NEEDED: Final = sys.platform != "linux"

# The pipe closes when the process that holds its other end is gone, whatever became of that.
_SCRIPT: Final = 'read -r _; kill -9 "$1"'


class ParentWatch:
    """A shell that waits for this process to end, however it ends, and then kills another one."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def of(cls, pid: int) -> ParentWatch:
        """Begin to wait; the process `pid` is ours, and `dismiss` is called as soon as it has ended."""
        command = ("/bin/sh", "-c", _SCRIPT, "companion", str(pid))
        return cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env={}, start_new_session=True
            )
        )

    async def dismiss(self) -> None:
        """Stop waiting, without killing a process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
