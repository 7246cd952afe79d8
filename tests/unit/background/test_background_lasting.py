"""Work that goes on to its end when the caller who waits for it has left."""

from __future__ import annotations

import asyncio

import pytest

from server.background.lasting import LastingWork


async def left(work: LastingWork, go_on: asyncio.Event, ended: list[str]) -> None:
    """Begin work that ends after the event, and leave before."""

    async def done() -> str:
        await go_on.wait()
        ended.append("counted")
        return "counted"

    waiting = asyncio.create_task(work.reach("work of a test", done()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_the_end_is_reached_before_a_server_stops_though_the_caller_has_left() -> None:
    async def scenario() -> None:
        work, go_on, ended = LastingWork(), asyncio.Event(), list[str]()
        async with work.running():
            await left(work, go_on, ended)
            asyncio.get_running_loop().call_later(0.01, go_on.set)
        assert ended == ["counted"]

    asyncio.run(scenario())


def test_a_caller_who_waits_is_told_what_came_of_it() -> None:
    async def fails() -> str:
        raise ValueError("no room")

    async def works() -> str:
        return "counted"

    async def scenario() -> None:
        work = LastingWork()
        async with work.running():
            assert await work.reach("work of a test", works()) == "counted"
            with pytest.raises(ValueError, match="no room"):
                await work.reach("work of a test", fails())

    asyncio.run(scenario())
