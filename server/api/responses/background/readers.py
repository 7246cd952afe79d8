"""Clients that read the stored events of responses: those of one response share one look at the database.

A response that is answered in this process tells its readers itself. For another one the process looks now and then
whether there is more, as long as anything waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from server.api.responses.background.kept_events import KeptEvents
from server.api.responses.background.queue import ResponseQueue
from server.background.tasks import BackgroundTasks
from server.fairness.shares import NoRoom
from server.inference.answers.plain import encoded
from server.inference.provider import DONE
from server.storage.database.database import DatabaseUnavailable

FIRST_LOOK_SECONDS: Final = 0.2
LAST_LOOK_SECONDS: Final = 2.0
"""Seconds until a process first looks for new events of a response that another process answers, and between two looks
at most: each is twice as long after the one before, until there are some."""

QUIET_SECONDS: Final = 15.0
"""Seconds without an event after which a reader is sent a comment, so that nothing between takes it for gone."""

_QUIET: Final = b": waiting\n\n"


class _Tail:
    """The end of the events of one response, as its readers in this process know it.

    `number` is that of the next event; `is_gone` once the response or its events are.
    """

    def __init__(self) -> None:
        self.readers = 0
        self.number = 0
        self.is_gone = False
        self.moved = asyncio.Event()

    def move(self, number: int, *, is_gone: bool = False) -> None:
        """Wake the readers if there is more for them."""
        if number > self.number or is_gone:
            self.number, self.is_gone = max(number, self.number), is_gone
            self.moved.set()
            self.moved = asyncio.Event()


class Readers:
    """The readers of `events` in this process; belongs to one event loop."""

    def __init__(self, queue: ResponseQueue, events: KeptEvents) -> None:
        self._queue = queue
        self._events = events
        self._tails: dict[str, _Tail] = {}
        self._here: set[str] = set()
        self._looks = BackgroundTasks()

    @contextmanager
    def answering(self, identity: str) -> Iterator[None]:
        """Note that this process answers a response for as long as the context lasts, and tells its readers."""
        self._here.add(identity)
        try:
            yield
        finally:
            self._here.discard(identity)

    def tell(self, identity: str, number: int, *, is_gone: bool = False) -> None:
        """Tell the readers of a response the number of its next event, or that there will be none."""
        tail = self._tails.get(identity)
        if tail is not None:
            tail.move(number, is_gone=is_gone)

    async def close(self) -> None:
        """End the looks."""
        await self._looks.cancel()

    async def events(self, identity: str, after: int) -> AsyncGenerator[bytes, None]:
        """Yield the events of a response behind that number as they are stored, to its end; the last piece ends with
        `DONE`, and is that alone where there is no such event. Raises NoRoom, and DatabaseUnavailable.
        """
        with self._reading(identity) as tail:
            has_waited = True
            while True:
                moved = tail.moved
                found = await self._events.next(identity, after)
                if found is None:
                    if tail.is_gone:
                        yield _gone(after + 1) + DONE
                        return
                    if has_waited and await self._has_ended(identity, after):
                        yield DONE
                        return
                    if not await _happens(moved):
                        yield _QUIET
                    has_waited = True
                    continue
                has_waited = False
                batch, turn = found
                try:
                    if batch.first > after + 1:
                        # Those before it are dropped already.
                        yield _gone(after + 1) + DONE
                        return
                    told, after = batch.told(after), batch.last
                    yield told + DONE if batch.is_end else told
                finally:
                    turn.end()
                if batch.is_end:
                    return

    async def _has_ended(self, identity: str, after: int) -> bool:
        """Return whether a response is over, and all of its events are known to a reader of those behind `after`."""
        lease = await self._queue.find(identity)
        return lease is not None and lease.is_over and lease.number <= after + 1

    @contextmanager
    def _reading(self, identity: str) -> Iterator[_Tail]:
        tail = self._tails.get(identity)
        if tail is None:
            tail = self._tails[identity] = _Tail()
            self._looks.start("look for stored events", self._look(identity, tail))
        tail.readers += 1
        try:
            yield tail
        finally:
            tail.readers -= 1
            if not tail.readers:
                del self._tails[identity]
                tail.is_gone = True

    async def _look(self, identity: str, tail: _Tail) -> None:
        """Look for events that another process has stored, until there are no readers."""
        pause = FIRST_LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            if not tail.readers or tail.is_gone:
                return
            pause = min(2 * pause, LAST_LOOK_SECONDS)
            if identity in self._here:
                continue
            with suppress(DatabaseUnavailable, NoRoom):
                lease, before = await self._queue.find(identity), tail.number
                tail.move(0 if lease is None else lease.number, is_gone=lease is None)
                if tail.number > before:
                    pause = FIRST_LOOK_SECONDS


async def _happens(moved: asyncio.Event) -> bool:
    """Return whether it happens soon."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await moved.wait()
    except TimeoutError:
        return False
    return True


def _gone(number: int) -> bytes:
    event = {
        "type": "error",
        "sequence_number": number,
        "code": "not_found",
        "message": "the response was deleted, or its events are kept no longer",
        "param": None,
    }
    return b"event: error\ndata: %b\n\n" % encoded(event)
