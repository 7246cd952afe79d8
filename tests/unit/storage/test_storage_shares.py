"""The index of owner attributes: it follows the records by itself, never changes, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from policy.vocabulary import Principal
from server.authn.attributes import MAX_VALUES
from server.authz.contract.record_filter import Atom, OwnerShares
from server.storage.database import migrate
from server.storage.database.database import Database, Overtaken, Step
from server.storage.database.migrate import bring_up_to_date, migrations
from server.storage.records.record import Draft, Page
from server.storage.records.sql_filter import compile_filter
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened
from tests.support.filter_rows import PERMIT, clauses

ISSUER = "https://a.example"
INDEX = 'SELECT attribute, value, record FROM "things$shares" ORDER BY attribute, value, record'
MANY = tuple(f"group-{number}" for number in range(10_000))
LONG = "CN=" + "x" * 5_000


def with_database(make: Make, work: Callable[[Database], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await work(database)

    asyncio.run(worked())


def owner(**attributes: tuple[str, ...]) -> Principal:
    """Another owner than the caller."""
    return Principal("ben", ISSUER, attributes)


async def add(
    database: Database, identity: str, of: Principal | None, table: str = "things", parent: str | None = None
) -> None:
    await database.write(RecordTable(database, table).inserting(Draft(identity, {}, parent).owned_by(of)))


async def shared(database: Database, *values: str, attribute: str = "teams", limit: int = 100) -> list[str]:
    """The ids that a caller with these values is shown, newest first."""
    fact = Atom(OwnerShares(attribute, values), holds=True)
    found = compile_filter(clauses((PERMIT, [fact])), database.dialect)
    window = await RecordTable(database, "things").page(found, Page(limit), 100)
    return [record.id for record, _ in window.rows]


def test_each_value_of_an_owner_leads_to_the_record_until_it_goes(make: Make) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "a", owner(teams=("ml", "infra"), roles=("ml",)))
        await add(database, "b", owner(teams=("ml",), roles=()))
        await add(database, "c", None)
        assert await database.read(INDEX) == [
            *[("roles", "ml", "a"), ("teams", "infra", "a"), ("teams", "ml", "a"), ("teams", "ml", "b")]
        ]
        assert await shared(database, "ml", "x") == ["b", "a"]
        await database.write(RecordTable(database, "things").removing("a", otherwise=Overtaken()))
        assert await database.read(INDEX) == [("teams", "ml", "b")]
        await add(database, "a", owner(teams=("x",)))
        assert await shared(database, "ml", "x") == ["a", "b"]

    with_database(make, work)


def test_what_belongs_to_a_record_goes_from_the_index_with_it(make: Make) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "wholes")
        await bring_up_to_date(database, "things", "wholes")
        await add(database, "w", owner(teams=("ml",)), "wholes")
        await add(database, "a", owner(teams=("ml",)), parent="w")
        assert await database.read(INDEX) == [("teams", "ml", "a")]
        await database.write(RecordTable(database, "wholes").removing("w", otherwise=Overtaken()))
        assert await database.read(INDEX) == await database.read('SELECT record FROM "wholes$shares"') == []

    with_database(make, work)


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE \"things$shares\" SET value = 'mine'",
        "UPDATE \"things$shares\" SET attribute = 'roles'",
        "UPDATE \"things$shares\" SET record = 'b'",
        'UPDATE "things$shares" SET ordering = 1',
        'DELETE FROM "things$shares"',
        "DELETE FROM \"things$shares\" WHERE value = 'ml'",
        'TRUNCATE "things$shares"',
    ],
)
def test_no_statement_changes_the_index_alone(make: Make, attack: str) -> None:
    async def work(database: Database) -> None:
        if attack.startswith("TRUNCATE") and database.kind == "sqlite":
            pytest.skip("SQLite has no such statement")
        await bring_up_to_date(database, "things")
        await add(database, "a", owner(teams=("ml",)))
        with pytest.raises(Exception, match="the owner of a record never changes"):
            await database.write(Step(attack))
        assert await database.read(INDEX) == [("teams", "ml", "a")]

    with_database(make, work)


def test_a_forged_row_of_the_index_shows_nothing(make: Make) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "a", owner(teams=("ml",)))
        await add(database, "b", None)
        forged = "INSERT INTO \"things$shares\" SELECT 'teams', 'mine', ordering, id FROM things WHERE true"
        await database.write(Step(forged))
        assert await shared(database, "mine") == []
        assert await shared(database, "mine", "ml") == ["a"]

    with_database(make, work)


@pytest.mark.parametrize(
    "value",
    ["", " ", "'", '"', "\\", "\\u0000", "é", "e\u0301", "ß", "😀" * 128, "😀" * 129, "x" * 128, "x" * 129, LONG, "?1"],
)
def test_any_value_is_found_by_itself_and_by_no_other(make: Make, value: str) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "a", owner(teams=("other", value)))
        await add(database, "b", owner(**{f"{value}!": ("ml",)}))
        assert await shared(database, value) == ["a"]
        assert await shared(database, "ml", attribute=f"{value}!") == ["b"]
        for other in (f"{value}x", f"x{value}", f"{value[:100]}y{value[101:]}" if len(value) > 200 else f" {value}"):
            assert await shared(database, other) == []

    with_database(make, work)


def test_an_owner_in_thousands_of_groups_is_a_few_rows_and_found_by_each(make: Make) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        # As many as a token may have.
        await add(database, "few", owner(teams=MANY[:MAX_VALUES], roles=("r",)))
        await add(database, "a", owner(teams=MANY, roles=("r",)))
        assert await database.read("SELECT count(*) FROM \"things$shares\" WHERE record = 'a'") == [(2,)]
        for value in (MANY[0], MANY[-1]):
            assert "a" in await shared(database, value)
        assert await shared(database, "group-x") == []
        assert await shared(database, *MANY) == ["a", "few"]
        await database.write(RecordTable(database, "things").removing("a", otherwise=Overtaken()))
        assert await shared(database, *MANY) == ["few"]
        assert await database.read('SELECT count(*) FROM "things$shares"') == [(MAX_VALUES + 1,)]

    with_database(make, work)


async def old(database: Database, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Make a table as the version before had it, with that many records."""
    with monkeypatch.context() as before:
        first = migrations(database.kind)[:1]
        before.setattr(migrate, "migrations", lambda kind, _series: first)
        await bring_up_to_date(database, "things")
    things = RecordTable(database, "things")
    people = [owner(teams=("ml", f"t{number}")) if number % 3 else None for number in range(count)]
    drafts = [things.inserting(Draft(f"r{number:04}", {}).owned_by(of)) for number, of in enumerate(people)]
    await database.write(*drafts)


