"""Searches of vectors come in turns of their callers."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace

import pytest

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.storage.vectors.index import Chunk, Held, Hit, IndexUnavailable, Vector
from server.storage.vectors.shared import HERE, SharedIndex

SEARCHES: dict[str, Callable[[SharedIndex], Awaitable[object]]] = {
    "nearest": lambda index: index.nearest("", array("f"), [1], 1),
    "matching": lambda index: index.matching("", "", [1], 1),
    "chunks": lambda index: index.chunks("", 1, 0, 1),
    "named": lambda index: index.named("", {1: ["a"]}),
}


class Slow:
    """An index whose searches last until they are let go; changes are done at once."""

    fault = "none"

    def __init__(self) -> None:
        self.running_searches = 0
        self.go_on = asyncio.Event()

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def _search(self) -> list[object]:
        self.running_searches += 1
        await self.go_on.wait()
        return []

    def check_open(self) -> None:
        raise IndexUnavailable("it is closed")

    async def put(self, key: str, dimensions: int, chunks: Mapping[int, Sequence[Chunk]]) -> None: ...

    async def add(self, key: str, dimensions: int, part: int, chunks: AsyncIterator[Sequence[Chunk]]) -> int:
        return part

    async def nearest(self, key: str, vector: Vector, parts: Sequence[int], limit: int) -> list[Hit]:
        return await self._search()  # type: ignore[return-value]  # nothing is in it

    async def matching(self, key: str, text: str, parts: Sequence[int], limit: int) -> list[Hit]:
        return await self._search()  # type: ignore[return-value]  # nothing is in it

    async def chunks(self, key: str, part: int, first: int, limit: int) -> list[Chunk]:
        return await self._search()  # type: ignore[return-value]  # nothing is in it

    async def named(self, key: str, names: Mapping[int, Sequence[str]]) -> list[Held]:
        return await self._search()  # type: ignore[return-value]  # nothing is in it

    async def remove(self, key: str, parts: Sequence[int]) -> None: ...

    async def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> None: ...

    async def drop(self, key: str) -> None: ...

    async def purge(self, key: str) -> bool:
        return True


@pytest.mark.parametrize("search", SEARCHES)
def test_one_caller_leaves_room_for_another(search: str) -> None:
    async def run() -> None:
        slow = Slow()
        index = SharedIndex(slow, replace(HERE, waiting_each=4))
        tasks = []
        for caller in ("greedy",) * 4 + ("modest",):
            CURRENT.set((caller,))
            tasks.append(asyncio.ensure_future(SEARCHES[search](index)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert slow.running_searches == HERE.capacity == 2
        assert not tasks[4].done()
        assert index.shares.waiting == 3
        CURRENT.set(("greedy",))
        full = [asyncio.ensure_future(SEARCHES[search](index)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(NoRoom, match="your share of searches of vectors is used up"):
            await full[1]
        # Changes wait for no search.
        assert await index.add("", 1, 7, nothing()) == 7
        await index.remove("", [1])
        await index.put("", 1, {})
        await index.remove_chunks("", {})
        await index.drop("")
        assert await index.purge("") is True
        assert index.fault == "none"
        # Neither does it to learn whether it is open.
        with pytest.raises(IndexUnavailable, match="closed"):
            index.check_open()
        slow.go_on.set()
        await asyncio.gather(*tasks, full[0])
        assert index.shares.used == 0

    asyncio.run(run())


async def nothing() -> AsyncIterator[Sequence[Chunk]]:
    yield []
