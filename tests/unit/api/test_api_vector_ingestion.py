"""Ingestion from the file to the search, as the caller who attached it, and what comes of faults on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from secrets import token_hex

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import failures, filling
from server.api.vector_stores.links import Link, NewLink, Status, Strategy
from server.api.vector_stores.purges import Note
from server.api.vector_stores.ranking import Mode
from server.extraction.pieces import Chunking
from server.http.errors import ApiError
from server.inference.provider import Fault, ProviderFailed
from server.storage.records.record import Record
from tests.support.patience import PATIENCE
from tests.support.vector_world import VectorWorld
from tests.unit.api.conftest import InWorld

ANN, BEN, READER, ONLOOKER, WORDLESS, STRANGER = (
    Principal(name, "https://a.example", {"roles": (name,)})
    for name in ("ann", "ben", "reader", "onlooker", "wordless", "stranger")
)


async def new_store(world: VectorWorld, **members: object) -> Record:
    return await world.records.new_store(f"vs_{token_hex(8)}", ANN, **members)


def failed(link: Link) -> tuple[str, str]:
    assert link.status is Status.FAILED, link
    assert link.last_error is not None
    assert (link.chunks, link.usage_bytes) == (0, 0)
    return link.last_error["code"], link.last_error["message"]


def down(**more: object) -> ProviderFailed:
    return ProviderFailed(Fault.PROVIDER, "the provider answered with an error", **more)  # type: ignore[arg-type]


def test_a_file_is_found_by_what_it_says(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        first = await world.put(store, ANN, "a blue bicycle", attributes={"year": 2026}, name="bike.txt")
        await world.put(store, ANN, "the theory of numbers")
        assert (first.status, first.chunks, first.last_error) == (Status.COMPLETED, 1, None)
        assert first.usage_bytes == len("a blue bicycle") + 4 * 256
        found = await world.find(store, ANN, "a blue bicycle")
        assert [each.text for each in found] == ["a blue bicycle", "the theory of numbers"]
        assert found[0].score == pytest.approx(1, abs=1e-4)
        assert (found[0].file_id, found[0].filename, found[0].attributes) == (first.file_id, "bike.txt", {"year": 2026})
        assert await world.find(store, BEN, "a blue bicycle") == []
        sums = (await world.records.stores.sums([store.id]))[store.id]
        assert (sums.counts, sums.bytes) == ({Status.COMPLETED: 2}, 2 * 4 * 256 + 14 + 21)
        # Nothing of the attempts is left, and nothing waits.
        assert await world.records.queue.work.rounds.waiting(10) == 0
        assert not await world.records.queue.notes.records.chosen("facet = ?1", Note.ATTEMPT, limit=1)

    vectors(work)


@pytest.mark.parametrize("content", [b" ", b"\n\t \r\n" * 10, b"\x00\x01\x02\x03" * 100])
def test_a_file_without_text_fails_and_says_so(vectors: InWorld, content: bytes) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        file_id = await world.upload(ANN, content)
        code, message = failed(await world.ended(await world.attach(store, ANN, file_id)))
        assert code in ("invalid_file", "unsupported_file")
        assert message
        assert await world.find(store, ANN, "text") == []

    vectors(work)


@pytest.mark.parametrize(
    ("caller", "code", "says"),
    [
        (READER, "server_error", "the policy no longer lets you attach files here; decision `"),
        (STRANGER, "invalid_file", "there is no `vs_"),
        (ONLOOKER, "server_error", "the policy does not let you change this vector store; decision `"),
        (WORDLESS, "server_error", "the model `words` does not exist, or you have no access to it"),
        (BEN, "invalid_file", "there is no `file-"),
    ],
)
def test_the_caller_who_attached_is_asked_about_when_the_file_starts(
    vectors: InWorld, caller: Principal, code: str, says: str
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        owner = ANN if caller is BEN else caller
        file_id = await world.upload(owner, b"a text")
        found = failed(await world.ended(await world.attach(store, caller, file_id)))
        assert found[0] == code
        assert found[1].startswith(says)
        asked = len(world.model.asked)
        assert await world.find(store, ANN, "a text", mode=Mode.KEYWORD) == []
        assert len(world.model.asked) == asked

    vectors(work)


def test_a_file_that_was_deleted_before_its_turn_fails(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        file_id = await world.upload(ANN, b"a text")
        await world.files.delete(world.gate(ANN), file_id)
        code, message = failed(await world.ended(await world.attach(store, ANN, file_id)))
        assert (code, message) == ("invalid_file", f"there is no `{file_id}`, or you have no access to it")

    vectors(work)


def test_a_provider_that_fails_for_a_moment_is_asked_again(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        world.model.failures += [down(), down()]
        link = await world.put(store, ANN, "a text")
        assert link.status is Status.COMPLETED
        assert not world.model.failures

    monkeypatch.setattr(filling, "_ASKED_AGAIN", (0.0, 0.0))
    vectors(work)


def test_a_provider_that_keeps_failing_ends_the_file_and_no_other(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        world.model.failures += [down() for _ in range(9)]
        asked = len(world.model.asked)
        code, message = failed(await world.put(store, ANN, "a text"))
        assert (code, message) == ("server_error", "the provider answered with an error")
        assert len(world.model.asked) - asked == 9
        assert (await world.put(store, ANN, "another text")).status is Status.COMPLETED
        sums = (await world.records.stores.sums([store.id]))[store.id]
        assert sums.counts == {Status.FAILED: 1, Status.COMPLETED: 1}
        await world.purged(store)
        assert [each.text for each in await world.find(store, ANN, "a text")] == ["another text"]

    monkeypatch.setattr(filling, "_ASKED_AGAIN", (0.0, 0.0))
    monkeypatch.setattr(failures, "LONGEST_PAUSE", 0)
    vectors(work)


def test_a_provider_that_refuses_is_asked_once(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        for refusal in (ProviderFailed(Fault.REQUEST, "no such text"), down(hopeless=True)):
            store = await new_store(world)
            world.model.failures.append(refusal)
            asked = len(world.model.asked)
            assert failed(await world.put(store, ANN, "a text"))[0] == "server_error"
            assert len(world.model.asked) == asked + 1

    vectors(work)


def test_what_is_cancelled_or_detached_meanwhile_leaves_nothing(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        stores, queue = world.records.stores, world.records.queue
        for end in ("cancel", "detach", "drop"):
            store = await new_store(world)
            world.model.hold()
            link = await world.attach(store, ANN, await world.upload(ANN, b"a text"))
            await world.model.arrived.wait()
            if end == "cancel":
                await stores.to_cancelled(link, queue.cancelling(link))
            elif end == "detach":
                await world.records.detach(store, link)
            else:
                await world.records.removals.remove(store, *queue.dropping(store))
            world.model.gone_on.set()
            assert await left(world, store) == []
            if end == "cancel":
                assert (await stores.refreshed(link)).status is Status.CANCELLED

    vectors(work)


async def left(world: VectorWorld, store: Record) -> list[str]:
    """The notes about a store that stay, once none is due or under way."""
    key, records = store.body["index"], world.records.queue.notes.records
    async with asyncio.timeout(PATIENCE):
        while True:
            notes = [stored.record for stored in await records.chosen("id LIKE ?1", f"{key}%", limit=9)]
            if not notes:
                return [stored.id for stored in await records.chosen("id = ?1 AND facet <> 'done'", key, limit=9)]
            world.records.queue.wake()
            await asyncio.sleep(0.02)


def test_attributes_may_change_while_the_file_is_ingested(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        world.model.hold()
        link = await world.attach(store, ANN, await world.upload(ANN, b"a text"))
        await world.model.arrived.wait()
        await world.records.stores.changed(link, Status.IN_PROGRESS, {"attributes": {"year": 7}})
        world.model.gone_on.set()
        done = await world.ended(link)
        assert (done.status, done.attributes, done.chunks) == (Status.COMPLETED, {"year": 7}, 1)

    vectors(work)


def test_a_store_keeps_its_dimensions(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world, dimensions=3)
        code, message = failed(await world.put(store, ANN, "a text"))
        assert code == "server_error"
        assert "makes vectors of 256 numbers now" in message
        with pytest.raises(ApiError) as caught:
            await world.find(store, ANN, "a text")
        assert caught.value.status == 409
        undecided = await new_store(world)
        await world.put(undecided, ANN, "a text")
        present = await world.records.stores.find(undecided.id)
        assert present is not None
        assert present.body["dimensions"] == 256

    vectors(work)


def test_a_store_that_has_expired_takes_nothing_in(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world, expires_after=1)
        table = world.records.stores.links.database
        await table.write(world.records.stores._stores.changing(store, {**store.body, "last_active_at": 1}, "", None))
        code, message = failed(await world.put(store, ANN, "a text"))
        assert code == "server_error"
        assert "has expired" in message

    vectors(work)


def test_chunks_are_no_longer_than_the_model_reads(vectors: InWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        known = world.embedder.model

        async def short(gate: object, name: str) -> object:
            return replace(await known(gate, name), most_tokens=120)  # type: ignore[arg-type]

        monkeypatch.setattr(world.embedder, "model", short)
        text = "a sentence of some words. " * 200
        link = await world.put(store, ANN, text)
        assert link.chunks > 10
        longer = NewLink("f", {}, Strategy.STATIC, Chunking(200, 0))
        long = await world.put(store, ANN, text, strategy=longer.strategy, chunking=longer.chunking)
        assert "the chunks would have 200 tokens" in failed(long)[1]

    vectors(work)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        with monkeypatch.context() as patch:
            patch.setattr(filling, "LARGEST_FILE", 5)
            assert failed(await world.put(store, ANN, "a text"))[0] == "invalid_file"
        with monkeypatch.context() as patch:
            patch.setattr(filling, "MOST_CHUNKS", 1)
            assert (await world.put(store, ANN, "a text")).status is Status.COMPLETED
            assert "more than 1 chunks" in failed(await world.put(store, ANN, "another text"))[1]

    vectors(work)


def test_of_a_file_for_which_there_is_no_room_the_rest_is_not_embedded(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: VectorWorld) -> None:
        store = await new_store(world)
        with monkeypatch.context() as patch:
            patch.setattr(filling, "MOST_CHUNKS", 2)
            text = " ".join(f"word{number}" for number in range(40_000))
            link = await world.put(store, ANN, text, strategy=Strategy.STATIC, chunking=Chunking(100, 0))
            assert "more than 2 chunks" in failed(link)[1]
        assert any(b"word0 " in payload for payload in world.model.asked)
        assert not any(b"word39999" in payload for payload in world.model.asked)

    vectors(work)
