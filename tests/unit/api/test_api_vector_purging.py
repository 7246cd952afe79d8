"""What is deleted is hidden at once, and its bytes leave the index, whatever stops a purge in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import purging
from server.api.vector_stores.purges import Note
from server.storage.database.database import Step
from server.storage.records.guarded import NotFound
from server.storage.records.record import Record
from server.storage.vectors.index import IndexUnavailable
from server.storage.vectors.opening import STARTING
from tests.support.patience import PATIENCE
from tests.support.vector_world import VectorWorld
from tests.unit.api.conftest import InWorld

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})


async def new_store(world: VectorWorld) -> Record:
    return await world.records.new_store(f"vs_{token_hex(8)}", ANN)


def on_disk(world: VectorWorld, store: Record, vector: bytes) -> bool:
    """Whether the bytes of a vector are in some file of the store's table."""
    found = [path for path in world.vectors.rglob("*") if store.body["index"] in str(path) and path.is_file()]
    assert found
    return any(vector in path.read_bytes() for path in found)


async def vector_of(world: VectorWorld, text: str) -> bytes:
    gate = world.gate(ANN)
    [vector] = await world.embedder.embed(gate, await world.embedder.model(gate, "words"), [text])
    return vector.tobytes()[:32]


@contextmanager
def idle(world: VectorWorld) -> Iterator[None]:
    """No sweep begins by itself."""

    async def nothing() -> None:
        return

    before = world.purging.sweep
    world.purging.sweep = nothing  # type: ignore[method-assign]
    try:
        yield
    finally:
        world.purging.sweep = before  # type: ignore[method-assign]


def test_a_deleted_file_is_hidden_at_once_and_its_bytes_go(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        gone = await world.put(store, ANN, "a secret about bicycles")
        await world.put(store, ANN, "something else")
        vector = await vector_of(world, "a secret about bicycles")
        assert on_disk(world, store, vector)
        sweep = world.purging.sweep
        with idle(world):
            await world.files.delete(world.gate(ANN, "DELETE"), gone.file_id)
            found = await world.find(store, ANN, "a secret about bicycles")
            assert [each.text for each in found] == ["something else"]
        await sweep()
        await sweep()
        await world.purged(store)
        with pytest.raises(NotFound):
            await world.records.stores.refreshed(gone)
        assert not on_disk(world, store, vector)
        assert (await world.records.queue.purges([store]))[store.id].last_purged_at is not None

    vectors(work)


def test_a_file_that_expires_leaves_its_stores(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        file_id = await world.upload(ANN, b"for a while")
        link = await world.ended(await world.attach(store, ANN, file_id))
        ending = Step("UPDATE openai_files SET expires_at = ?2 WHERE id = ?1", (file_id, int(time.time()) - 1))
        await world.file_table.database.write(ending)
        assert await world.find(store, ANN, "for a while") == []
        await world.file_sweeper.sweep()
        await gone(world, store, link.id)

    vectors(work)


async def gone(world: VectorWorld, store: Record, link: str) -> None:
    """Sweep until a link is gone and nothing of the store is to be purged."""
    end = time.monotonic() + PATIENCE
    while await world.records.stores.link(link) is not None:
        assert time.monotonic() < end
        await world.purging.sweep()
    await world.purged(store)


def test_a_scan_finds_what_went_without_a_note(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        link = await world.put(store, ANN, "lost between two databases")
        stays = await world.put(store, ANN, "something else")
        await world.file_table.database.write(world.file_table.removing(link.file_id))
        notes = world.records.queue.notes
        due = Step("UPDATE purges SET expires_at = 1 WHERE id = ?1", ("scan",))
        await notes.records.database.write(notes.scanning(), due)
        await gone(world, store, link.id)
        assert await world.records.stores.link(stays.id) is not None

    vectors(work)


def test_a_note_about_a_file_that_is_there_removes_nothing(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        link = await world.put(store, ANN, "still there")
        notes = world.records.queue.notes
        with idle(world):
            await notes.records.database.write(*notes.file_gone(link.file_id))
        end = time.monotonic() + PATIENCE
        while await notes.records.chosen("id = ?1", f"file:{link.file_id}", limit=1):
            assert time.monotonic() < end
            await world.purging.sweep()
        assert [each.text for each in await world.find(store, ANN, "still there")] == ["still there"]

    vectors(work)


def test_a_purge_that_is_stopped_is_taken_up_again(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        link = await world.put(store, ANN, "detached")
        notes = world.records.queue.notes
        with idle(world):
            await world.records.detach(store, link)
            [note] = await notes.about(store.body["index"], 10)
            [claimed] = await notes.claim([note], purging.CLAIM_SECONDS)
            # Others leave it alone for as long as that is.
            assert note.id not in [each.id for each in await notes.due(100)]
            await notes.claim([claimed], -1)
        await world.purged(store)
        assert await notes.about(store.body["index"], 10) == []

    vectors(work)


def test_what_the_index_still_has_is_not_forgotten(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        link = await world.put(store, ANN, "stubborn")
        purge, tries = world.index.purge, list[str]()

        async def failing(key: str) -> bool:
            tries.append(key)
            return await purge(key) and len(tries) > 1

        monkeypatch.setattr(world.index, "purge", failing)
        monkeypatch.setattr(purging, "CLAIM_SECONDS", 0)
        sweep = world.purging.sweep
        with idle(world):
            await world.records.detach(store, link)
            await sweep()
            assert (await world.records.queue.purges([store]))[store.id].pending
            await sweep()
            await world.purged(store)
        assert len(tries) >= 2

    vectors(work)


def test_an_index_that_is_about_to_open_delays_no_purge(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        link = await world.put(store, ANN, "deleted before the start")
        notes, sweep = world.records.queue.notes, world.purging.sweep

        async def starting(key: str, parts: Sequence[int]) -> None:
            raise IndexUnavailable(STARTING, starting=True)

        with idle(world):
            await world.records.detach(store, link)
            with monkeypatch.context() as patched:
                patched.setattr(world.index, "remove", starting)
                await sweep()
            [note] = await notes.about(store.body["index"], 10)
            assert note.expires_at is not None
            assert note.expires_at <= time.time() + purging.STARTING_SECONDS
        await world.purged(store)

    vectors(work)


def test_a_dropped_store_takes_its_notes_with_it(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        link = await world.put(store, ANN, "dropped")
        await world.records.detach(store, link)
        await world.put(store, ANN, "dropped too")
        await world.records.removals.remove(store, *world.records.queue.dropping(store))
        key, records = store.body["index"], world.records.queue.notes.records
        end = time.monotonic() + PATIENCE
        while await records.chosen("id LIKE ?1 AND facet <> ?2", f"%{key}%", Note.ATTEMPT, limit=9):
            assert time.monotonic() < end
            await world.purging.sweep()
        assert not [path for path in world.vectors.rglob("*") if key in str(path) and path.suffix == ".lance"]

    vectors(work)
