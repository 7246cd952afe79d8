"""Chunks that take the places of others: whatever fails on the way, the text is found, once, and counted."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from textwrap import dedent
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import claims
from server.api.vector_stores.claims import Claims
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.documents import TOGETHER, Documents
from server.background.lasting import LastingWork
from server.storage.records.record import Record
from server.storage.vectors.index import IndexUnavailable
from tests.support.databases import empty_sqlite
from tests.support.opa_engine import OpaServer, compile_config
from tests.support.vector_indexes import KINDS, index_of, vectors
from tests.support.vector_world import VectorWorld, vector_world
from tests.unit.api.conftest import POLICY, InWorld

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})
VECTOR = vectors(1, 1)[0]


@pytest.fixture(scope="module", params=KINDS)
def both(
    opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[InWorld]:
    """Runs a piece of work in a world with one index after the other."""
    folder = tmp_path_factory.mktemp("vectors")
    with (
        OpaServer(opa_binary, compile_config(dedent(POLICY)).archive) as opa,
        empty_sqlite(folder) as make,
        asyncio.Runner() as runner,
    ):
        world = vector_world(make, folder, opa.address, index_of(request.param, folder / "vectors"), work=False)
        made = runner.run(world.__aenter__())
        yield lambda work: runner.run(work(made))
        runner.run(world.__aexit__(None, None, None))


async def put(world: VectorWorld, store: Record, texts: Mapping[str, str]) -> None:
    """Put texts in, each of which is the only chunk of a document."""
    of = Documents(world.records.stores, world.records.queue, world.embedder, lambda _: world.index, LastingWork())
    found, permit = await world.records.stores.changeable(world.gate(ANN), store.id)
    chunks = [NewChunk("c", document, text, {}, "", array("f", VECTOR)) for document, text in texts.items()]
    await of.insert(world.gate(ANN), found, permit, chunks)


async def found(world: VectorWorld, store: Record) -> list[str]:
    links = await world.records.stores.links.chosen("parent = ?1", store.id, limit=200)
    parts = [stored.record.body["part"] for stored in links]
    return sorted(hit.text for hit in await world.index.nearest(store.body["index"], VECTOR, parts, 200))


async def check(world: VectorWorld, store: Record, *texts: str) -> None:
    """These are found once nothing waits to be removed, and no others, and their sums are those of the store."""
    await world.purging.sweep()
    assert not (await world.records.queue.purges([store]))[store.id].pending
    assert await found(world, store) == sorted(texts)
    sums = (await world.records.stores.sums([store.id]))[store.id]
    assert sums.bytes == sum(len(text) + 1 + 4 * len(VECTOR) for text in texts)
    assert await world.records.stores.chunks_of(store) == len(texts)


def fail_once(world: VectorWorld, patch: pytest.MonkeyPatch, method: str, *, after: bool) -> None:
    """Let the index fail once in a method that is given something to do, before or after it does it."""
    real, failed = getattr(world.index, method), list[bool]()

    async def failing(*given: Any) -> Any:
        if failed or not given[-1]:
            return await real(*given)
        failed.append(True)
        if after:
            await real(*given)
        raise IndexUnavailable("it fails")

    patch.setattr(world.index, method, failing)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("method", "again"), [("named", False), ("put", False), ("put", True), ("remove_chunks", True)]
)
def test_a_failure_of_the_index_leaves_the_text_that_was_there(
    both: InWorld, monkeypatch: pytest.MonkeyPatch, method: str, again: bool, after: bool
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        await put(world, store, {"d1": "older", "d2": "stays"})
        if again:
            await put(world, store, {"d1": "old"})
        old = "old" if again else "older"
        with monkeypatch.context() as patch:
            fail_once(world, patch, method, after=after)
            with pytest.raises(IndexUnavailable):
                await put(world, store, {"d1": "new", "d3": "more"})
            assert {old, "stays"} <= set(await found(world, store))
            await check(world, store, old, "stays")
        await put(world, store, {"d1": "new", "d3": "more"})
        await check(world, store, "new", "stays", "more")

    both(work)


@pytest.mark.parametrize("after", [False, True])
def test_what_is_replaced_goes_later_where_the_index_fails(
    both: InWorld, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        await put(world, store, {"d1": "old", "d2": "stays"})
        with monkeypatch.context() as patch:
            fail_once(world, patch, "remove_chunks", after=after)
            await put(world, store, {"d1": "new"})
            assert {"new", "stays"} <= set(await found(world, store))
            await check(world, store, "new", "stays")

    both(work)


def test_a_request_whose_process_ends_changes_nothing(both: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> None: ...

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    async def work(world: VectorWorld) -> None:
        for sweeps in (True, False):
            store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
            await put(world, store, {"d1": "old"})
            with monkeypatch.context() as patch:
                patch.setattr(Claims, "complete", killed)
                patch.setattr(Claims, "release", nothing)
                with pytest.raises(KeyboardInterrupt):
                    await inner(world, store, {"d1": "new", "d2": "more"})
            assert await found(world, store) == ["more", "new", "old"]
            later = time.time() + claims.CLAIM_SECONDS
            with monkeypatch.context() as patch:
                patch.setattr(time, "time", lambda later=later: later)
                if sweeps:
                    await check(world, store, "old")
                await put(world, store, {"d1": "old"})
                await check(world, store, "old")

    both(work)


async def inner(world: VectorWorld, store: Record, texts: Mapping[str, str]) -> None:
    """As `put`, in the task of the test."""
    of = Documents(world.records.stores, world.records.queue, world.embedder, lambda _: world.index, LastingWork())
    chunks = {name: [NewChunk("c", name, text, {}, "", array("f", VECTOR))] for name, text in texts.items()}
    await of._put(world.index, store, ANN, None, chunks)


def test_many_documents_come_in_few_commits(both: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store, count = await world.records.new_store(f"vs_{token_hex(8)}", ANN), 2 * TOGETHER + 1
        texts = {f"d{number}": f"text {number}" for number in range(count)}
        for _ in range(2):
            calls = list[str]()
            with monkeypatch.context() as patch:
                for method in ("put", "named", "remove_chunks", "add", "chunks"):
                    patch.setattr(world.index, method, counted(calls, method, getattr(world.index, method)))
                writes = world.records.stores.links.database.write
                patch.setattr(
                    world.records.stores.links.database, "write", counted(calls, "write", writes), raising=False
                )
                await put(world, store, texts)
            assert calls.count("put") == 3
            # Six calls for each commit, and one for the use of the store, noted where a second has gone by.
            assert len(calls) <= 3 * 6 + 1
        await check(world, store, *texts.values())

    both(work)


def counted(calls: list[str], name: str, work: Any) -> Any:
    def called(*given: Any) -> Any:
        calls.append(name)
        return work(*given)

    return called
