"""Answers that tell nothing by the time that they take."""

from __future__ import annotations

import asyncio
from secrets import randbelow
from time import perf_counter
from typing import Final

from starlette.types import Message, Receive

from server.http.leaving import Leaving

LEAST: Final = 0.01
MOST: Final = 0.05
"""Seconds from the end of a request to a 404: no fewer, and no more for the sake of even times."""

_HALVED_AFTER: Final = 1.0
_SPREAD: Final = 4_000
"""Microseconds, whole milliseconds: the loop's clock counts in these, and a fraction must not show behind them."""


class EvenTimes:
    """Holds back each "there is no such thing" until the slowest of the last ones would be through.

    What is hidden takes longer than what is missing: a row is read, and its owner, who may have many groups, is part
    of the question. Both are answered at the same time after the request, which follows the load.
    """

    def __init__(self) -> None:
        self._slowest = LEAST
        self._since = perf_counter()

    async def wait(self, ended: float) -> None:
        """Return when a request that ended then (by `perf_counter`) may be answered."""
        now = perf_counter()
        faded = self._slowest * 0.5 ** ((now - self._since) / _HALVED_AFTER)
        self._slowest, self._since = min(MOST, max(LEAST, faded, now - ended)), now
        left = self._slowest - (now - ended)
        if left > 0:
            await asyncio.sleep(left + randbelow(_SPREAD) / 1e6)


class Ended:
    """Receives a request, and knows when its last part came: a client may take its time to send it."""

    __slots__ = ("_receive", "at")

    def __init__(self, receive: Receive) -> None:
        self.at = perf_counter()
        self._receive = receive

    @property
    def leaving(self) -> Leaving | None:
        """What tells that the client leaves, where that is known."""
        found: Leaving | None = getattr(self._receive, "leaving", None)
        return found

    async def __call__(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.at = perf_counter()
        return message
