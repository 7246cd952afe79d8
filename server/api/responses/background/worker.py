"""Responses in the background: the worker of one process, and what callers ask of such responses.

What waits is in the database, so that any process answers it, in rounds of the callers. Requests that wait for their
turns come first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from server.api.responses.background.callers import Callers
from server.api.responses.background.held import HeldResponse
from server.api.responses.background.later import LaterResponses
from server.api.responses.background.work import ResponseWork
from server.background.lasting import FINISH_SECONDS
from server.background.pauses import about, until_woken
from server.background.tasks import BackgroundTasks, in_background
from server.fairness.shares import NoRoom
from server.http.deferred import DeferredRequests
from server.storage.database.database import DatabaseUnavailable, Overtaken
from server.storage.records.waiting import Owner, owner_of

AT_ONCE: Final = 16
"""Responses that one process answers in the background at the same time."""

AT_ONCE_EACH: Final = 4
"""Of these, those of one caller."""

POLL_SECONDS: Final = 3.0
"""Seconds between two looks for responses that another process was asked for, about."""

WATCH_SECONDS: Final = 1.0
"""Seconds between two looks whether responses that this process answers were cancelled or deleted elsewhere."""

NOTE_SECONDS: Final = 1.0
"""Seconds between two looks at what callers have shown of themselves."""

SWEEP_SECONDS: Final = 15.0
"""Seconds between two looks for stored events that are kept no longer, about."""

MOST_COUNTED: Final = 10_000
"""Responses that wait, as far as they are counted."""

YIELD_SECONDS: Final = 0.05
MOST_YIELDS: Final = 40
"""Seconds for which a response in the background waits while requests wait for their turns, and how often at most."""

PAUSE_SECONDS: Final = 0.01
"""Seconds between two transactions that remove stored events, in which others write."""

_SWEPT_AT_ONCE: Final = 20

_log: Final = logging.getLogger("ostiary.api")


class Background:
    """Answers what waits in a queue; belongs to one event loop.

    `waiting` is the number of responses that were waiting when it last looked, up to `MOST_COUNTED`.
    """

    def __init__(self, later: LaterResponses, work: ResponseWork, callers: Callers, deferred: DeferredRequests) -> None:
        self._later = later
        self._work = work
        self._callers = callers
        self._deferred = deferred
        self.waiting = 0
        self._tasks = BackgroundTasks()
        self._woken = asyncio.Event()
        self._held: dict[str, HeldResponse] = {}
        self._busy = Counter[Owner]()
        self._after: Owner = None

    @property
    def answering(self) -> int:
        """The number of responses that this process answers in the background now."""
        return len(self._held)

    def wake(self) -> None:
        """Have this process look for work now; others look within some seconds."""
        self._woken.set()

    def lose(self, identity: str) -> None:
        """Stop work on a response that was cancelled or deleted, where this process does it."""
        held = self._held.get(identity)
        if held is not None:
            held.lose()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer for as long as the context lasts; at its end, what is near its end."""
        loops = (
            self._work_for_ever(),
            _again_and_again(WATCH_SECONDS, self._watch, "responses under way were not looked at"),
            _again_and_again(NOTE_SECONDS, self._callers.write_down, "what callers have shown was not written down"),
            _again_and_again(SWEEP_SECONDS, self._sweep, "stored events that nothing needs are still there"),
        )
        try:
            async with in_background("responses in the background", *loops):
                yield
        finally:
            await self._tasks.end_within(FINISH_SECONDS)
            await self._later.readers.close()

    async def _work_for_ever(self) -> None:
        while True:
            self._woken.clear()
            try:
                begun = len(self._held) < AT_ONCE and await self._begin()
                if not begun:
                    self.waiting = await self._later.queue.rounds.waiting(MOST_COUNTED)
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("responses in the background wait: %s", fault)
                begun = False
            if not begun:
                await until_woken(self._woken, about(POLL_SECONDS))

    async def _begin(self) -> bool:
        """Begin with the next response, and return whether there was any."""
        queue = self._later.queue
        busy = [owner for owner, count in self._busy.items() if count >= AT_ONCE_EACH]
        work = await queue.rounds.next(self._after, busy)
        if work is None:
            return False
        for _ in range(MOST_YIELDS):
            if not self._deferred.yields:
                break
            await asyncio.sleep(YIELD_SECONDS)
        self._after = owner = owner_of(work)
        lease = await queue.take(work)
        if lease is None:
            return True  # another process was faster
        record = await self._later.find(lease.response)
        if record is None:
            # The response is being removed.
            await queue.records.database.write(queue.dropping(lease.response))
            return True
        held = self._held[record.id] = HeldResponse(self._later, lease, record)
        self._busy[owner] += 1
        self._tasks.start("response in the background", self._answer(owner, held))
        return True

    async def _answer(self, owner: Owner, held: HeldResponse) -> None:
        try:
            await self._work.do(held)
            if held.lease.is_streamed:
                await self._later.queue.crowd_out(held.lease.work)
        except (DatabaseUnavailable, NoRoom) as fault:
            # What is left undone is taken up once the lease is over.
            _log.warning("a response in the background stops: %s", fault)
        finally:
            del self._held[held.record.id]
            self._busy[owner] -= 1
            self._busy += Counter()  # drops the callers without any
            self.wake()

    async def _watch(self) -> None:
        """Stop the work on responses that are over for another reason."""
        held = [*self._held]
        alive = await self._later.queue.alive(held)
        for identity in held:
            if identity not in alive:
                self.lose(identity)

    async def _sweep(self) -> None:
        """Remove the events of responses that ended some time ago."""
        await self._callers.forget()
        queue = self._later.queue
        for lease in await queue.expired(_SWEPT_AT_ONCE):
            while await self._later.events.drop(lease.response):  # noqa: ASYNC110 - it waits for others, not for an event
                await asyncio.sleep(PAUSE_SECONDS)
            with suppress(Overtaken):
                await queue.records.database.write(queue.dropping(lease.response))


async def _again_and_again(seconds: float, look: Callable[[], Awaitable[None]], otherwise: str) -> None:
    while True:
        await asyncio.sleep(about(seconds))
        try:
            await look()
        except (DatabaseUnavailable, NoRoom) as fault:
            _log.warning("%s: %s", otherwise, fault)
