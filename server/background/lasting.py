"""Work that goes on to its end when the caller who waits for it has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from server.background.tasks import BackgroundTasks

T = TypeVar("T")

FINISH_SECONDS: Final = 10.0
"""Seconds for which a server that shuts down goes on with such work."""


class LastingWork:
    """Work that is done to its end, also where nothing waits for it any more; belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks = BackgroundTasks()

    async def reach(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; it goes on if this is cancelled."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tasks.start(name, _told(work, done))
        return await asyncio.shield(done)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reach the ends; when the context ends, those that are near."""
        try:
            yield
        finally:
            await self._tasks.end_within(FINISH_SECONDS)


async def _told(work: Coroutine[Any, Any, T], done: asyncio.Future[T]) -> None:
    try:
        found = await work
    except BaseException as fault:
        if not done.done():
            done.set_exception(fault)
            done.exception()  # it is told to a caller who may have left
        if not isinstance(fault, Exception):
            raise
    else:
        if not done.done():
            done.set_result(found)
