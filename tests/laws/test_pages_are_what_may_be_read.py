"""All pages of a list together are the records that may be read one by one: in order, none twice, none left out.

Those of some ids that may be read are the same ones.

The real guarded store over the real databases, with policies and records that nobody thought of, and a real OPA.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.authz.pep import PolicyEnforcementPoint
from server.storage.database.database import Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.records import list_steps, permitted
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Page, Record
from server.storage.records.table import RecordTable
from tests.reference import configuration
from tests.support.databases import Make, opened
from tests.support.law_gates import World, asking, both_databases, gate_of
from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.record_lists import List, policies, random_list

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
POLICIES = 1_500 if NIGHTLY else 40
INSERT = (
    "INSERT INTO things (id, ordering, created_at, owner_principal, owner_issuer, access_attributes, origin, facet, "
    "version, labels, body) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, '', 1, '{}', '{}')"
)


@pytest.fixture(scope="module")
def world(live: LiveOpa, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World[RecordTable]]:
    with both_databases(live, tmp_path_factory.mktemp("pages"), postgres_url, tables) as world:
        yield world


async def tables(stack: AsyncExitStack, makes: Sequence[Make]) -> list[RecordTable]:
    """An empty table in each of the databases."""
    databases = [await stack.enter_async_context(opened(make)) for make in makes]
    for database in databases:
        await bring_up_to_date(database, "things")
    return [RecordTable(database, "things") for database in databases]


@pytest.mark.timeout(3_000 if NIGHTLY else 120)
def test_all_pages_together_are_what_may_be_read(live: LiveOpa, world: World[RecordTable]) -> None:
    seen = Counter[str]()

    @settings(
        max_examples=POLICIES,
        derandomize=not NIGHTLY,
        database=None,
        deadline=None,
        print_blob=NIGHTLY,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=policies(), seed=st.integers(0, 2**63))
    def law(text: str, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        if chance.random() < 0.5:
            text = asking(chance, text)
        live.load(compile_config(text))
        wanted = random_list(chance, configuration.auth(configuration.load(text, {})).get("access_policy", []))
        rows = list(rows_of(chance, wanted))
        found = [world.runner.run(checked(world.pep, table, wanted, rows, seed)) for table in world.places]
        assert found[0] == found[1]
        seen["none" if not found[0] else "all" if len(found[0]) == len(rows) else "some"] += 1

    law()
    assert min(seen[word] for word in ("none", "some", "all")) >= POLICIES // 20, seen


def rows_of(chance: random.Random, wanted: List) -> Iterator[tuple[Any, ...]]:
    """The records of the list as rows: each under a name of its own, some of them of the same microsecond."""
    taken: set[str] = set()
    for record in wanted.records * 2:
        name = record["names"][0]
        while name in taken:
            name += chance.choice("01ab")
        if "\0" in name:
            continue
        taken.add(name)
        owner = record["owner"]
        yield (
            name,
            chance.randrange(8),
            None if owner is None else owner["id"],
            None if owner is None else owner["issuer"],
            "{}" if owner is None else json.dumps(owner["attributes"], ensure_ascii=False),
            record["origin"],
        )


async def checked(
    pep: PolicyEnforcementPoint, table: RecordTable, wanted: List, rows: list[tuple[Any, ...]], seed: int
) -> list[str]:
    """The ids that the caller may read, oldest first, once each way of listing them has yielded the same."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    async with filled(table, rows):
        store = GuardedStore(table, wanted.type)
        records = {name: record for name, *_ in rows if (record := await read(store, pep, wanted, name)) is not None}
        names, among = [name for name, *_ in rows], small_windows(chance.randrange(1, 4))
        for asked in (names, chance.sample(names, len(names) // 2)):
            with among if asked is names else nullcontext():
                found = await store.readable_among(gate_of(pep, wanted), [*asked, "missing", "\0", *asked[:1]])
            assert found == {*asked} & records.keys()
        oldest_first = sorted(records, key=lambda name: (records[name].ordering, name.encode()))
        for newest_first in (False, True):
            expected = oldest_first[::-1] if newest_first else oldest_first
            for limit in {1, chance.randrange(2, 8), 100}:
                assert await forwards(store, pep, wanted, limit, newest_first) == expected
            assert await backwards(store, pep, wanted, chance.randrange(1, 5), newest_first, records, expected)
            with small_windows(chance.randrange(1, 4)):
                assert await forwards(store, pep, wanted, chance.randrange(1, 8), newest_first) == expected
                assert await backwards(store, pep, wanted, chance.randrange(1, 5), newest_first, records, expected)
        return oldest_first


@contextmanager
def small_windows(size: int) -> Iterator[None]:
    """Statements of lists look at so few records that a page takes many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_steps, "LARGEST_WINDOW", size)
        patch.setattr(permitted, "LARGEST_WINDOW", size)
        patch.setattr(list_steps, "_SMALLEST_WINDOW", size)
        yield


@asynccontextmanager
async def filled(table: RecordTable, rows: list[tuple[Any, ...]]) -> AsyncIterator[None]:
    """The table with these rows in it."""
    await table.database.write(*(Step(INSERT, row) for row in rows))
    try:
        yield
    finally:
        await table.database.write(Step("DELETE FROM things"))


async def read(store: GuardedStore, pep: PolicyEnforcementPoint, wanted: List, name: str) -> Record | None:
    """The record, if the caller may read it."""
    try:
        return await store.get(gate_of(pep, wanted), name)
    except NotFound:
        return None


async def forwards(
    store: GuardedStore, pep: PolicyEnforcementPoint, wanted: List, limit: int, newest_first: bool
) -> list[str]:
    """The ids on all pages, one after the other."""
    ids: list[str] = []
    after = None
    while True:
        listed = await store.page(gate_of(pep, wanted), Page(limit, after=after, newest_first=newest_first))
        ids += [record.id for record in listed.records]
        if not listed.has_more:
            return ids
        # Full pages, and no page too many.
        assert len(listed.records) == limit
        after = listed.records[-1]


async def backwards(
    store: GuardedStore,
    pep: PolicyEnforcementPoint,
    wanted: List,
    limit: int,
    newest_first: bool,
    records: dict[str, Record],
    expected: list[str],
) -> bool:
    """Whether each page before each record is what lies before it."""
    for place, name in enumerate(expected):
        page = Page(limit, before=records[name], newest_first=newest_first)
        listed = await store.page(gate_of(pep, wanted), page)
        if [record.id for record in listed.records] != expected[max(0, place - limit) : place]:
            return False
        if listed.has_more is not (place > limit):
            return False
    return True
