"""Chunks of callers' own: what is in the index is counted, whatever happens while it is put in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import claims
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.documents import Documents
from server.background.lasting import LastingWork
from server.storage.records.guarded import Contended
from server.storage.records.record import Record
from tests.support.patience import PATIENCE
from tests.support.vector_world import VectorWorld
from tests.unit.api.conftest import InWorld

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})


async def put(world: VectorWorld, store: Record, *texts: str) -> None:
    of = Documents(world.records.stores, world.records.queue, world.embedder, lambda _: world.index, LastingWork())
    gate = world.gate(ANN)
    found, permit = await world.records.stores.changeable(gate, store.id)
    model = await world.embedder.model(gate, "words")
    vectors = await world.embedder.embed(gate, model, texts)
    chunks = [NewChunk(text, "d", text, {}, "", vector) for text, vector in zip(texts, vectors, strict=True)]
    await of.insert(gate, found, permit, chunks)


@contextmanager
def held(world: VectorWorld) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """The next chunks are in the index when the first event is set, and their request goes on after the second."""
    there, go_on = asyncio.Event(), asyncio.Event()
    put: Callable[..., Any] = world.index.put

    async def putting(*given: Any) -> None:
        world.index.put = put  # type: ignore[method-assign]
        await put(*given)
        there.set()
        await go_on.wait()

    world.index.put = putting  # type: ignore[method-assign]
    yield there, go_on
    world.index.put = put  # type: ignore[method-assign]


async def settled(world: VectorWorld, store: Record, *texts: str) -> None:
    """Wait until these texts are counted; they are what is found, too."""
    size = sum(2 * len(text) + 4 * 256 for text in texts)
    async with asyncio.timeout(PATIENCE):
        while True:
            if (await world.records.stores.sums([store.id]))[store.id].bytes == size:
                break
            await asyncio.sleep(0.02)
    assert sorted(each.text for each in await world.find(store, ANN, "bicycles")) == sorted(texts)


def test_chunks_are_counted_though_their_caller_leaves(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        with held(world) as (there, go_on):
            request = asyncio.create_task(put(world, store, "bicycles", "trains"))
            await there.wait()
            request.cancel()
            with suppress(asyncio.CancelledError):
                await request
            go_on.set()
            await settled(world, store, "bicycles", "trains")
        await put(world, store, "trains", "ships")
        await settled(world, store, "bicycles", "trains", "ships")

    vectors(work)


def test_a_claim_that_is_over_ends_with_nothing(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        with held(world) as (there, go_on), monkeypatch.context() as patch:
            slow = asyncio.create_task(put(world, store, "bicycles"))
            await there.wait()
            later = time.time() + claims.CLAIM_SECONDS
            patch.setattr(time, "time", lambda: later)
            await world.purging.sweep()
            go_on.set()
            with pytest.raises(Contended):
                await slow
        await settled(world, store)
        await put(world, store, "bicycles")
        await settled(world, store, "bicycles")

    vectors(work)


def test_a_claim_that_ended_leaves_its_chunks_out(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        with held(world) as (there, go_on):
            slow = asyncio.create_task(put(world, store, "bicycles", "ships"))
            await there.wait()
            later = time.time() + claims.CLAIM_SECONDS
            monkeypatch.setattr(time, "time", lambda: later)
            await put(world, store, "trains", "ships")
            go_on.set()
            with pytest.raises(Contended):
                await slow
        await settled(world, store, "trains", "ships")

    vectors(work)
