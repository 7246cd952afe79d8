"""A queue of writes of texts, each of which may fail or wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.storage import write_queue
from server.storage.write_queue import WriteQueue

Use = Callable[[WriteQueue], Awaitable[None]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long things take."""
    monkeypatch.setattr(write_queue, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(write_queue, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(write_queue, "_LONGEST_PAUSE", 0.002)


class Written:
    """What was written; each write fails as often as there are `faults`."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.texts: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    def write(self, text: str) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            await self.go_on.wait()
            if self.faults:
                raise self.faults.pop(0)
            self.texts.append(text)

        return write


def with_queue(use: Use, most: int = 10, writers: int = 1) -> None:
    async def used() -> None:
        queue = WriteQueue(most, writers)
        async with queue.running():
            await use(queue)

    asyncio.run(used())