def expected(count: int) -> list[str]:
    """The ids of the old records with an owner, newest first."""
    return [f"r{number:04}" for number in range(count) if number % 3][::-1]


def test_records_of_the_time_before_are_brought_in(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_FILLED_AT_ONCE", 7)

    async def work(database: Database) -> None:
        await old(database, monkeypatch, 60)
        await bring_up_to_date(database, "things")
        await add(database, "new", owner(teams=("ml",)))
        assert await shared(database, "ml") == ["new", *expected(60)]
        assert await shared(database, "t1", "t2") == ["r0002", "r0001"]
        assert await database.read("SELECT * FROM ostiary_fillings") == []
        await database.write(Step("DELETE FROM things"))
        assert await database.read(INDEX) == []

    with_database(make, work)


class Ended(Exception):
    """The process ends here."""


class Ending:
    """A database whose process ends before its `left`th further change."""

    def __init__(self, database: Database, left: int) -> None:
        self._database = database
        self.left = left
        self.kind = database.kind
        self.dialect = database.dialect
        self.read = database.read
        self.scan = database.scan
        self.script = database.script
        self.start = database.start
        self.close = database.close

    async def write(self, *steps: Step) -> None:
        """Run the steps, or end."""
        if self.left == 0:
            raise Ended
        self.left -= 1
        await self._database.write(*steps)


@pytest.mark.parametrize("left", [0, 1, 5, 8])
def test_a_start_goes_on_where_the_one_before_was_ended(make: Make, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    monkeypatch.setattr(migrate, "_FILLED_AT_ONCE", 7)

    async def work(database: Database) -> None:
        await old(database, monkeypatch, 60)
        with pytest.raises(Ended):
            await bring_up_to_date(Ending(database, left), "things")
        [(position,)] = await database.read("SELECT position FROM ostiary_fillings")
        assert position == (f"r{7 * left - 1:04}" if left else "")
        # Servers of the version before go on for a while: what they create and delete is in the index, too.
        await add(database, "new", owner(teams=("ml",)))
        await database.write(RecordTable(database, "things").removing("r0001"))
        await database.write(RecordTable(database, "things").removing("r0059"))
        await bring_up_to_date(database, "things")
        assert await shared(database, "ml") == ["new", *(name for name in expected(59) if name != "r0001")]
        [(count,)] = await database.read("SELECT count(*) FROM \"things$shares\" WHERE record <> 'new'")
        assert count == 2 * (len(expected(59)) - 1)

    with_database(make, work)


def test_processes_that_bring_records_in_together_end_together(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_FILLED_AT_ONCE", 3)

    async def work(database: Database) -> None:
        await old(database, monkeypatch, 60)
        async with opened(make) as other:
            await asyncio.gather(*(bring_up_to_date(each, "things") for each in (database, other, database)))
        assert await shared(database, "ml") == expected(60)

    with_database(make, work)


def test_a_filling_takes_as_many_records_as_it_says(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_FILLED_AT_ONCE", 10)

    async def work(database: Database) -> None:
        await old(database, monkeypatch, 35)
        changes: list[int] = []
        plain = database.write

        async def write(*steps: Step) -> None:
            await plain(*steps)
            [(count,)] = await database.read('SELECT count(DISTINCT record) FROM "things$shares"')
            changes.append(count)

        monkeypatch.setattr(database, "write", write)
        await bring_up_to_date(database, "things")
        assert len(changes) == 5
        assert max(after - before for before, after in pairwise(changes)) <= 10

    with_database(make, work)
