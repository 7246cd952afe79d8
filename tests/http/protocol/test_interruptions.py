"""Interrupting a piece of work: what is raised in its place, and what is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from server.http.interruptible import Interruptible


class Enough(Exception):
    """The reason of these tests."""


class Other(Exception):
    """Another one."""


def run(work: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        await work
        # A cancellation that was meant for a block must not strike behind it.
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(whole())


async def for_ever() -> None:
    await asyncio.Event().wait()


def test_a_block_that_waits_ends_with_the_reason() -> None:
    async def work() -> None:
        stream = Interruptible(Enough)
        asyncio.get_running_loop().call_soon(stream.interrupt)
        asyncio.get_running_loop().call_soon(stream.interrupt)
        with pytest.raises(Enough), stream:
            await for_ever()

    run(work())


def test_between_blocks_nothing_is_disturbed_and_the_next_one_does_not_begin() -> None:
    async def work() -> None:
        stream = Interruptible(Enough)
        with stream:
            await asyncio.sleep(0)
        stream.interrupt()
        await asyncio.sleep(0)
        with pytest.raises(Enough), stream:
            raise AssertionError

    run(work())


def test_a_fault_of_the_block_is_not_hidden() -> None:
    async def work() -> None:
        stream = Interruptible(Enough)
        asyncio.get_running_loop().call_soon(stream.interrupt)
        with pytest.raises(Other), stream:
            try:
                await for_ever()
            except asyncio.CancelledError:
                raise Other from None

    run(work())


def test_a_cancellation_from_elsewhere_goes_its_way() -> None:
    async def interrupted(stream: Interruptible) -> None:
        with stream:
            await for_ever()

    async def work(*, interrupt_too: bool) -> None:
        stream = Interruptible(Enough)
        task = asyncio.create_task(interrupted(stream))
        await asyncio.sleep(0)
        task.cancel()
        if interrupt_too:
            stream.interrupt()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work(interrupt_too=False))
    run(work(interrupt_too=True))


@pytest.mark.parametrize("outer_too", [False, True])
def test_of_two_nested_blocks_the_interrupted_one_says_why(outer_too: bool) -> None:
    async def work() -> None:
        inner, outer = Interruptible(Enough), Interruptible(Other)
        loop = asyncio.get_running_loop()
        loop.call_soon(inner.interrupt)
        if outer_too:
            loop.call_soon(outer.interrupt)
        with pytest.raises(Other if outer_too else Enough), outer, inner:
            await for_ever()

    run(work())
