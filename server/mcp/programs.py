"""Programs that are servers of tools, as the operator configures them, and the processes that run them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from server.fairness.shares import Share
from server.mcp import launcher
from server.mcp.faults import McpFailed

PROGRAMS: Final = Share("programs of tools", 40, 4, waiting=256, waiting_each=16, seconds=10.0)
"""Processes of servers of tools. Each belongs to one caller, and some are kept for its next request."""

FURTHER: Final = Share("programs of tools beside another one", 24, 3, waiting=256, waiting_each=16, seconds=10.0)
"""Programs that are called for a caller who has calls under way in another program.

All other places are for callers who have none, so that those with several programs keep no other one out.
"""

GRACE_SECONDS: Final = 1.0
"""Seconds that a program has to end by itself once its input has ended; then it is killed."""

MOST_MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of memory that each process of a program may write to, unless the configuration says otherwise."""

_SCHEME: Final = "stdio:"
_LAUNCHER: Final = launcher.__file__
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_BLOCK: Final = 64 * 1024
_LAST_SECONDS: Final = 5.0
"""Seconds after which a launcher that does not end what it has started is killed itself."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program with its arguments, and what its environment has besides `PATH`; nothing else of ours is in that.

    Each of its processes has at most `most_memory` bytes.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    most_memory: int = MOST_MEMORY


def program_address(group: str) -> str:
    """Return the address that stands for the program of a group; no request can name one like it."""
    return f"{_SCHEME}{group}"


class ProgramProcess:
    """One running program, with `answers` on its output and `questions` on its input."""

    def __init__(self, process: subprocess.Popen[bytes], answers: StreamReader, questions: StreamWriter) -> None:
        self._process = process
        self.answers = answers
        self.questions = questions

    @classmethod
    async def start(cls, program: Program) -> ProgramProcess:
        """Start a process; raises McpFailed. A program that isn't there is a process that ends at once."""
        ours, theirs = socket.socketpair()
        with theirs:
            answers, questions = await asyncio.open_unix_connection(sock=ours, limit=_BLOCK)
            try:
                # Nothing is awaited from here on, so a cancelled caller leaves no process behind.
                return cls(_spawn(program, theirs), answers, questions)
            except OSError:
                questions.close()
                raise McpFailed("the program of the tools can't be started") from None

    @property
    def launcher(self) -> int:
        """The process that is the parent of all that the program has started."""
        return self._process.pid

    async def end(self, grace: float = GRACE_SECONDS) -> None:
        """End the program's input, kill it if it goes on after so many seconds and whatever it has started, and return
        once all is gone.

        It is killed at once where this is cancelled.
        """
        try:
            with contextlib.suppress(OSError):
                self.questions.write_eof()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await _until_end(self.answers)
        finally:
            # The launcher kills them; a program may have stopped it.
            for number in (signal.SIGTERM, signal.SIGCONT):
                self._process.send_signal(number)
            self.questions.transport.abort()
            await asyncio.to_thread(self._gone)

    def _gone(self) -> None:
        """Wait until the launcher has ended, and kill it where it does not."""
        try:
            self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


async def _until_end(answers: StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await answers.read(_BLOCK):
            pass


def _spawn(program: Program, end: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process without the event loop, whose way to do so copies the server's page tables first."""
    command = (sys.executable, "-I", "-S", "-B", _LAUNCHER, str(os.getpid()), str(program.most_memory))
    return subprocess.Popen(  # noqa: S603 - nothing in it is of a request
        (*command, *program.command),
        stdin=end.fileno(),
        stdout=end.fileno(),
        stderr=subprocess.DEVNULL,  # it might quote what a caller asks
        cwd="/",
        env={"PATH": _PATH, **program.environment},
        process_group=0,  # Ctrl-C is for the server
    )
