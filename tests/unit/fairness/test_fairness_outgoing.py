"""The room for answers on their way out: who waits for whom, and when it is given back."""

from __future__ import annotations

import asyncio

import pytest

from server.fairness.caller import CURRENT
from server.fairness.outgoing import UNCOUNTED, OutgoingAnswers, hold, hold_in_all
from server.fairness.shares import NoRoom, Share

SIZE = UNCOUNTED + 1


def room(of_all: int = 4, each: int = 2) -> OutgoingAnswers:
    return OutgoingAnswers(
        Share("bytes of answers", of_all * SIZE, each * SIZE, waiting=8, waiting_each=2, seconds=0.05)
    )


def test_an_answer_gives_its_room_back_at_its_end() -> None:
    async def work() -> None:
        outgoing = room()
        with outgoing.answer():
            await hold(SIZE)
            await hold(SIZE)
            assert outgoing.shares.used == 2 * SIZE
        assert outgoing.shares.used == 0
        with pytest.raises(RuntimeError), outgoing.answer():
            await hold(SIZE)
            raise RuntimeError
        assert outgoing.shares.used == 0

    asyncio.run(work())


def test_room_for_an_answer_of_known_size_is_taken_once() -> None:
    async def work() -> None:
        outgoing = room()
        with outgoing.answer():
            await hold_in_all(UNCOUNTED)
            assert outgoing.shares.used == 0
            await hold_in_all(SIZE)
            await hold_in_all(SIZE)
            assert outgoing.shares.used == SIZE
            await hold_in_all(SIZE + 5)
            assert outgoing.shares.used == SIZE + 5
        assert outgoing.shares.used == 0

    asyncio.run(work())


def test_small_answers_and_work_without_an_answer_take_none() -> None:
    async def work() -> None:
        outgoing = room()
        with outgoing.answer():
            await hold(UNCOUNTED)
            assert outgoing.shares.used == 0
        await hold(SIZE)
        assert outgoing.shares.used == 0

    asyncio.run(work())


def test_a_caller_that_fills_its_share_waits_for_itself_alone() -> None:
    async def work() -> None:
        outgoing, read = room(), asyncio.Event()

        async def answered(caller: str, *, until: asyncio.Event | None = None) -> None:
            CURRENT.set(("principal", "i", caller))
            with outgoing.answer():
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
        outgoing, together = room(of_all=4, each=4), asyncio.Barrier(4)
        most = 0

        async def answered() -> None:
            nonlocal most
            with outgoing.answer():
                await hold(SIZE)
                await together.wait()
                for _ in range(3):
                    await hold(SIZE)
                most = max(most, outgoing.overdrafts.used)
                await asyncio.sleep(0)

        await asyncio.gather(*(answered() for _ in range(4)))
        assert most == 1
        assert (outgoing.shares.used, outgoing.overdrafts.used, len(outgoing.overdrafts._holders)) == (0, 0, 0)

    asyncio.run(work())
