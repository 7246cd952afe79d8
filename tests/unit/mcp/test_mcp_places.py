"""Places for programs of tools: whose programs make way for which callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import NoRoom, Turn
from server.mcp.places import Places
from server.mcp.programs import FURTHER, PROGRAMS
from tests.support.mcp_client import ALICE, BOB
from tests.support.patience import PATIENCE

CAROL: Caller = ("principal", "https://issuer", "carol")


class Idle:
    """A program that notes how often it makes way."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.ways = 0

    def make_way(self) -> None:
        """Count."""
        self.ways += 1


def run(course: Callable[[Places], Awaitable[None]]) -> None:
    async def whole() -> None:
        await course(Places(replace(PROGRAMS, capacity=3, each=2, seconds=10.0), FURTHER))

    asyncio.run(whole())


async def taken(places: Places, caller: Caller) -> Turn:
    CURRENT.set(caller)
    return await places.take()


async def asking(places: Places, caller: Caller) -> asyncio.Task[Turn]:
    """One that waits for a place."""
    waiting = asyncio.create_task(taken(places, caller))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting


async def ended(*waiting: asyncio.Task[Turn]) -> None:
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)


def test_no_program_makes_way_for_a_caller_that_has_all_of_its_places() -> None:
    async def course(places: Places) -> None:
        other = Idle(BOB)
        turns = [await taken(places, ALICE), await taken(places, ALICE), await taken(places, BOB)]
        greedy = await asking(places, ALICE)
        places.idle(other)
        assert other.ways == 0
        # It does for another one, and once.
        third = await asking(places, CAROL)
        fourth = await asking(places, ALICE)
        assert other.ways == 1
        places.left(other)
        turns[2].end()
        (await third).end()
        await ended(greedy, fourth)

    run(course)


def test_a_caller_that_has_all_of_its_places_gets_the_one_that_its_own_program_leaves() -> None:
    async def course(places: Places) -> None:
        own, other = Idle(ALICE), Idle(BOB)
        turns = [await taken(places, ALICE), await taken(places, ALICE), await taken(places, BOB)]
        places.idle(other)
        places.idle(own)
        waiting = await asking(places, ALICE)
        assert (own.ways, other.ways) == (1, 0)
        places.left(own)
        turns[0].end()
        (await waiting).end()
        assert other.ways == 0

    run(course)


async def calling(places: Places, caller: Caller) -> Turn:
    CURRENT.set(caller)
    return await places.call()


def test_a_caller_without_a_call_under_way_gets_leave_at_once_whatever_others_do() -> None:
    async def course() -> None:
        places = Places(replace(PROGRAMS, seconds=0.05), replace(FURTHER, seconds=0.05))
        greedy: list[Caller] = [("principal", "https://issuer", str(number)) for number in range(8)]
        held = [await calling(places, caller) for _ in range(PROGRAMS.each) for caller in greedy]
        others: list[Caller] = [("principal", "https://issuer", f"other {number}") for number in range(8)]
        async with asyncio.timeout(PATIENCE):
            firsts = [await calling(places, caller) for caller in others]
        # None of these has a second one for as long as the others go on.
        with pytest.raises(NoRoom) as full:
            await calling(places, others[0])
        assert not full.value.of_caller
        with pytest.raises(NoRoom) as own:
            await calling(places, greedy[0])
        assert own.value.of_caller
        for turn in (*held, *firsts):
            turn.end()

    asyncio.run(course())


@pytest.mark.parametrize("ended", [(0,), (2,), (0, 2)])
def test_a_further_program_is_called_once_any_of_the_caller_or_another_further_one_is_done(
    ended: tuple[int, ...],
) -> None:
    async def course() -> None:
        places = Places(PROGRAMS, replace(FURTHER, capacity=1, each=1, seconds=10.0))
        held = [await calling(places, ALICE), await calling(places, BOB), await calling(places, BOB)]
        waiting = asyncio.create_task(calling(places, ALICE))
        given_up = asyncio.create_task(calling(places, ALICE))
        assert not (await asyncio.wait([waiting], timeout=0.01))[0]
        given_up.cancel()
        await asyncio.wait([given_up])
        for number in ended:
            held[number].end()
        async with asyncio.timeout(PATIENCE):
            taken = await waiting
        # Nothing is kept of what it waited for beside that.
        taken.end()
        for turn in held:
            turn.end()
        assert places.called == 0

    asyncio.run(course())


@pytest.mark.parametrize("turns", range(8))
def test_leave_to_call_is_not_lost_where_its_caller_is_cancelled_as_it_comes(turns: int) -> None:
    async def course() -> None:
        places = Places(PROGRAMS, replace(FURTHER, capacity=1, each=1, seconds=10.0))
        first, further = await calling(places, ALICE), await calling(places, ALICE)
        waiting = asyncio.create_task(calling(places, ALICE))
        assert not (await asyncio.wait([waiting], timeout=0.01))[0]
        first.end()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        [found] = await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(found, Turn):
            found.end()
        further.end()
        assert places.called == 0

    asyncio.run(course())
