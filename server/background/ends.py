"""Work that comes to its end before its caller goes on, even one that is cancelled.

A thread can't be interrupted. If a cancelled caller went on at once, the thread would work beside what the caller does
next, such as closing the thread's file, and what it returned would belong to nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final, TypeVar

from server.background.faults import log_fault

_log: Final = logging.getLogger("ostiary.background")

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
    with what `work` has returned: it closes what would belong to nothing. The log has its fault, which the caller never
    sees in place of the cancellation.
    """
    loop = asyncio.get_running_loop()
    done = loop.run_in_executor(threads, work)
    try:
        return await _end_of(done)
    except asyncio.CancelledError:
        if undo is not None and not done.cancelled() and done.exception() is None:
            with suppress(RuntimeError):  # the threads have ended in the meantime
                await _end_of(loop.run_in_executor(threads, _undo, undo, done.result()))
        raise


def _undo(undo: Callable[[T], Any], made: T) -> None:
    try:
        undo(made)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the caller is told that it is cancelled
        log_fault(_log, "what a cancelled caller had made was not undone", fault)


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
