"""Links of vector stores: their states, and sums that are those of what is there, whatever is done."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores.links import Link, NewLink, Status, link_id
from server.api.vector_stores.store import LINK_SUMS, Sums, VectorStores
from server.api.vector_stores.store_record import NewStore, modern
from server.quota.storage_limit import Stored
from server.storage.database.counting import LINKS
from server.storage.database.database import AlreadyThere, Database, Overtaken
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Draft, Record
from server.storage.records.removal import Removals
from server.storage.records.table import RecordTable, size_of
from server.storage.records.usage import kept_by
from tests.support.databases import Make, opened

ANN = Principal("ann", "https://a.example", {"teams": ("x", "y")})


async def stores_in(database: Database) -> tuple[VectorStores, Removals]:
    await bring_up_to_date(database, "stores")
    await bring_up_to_date(database, "links", "stores", LINKS)
    await bring_up_to_date(database, "batches", "stores")
    await bring_up_to_date(database, "sums", "links", series=LINK_SUMS)
    stores, links, batches = (RecordTable(database, name) for name in ("stores", "links", "batches"))
    removals = Removals(stores, links, batches)
    return VectorStores(GuardedStore(stores, "vector_store", removals=removals), links, batches, "sums"), removals


def in_stores(make: Make, work: Callable[[VectorStores, Removals], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await work(*await stores_in(database))

    asyncio.run(worked())


async def new_store(stores: VectorStores, identity: str) -> Record:
    table = RecordTable(stores.links.database, stores.records.table)
    record = Draft(identity, NewStore("words").body()).owned_by(ANN)
    await table.database.write(table.inserting(record))
    return record


async def attached(stores: VectorStores, store: Record, new: NewLink) -> Link:
    record = new.draft(store).owned_by(ANN)
    await stores.links.database.write(stores.links.inserting(record))
    return Link(record)


def sums_of(links: list[Link]) -> Sums:
    counts = Counter(link.status for link in links if link.document is None)
    return Sums(dict(counts), sum(link.usage_bytes for link in links))


def test_whatever_is_done_the_sums_are_those_of_the_links_that_are_there(make: Make) -> None:
    chance = random.Random(17)  # noqa: S311 - a fixed choice

    async def work(stores: VectorStores, removals: Removals) -> None:
        made = [await new_store(stores, identity) for identity in ("a", "b'\"")]
        there: dict[str, Link] = {}
        for number in range(120):
            store, kind = chance.choice(made), chance.randrange(6)
            link = chance.choice([*there.values()]) if there else None
            if kind < 2 or link is None:
                document = f"d{number}" if chance.random() < 0.3 else None
                file_id = "" if document else f"file-{chance.randrange(40)}"
                with suppress(AlreadyThere):
                    new = await attached(stores, store, NewLink(file_id, {}, document=document))
                    there[new.id] = new
            elif kind == 2:
                await stores.links.database.write(stores.links.removing(there.pop(link.id).id))
            elif kind == 3:
                there[link.id] = await stores.to_completed(link, 7, chance.randrange(9), chance.randrange(10_000))
            elif kind == 4:
                there[link.id] = await stores.to_failed(link, "server_error", "it broke")
            else:
                there[link.id] = await stores.to_cancelled(link)
            found = await stores.sums([each.id for each in made])
            for each in made:
                held = [link for link in there.values() if link.store_id == each.id]
                assert found[each.id] == sums_of(held)
                assert await stores.chunks_of(each) == sum(link.chunks for link in held)
        records = [*made, *(link.record for link in there.values())]
        size = sum(size_of(record.body) for record in records) + sum(link.usage_bytes for link in there.values())
        assert await kept_by(stores.links.database, ANN) == Stored(len(records), size)
        for each in made:
            await removals.remove(each)
        assert await stores.sums(["a", "b'\""]) == {"a": Sums(), "b'\"": Sums()}
        assert await stores.links.database.read("SELECT * FROM sums") == []
        assert await kept_by(stores.links.database, ANN) == Stored()

    in_stores(make, work)


def test_a_link_changes_only_from_the_version_that_was_read(make: Make) -> None:
    async def work(stores: VectorStores, _: Removals) -> None:
        store = await new_store(stores, "a")
        link = await attached(stores, store, NewLink("file-1", {"team": "x", "year": 2026, "open": True}))
        completed = await stores.to_completed(link, 5, 2, 90)
        with pytest.raises(Overtaken):
            await stores.to_failed(link, "server_error", "it broke")
        found = await stores.link(link.id)
        assert found is not None
        assert (found.status, found.part, found.chunks, found.usage_bytes) == (Status.COMPLETED, 5, 2, 90)
        assert found.record == completed.record
        assert (found.attributes, found.owner) == ({"team": "x", "year": 2026, "open": True}, ANN)
        failed = await stores.to_failed(completed, "invalid_file", "it has no text")
        assert (failed.last_error, failed.usage_bytes) == ({"code": "invalid_file", "message": "it has no text"}, 0)
        await stores.links.database.write(stores.links.removing(link.id))
        with pytest.raises(NotFound):
            await stores.refreshed(link)

    in_stores(make, work)


def test_links_are_found_by_store_and_state_and_by_file(make: Make) -> None:
    async def work(stores: VectorStores, _: Removals) -> None:
        made = [await new_store(stores, identity) for identity in "ab"]
        links = [await attached(stores, store, NewLink(f"file-{n}", {})) for store in made for n in range(3)]
        done = await stores.to_completed(links[1], 5, 2, 90)
        waiting = await stores.links_of("a", status=Status.IN_PROGRESS)
        assert [link.file_id for link in waiting] == ["file-0", "file-2"]
        assert [link.file_id for link in await stores.links_of("a", status=Status.IN_PROGRESS, after=waiting[0])] == [
            "file-2"
        ]
        assert [link.record for link in await stores.links_of("a", status=Status.COMPLETED)] == [done.record]
        found = await stores.links_to("file-1")
        assert {link.store_id for link in found} == {"a", "b"}
        assert [link.id for link in await stores.links_to("file-1", after=found[0])] == [found[1].id]

    in_stores(make, work)


def test_a_later_store_of_the_same_id_has_other_links() -> None:
    body = NewStore("words").body()
    first, second = (Draft("a", body).owned_by(None) for _ in range(2))
    assert link_id(first, "file-1") != link_id(second, "file-1")
    assert link_id(first, "file-1") == link_id(replace(first, version=7), "file-1")


def test_a_store_that_an_earlier_version_registered_has_an_index_of_its_own() -> None:
    described = {"embedding_model": "words", "embedding_dimension": 256, "vector_db_name": "mine"}
    older = {"provider_id": None, "provider_resource_id": None, "described": described}
    stores = [Draft(identity, older).owned_by(ANN) for identity in ("a", "b")]
    keys = {modern(store).body["index"] for store in stores}
    assert len(keys) == 2
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
    now = modern(stores[0])
    assert (now.body["embedding_model"], now.body["dimensions"], now.body["name"]) == ("words", 256, "mine")
    assert modern(now) == now == modern(stores[0])
