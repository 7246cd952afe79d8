"""The work of ingestion: in rounds of the callers, one of a caller in a store, and never lost or done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import purges, work
from server.api.vector_stores.links import NewLink, Status
from server.api.vector_stores.purges import Note, Purge, key_of, part_of
from server.api.vector_stores.work import Lease, has_waited
from server.storage.database.database import Overtaken
from server.storage.records.record import Record
from server.storage.records.waiting import owner_of
from tests.support.databases import Make, opened
from tests.support.vector_records import VectorRecords, vector_records

ANN, BEN, EVE = (Principal(name, "https://a.example") for name in ("ann", "ben", "eve"))


def in_tables(make: Make, done: Callable[[VectorRecords], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await done(await vector_records(database))

    asyncio.run(worked())


async def taken(records: VectorRecords, store: Record) -> Lease:
    """The lease of the next work, which is in that store."""
    found = await records.queue.work.rounds.next(None, ())
    assert found is not None
    lease = await records.queue.work.take(found, store)
    assert lease is not None
    return lease


async def notes(records: VectorRecords) -> list[tuple[str, str]]:
    """The kinds of the notes that are there, and what they are about."""
    found = await records.queue.notes.records.chosen("1 = 1", limit=100)
    return [(stored.facet, stored.id) for stored in found]


def test_callers_come_in_rounds_however_much_one_of_them_has(make: Make) -> None:
    async def done(records: VectorRecords) -> None:
        store = [await records.new_store(f"s{number}") for number in range(12)]
        for number in range(7):
            await records.attach(store[number], NewLink(f"file-{number}", {}), EVE)
        await records.attach(store[7], NewLink("file-7", {}), ANN)
        await records.attach(store[8], NewLink("file-8", {}), None)
        await records.attach(store[11], NewLink("file-11", {}), None)
        await records.attach(store[9], NewLink("file-9", {}), BEN)
        await records.attach(store[10], NewLink("file-10", {}), replace(EVE, issuer="https://b.example"))
        after, seen = None, list[str]()
        for _ in range(12):
            found = await records.queue.work.rounds.next(after, ())
            assert found is not None
            by_id = {each.id: each for each in store}
            assert await records.queue.work.take(found, by_id[found.facet])
            after = owner_of(found)
            seen.append("none" if after is None else f"{after[0]}{after[1][8]}")
        assert seen == ["anna", "bena", "evea", "eveb", "none", "evea", "none", *["evea"] * 5]
        assert await records.queue.work.rounds.next(after, ()) is None
        assert await records.queue.work.rounds.waiting(100) == 12
        assert await records.queue.work.rounds.waiting(5) == 5

    in_tables(make, done)


def test_a_caller_that_is_busy_is_passed_over(make: Make) -> None:
    async def done(records: VectorRecords) -> None:
        for number, owner in enumerate((EVE, EVE, ANN, None)):
            await records.attach(await records.new_store(f"s{number}"), NewLink("file-1", {}), owner)
        eve, ann = ("eve", "https://a.example"), ("ann", "https://a.example")
        for after in (eve, ann, None, ("", "")):
            found = await records.queue.work.rounds.next(after, (eve, None))
            assert found is not None
            assert owner_of(found) == ann
            assert await records.queue.work.rounds.next(after, (eve, None, ann)) is None

    in_tables(make, done)


@pytest.mark.parametrize("caller", [ANN, None])
def test_a_caller_fills_a_store_with_one_link_at_a_time_and_others_fill_it_too(
    make: Make, caller: Principal | None
) -> None:
    async def done(records: VectorRecords) -> None:
        store, queue = await records.new_store("s"), records.queue.work
        links = [await records.attach(store, NewLink(f"file-{number}", {}), caller) for number in range(2)]
        other = await queue.rounds.next(None, ())
        lease = await taken(records, store)
        assert other is not None
        assert await queue.take(other, store) is None  # another process was faster
        assert await queue.rounds.next(None, ()) is None
        others = [replace(ANN, issuer="https://b.example"), BEN, ANN, None]
        for owner in [each for each in others if each != caller]:
            link = await records.attach(store, NewLink(f"file-of-{owner}", {}), owner)
            theirs = await taken(records, store)
            assert theirs.work.parent == link.id
            await queue.records.database.write(*queue.failing(theirs))
        await records.stores.to_completed(links[0], lease.part, 3, 100, queue.finishing(lease))
        second = await taken(records, store)
        assert second.work.parent == links[1].id
        assert await notes(records) == [(Note.ATTEMPT, f"{store.body['index']}:{second.part}")]

    in_tables(make, done)


def test_work_whose_process_ends_is_taken_again_and_its_part_is_purged(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def done(records: VectorRecords) -> None:
        store, queue = await records.new_store("s"), records.queue.work
        link = await records.attach(store, NewLink("file-1", {}), ANN)
        with monkeypatch.context() as patch:
            for module in (work, purges):
                patch.setattr(module, "LEASE_SECONDS", -1)
            first = await taken(records, store)
        second = await taken(records, store)
        assert (first.tries, second.tries) == (1, 2)
        assert first.part != second.part
        due = await queue.notes.records.expired(2**40, 10)
        assert f"{store.body['index']}:{first.part}" in due
        # What the first one still does changes nothing.
        with pytest.raises(Overtaken):
            await queue.renew(first)
        stale = await records.stores.link(link.id)
        assert stale is not None
        await queue.notes.records.database.write(queue.notes.giving_up(first.attempt))
        with pytest.raises(Overtaken):
            await records.stores.to_completed(stale, first.part, 1, 1, queue.finishing(first))
        renewed = await queue.renew(await queue.renew(second))
        await records.stores.to_completed(stale, renewed.part, 1, 1, queue.finishing(renewed))
        found = await records.stores.link(link.id)
        assert found is not None
        assert (found.status, found.part) == (Status.COMPLETED, second.part)
        assert [facet for facet, _ in await notes(records)] == [Note.PART]

    in_tables(make, done)


def test_work_goes_with_its_link(make: Make) -> None:
    async def done(records: VectorRecords) -> None:
        store, queue = await records.new_store("s"), records.queue.work
        link = await records.attach(store, NewLink("file-1", {}), ANN)
        found = await queue.rounds.next(None, ())
        assert found is not None
        lease = await queue.take(found, store)
        assert lease is not None
        await records.detach(store, link)
        with pytest.raises(Overtaken):
            await queue.renew(lease)
        await queue.records.database.write(*queue.failing(replace(lease, has_begun=True)))
        assert await queue.rounds.waiting(10) == 0
        assert await notes(records) == [(Note.PART, f"{store.body['index']}:{lease.part}")]
        assert await queue.take(found, store) is None

    in_tables(make, done)


def test_work_that_pauses_comes_back_later(make: Make) -> None:
    async def done(records: VectorRecords) -> None:
        store, queue = await records.new_store("s"), records.queue.work
        await records.attach(store, NewLink("file-1", {}), ANN)
        await queue.records.database.write(*queue.pausing(await taken(records, store), 100))
        assert await queue.rounds.next(None, ()) is None
        await queue.records.database.write(*queue.pausing(await retaken(records, store), 0))
        assert (await taken(records, store)).tries == 3

    async def retaken(records: VectorRecords, store: Record) -> Lease:
        [stored] = await records.queue.work.records.chosen("facet <> ''", limit=1)
        lease = await records.queue.work.take(stored.record, store)
        assert lease is not None
        return lease

    in_tables(make, done)


def test_work_that_takes_long_is_left_out_where_only_short_work_is_looked_for(make: Make) -> None:
    async def done(records: VectorRecords) -> None:
        queue = records.queue.work
        for number, owner in enumerate((ANN, None)):
            store = await records.new_store(f"s{number}")
            link = await records.attach(store, NewLink("file-1", {}), owner)
            await queue.records.database.write(*queue.pausing(await taken(records, store), 0, takes_long=True))
            assert await queue.short_rounds.next(None, ()) is None
            long = await taken(records, store)
            assert (long.work.parent, has_waited(long.work)) == (link.id, True)
            renewed = await queue.renew(long)
            await queue.records.database.write(*queue.pausing(renewed, 0))
            assert await queue.short_rounds.next(None, ()) is None
            later = await records.attach(store, NewLink("file-2", {}), owner)
            short = await queue.short_rounds.next(None, ())
            assert short is not None
            assert (short.parent, has_waited(short)) == (later.id, False)
            await queue.records.database.write(queue.ending(link), queue.ending(later))

    in_tables(make, done)


def test_a_store_says_that_it_is_purged_once_its_notes_are_forgotten(make: Make) -> None:
    async def done(records: VectorRecords) -> None:
        a, b = [await records.new_store(identity) for identity in "ab"]
        table, kept = records.queue.notes, records.queue.notes.records
        link = await records.attach(a, NewLink("file-1", {}), ANN)
        assert await table.of([a, b]) == {"a": Purge(), "b": Purge()}
        completed = await records.stores.to_completed(link, 7, 1, 1, [records.queue.work.ending(link)])
        await records.detach(a, completed)
        assert await table.of([a, b]) == {"a": Purge(pending=True), "b": Purge()}
        [note] = [stored.record for stored in await kept.chosen("1 = 1", limit=10)]
        assert (key_of(note), part_of(note)) == (a.body["index"], 7)
        await kept.database.write(*table.purged(key_of(note), [note]))
        found = (await table.of([a, b]))["a"]
        assert not found.pending
        assert found.last_purged_at is not None
        # Gone twice is gone once, and leaves nothing behind.
        await kept.database.write(*table.dropping(a))
        await kept.database.write(*table.dropping(a))
        assert (await table.of([a]))["a"].pending
        [note] = [stored.record for stored in await kept.chosen("facet = ?1", Note.STORE, limit=10)]
        await kept.database.write(*table.purged(key_of(note), [note]))
        assert await notes(records) == []
        assert await table.of([]) == {}

    in_tables(make, done)
