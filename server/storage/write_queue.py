"""A bounded queue of background writes, with retries.

A caller reserves a place before it does expensive work: a slow database delays callers that have not begun, and loses
no writes of those that have. A write that the database refuses is retried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from server.background.tasks import in_background
from server.storage.database.database import AlreadyThere, DatabaseUnavailable

ROOM_SECONDS: Final = 5.0
"""Seconds to wait for a place."""

WAIT_SECONDS: Final = 2.0
"""Seconds to wait for a write."""

RETRY_SECONDS: Final = 600.0
"""Seconds for which a write is retried, and so the longest outage without a loss."""

FLUSH_SECONDS: Final = 10.0
"""Seconds for which a server that shuts down continues to write."""

MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes that may wait to be written before there are no more places."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_log: Final = logging.getLogger("ostiary.storage")

Write: TypeAlias = Callable[[], Awaitable[object]]
"""Writes in one transaction; may be called again if it raises DatabaseUnavailable."""


class QueuePlace:
    """Room for one write; its holder must `fill` or `leave` it."""

    def __init__(self, queue: WriteQueue) -> None:
        self._queue = queue
        self._held = True

    def fill(self, write: Write, size: int) -> asyncio.Future[None]:
        """Queue the write, `size` being its bytes; return a future that is done once it is written or given up."""
        if not self._held:
            raise ValueError("a place holds one write")
        self._held = False
        return self._queue.put(write, size)

    def leave(self) -> None:
        """Release the place, unless it is filled."""
        if self._held:
            self._held = False
            self._queue.free()


class WriteQueue:
    """A queue of at most `most` writes and reservations, with `writers` concurrent tasks that write."""

    def __init__(self, most: int, writers: int) -> None:
        self._places = asyncio.Semaphore(most)
        self._writers = writers
        self._waiting: asyncio.Queue[tuple[Write, int, asyncio.Future[None]]] = asyncio.Queue()
        self._bytes = self._count = 0
        self._light = asyncio.Event()
        self._light.set()

    def waiting(self) -> int:
        """The number of writes that are not made yet."""
        return self._count

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writers; at the end they write what is waiting, for up to `FLUSH_SECONDS`."""
        async with in_background("write queue", *(self._write_all() for _ in range(self._writers))):
            try:
                yield
            finally:
                await self._flush()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            _log.error("the server ends, and stored answers that still waited for their database are lost")

    async def reserve(self) -> QueuePlace:
        """Return a place; raise DatabaseUnavailable if there is none for a while."""
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                await self._light.wait()
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("more waits to be written than the database keeps up with") from None
        return QueuePlace(self)

    def put(self, write: Write, size: int) -> asyncio.Future[None]:
        """For a `QueuePlace`."""
        done = asyncio.get_running_loop().create_future()
        self._weigh(size)
        self._count += 1
        self._waiting.put_nowait((write, size, done))
        return done

    def free(self) -> None:
        """For a `QueuePlace`."""
        self._places.release()

    def _weigh(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MOST_BYTES:
            self._light.clear()
        else:
            self._light.set()

    async def _write_all(self) -> None:
        while True:
            write, size, done = await self._waiting.get()
            try:
                await _written(write)
            finally:
                self._weigh(-size)
                self._count -= 1
                self.free()
                self._waiting.task_done()
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
    except DatabaseUnavailable as fault:
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
