"""How a list is found: by an index that has it in its order, whatever else is in the table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from policy.vocabulary import Origin
from server.authz.contract.record_filter import Atom, FromConfig, NameIs, OwnerShares, Unowned
from server.storage.database.database import Database, Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.list_statement import statement_of
from server.storage.records.record import Draft, Page, Record
from server.storage.records.sql_filter import compile_filter
from server.storage.records.table import RecordTable
from tests.support.databases import KINDS, Make, empty_postgres, empty_sqlite, opened
from tests.support.filter_rows import MINE, PERMIT, TEAM, clauses

OTHERS = 20_000
PIECE = 5_000
"""So many are written at a time: a statement may not take long, which a busy machine does over all of them."""

OLD = 3_000
"""Of the caller's, all older than everybody else's: who walks from the new end would meet them last."""

MOST = 2 * 21
"""Rows that a page of 21 may take."""

EVERYONE = Atom(OwnerShares("all", ("x", *(f"y{number}" for number in range(150)))), holds=True)
FILTERS = {
    "mine": [(PERMIT, [MINE])],
    "mine or from config": [(PERMIT, [Atom(FromConfig(), holds=True)]), (PERMIT, [MINE])],
    "mine or nobody's": [(PERMIT, [MINE]), (PERMIT, [Atom(Unowned(), holds=True)])],
    "mine or one": [(PERMIT, [MINE]), (PERMIT, [Atom(NameIs("t19999"), holds=True)])],
    "a team's": [(PERMIT, [TEAM])],
    "mine, a team's or nobody's": [(PERMIT, [MINE]), (PERMIT, [TEAM]), (PERMIT, [Atom(Unowned(), holds=True)])],
    "one's of many groups, one of which all have": [(PERMIT, [EVERYONE])],
    "everything": [(PERMIT, [])],
}
FILL = {
    "sqlite": """
        WITH RECURSIVE numbers(n) AS (SELECT ?4 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
        INSERT INTO things SELECT 't' || n, ?3, n, 1, CASE WHEN n <= ?2 THEN 'ann' ELSE 'o' || (n % 100) END,
        'https://a.example',
        '{"all":["x"],"teams":["' || CASE WHEN n <= ?2 THEN 'ml' ELSE 'o' || (n % 100) END || '"]}',
        'created', '', NULL, 1, '{}', '{}' FROM numbers WHERE true
    """,
    "postgresql": """
        INSERT INTO things SELECT 't' || n, CAST(?3 AS text), n, 1,
        CASE WHEN n <= CAST(?2 AS int) THEN 'ann' ELSE 'o' || (n % 100) END,
        'https://a.example',
        '{"all":["x"],"teams":["' || CASE WHEN n <= CAST(?2 AS int) THEN 'ml' ELSE 'o' || (n % 100) END || '"]}',
        'created', '', NULL, 1, '{}', '{}'
        FROM generate_series(CAST(?4 AS int), CAST(?1 AS int)) AS n
    """,
}


@pytest.fixture(scope="module", params=KINDS)
def things(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Make databases with many things, which no test changes."""
    with empty(request, tmp_path_factory) as make:
        run(make, fill)
        yield make


@pytest.fixture(scope="module", params=KINDS)
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Make databases with wholes, of which `w1` has many things as its parts, `w2` one and `w3` none."""

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "wholes")
        for identity in ("w1", "w2", "w3"):
            await database.write(RecordTable(database, "wholes").inserting(Draft(identity, {}).owned_by(None)))
        await fill(database, "w1")
        await database.write(RecordTable(database, "things").inserting(Draft("mine", {}, "w2").owned_by(None)))

    with empty(request, tmp_path_factory) as make:
        run(make, work)
        yield make


def empty(request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> AbstractContextManager[Make]:
    """Make databases of the kind that the fixture has as its parameter."""
    if request.param == "sqlite":
        return empty_sqlite(folders.mktemp("lists"))
    return empty_postgres(request.getfixturevalue("postgres_url"))


def run(make: Make, work: Callable[[Database], Awaitable[None]]) -> None:
    """Do the work with a database that is open meanwhile."""

    async def worked() -> None:
        async with opened(make) as database:
            await work(database)

    asyncio.run(worked())


async def fill(database: Database, parent: str | None = None) -> None:
    """Write many things, as parts of `parent` if it is given."""
    await bring_up_to_date(database, "things", None if parent is None else "wholes")
    for first in range(1, OTHERS + OLD + 1, PIECE):
        await database.write(Step(FILL[database.kind], (min(first + PIECE - 1, OTHERS + OLD), OLD, parent, first)))
    await database.script("ANALYZE;")


def place(ordering: int) -> Record:
    """A record there, as a cursor."""
    return Record(f"t{ordering}", None, ordering, 1, None, Origin.CREATED, "", None, 1, {})


@pytest.mark.parametrize("name", FILTERS)
def test_a_page_costs_no_more_than_what_is_on_it(things: Make, name: str) -> None:
    async def work(database: Database) -> None:
        found = compile_filter(clauses(*FILTERS[name]), database.dialect)
        for page in (
            Page(21),
            Page(21, newest_first=False),
            Page(21, after=place(2_000)),
            Page(21, after=place(2_000), newest_first=False),
            Page(21, before=place(2_000)),
        ):
            assert len((await RecordTable(database, "things").page(found, page, 21)).rows) == 21
            await check_plan(database, statement_of(database.kind, "things", "id, ordering", found, page, 21))

    run(things, work)


@pytest.mark.parametrize("name", FILTERS)
def test_what_belongs_to_one_record_is_found_by_that(parts: Make, name: str) -> None:
    async def work(database: Database) -> None:
        found = compile_filter(clauses(*FILTERS[name]), database.dialect)
        for parent in ("w2", "w3"):
            page = Page(21, parent=parent)
            await check_plan(
                database, statement_of(database.kind, "things", "id, ordering", found, page, 21), "by_parent"
            )

    run(parts, work)


async def check_plan(database: Database, statement: tuple[str, list[Any]], index: str = "things_") -> None:
    """Check that an index leads to the rows, and that none are looked at in vain."""
    text, values = statement
    if database.kind == "sqlite":
        plan = [(row[0], row[1], row[3]) for row in await database.read(f"EXPLAIN QUERY PLAN {text}", *values)]
        steps = [step for _, _, step in plan]
        # A whole table or index is walked through only in its order, which ends with the window.
        walked = [(parent, step) for _, parent, step in plan if step.startswith("SCAN things")]
        assert all("USING INDEX things_by_age" in step for _, step in walked), steps
        assert not any(step.startswith(("SCAN one", "SCAN ends")) for step in steps), steps
        beside = {step for _, parent, step in plan if parent in {place for place, _ in walked}}
        assert not any("TEMP B-TREE" in step for step in beside), steps
        assert any(index in step for step in steps), steps
        return
    # Prepared, as every statement is: the plan is for whichever values.
    await database.read(f"PREPARE listed AS {text}")
    given = ", ".join(str(value) if isinstance(value, int) else f"'{value}'" for value in values)
    [(plan,)] = await database.read(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE listed({given})")
    await database.read("DEALLOCATE listed")
    nodes = list(nodes_of(json.loads(plan)[0]["Plan"]))
    for node in nodes:
        rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        # Of each alternative it has one page, and reads none of the records of others.
        assert rows <= MOST or "Relation Name" not in node, (node["Node Type"], rows, plan)
    assert any(index in node.get("Index Name", "") for node in nodes), plan


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The plan and every part of it."""
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes_of(part))]
