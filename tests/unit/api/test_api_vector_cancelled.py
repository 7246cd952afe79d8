"""What reads, writes and ingests files leaves nothing open, at whatever moment it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from starlette.types import Message

from policy.vocabulary import Principal
from server.api.files.routes import Content
from server.api.vector_stores.links import NewLink, Strategy
from server.api.vector_stores.search import Wanted
from server.extraction.pieces import Chunking, Unreadable
from server.http.request_state import RequestState, scope_of
from server.storage.blobs.store import pieces_of
from tests.support.cancelled_steps import When, cancelled_at
from tests.support.vector_world import VectorWorld, connected
from tests.unit.api.conftest import InWorld, in_world

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})

STRIDE = 1 if os.environ.get("OSTIARY_NIGHTLY") == "1" else 4
"""Every so manieth moment is tried."""

Work = Callable[[], Coroutine[Any, Any, object]]


@pytest.fixture(scope="module")
def idle(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InWorld]:
    """Runs a piece of work in a world in which nothing is done by itself."""
    with in_world(opa_binary, tmp_path_factory.mktemp("idle"), work=False) as run:
        yield run


def held(world: VectorWorld) -> list[str]:
    """The blobs, locks and files without a name that are open in the folder of the world."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            path = str(link.readlink())
        except FileNotFoundError:
            continue
        if path.startswith(str(world.vectors.parent)) and any(kind in path for kind in ("/blobs/", "/.locks/", "(del")):
            found.append(path)
    return found


async def ingesting(world: VectorWorld) -> Work:
    store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
    link = await world.records.attach(store, NewLink(await world.upload(ANN, b"a text of words. " * 500), {}), ANN)

    async def work() -> None:
        part = int.from_bytes(os.urandom(7))
        await world.ingestion._filling.filled(world.gate(ANN), part, store, link, lambda: None)

    return work


async def reading(world: VectorWorld) -> Work:
    record = await world.files.records.get(world.gate(ANN), await world.upload(ANN, b"some bytes" * 50_000))

    async def work() -> None:
        async with pieces_of(await world.files.open(record)) as pieces:
            async for _ in pieces:
                pass

    return work


async def uploading(world: VectorWorld) -> Work:
    async def work() -> None:
        await world.upload(ANN, b"some bytes" * 50_000)

    return work


async def searching(world: VectorWorld) -> Work:
    store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
    chunk = NewLink(await world.upload(ANN, b"a text"), {})
    link = await world.records.attach(store, chunk, ANN)
    await world.ingestion._filling.filled(world.gate(ANN), link.part, store, link, lambda: None)

    async def work() -> None:
        await world.search.found(connected(), world.gate(ANN), store, Wanted(["a text"]))

    return work


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("make", [ingesting, reading, uploading, searching])
def test_what_is_cancelled_leaves_nothing_open(
    idle: InWorld, make: Callable[[VectorWorld], Awaitable[Work]], when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: left.append(f"{said.object!r}: {said.exc_value!r}"))

    async def run(world: VectorWorld) -> None:
        work = await make(world)
        step = list(When).index(when)
        while await cancelled_at(step, when, work()):
            assert held(world) == [], step
            assert world.ingestion._filling._extractor._children == set(), step
            step += STRIDE
        gc.collect()
        assert left == []
        assert step > 0

    idle(run)


def test_a_file_that_is_refused_before_its_first_byte_is_closed(idle: InWorld) -> None:
    async def run(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        known = world.embedder.model

        async def short(gate: object, name: str) -> object:
            return replace(await known(gate, name), most_tokens=120)  # type: ignore[arg-type]

        new = NewLink(await world.upload(ANN, b"a text"), {}, Strategy.STATIC, Chunking(200, 0))
        link = await world.records.attach(store, new, ANN)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.embedder, "model", short)
            with pytest.raises(Unreadable, match="the chunks would have 200 tokens"):
                await world.ingestion._filling.filled(world.gate(ANN), link.part, store, link, lambda: None)
        assert held(world) == []

    idle(run)


@pytest.mark.parametrize("when", When)
def test_a_download_that_is_cancelled_leaves_nothing_open(idle: InWorld, when: When) -> None:
    async def run(world: VectorWorld) -> None:
        record = await world.files.records.get(world.gate(ANN), await world.upload(ANN, b"some bytes" * 100_000))
        sent: list[Message] = []

        async def send(message: Message) -> None:
            await asyncio.sleep(0)
            sent.append(message)

        scope = {"type": "http", "method": "GET", **scope_of(RequestState("req_1", 0.0, send))}

        async def work() -> None:
            response = Content(record, await world.files.open(record))
            await response(scope, connected().receive, send)

        step = 0
        while await cancelled_at(step, when, work()):
            assert held(world) == [], step
            step += 1
        assert step > 5

    idle(run)
