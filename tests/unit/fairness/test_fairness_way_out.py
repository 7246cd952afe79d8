"""The room for answers on their way out: who waits for whom, and when it is given back."""

from __future__ import annotations

import asyncio

import pytest

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom, Share
from server.fairness.way_out import UNCOUNTED, WayOut, hold, hold_in_all

SIZE = UNCOUNTED + 1


def room(of_all: int = 4, each: int = 2) -> WayOut:
    return WayOut(Share("bytes of answers", of_all * SIZE, each * SIZE, waiting=8, waiting_each=2, seconds=0.05))


def test_an_answer_gives_its_room_back_at_its_end() -> None:
    async def work() -> None:
        way_out = room()
        with way_out.answer():
            await hold(SIZE)
            await hold(SIZE)
            assert way_out.shares.used == 2 * SIZE
        assert way_out.shares.used == 0
        with pytest.raises(RuntimeError), way_out.answer():
            await hold(SIZE)
            raise RuntimeError
        assert way_out.shares.used == 0

    asyncio.run(work())


def test_room_for_an_answer_of_known_size_is_taken_once() -> None:
    async def work() -> None:
        way_out = room()
        with way_out.answer():
            await hold_in_all(UNCOUNTED)
            assert way_out.shares.used == 0
            await hold_in_all(SIZE)
            await hold_in_all(SIZE)
            assert way_out.shares.used == SIZE
            await hold_in_all(SIZE + 5)
            assert way_out.shares.used == SIZE + 5
        assert way_out.shares.used == 0

    asyncio.run(work())


def test_small_answers_and_work_without_an_answer_take_none() -> None:
    async def work() -> None:
        way_out = room()
        with way_out.answer():
            await hold(UNCOUNTED)
            assert way_out.shares.used == 0
        await hold(SIZE)
        assert way_out.shares.used == 0

    asyncio.run(work())


def test_a_caller_that_fills_its_share_waits_for_itself_alone() -> None:
    async def work() -> None:
        way_out, read = room(), asyncio.Event()

        async def answered(caller: str, *, until: asyncio.Event | None = None) -> None:
            CURRENT.set(("principal", "i", caller))
            with way_out.answer():
                await hold(SIZE)
                if until is not None:
                    await until.wait()

        stalled = [asyncio.create_task(answered("greedy", until=read)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(answered("greedy"))
        await asyncio.wait_for(asyncio.create_task(answered("modest")), 0.04)
        with pytest.raises(NoRoom) as fault:
            await waiting
        assert fault.value.of_caller
        read.set()
        await asyncio.gather(*stalled)
        await asyncio.create_task(answered("greedy"))

    asyncio.run(work())


def test_answers_of_one_caller_that_need_more_room_do_not_wait_for_each_other() -> None:
    async def work() -> None:
        way_out, together = room(of_all=4, each=4), asyncio.Barrier(4)
        most = 0

        async def answered() -> None:
            nonlocal most
            with way_out.answer():
                await hold(SIZE)
                await together.wait()
                for _ in range(3):
                    await hold(SIZE)
                most = max(most, way_out.beyond.used)
                await asyncio.sleep(0)

        await asyncio.gather(*(answered() for _ in range(4)))
        assert most == 1
        assert (way_out.shares.used, way_out.beyond.used, len(way_out.beyond._holders)) == (0, 0, 0)

    asyncio.run(work())
