"""Work that comes to its end before its caller goes on, even one that is cancelled.

A thread can't be interrupted. If a cancelled caller went on at once, the thread would work beside what the caller does
next, such as closing the thread's file, and what it returned would belong to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Return the result of work that no cancellation of the caller ends.

    A cancelled caller, however often it is cancelled, waits for the end of the work; its result or fault is lost then.
    """
    return await _end_of(asyncio.ensure_future(work))


async def in_thread_to_its_end(
    work: Callable[[], T], *, threads: Executor | None = None, undo: Callable[[T], Any] | None = None
) -> T:
    """Return what `work` returns in one of the `threads`, or in one of the event loop's.

    A cancelled caller, however often it is cancelled, waits for the end of the work. `undo` is then called in a thread
    with what `work` has returned: it closes what would belong to nothing.
    """
    loop = asyncio.get_running_loop()
    done = loop.run_in_executor(threads, work)
    try:
        return await _end_of(done)
    except asyncio.CancelledError:
        if undo is not None and not done.cancelled() and done.exception() is None:
            await _end_of(loop.run_in_executor(threads, undo, done.result()))
        raise


async def _end_of(done: asyncio.Future[T]) -> T:
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        while not done.done():
            try:
                await asyncio.wait((done,))
            except asyncio.CancelledError:
                continue  # the first one is raised below
        if not done.cancelled():
            done.exception()  # it is told to a caller who has left
        raise
