"""Places for programs of tools: whose programs make way for which callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import Turn
from server.mcp.places import Places
from server.mcp.programs import PROGRAMS
from tests.support.mcp_client import ALICE, BOB

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
        await course(Places(replace(PROGRAMS, capacity=3, each=2, seconds=10.0)))

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
