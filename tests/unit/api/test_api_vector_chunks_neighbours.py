"""Chunks that one caller puts in: what waits is bounded, and costs others nothing, also once the caller has left."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from sys import getsizeof
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import documents
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.documents import Documents
from server.api.vector_stores.links import Link
from server.background.lasting import LastingWork
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.storage.records.record import Record
from server.storage.vectors.index import Chunk
from tests.support.patience import PATIENCE
from tests.support.vector_world import VectorWorld
from tests.unit.api.conftest import InWorld

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})
MANY = 40


class Putting:
    """Puts texts of ann's into a store; the chunks come into the index once `go_on` is set."""

    def __init__(self, world: VectorWorld, store: Record, patch: pytest.MonkeyPatch) -> None:
        self.go_on, self.begun, self.looks = asyncio.Event(), 0, 0
        self._world, self._store = world, store
        self._put, self._links_by_id = world.index.put, world.records.stores.links_by_id
        patch.setattr(world.index, "put", self._held)
        patch.setattr(world.records.stores, "links_by_id", self._counted)
        stores, queue = world.records.stores, world.records.queue
        self._documents = Documents(stores, queue, world.embedder, lambda _: world.index, LastingWork())

    async def put(self, number: int, document: str, caller: str = "ann", length: int = 8) -> None:
        """Put one chunk into a document."""
        CURRENT.set((caller,))
        gate = self._world.gate(ANN)
        store, permit = await self._world.records.stores.changeable(gate, self._store.id)
        chunk = NewChunk(f"c{number}", document, "text", {}, "", array("f", [1.0] * length))
        await self._documents.insert(gate, store, permit, [chunk])

    async def _held(self, key: str, dimensions: int, chunks: dict[int, Sequence[Chunk]]) -> None:
        self.begun += 1
        await self.go_on.wait()
        await self._put(key, dimensions, chunks)

    async def _counted(self, identities: Sequence[str]) -> dict[str, Link]:
        self.looks += 1
        return await self._links_by_id(identities)


async def all_of(tasks: Sequence[asyncio.Task[None]]) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def some_turns() -> None:
    """Let everything come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0.01)


def test_requests_for_one_document_look_for_it_one_after_the_other(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        putting = Putting(world, store, monkeypatch)
        waiting = [asyncio.create_task(putting.put(number, "d")) for number in range(MANY)]
        await some_turns()
        # A request that waits for the document looks for it every 50 ms, and no more of them do than have a turn.
        before = putting.looks
        await some_turns()
        assert putting.looks - before <= 10 * documents.PUTS.each
        putting.go_on.set()
        assert await all_of(waiting) == [None] * MANY
        assert await world.records.stores.chunks_of(store) == MANY

    vectors(work)


def test_callers_that_leave_have_no_more_under_way_than_those_that_stay(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        putting = Putting(world, store, monkeypatch)
        for number in range(MANY):
            left = asyncio.create_task(putting.put(number, f"d{number}"))
            await asyncio.sleep(0.01)
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left
        await some_turns()
        assert putting.begun == documents.PUTS.each
        other = asyncio.create_task(putting.put(0, "d", "other"))
        await some_turns()
        assert putting.begun == documents.PUTS.each + 1
        putting.go_on.set()
        assert await all_of([other]) == [None]
        # What had begun comes to its end, and gives its turns back.
        again = [asyncio.create_task(putting.put(number, f"e{number}")) for number in range(MANY)]
        assert await all_of(again) == [None] * MANY
        assert await world.records.stores.chunks_of(store) == documents.PUTS.each + 1 + MANY

    vectors(work)


def test_a_caller_has_a_part_of_the_memory_for_chunks(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        length, size = 1000, 4 * 1000 + getsizeof("text") + getsizeof("") + documents.BYTES_OF_A_CHUNK
        monkeypatch.setattr(documents, "INCOMING", replace(documents.INCOMING, capacity=6 * size, each=2 * size))
        putting = Putting(world, store, monkeypatch)
        held = [asyncio.create_task(putting.put(number, f"d{number}", length=length)) for number in range(2)]
        await some_turns()
        with pytest.raises(NoRoom, match="your share of bytes of chunks that are put into vector stores"):
            await putting.put(2, "d2", length=length)
        other = asyncio.create_task(putting.put(0, "d", "other", length=length))
        await some_turns()
        assert putting.begun == 3
        putting.go_on.set()
        assert await all_of([*held, other]) == [None] * 3
        CURRENT.set(("ann",))
        await putting.put(2, "d2", length=length)

    vectors(work)


def test_chunks_whose_caller_has_left_count_until_they_are_in(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        size = 4 * 8 + getsizeof("text") + getsizeof("") + documents.BYTES_OF_A_CHUNK
        monkeypatch.setattr(documents, "INCOMING", replace(documents.INCOMING, capacity=6 * size, each=2 * size))
        putting = Putting(world, store, monkeypatch)
        for number in range(2):
            left = asyncio.create_task(putting.put(number, f"d{number}"))
            await some_turns()
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left
        assert putting.begun == 2
        with pytest.raises(NoRoom, match="your share of bytes of chunks that are put into vector stores"):
            async with asyncio.timeout(PATIENCE):
                await putting.put(2, "d2")
        putting.go_on.set()
        await some_turns()
        await putting.put(2, "d2")
        assert await world.records.stores.chunks_of(store) == 3

    vectors(work)
