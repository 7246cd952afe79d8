"""The server's end of one child process that reads a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Final

from server.extraction.frames import BLOCK, HEAD, LONGEST_FRAME, BadFrame, Order, packed_order

_ROOT: Final = Path(__file__).resolve().parents[2]
_CODE: Final = f"import sys; sys.path.append({str(_ROOT)!r}); from server.extraction.child import main; main()"
_COMMAND: Final = (sys.executable, "-I", "-S", "-B", "-c", _CODE)
_ENVIRONMENT: Final[dict[str, str]] = {}


class Gone(Exception):
    """The process can't be started, or has ended; `status` is how, as far as it is known."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class ChildProcess:
    """A process that reads one file. It gets the file and gives its frames on two sockets, each at its own pace."""

    def __init__(self, process: subprocess.Popen[bytes], answers: StreamReader, ways: tuple[StreamWriter, ...]) -> None:
        self._process = process
        self._answers = answers
        self._ways = ways
        self._source_since: float | None = None
        self._source_seconds = 0.0

    @classmethod
    async def start(cls, order: Order) -> ChildProcess:
        """Start a process, which sees nothing of the server's environment; raises Gone."""
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            to_child, child_in = socket.socketpair()
            theirs.enter_context(child_in)
            _, to = await asyncio.open_unix_connection(sock=to_child, limit=BLOCK)
            ours.callback(to.transport.abort)
            from_child, child_out = socket.socketpair()
            theirs.enter_context(child_out)
            answers, back = await asyncio.open_unix_connection(sock=from_child, limit=BLOCK)
            ours.callback(back.transport.abort)
            try:
                # Nothing is awaited from here on, so a cancelled caller leaves no process behind.
                child = cls(_spawn(child_in, child_out), answers, (to, back))
            except OSError as fault:
                raise Gone(f"it can't be started: {fault.strerror}") from None
            ours.pop_all()
            to.write(packed_order(order))
            return child

    def source_seconds(self) -> float:
        """Return how long the process has had to wait for more of the file."""
        waits = 0.0 if self._source_since is None else monotonic() - self._source_since
        return self._source_seconds + waits

    async def feed(self, first: bytes, source: AsyncIterator[bytes]) -> None:
        """Send the file, `first` and then what the source gives; raises what the source raises.

        A process that needs no more of it has the rest left where it is.
        """
        to = self._ways[0]
        wanted = await _write(to, first)
        while wanted and (part := await self._next(source)) is not None:
            wanted = await _write(to, part)
        if wanted:
            to.write_eof()

    async def frame(self) -> tuple[bytes, bytes]:
        """Return the letter and the content of the next frame; raises Gone and BadFrame. It may be cancelled."""
        try:
            letter, size = HEAD.unpack(await self._answers.readexactly(HEAD.size))
            if size > LONGEST_FRAME:
                raise BadFrame("a frame is too long")
            return letter, await self._answers.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Gone("it ended", await asyncio.to_thread(self._process.wait)) from None

    async def end(self) -> None:
        """Kill the process with all that it may have started, and return when it is gone."""
        for way in self._ways:
            way.transport.abort()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)

    async def _next(self, source: AsyncIterator[bytes]) -> bytes | None:
        self._source_since = monotonic()
        try:
            return await anext(source, None)
        finally:
            self._source_seconds += monotonic() - self._source_since
            self._source_since = None


async def _write(to: StreamWriter, part: bytes) -> bool:
    """Send bytes, and return whether the process still takes them."""
    view = memoryview(part)
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(view), BLOCK):
            to.write(view[start : start + BLOCK])
            await to.drain()
        return not to.is_closing()
    return False


def _spawn(child_in: socket.socket, child_out: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process without the event loop, whose way to do so copies the server's page tables first."""
    return subprocess.Popen(  # noqa: S603 - nothing in it is of a request
        _COMMAND,
        stdin=child_in.fileno(),
        stdout=child_out.fileno(),
        stderr=subprocess.DEVNULL,  # a traceback might quote the file
        cwd="/",
        env=_ENVIRONMENT,
        process_group=0,  # Ctrl-C is for the server
    )
