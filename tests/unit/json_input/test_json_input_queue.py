"""Whose turn it is: the smallest first, no turn lost, and never more at once than there are places."""

from __future__ import annotations

import asyncio
import random

import pytest

from server.json_input.queue import FairQueue, QueueFull


async def settle() -> None:
    """Let every task get as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_brings_little_comes_before_who_brings_much() -> None:
    async def run() -> list[int]:
        turns, order = FairQueue(1, 1000), []

        async def work(size: int) -> None:
            await turns.begin(size)
            order.append(size)

        await turns.begin(1)
        tasks = [asyncio.create_task(work(size)) for size in (300, 100, 200, 100)]
        for _ in tasks:
            await settle()
            turns.end()
        await asyncio.wait(tasks)
        return order

    assert asyncio.run(run()) == [100, 100, 200, 300]


def test_there_is_only_so_much_room_and_it_is_given_back() -> None:
    async def run() -> None:
        turns = FairQueue(1, 100)
        await turns.begin(1_000_000)
        waiting = asyncio.create_task(turns.begin(60))
        await settle()
        with pytest.raises(QueueFull):
            await turns.begin(41)
        waiting.cancel()
        await settle()
        second = asyncio.create_task(turns.begin(100))
        await settle()
        turns.end()
        await second

    asyncio.run(run())


def test_no_turn_is_lost_whoever_gives_up() -> None:
    async def run(chance: random.Random) -> None:
        turns, inside = FairQueue(3, 10_000), 0

        async def work() -> None:
            nonlocal inside
            await turns.begin(chance.randrange(100))
            inside += 1
            assert inside <= 3
            try:
                await asyncio.sleep(0)
            finally:
                inside -= 1
                turns.end()

        tasks = [asyncio.create_task(work()) for _ in range(50)]
        while not all(task.done() for task in tasks):
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            for _ in range(3):
                await turns.begin(0)

    for seed in range(50):
        asyncio.run(run(random.Random(seed)))  # noqa: S311 - a test's dice
