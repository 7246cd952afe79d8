"""The lines of one batch, as they are begun and answered.

A transaction notes which lines are begun next, and stores the results that have come since the last one. So every line
has one result and none is done twice, also where this process is killed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp

from server.api.batches.acting_callers import ActingCaller
from server.api.batches.held import HeldBatch
from server.api.batches.input_file import InputFile
from server.api.batches.journal import Journal
from server.api.batches.lines import LineTurns, RunningLine
from server.api.batches.parts import LINES_OF_A_PART, BatchParts
from server.api.batches.remaining import Remaining
from server.api.batches.results import CANCELLED, EXPIRED, FULL, INTERRUPTED, Result, refused, unanswered
from server.api.batches.under_way import UnderWay
from server.background.pauses import until_woken
from server.fairness.shares import NoRoom, Turn
from server.http.errors import ApiError
from server.http.held_lease import LeaseLost
from server.http.pagination import missing_reference
from server.http.request_state import new_request_id
from server.quota.storage_limit import StorageExceeded
from server.storage.blobs.store import BlobMissing, BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable

PACE_SECONDS: Final = 0.01
"""Seconds for which results are gathered before they are written down together."""

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks at what has changed for a batch whose lines all are under way or wait."""

BUSY_SECONDS: Final = 1.0
"""Seconds between two looks for a turn, at most, of a batch that has lines under way; at first it is `PACE_SECONDS`,
and each time twice as long.
"""

LAST_SECONDS: Final = 300.0
"""Seconds for which lines that are under way may go on once the batch is cancelled, or its window is over."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the lines of one batch that are under way, unless one alone has more."""

PATIENCE_SECONDS: Final = 5.0
"""Seconds for which a process keeps a batch of which no line can be begun; a longer pause makes room for others."""

AWAY_SECONDS: Final = 30.0
"""Seconds between two looks whether a caller is back for whom the server may act no longer."""

YIELD_SECONDS: Final = 0.05
MOST_YIELDS: Final = 20
"""Seconds for which no line is begun while requests wait for their turns, and how often in a row at most."""

_log: Final = logging.getLogger("ostiary.api")

_CODES: Final = {"cancelled": CANCELLED, "expired": EXPIRED}


class Paused(Exception):
    """Nothing can be done for a batch before so many seconds are over; `is_fault` after a fault of the server.

    Where it has a `version`, that holds for this version of the batch alone.
    """

    def __init__(self, seconds: float, *, is_fault: bool = False, version: int | None = None) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.is_fault = is_fault
        self.version = version


