"""A queue for a limited number of places, in which small tasks come first."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count
from typing import Final


class QueueFull(Exception):
    """The tasks that wait are too large together already."""


class FairQueue:
    """Admits `places` tasks at once, and of those that wait the smallest first.

    So a small task waits only until a running one ends, however much others bring. The tasks that wait may have a total
    size of `room`.
    """

    def __init__(self, places: int, room: int) -> None:
        self._free = places
        self._room = room
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers: Final = count()

    async def begin(self, size: int) -> None:
        """Return when it is the caller's turn, which it must `end`; raises QueueFull."""
        if self._free:
            self._free -= 1
            return
        if size > self._room:
            raise QueueFull
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (size, next(self._numbers), turn))
        self._room -= size
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.end()
            raise
        finally:
            self._room += size

    def end(self) -> None:
        """End a turn, and admit the next task."""
        while self._waiting:
            *_, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
