"""A search finds the chunks of exactly those files that a question about each of them permits to read.

The real search over the real databases and indexes, with policies and files that no one thought of, and a real OPA.
"""

from __future__ import annotations

import json
import os
import random
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.api.models.embedding import Embedder
from server.api.vector_stores.filters import read_filter
from server.api.vector_stores.findable import Findable
from server.api.vector_stores.links import NewLink, Status, link_id
from server.api.vector_stores.ranking import Mode
from server.api.vector_stores.search import Search, Wanted
from server.authz.pep import PolicyEnforcementPoint
from server.authz.request_authorization import Gate
from server.storage.database.database import Database, Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Record
from server.storage.records.table import RecordTable
from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.index import Chunk, VectorIndex
from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import Directory
from tests.reference import configuration
from tests.support.databases import Make, opened
from tests.support.law_gates import World, asking, both_databases, gate_of
from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.record_lists import RECORDS, List, policies, random_list
from tests.support.vector_records import VectorRecords, vector_records
from tests.support.vector_world import FILE, ready

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
POLICIES = 600 if NIGHTLY else 20
OTHERS = 20
"""Parts of the same store that have no link, as those of a detached file that is not purged yet."""

INSERT = (
    "INSERT INTO openai_files (id, ordering, created_at, owner_principal, owner_issuer, access_attributes, origin, "
    "facet, version, labels, body) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, '', 1, '{}', ?7)"
)


@dataclass(frozen=True)
class Place:
    """The tables of one database, and a search of each index over them."""

    records: VectorRecords
    files: GuardedStore
    searches: Sequence[Search]
    store: Record


@pytest.fixture(scope="module")
def world(live: LiveOpa, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World[Place]]:
    folder = tmp_path_factory.mktemp("search")

    async def places(stack: AsyncExitStack, makes: Sequence[Make]) -> list[Place]:
        indexes: list[VectorIndex] = [LanceIndex(Directory(folder / "lance")), FaissIndex(folder / "faiss.db")]
        for index in indexes:
            await stack.enter_async_context(index.running())
            await ready(index)
        return [await place_in(await stack.enter_async_context(opened(make)), indexes) for make in makes]

    with both_databases(live, folder, postgres_url, places, deadline=30.0) as world:
        yield world


async def place_in(database: Database, indexes: Sequence[VectorIndex]) -> Place:
    """The tables of a database, and a store in each of the indexes that has a chunk in every part."""
    records = await vector_records(database)
    await bring_up_to_date(database, "openai_files")
    files = GuardedStore(RecordTable(database, "openai_files"), FILE)
    findable = Findable(records.stores, files)
    searches = [
        Search(records.stores, findable, cast(Embedder, None), lambda _, index=index: index) for index in indexes
    ]
    store = await records.new_store("vs_1", dimensions=2)
    for index in indexes:
        for part in range(RECORDS + OTHERS):
            await index.add(store.body["index"], 2, part, chunks(part))
    return Place(records, files, searches, store)


async def chunks(part: int) -> AsyncIterator[Sequence[Chunk]]:
    """A chunk that every query finds."""
    yield [Chunk(0, f"word number {part}", array("f", [1.0, part / 100]))]


@pytest.mark.timeout(3_000 if NIGHTLY else 300)
def test_a_search_finds_what_may_be_read(live: LiveOpa, world: World[Place]) -> None:
    seen = Counter[str]()

    @settings(
        max_examples=POLICIES,
        derandomize=not NIGHTLY,
        database=None,
        deadline=None,
        # Shrinking takes minutes; the message alone shows the policy.
        phases=[Phase.generate, Phase.shrink] if NIGHTLY else [Phase.generate],
        print_blob=NIGHTLY,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=policies(), seed=st.integers(0, 2**63))
    def law(text: str, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        text = text.replace("prompt::", f"{FILE}::").replace("batch::", f"{FILE}::")
        if chance.random() < 0.5:
            text = asking(chance, text)
        live.load(compile_config(text))
        wanted = random_list(chance, configuration.auth(configuration.load(text, {})).get("access_policy", []))
        rows = list(rows_of(chance, wanted))
        found = [world.runner.run(checked(world.pep, place, wanted, rows, seed)) for place in world.places]
        assert found[0] == found[1]
        seen["none" if not found[0] else "all" if len(found[0]) == len(rows) else "some"] += 1

    law()
    assert min(seen[word] for word in ("none", "some", "all")) >= POLICIES // 20, seen


def rows_of(chance: random.Random, wanted: List) -> Iterator[tuple[Any, ...]]:
    """The records of the list as files, each under a name of its own."""
    taken: set[str] = set()
    for number, record in enumerate(wanted.records):
        name = record["names"][0]
        while name in taken:
            name += chance.choice("01ab")
        if "\0" in name or not name:
            continue
        taken.add(name)
        owner = record["owner"]
        yield (
            name,
            number,
            None if owner is None else owner["id"],
            None if owner is None else owner["issuer"],
            "{}" if owner is None else json.dumps(owner["attributes"], ensure_ascii=False),
            record["origin"],
            json.dumps({"bytes": 1, "filename": f"{number}.txt"}),
        )


async def checked(
    pep: PolicyEnforcementPoint, place: Place, wanted: List, rows: list[tuple[Any, ...]], seed: int
) -> list[str]:
    """The files that the caller may read, once each search has found their chunks and no others."""
    chance, stores, store = random.Random(seed), place.records.stores, place.store  # noqa: S311 - repeatable on purpose
    gate = gate_of(pep, wanted)
    database = stores.links.database
    await database.write(*(Step(INSERT, row) for row in rows))
    missing = chance.choice(rows)[0] if rows and chance.random() < 0.3 else None
    try:
        for number, (name, *_) in enumerate(rows):
            link = await place.records.attach(store, NewLink(name, {"odd": bool(number % 2)}))
            if chance.random() < 0.9:
                await stores.to_completed(link, number, 1, 1)
        if missing is not None:
            await database.write(Step("DELETE FROM openai_files WHERE id = ?1", (missing,)))
        permitted = {name for name, *_ in rows if await may_read(place, gate, name)}
        expected = dict[str, bool]()
        for number, (name, *_) in enumerate(rows):
            link = await stores.link(link_id(store, name))
            if name in permitted and link is not None and link.status is Status.COMPLETED:
                expected[name] = bool(number % 2)
        for search, mode, odd in product(place.searches, Mode, (None, True, False)):
            limit = chance.choice([3, 50])
            chosen = None if odd is None else read_filter({"type": "eq", "key": "odd", "value": odd})
            found = await search._looked_up(
                gate, store, Wanted(("word",), limit, chosen, mode), search._index_of(store), [array("f", [1.0, 0.0])]
            )
            names = {each.file_id for each in found}
            right = {name for name, is_odd in expected.items() if odd in (None, is_odd)}
            assert names <= right
            # A page is full wherever there is enough.
            assert len(names) == len(found) == min(limit, len(right)), (mode, odd, names, right)
        return sorted(permitted, key=str.encode)
    finally:
        await database.write(Step("DELETE FROM openai_files"), Step("DELETE FROM links"))


async def may_read(place: Place, gate: Gate, name: str) -> bool:
    """Whether the caller may read a file, asked about it alone."""
    try:
        await place.files.get(gate, name)
    except NotFound:
        return False
    return True