class Running:
    """Runs the lines of a batch that this process holds, through `app`; at most `at_once` of them at the same time.

    `refusal` is the error of all lines where none may be run. For a moment, no line is begun while `yields` returns
    true. Once it `leaves`, it begins no more lines. `untold` is why some lines have no result at the end, if they have
    none: they were never begun, and the owner may keep no more.
    """

    def __init__(
        self,
        held: HeldBatch,
        parts: BatchParts,
        journal: Journal,
        file: InputFile,
        caller: ActingCaller,
        app: ASGIApp,
        turns: LineTurns,
        at_once: int,
        refusal: ApiError | None,
        yields: Callable[[], bool],
    ) -> None:
        self._held = held
        self._parts = parts
        self._journal = journal
        body = held.record.body
        self._left = Remaining(held.progress, body["counts"][0])
        self._lines = UnderWay(app, body["endpoint"], caller, journal, self._left, held.woken)
        self._file = file
        self._caller = caller
        self._turns = turns
        self._at_once = at_once
        self._refusal = refusal
        self._yields = yields
        self.leaves = False
        self.untold: StorageExceeded | None = None
        self._cut_at: float | None = None
        self._pause = 0.0

    async def run(self) -> str:
        """Return the status that the batch comes to, once each of its lines has a result, or there is no room for more.

        Raises Paused, LeaseLost, BlobsUnavailable, DatabaseUnavailable and NoRoom; then nothing is under way.
        """
        for place in self._held.progress.open:
            self._lines.results.append(unanswered(place, await self._name(place), INTERRUPTED))
        try:
            while True:
                self._held.woken.clear()
                end = self._end
                try:
                    begin = [] if end is not None or self.leaves else await self._begun_next()
                    await self._lines.write(begin)
                    if end is not None and self._lines.is_idle:
                        await self._end_all(_CODES[end])
                        return end
                except StorageExceeded as full:
                    # Lines that were never begun are refused while none is under way.
                    self.untold = full
                    return end or "failed"
                if self._lines.is_idle:
                    if not self._left:
                        return "completed"
                    self._check_pause(end)
                await self._wait(end)
        except asyncio.CancelledError:
            await asyncio.shield(self._lines.leave())
            raise
        except LeaseLost:
            await self._lines.stop()
            raise
        except BaseException:
            await self._lines.leave()
            raise
        finally:
            self._lines.close()

    @property
    def _end(self) -> str | None:
        """The status that the batch comes to, for which no more lines are begun; None while there is no reason."""
        body = self._held.record.body
        if body["status"] == "cancelling":
            return "cancelled"
        return "expired" if body["expires_at"] <= time.time() else None

    async def _begun_next(self) -> list[RunningLine]:
        """Return the lines to begin; where that can't be known now, those that are under way go on."""
        try:
            return await self._chosen()
        except (BlobsUnavailable, DatabaseUnavailable, NoRoom) as fault:
            _log.warning("no line of a batch is begun for a moment: %s", fault)
            self._lines.hold = time.time() + LOOK_SECONDS
            return []

    async def _chosen(self) -> list[RunningLine]:
        """Return the lines to begin, as far as there is room; what may not be run has its result at once."""
        if self._lines.lines and not self._may_begin():
            return []
        await self._caller.newest()
        if self._refusal is None and not await self._file.is_there():
            self._refusal = self._missing()
        if (refusal := self._refusal) is not None:
            await self._refuse(lambda place, name: refused(place, name, refusal, new_request_id()))
            return []
        if not self._caller.may_act or self._lines.hold > time.time():
            return []
        for _ in range(MOST_YIELDS):
            if not self._yields():
                break
            await asyncio.sleep(YIELD_SECONDS)
        begin = list[RunningLine]()
        try:
            await self._fill(begin)
        except BlobMissing:
            self._refusal = self._missing()
        except BaseException:
            self._lines.put_back(begin)
            raise
        if not begin or await self._has_room(begin):
            return begin
        self._lines.put_back(begin)
        await self._refuse(lambda place, name: unanswered(place, name, FULL))
        return []

    def _may_begin(self) -> bool:
        """Return whether there is a turn for another line; the next look for one is later each time there is none."""
        if len(self._lines.lines) < self._at_once and not self._turns.has_one():
            self._pause = min(BUSY_SECONDS, max(PACE_SECONDS, 2 * self._pause))
            return False
        self._pause = 0.0
        return len(self._lines.lines) < self._at_once

    async def _has_room(self, begin: Sequence[RunningLine]) -> bool:
        """Return whether the owner has room for what these lines come to, beside those that are under way."""
        lines = self._lines
        try:
            return not await self._journal.is_full(lines.names_with(begin), lines.results)
        except BaseException:
            lines.put_back(begin)
            raise

    async def _fill(self, begin: list[RunningLine]) -> None:
        size = self._lines.size
        for place in self._left.places(time.time()):
            if len(self._lines.lines) + len(begin) >= self._at_once:
                return
            line = await self._parts.line(self._held.record, place)
            if size and size + line.size > MOST_BYTES:
                return
            turn = await self._turn(line.size, is_idle=not (self._lines.lines or begin or self._lines.results))
            if turn is None:
                return
            try:
                text = await self._file.cut(line.start, line.end)
            except BaseException:
                turn.end()
                raise
            size += line.size
            begin.append(RunningLine(place, line, text, turn, self._left.take(place)))

    async def _turn(self, size: int, *, is_idle: bool) -> Turn | None:
        """Return a turn for a line of so many bytes; one is waited for only where nothing else is to be done."""
        turn = self._turns.take_now()
        if turn is None and is_idle:
            with suppress(NoRoom):
                return await self._turns.take(size)
        return turn

    async def _refuse(self, refusal: Callable[[int, str], Result]) -> None:
        """Give the next lines a result in the place of an answer, once those under way have theirs.

        These come first where there is little room, since they may have been spent on.
        """
        if not self._lines.is_idle:
            self._lines.hold = time.time() + (LOOK_SECONDS if self._lines.lines else 0.0)
            return
        await self._give(refusal)

    async def _end_all(self, code: str) -> None:
        """Give all lines that have no result one that tells why."""
        while self._left:
            await self._give(lambda place, name: unanswered(place, name, code))
            await self._lines.write([])

    async def _give(self, result: Callable[[int, str], Result]) -> None:
        """Give each of the next lines a result, by its place and its name."""
        for place in self._left.first(LINES_OF_A_PART):
            name = await self._name(place)
            self._left.take(place)
            self._lines.results.append(result(place, name))

    def _check_pause(self, end: str | None) -> None:
        """Raise Paused where no line can be begun soon, unless there is another end than this by now."""
        if self.leaves:
            raise Paused(0)
        if self._end != end:
            return
        version = self._held.record.version
        if not self._caller.may_act:
            raise Paused(AWAY_SECONDS, version=version)
        wait = min(max(self._lines.hold, self._left.due), self._held.record.body["expires_at"]) - time.time()
        if wait > PATIENCE_SECONDS:
            raise Paused(wait, version=version)

    async def _wait(self, end: str | None) -> None:
        """Wait until there is something to do."""
        now = time.time()
        if end is not None and self._cut_at is None:
            self._cut_at = now + LAST_SECONDS
        if self._cut_at is not None and now >= self._cut_at and end is not None:
            await self._lines.stop(_CODES[end])
            return
        is_full = len(self._lines.lines) >= self._at_once or not self._left
        due = max(self._lines.hold, self._left.due)
        wait = LOOK_SECONDS if is_full or self.leaves else min(LOOK_SECONDS, max(0.0, due - now))
        wait = 0.0 if self._lines.results else max(wait, self._pause)
        await until_woken(self._held.woken, wait or PACE_SECONDS)
        if self._lines.lines:
            await asyncio.sleep(PACE_SECONDS)

    async def _name(self, place: int) -> str:
        return (await self._parts.line(self._held.record, place)).custom_id

    def _missing(self) -> ApiError:
        return missing_reference("input_file_id", self._held.record.body["input_file_id"])
