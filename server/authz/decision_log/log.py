"""The decision log: lines written in order, off the event loop, and never lost with the process.

What is promised: a decision is acted on once its line is in the journal, which is memory of the kernel's that outlives
the process; within `GATHER_SECONDS` or so it is in the log, and within `SYNC_SECONDS` the disk is asked to keep it.
What a killed server had not written, the next one that starts with the same log writes, each line once. A power failure
takes the last second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.decision_log.disk_space import DiskSpace
from server.authz.decision_log.journal import Journal, left_behind
from server.authz.decision_log.limits import LINES
from server.authz.decision_log.record import Counted
from server.authz.decision_log.refusals import Refusals
from server.authz.decision_log.sink import LogFile, Rotation, Sink, Stream
from server.fairness.shares import FairShares, NoRoom, Turn

GATHER_SECONDS: Final = 0.02
"""The time for which lines are gathered where many come; where few come, each is written at once."""

PROMPT: Final = 20
"""Writings in one period of `PROMPT_SECONDS` that gather nothing: a caller who looks finds its own lines."""

PROMPT_SECONDS: Final = 0.1

PATIENCE_SECONDS: Final = 2.0
"""The time that a decision waits for a sink that takes no lines before it fails, and that `close` waits for it."""

SYNC_SECONDS: Final = 1.0
"""The greatest age of a line before the disk is asked to keep it."""

_RETRY_SECONDS: Final = 0.1
_UNWRITABLE: Final = "the decision log can't be written"
_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2

_log = logging.getLogger("ostiary.decision_log")


class DecisionLog:
    """Appends lines to a sink; belongs to the event loop that made it.

    A sink that can't be written, like a full disk, is tried again until it can be. Until then lines gather in the
    journal; once it is full, or the sink has failed for `PATIENCE_SECONDS`, no decision is given out: `write` raises
    PolicyUnavailable.

    `write_failures` counts the attempts that the sink refused; `space` is that on its disk.
    """

    def __init__(self, sink: Sink, journal: Journal) -> None:
        self.write_failures = 0
        self.space = DiskSpace(sink.free_bytes)
        self._sink = sink
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._appended = 0
        self._written = 0
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._handed = deque[float](maxlen=PROMPT)
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = False
        # Shared with the thread, which gets halves of the journal and the number of lines appended by then.
        self._failing_since: float | None = None
        self._fault = ""
        self._halves: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self.refusals = Refusals(self.write)
        # A line gives its room back when the sink has the half that it is in.
        self._room = FairShares(LINES)
        self._turns: list[Turn] = []
        self._given = deque[list[Turn]]()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @classmethod
    def to_file(cls, path: Path, rotation: Rotation | None = None) -> DecisionLog:
        """Append to the file at `path`, what a killed server left in its journal first.

        Raises OSError if it can't be opened or written, or not be rotated as it should be.
        """
        file = LogFile(path, rotation)
        if file.path is None:
            return cls(file, Journal.in_memory())
        try:
            _recover(file, file.path)
            return cls(file, Journal.beside(file.path))
        except OSError:
            file.close()
            raise

    @classmethod
    def to_stdout(cls) -> DecisionLog:
        """Append to standard output, which outlives nothing: a killed server takes the last lines with it."""
        return cls(Stream(_STANDARD_OUTPUT), Journal.in_memory())

    @classmethod
    def to_stderr(cls) -> DecisionLog:
        """Make a log that appends to standard error; it is for the events of OPA's own log."""
        return cls(Stream(_STANDARD_ERROR), Journal.in_memory())

    @property
    def lines_waiting(self) -> int:
        """The number of lines that the sink has not taken yet."""
        return self._appended - self._written

    @property
    def fault(self) -> str | None:
        """Why the sink has refused the last attempt to write; None if it has not."""
        return None if self._failing_since is None else self._fault

    async def write(self, lines: Iterable[str], counted: Counted | None = None) -> None:
        """Put lines of ASCII into the journal; waits while there is no room or the sink fails.

        Where there are too many decisions like `counted`, this one is counted instead. Raises PolicyUnavailable if the
        sink takes nothing for a while, and NoRoom if it is the caller's own lines that wait.
        """
        if self._failing_since is not None or self._closing:
            await self._until(lambda: self._failing_since is None)
        if counted is not None and not self.refusals.is_whole(counted):
            await self.refusals.count(counted)
            return
        listed = [*lines]
        text = ("\n".join(listed) + "\n").encode("ascii")
        room = self._room.take_now(len(text)) or await self._room_for(len(text))
        self._turns.append(room)
        if self._journal.put(text):
            self._appended += len(listed)
        else:
            await self._squeeze(listed)
        if self._timer is None:
            self._timer = self._loop.call_at(self._not_before, self._hand_over)

    async def flush(self) -> None:
        """Return when every line so far is written; raises PolicyUnavailable if that takes too long."""
        wanted = self._appended
        self._hand_over()
        await self._until(lambda: self._written >= wanted)

    async def close(self) -> None:
        """Write what is left and release the sink; the server's log tells how many lines weren't. Idempotent."""
        if self._closing:
            return
        await self.refusals.close()
        with contextlib.suppress(PolicyUnavailable):
            await self.flush()
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._hurry.set()
        self._halves.put(None)
        await asyncio.to_thread(self._thread.join, PATIENCE_SECONDS)
        if self.lines_waiting:
            fate = "are left for the next start to write" if self._journal.outlives else "could not be written"
            _log.error("%d lines of the decision log %s", self.lines_waiting, fate)
        if not self._thread.is_alive():
            self._journal.close()
            self._sink.close()

    async def _room_for(self, size: int) -> Turn:
        """Wait for room in the caller's turn; where the sink takes nothing at all, it is not the caller's lines."""
        written, began = self._written, self._loop.time()
        self._hand_over()
        try:
            return await self._room.take(size)
        except NoRoom:
            if self._written == written and self._loop.time() - began > 0.9 * LINES.seconds:
                raise PolicyUnavailable(Failure.DECISION_LOG, _UNWRITABLE) from None
            raise

    async def _squeeze(self, lines: Iterable[str]) -> None:
        """Put them in one by one, as there gets room."""
        for line in lines:
            await self._until(partial(self._journal.put, f"{line}\n".encode("ascii")))
            self._appended += 1

    def _hand_over(self) -> None:
        """Let the thread write what has gathered, now or as soon as it is through with what it has."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        half = self._journal.turn()
        if half is not None:
            self._halves.put((half, self._appended))
            self._given.append(self._turns)
            self._turns = []
            now = self._loop.time()
            is_busy = len(self._handed) == PROMPT and now - self._handed[0] < PROMPT_SECONDS
            self._not_before = now + (GATHER_SECONDS if is_busy else 0.0)
            self._handed.append(now)

    def _taken(self, written: int) -> None:
        """Note that the thread is through with a half."""
        self._written = written
        for turn in self._given.popleft():
            turn.end()
        if self.lines_waiting and not self._closing:
            self._hand_over()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            _wake(future)

    async def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._closing or not done():
            failing = self._failing_since
            seconds = (deadline if failing is None else min(deadline, failing + PATIENCE_SECONDS)) - time.monotonic()
            if seconds <= 0 or self._closing:
                raise PolicyUnavailable(Failure.DECISION_LOG, _UNWRITABLE)
            self._hand_over()
            turn = self._loop.create_future()
            self._waiting.append(turn)
            timer = self._loop.call_later(seconds, _wake, turn)
            try:
                await turn
            finally:
                timer.cancel()
                if turn in self._waiting:
                    self._waiting.remove(turn)

    def _run(self) -> None:
        sync_at: float | None = None
        while True:
            self.space.look()
            wake_at = self.space.due_at if sync_at is None else min(sync_at, self.space.due_at)
            try:
                half = self._halves.get(timeout=max(0.0, wake_at - time.monotonic()))
            except queue.Empty:
                pass
            else:
                if half is None or not self._drain(*half):
                    break
                sync_at = sync_at or time.monotonic() + SYNC_SECONDS
            if sync_at is not None and time.monotonic() >= sync_at:
                self._sync()
                sync_at = None
        self._sync()

    def _drain(self, half: int, lines: int) -> bool:
        """Write a half of the journal; False if the log is closed before the sink takes it all."""
        data, done = self._journal.content(half), 0
        while done < len(data):
            try:
                done = self._sink.append(data, done, lambda inode, place: self._journal.writing(half, inode, place))
            except OSError as fault:
                self._note_failure(fault)
                if self._closing:
                    return False
                self._hurry.wait(_RETRY_SECONDS)
                continue
            self._journal.advance(half, done)
            if self._failing_since is not None:
                self._failing_since = None
                _log.warning("the decision log is written again")
        self._journal.clear(half)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it what waited
            self._loop.call_soon_threadsafe(self._taken, lines)
        return True

    def _note_failure(self, fault: OSError) -> None:
        self.write_failures += 1
        self._fault = fault.strerror or type(fault).__name__
        self.space.look()
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            _log.error("the decision log can't be written: %s", fault.strerror)

    def _sync(self) -> None:
        try:
            self._sink.sync()
        except OSError as fault:
            self.write_failures += 1
            _log.error("the disk did not keep the decision log: %s", fault.strerror)


def _recover(file: LogFile, path: Path) -> None:
    for lines in left_behind(path):
        done = 0
        while done < len(lines):
            done = file.append(lines, done, lambda inode, place: None)
        if lines:
            file.sync()
            _log.warning("%d lines that a killed server left are in the decision log now", lines.count(b"\n"))


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class DecisionLogUnusable(Exception):
    """The decision log can't be written where the configuration wants it; the message says why and what to do."""
