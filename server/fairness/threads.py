"""Work in threads, which share Python's lock with the event loop, in turns of the callers that it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from server.fairness.shares import FairShares, NoRoom, Share, Turn

T = TypeVar("T")

READ_BESIDE: Final = Share("texts that are read beside other work", 2, 1, waiting=4096, waiting_each=1024, seconds=60.0)
"""Texts of more than a few kilobytes that threads of one process read or write. Each thread that computes makes the
event loop wait for Python's lock, and several of them wait for each other with it."""

_SHARES: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, FairShares]] = WeakKeyDictionary()


async def in_thread(work: Callable[..., T], *given: Any, **named: Any) -> T:
    """Return what `work` returns in a thread, in the turn of the current caller; raises NoRoom.

    What came before, such as the work of a provider, is spent then. A thread goes on when its caller has left, and
    keeps the turn until then.
    """
    try:
        turn = await shares().take()
    except NoRoom as full:
        full.spent = True
        raise
    done = asyncio.ensure_future(asyncio.to_thread(work, *given, **named))
    done.add_done_callback(partial(_end, turn))
    return await asyncio.shield(done)


def shares() -> FairShares:
    """Return the turns of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _SHARES.get(loop)
    if found is None:
        found = _SHARES[loop] = FairShares(READ_BESIDE)
    return found


def _end(turn: Turn, done: asyncio.Future[Any]) -> None:
    turn.end()
    if not done.cancelled():
        done.exception()  # it is told to a caller who may have left
