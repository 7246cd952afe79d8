"""A bounded queue of background writes, with retries, which callers share.

A caller takes a part of its own share before it does expensive work, and room in the queue once there is something to
write. A database that is too slow delays callers that have not begun, and loses no writes of those that have. A write
that the database refuses is retried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from server.background.tasks import BackgroundTasks
from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import FairShares, NoRoom, Share, Turn
from server.storage.database.database import AlreadyThere, DatabaseUnavailable

ROOM_SECONDS: Final = 5.0
"""Seconds to wait for a part of the own share, and then for room in the queue, before the work is begun."""

WAIT_SECONDS: Final = 2.0
"""Seconds to wait for a write."""

RETRY_SECONDS: Final = 600.0
"""Seconds for which a write is retried, and so the longest outage without a loss."""

FLUSH_SECONDS: Final = 10.0
"""Seconds for which a server that shuts down continues to write."""

MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes that may wait to be written before those that have not begun have to wait; a quarter of them of one caller."""

PARTS: Final = 4
"""Callers that together fill the queue."""

BEGUN_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of the requests of all work that is begun and not written yet."""

BEGUN_BYTES_EACH: Final = 64 * 1024 * 1024
"""Bytes of the requests of one caller's work that is begun and not written yet."""

LEAST_BYTES: Final = 64 * 1024
"""Bytes that work counts at least for its result, so that one caller has at most 1,024 pieces of work under way."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_log: Final = logging.getLogger("ostiary.storage")

Write: TypeAlias = Callable[[], Awaitable[object]]
"""Writes in one transaction; may be called again if it raises DatabaseUnavailable or NoRoom."""


class QueuePlace:
    """Leave to do work that ends in one write; its holder must `fill` or `leave` it."""

    def __init__(self, queue: WriteQueue, begun: Turn) -> None:
        self._queue = queue
        self._begun: Turn | None = begun

    def fill(self, write: Write, size: int) -> asyncio.Future[None]:
        """Queue the write, `size` being its bytes; return a future that is done once it is written or given up."""
        begun, self._begun = self._begun, None
        if begun is None:
            raise ValueError("a place holds one write")
        return self._queue.put(begun, write, size)

    def leave(self) -> None:
        """Release the place, unless it is filled."""
        if self._begun is not None:
            self._begun.end()
            self._begun = None


class WriteQueue:
    """A queue in which at most `most` writes wait before callers that have not begun do, with `writers` at a time.

    Of the room of the queue one caller has a quarter, and of several writers all but one; writes of one caller are made
    in their order.
    """

    def __init__(self, most: int, writers: int) -> None:
        self._least = max(1, MOST_BYTES // most)
        # All that is begun may wait: a write is never refused for want of room.
        waits = BEGUN_BYTES // LEAST_BYTES
        name = "stored chats that are not written yet"
        self._begun = FairShares(Share(name, BEGUN_BYTES, BEGUN_BYTES_EACH, waits, waits // PARTS, ROOM_SECONDS))
        each = max(self._least, MOST_BYTES // PARTS)
        self._room = FairShares(Share(name, MOST_BYTES, each, waits, waits, RETRY_SECONDS))
        self._turns = FairShares(Share(name, writers, max(1, writers - 1), waits, waits, RETRY_SECONDS))
        self._writes = BackgroundTasks()
        self._count = 0

    def waiting(self) -> int:
        """Return the number of writes that are not made yet."""
        return self._count

    @property
    def under_way(self) -> int:
        """The bytes that count for all work that is begun and not written yet."""
        return self._begun.used

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take writes; at the end write what is waiting, for up to `FLUSH_SECONDS`."""
        try:
            yield
        finally:
            if not await self._writes.end_within(FLUSH_SECONDS):
                _log.error("the server ends, and stored answers that still waited for their database are lost")

    async def reserve(self, size: int = 0) -> QueuePlace:
        """Return a place for work on a request of `size` bytes, once the queue has room for one write of the caller.

        The room is not kept: it is taken again when there is something to write. Raises NoRoom if the caller, or all
        callers, have too much under way, and DatabaseUnavailable if the queue stays full for a while.
        """
        begun = await self._begun.take(LEAST_BYTES + size)
        try:
            async with asyncio.timeout(ROOM_SECONDS), self._room.turn(self._least):
                return QueuePlace(self, begun)
        except (TimeoutError, NoRoom):
            begun.end()
            raise DatabaseUnavailable("more waits to be written than the database keeps up with") from None
        except BaseException:
            begun.end()
            raise

    def put(self, begun: Turn, write: Write, size: int) -> asyncio.Future[None]:
        """Queue the write of a `QueuePlace`."""
        done = asyncio.get_running_loop().create_future()
        self._count += 1
        caller, size = CURRENT.get(), max(size, self._least)
        room = self._room.take_now(size, caller)
        self._writes.start("write queue", self._make(write, size, caller, room, begun, done))
        return done

    async def _make(
        self, write: Write, size: int, caller: Caller, room: Turn | None, begun: Turn, done: asyncio.Future[None]
    ) -> None:
        """Wait for room, if there was none, and for a writer, and write; then give everything back."""
        try:
            room = await self._room.take(size, caller) if room is None else room
            async with self._turns.turn(caller=caller):
                await _written(write)
        except NoRoom:
            _log.error("a stored answer is lost, since its database was too slow for too long")
        finally:
            if room is not None:
                room.end()
            begun.end()
            self._count -= 1
            if not done.done():
                done.set_result(None)


async def until_written(done: asyncio.Future[None]) -> None:
    """Return when the write is made, or has taken too long."""
    await asyncio.wait([done], timeout=WAIT_SECONDS)


async def _written(write: Write) -> None:
    clock = asyncio.get_running_loop().time
    until, pause, tried = clock() + RETRY_SECONDS, _FIRST_PAUSE, False
    while not await _is_settled(write, tried=tried, last=clock() > until):
        tried = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _is_settled(write: Write, *, tried: bool, last: bool) -> bool:
    """Try once; return False if the write should be retried."""
    try:
        await write()
    except (DatabaseUnavailable, NoRoom) as fault:
        if last:
            _log.error("a stored answer is lost, since its database was away for too long: %s", fault)
        else:
            _log.warning("a stored answer waits for its database: %s", fault)
        return last
    except Exception as fault:  # noqa: BLE001 - one write that can't be made must not end the others
        # A database that fails at the commit may have made the change.
        if not (tried and isinstance(fault, AlreadyThere)):
            # The exception's message may hold the content of the write.
            _log.error("a stored answer is lost, since it can't be written (%s)", type(fault).__name__)
    return True
