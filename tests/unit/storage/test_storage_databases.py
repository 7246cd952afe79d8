"""What both kinds of database promise: all or nothing, one error for what is wrong with them, and life afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import permutations

import pytest

from policy.vocabulary import Principal
from server.storage.database.database import AlreadyThere, Database, Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened
from tests.support.patience import PATIENCE

ANN = Principal("ann", "https://a.example", {"teams": ("ml",)})
COUNT = "SELECT count(*) FROM things"


def with_things(make: Make, work: Callable[[Database, RecordTable], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "things")
            await work(database, RecordTable(database, "things"))

    asyncio.run(worked())


class NotThere(Exception):
    """What a step is about isn't there."""


def new(things: RecordTable, identity: str) -> Step:
    """Has a record of that id, which is nobody's."""
    return things.inserting(Draft(identity, {}).owned_by(None))


async def add(things: RecordTable, identity: str, owner: Principal | None = ANN) -> None:
    await things.database.write(things.inserting(Draft(identity, {"n": 1}).owned_by(owner)))


@pytest.mark.parametrize(
    "change",
    [
        *[
            "owner_principal = 'ben'",
            "owner_issuer = 'https://b.example'",
            "owner_principal = NULL, owner_issuer = NULL",
        ],
        *[
            "access_attributes = '{}'",
            "origin = 'config'",
            "id = 'b'",
            "created_at = 1",
            "parent = 'x'",
            "ordering = 1",
        ],
    ],
)
def test_no_statement_changes_whose_a_record_is(make: Make, change: str) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        await add(things, "a")
        with pytest.raises(Exception, match="the owner of a record never changes"):
            await database.write(Step(f"UPDATE things SET {change} WHERE id = ?1", ("a",)))  # noqa: S608 - under test
        kept = await things.find("a")
        assert kept is not None and kept.record.owner == ANN

    with_things(make, work)


def test_an_unowned_record_gets_no_owner_later(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        await add(things, "a", None)
        with pytest.raises(Exception, match="the owner of a record never changes"):
            await database.write(Step("UPDATE things SET owner_principal = 'x', owner_issuer = ''"))

    with_things(make, work)


@pytest.mark.parametrize(
    "values",
    [
        "'b', NULL, 1, 1, 'ann', NULL, '{}', 'created', '', NULL, 1, '{}', '{}'",
        "'b', NULL, 1, 1, NULL, '', '{}', 'created', '', NULL, 1, '{}', '{}'",
        "'b', NULL, 1, 1, NULL, NULL, '{', 'created', '', NULL, 1, '{}', '{}'",
        "'b', NULL, 1, 1, NULL, NULL, '{}', 'found', '', NULL, 1, '{}', '{}'",
        "'b', NULL, 1, 1, NULL, NULL, '{}', 'created', '', NULL, 1, '{}', 'body'",
        "'b', NULL, 1, 1, NULL, NULL, '{}', 'created', '', NULL, 1, '', '{}'",
        "NULL, NULL, 1, 1, NULL, NULL, '{}', 'created', '', NULL, 1, '{}', '{}'",
    ],
)
def test_half_a_record_is_none(make: Make, values: str) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        with pytest.raises(Exception, match=r".") as failed:
            await database.write(Step(f"INSERT INTO things VALUES ({values})"))  # noqa: S608 - under test
        assert not isinstance(failed.value, AlreadyThere)
        assert await database.read(COUNT) == [(0,)]

    with_things(make, work)


def test_a_transaction_of_which_a_step_finds_nothing_has_not_been(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        await add(things, "a")
        for steps in permutations((new(things, "b"), things.removing("a"), things.removing("z", otherwise=NotThere()))):
            with pytest.raises(NotThere):
                await database.write(*steps)
            assert await database.read("SELECT id FROM things") == [("a",)]
        await add(things, "c")

    with_things(make, work)


def test_an_id_that_exists_is_a_conflict_whoever_has_it(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        await add(things, "a", None)
        for owner in (None, ANN):
            with pytest.raises(AlreadyThere):
                await add(things, "a", owner)
        found = await things.find("a")
        assert found is not None and found.owner is None

    with_things(make, work)


def test_a_statement_that_fails_takes_back_what_came_before_it(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        await add(things, "a")
        with pytest.raises(AlreadyThere):
            await database.write(new(things, "b"), new(things, "a"))
        assert await database.read("SELECT id FROM things") == [("a",)]

    with_things(make, work)


@pytest.mark.parametrize("moment", range(12))
def test_a_request_that_is_cancelled_anywhere_leaves_nothing_half_done_or_locked(make: Make, moment: int) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        async def two() -> None:
            await database.write(new(things, "a"), new(things, "b"))

        for _ in range(10):
            task = asyncio.create_task(two())
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            [(count,)] = await database.read(COUNT)
            assert count in (0, 2)
            async with asyncio.timeout(PATIENCE):
                await database.write(Step("DELETE FROM things"))
        await add(things, "c")
        assert await database.read(COUNT) == [(1,)]

    with_things(make, work)


def test_what_is_committed_is_read_by_everyone_at_once(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        async with opened(make) as other:
            for number in range(20):
                await add(things, f"a{number}")
                found = await asyncio.gather(*(each.read(COUNT) for each in (database, other, database, other)))
                assert found == [[(number + 1,)]] * 4

    with_things(make, work)


def test_many_writers_of_several_servers_lose_nothing(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        async with opened(make) as other:
            stores = [things, RecordTable(other, "things")]
            await asyncio.gather(*(add(stores[n % 2], f"a{n}") for n in range(100)))
        assert await database.read(COUNT) == [(100,)]

    with_things(make, work)


@pytest.mark.parametrize(
    "text", ["", "'", '"', "\\", "\\u0000", "\x00", "\x1f", "é", "e\u0301", "\u2028", "😀", "\ufeff", "?1", "$1", "%s"]
)
def test_bodies_and_owners_come_back_as_they_were(make: Make, text: str) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        body = {"text": text, text: [1, 1.5, None, True, {"a": text}], "metadata": {}}
        owner = Principal(text.replace("\0", ""), text.replace("\0", ""), {"teams": (text.replace("\0", ""),)})
        made = Draft("a", body, facet=text.replace("\0", "")).owned_by(owner)
        await database.write(things.inserting(made))
        found = await things.find("a")
        assert found is not None and found.record == made
        assert (made.body, made.owner) == (body, owner)

    with_things(make, work)


def test_an_id_with_a_nul_is_no_callers(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        await add(things, "a")
        assert await things.find("a\0") is None
        assert [found.id for found in await things.find_all(["\0", "a", "a", "b"])] == ["a"]

    with_things(make, work)


def test_a_database_that_is_not_open_says_so(make: Make) -> None:
    async def unopened() -> None:
        database = make()
        with pytest.raises(RuntimeError):
            await database.read("SELECT 1")
        with pytest.raises(RuntimeError, match="used before it is started"):
            await database.write(Step("SELECT 1"))
        await database.close()

    asyncio.run(unopened())


def test_of_any_number_of_ids_every_record_is_found_once(make: Make) -> None:
    async def work(database: Database, things: RecordTable) -> None:
        ids = [f"r{number:04}" for number in range(1203)]
        await database.write(*(new(things, identity) for identity in ids))
        found = await things.find_all([*ids, *ids[:10], "none"])
        assert sorted(stored.id for stored in found) == ids

    with_things(make, work)
