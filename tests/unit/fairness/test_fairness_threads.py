"""Work in threads: one text of a caller at a time, and a thread keeps its turn to its end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom, Share
from server.fairness.threads import in_thread, shares
from tests.support.patience import PATIENCE


class Reading:
    """Work that goes on until `end`."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()

    def __call__(self, text: str) -> str:
        self.begun.set()
        assert self.end.wait(PATIENCE)
        return text.upper()

    async def by(self, caller: str) -> str:
        CURRENT.set(("principal", "i", caller))
        return await in_thread(self, caller)


async def until_begun(reading: Reading) -> None:
    while not reading.begun.is_set():  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.001)


def test_a_caller_has_one_text_read_at_a_time_and_others_go_on() -> None:
    async def run() -> None:
        first, second, other = Reading(), Reading(), Reading()
        tasks = [asyncio.create_task(one.by("greedy")) for one in (first, second)]
        await until_begun(first)
        tasks.append(asyncio.create_task(other.by("modest")))
        await until_begun(other)
        assert not second.begun.is_set()
        for one in (first, second, other):
            one.end.set()
        assert await asyncio.gather(*tasks) == ["GREEDY", "GREEDY", "MODEST"]
        assert shares().used == 0

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_thread_whose_caller_left_keeps_its_turn_to_its_end() -> None:
    async def run() -> None:
        reading = Reading()
        task = asyncio.create_task(reading.by("greedy"))
        await until_begun(reading)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert shares().used == 1
        reading.end.set()
        while shares().used:  # noqa: ASYNC110 - a share announces no use
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_what_came_before_is_spent_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.fairness.threads.READ_BESIDE", Share("texts", 1, 1, 0, 0, seconds=1.0))

    async def run() -> None:
        reading = Reading()
        task = asyncio.create_task(reading.by("greedy"))
        await until_begun(reading)
        with pytest.raises(NoRoom) as refused:
            await Reading().by("greedy")
        assert refused.value.spent
        reading.end.set()
        await task

    asyncio.run(asyncio.wait_for(run(), 20))
