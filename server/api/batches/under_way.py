"""The lines of a batch that are under way, and the results that have come and are not written down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp

from server.api.batches.acting_callers import ActingCaller
from server.api.batches.journal import Journal
from server.api.batches.lines import HEAVY, Outcome, RunningLine
from server.api.batches.remaining import Remaining
from server.api.batches.results import Result, unanswered
from server.fairness.shares import NoRoom, Turn
from server.http.held_lease import LeaseLost
from server.storage.database.database import DatabaseUnavailable

LEAVE_SECONDS: Final = 5.0
"""Seconds in which a process that stops writes down what has come."""


class UnderWay:
    """Begins lines of the batch that `journal` writes down, as requests of `caller` to the endpoint.

    `left` are those that are not begun. `woken` is set when something has come. Until `hold` no line can be answered.
    A large result keeps the turn of its line until it is written down, so that the turns of a caller, and those of all,
    bound what waits in memory for a slow database.
    """

    def __init__(
        self,
        app: ASGIApp,
        endpoint: str,
        caller: ActingCaller,
        journal: Journal,
        left: Remaining,
        woken: asyncio.Event,
    ) -> None:
        self._app = app
        self._endpoint = endpoint
        self._caller = caller
        self._journal = journal
        self._left = left
        self._woken = woken
        self._is_changed = False
        self._code: str | None = None
        self.lines: dict[int, RunningLine] = {}
        self.results: list[Result] = []
        self._unwritten: dict[int, Turn] = {}
        self._is_closed = False
        self.hold = 0.0

    @property
    def is_idle(self) -> bool:
        """True while nothing is under way, and all is written down."""
        return not (self.lines or self.results or self._is_changed)

    @property
    def size(self) -> int:
        """Bytes of the lines that are under way."""
        return sum(running.line.size for running in self.lines.values())

    def names_with(self, begin: Sequence[RunningLine]) -> list[str]:
        """Return the names of the lines that are under way, and of these."""
        return [running.line.custom_id for running in (*self.lines.values(), *begin)]

    def put_back(self, lines: Sequence[RunningLine]) -> None:
        """Have lines begun later that were chosen."""
        for running in lines:
            running.turn.end()
            self._left.put_back(running.place, running.again)

    async def write(self, begin: Sequence[RunningLine]) -> None:
        """Write down what has come, and then begin these lines."""
        while self.results or begin or self._is_changed:
            self._is_changed = False
            names = {running.place: running.line.custom_id for running in (*self.lines.values(), *begin)}
            try:
                await self._write_some(names)
            except BaseException:
                self.put_back(begin)
                # They may be noted as begun, and are not.
                self._is_changed = True
                raise
            for running in begin:
                self._start(running)
            begin = []

    async def _write_some(self, begun: Mapping[int, str]) -> None:
        """Write down the first of what has come; a transaction that has begun comes to its end."""
        # The results of lines that end before it begins are for the next one: here these lines are still under way.
        come = [*self.results]
        writing = asyncio.ensure_future(self._journal.write(come, begun, self._left.again, self._left.next))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing], timeout=LEAVE_SECONDS)
            writing.cancel()
            raise
        finally:
            # What is written once is not written again.
            if writing.done() and not writing.cancelled() and writing.exception() is None:
                self._forget(writing.result())

    def _forget(self, count: int) -> None:
        """Forget the first results, which are written down."""
        for result in self.results[:count]:
            if (turn := self._unwritten.pop(result.place, None)) is not None:
                turn.end()
        del self.results[:count]

    def close(self) -> None:
        """Give the turns back of results that are not written down, and of those that come later."""
        self._is_closed = True
        for turn in self._unwritten.values():
            turn.end()
        self._unwritten.clear()

    def _start(self, running: RunningLine) -> None:
        self.lines[running.place] = running
        work = running.run(self._app, self._endpoint, self._caller)
        task = running.task = asyncio.get_running_loop().create_task(work, name="line of a batch")
        task.add_done_callback(lambda done: self._finished(running, done))

    def _finished(self, running: RunningLine, task: asyncio.Task[Outcome]) -> None:
        del self.lines[running.place]
        if task.cancelled() and self._code is not None:
            outcome = Outcome(unanswered(running.place, running.line.custom_id, self._code))
        elif task.cancelled():
            outcome = running.left_off()
        elif (fault := task.exception()) is not None:
            outcome = running.failed(fault)
        else:
            outcome = task.result()
        if outcome.result is not None:
            self.results.append(outcome.result)
        is_large = outcome.result is not None and len(outcome.result.text) > HEAVY
        if is_large and not self._is_closed:
            self._unwritten[running.place] = running.turn
        else:
            running.turn.end()
        if outcome.again is not None:
            self._left.put_back(running.place, outcome.again)
            self._is_changed = True
        self.hold = max(self.hold, outcome.hold)
        self._woken.set()

    async def stop(self, code: str | None = None) -> None:
        """Cancel what is under way, and return when it has ended.

        With a code, that is the error of all these lines; else lines on which nothing was spent are begun once more.
        """
        self._code = code
        tasks = [running.task for running in self.lines.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # the callbacks come after the ends

    async def leave(self) -> None:
        """End what is under way, and write down what has come."""
        await self.stop()
        with suppress(TimeoutError, LeaseLost, DatabaseUnavailable, NoRoom):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.write([])
