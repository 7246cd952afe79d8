"""The decision log's sink: JSON lines, written in order by one thread, never lost while the server lives."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server.authz.errors import Failure, PolicyUnavailable

MAX_LINES: Final = 10_000
"""Lines that may wait for the sink; when there are more, whoever asks for a decision waits too."""

GATHER_SECONDS: Final = 0.01
"""How long lines are gathered to be written together: what a kill -9 of the server can lose."""

PATIENCE_SECONDS: Final = 2.0
"""How long a decision waits for room in a full queue before it fails, and how long `close` waits for the sink."""

_RETRY_SECONDS: Final = 0.1
_BATCH_LINES: Final = 1_000
_STANDARD_OUTPUT: Final = 1

_log = logging.getLogger("ostiary.decision_log")


class DecisionLog:
    """Appends lines to a file or to standard output, off the event loop; belongs to the loop that made it.

    A sink that can't be written, like a full disk, is tried again until it can be. Meanwhile lines queue up, and once
    the queue is full no decision is given out: `write` raises PolicyUnavailable.
    """

    def __init__(self, descriptor: int, *, owned: bool, max_lines: int = MAX_LINES) -> None:
        self._descriptor = descriptor
        self._owned = owned
        self._max = max_lines
        self._loop = asyncio.get_running_loop()
        # Shared with the thread. A deque's ends are atomic; `_appended` is only written here, `_written` only there.
        self._lines: deque[bytes] = deque()
        self._appended = 0
        self._written = 0
        self._waiting = 0
        self._closing = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._progress = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @classmethod
    def to_file(cls, path: Path, *, max_lines: int = MAX_LINES) -> DecisionLog:
        """Append to `path`, made with mode 0600 in a directory made with mode 0700; raises OSError if that fails."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _end_torn_line(descriptor)
        return cls(descriptor, owned=True, max_lines=max_lines)

    @classmethod
    def to_stdout(cls) -> DecisionLog:
        """Append to standard output."""
        return cls(_STANDARD_OUTPUT, owned=False)

    async def write(self, line: str) -> None:
        """Queue one line of ASCII; waits while the queue is full, and raises PolicyUnavailable if it stays so."""
        if len(self._lines) >= self._max or self._closing:
            await self._wait_for_room()
        self._lines.append(f"{line}\n".encode("ascii"))
        self._appended += 1
        if not self._wake.is_set():
            self._wake.set()

    async def flush(self) -> None:
        """Return when every line queued so far is written; raises PolicyUnavailable if that takes too long."""
        wanted = self._appended
        await self._until(lambda: self._written >= wanted)

    async def close(self) -> None:
        """Write what is queued and release the sink; the server's log tells how many lines were lost. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._hurry.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, PATIENCE_SECONDS)
        if self._appended > self._written:
            _log.error("%d lines of the decision log could not be written", self._appended - self._written)
        if self._owned and not self._thread.is_alive():
            os.close(self._descriptor)

    async def _wait_for_room(self) -> None:
        if self._closing:
            raise PolicyUnavailable(Failure.DECISION_LOG, "the decision log is closed")
        await self._until(lambda: len(self._lines) < self._max)

    async def _until(self, done: Callable[[], bool]) -> None:
        self._waiting += 1  # before looking: the thread tells of its progress to those it sees waiting
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not done():
                    self._hurry.set()
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            raise PolicyUnavailable(Failure.DECISION_LOG, "the decision log can't be written") from None
        finally:
            self._waiting -= 1

    def _run(self) -> None:
        while not self._closing or self._lines:
            self._wake.wait()
            self._wake.clear()
            self._hurry.wait(GATHER_SECONDS)
            self._hurry.clear()
            while self._lines:
                if not self._write_batch(min(len(self._lines), _BATCH_LINES)):
                    return

    def _write_batch(self, count: int) -> bool:
        """Write the oldest `count` lines; False if the log is closed before the sink takes them all."""
        rest = memoryview(b"".join([self._lines.popleft() for _ in range(count)]))
        failed = False
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as fault:
                if not failed:
                    _log.error("the decision log can't be written: %s", fault.strerror)
                failed = True
                if self._closing:
                    return False
                self._hurry.wait(_RETRY_SECONDS)
                self._hurry.clear()
        self._written += count
        if self._waiting:
            self._loop.call_soon_threadsafe(self._progress.set)
        return True


def _end_torn_line(descriptor: int) -> None:
    """End the line that a killed server left unfinished, so that it doesn't spoil the next one."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size and os.pread(descriptor, 1, status.st_size - 1) != b"\n":
        os.write(descriptor, b"\n")
