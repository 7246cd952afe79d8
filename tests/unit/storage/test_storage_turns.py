"""What one caller asks of a database delays no other: reads apart from lists, turns, limits of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter

import pytest

from policy.vocabulary import Principal
from server.authz.contract.record_filter import Atom, OwnerShares, RecordFilter, Undecided
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.storage.database import postgres, sqlite
from server.storage.database.database import Database, Overlong, Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.list_steps import LARGEST_WINDOW, MOST_PASSED, ListSteps, ListTooLong
from server.storage.records.record import Draft, Page
from server.storage.records.sql_filter import compile_filter
from server.storage.records.table import RecordTable, Window
from tests.support.databases import Make, opened
from tests.support.filter_rows import PERMIT, clauses
from tests.support.patience import PATIENCE

ISSUER = "https://a.example"
GREEDY, MODEST = ("principal", ISSUER, "greedy"), ("principal", ISSUER, "modest")
SLOW = {
    "sqlite": "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1e9) SELECT max(n) FROM n",
    "postgresql": "SELECT pg_sleep(300)",
}
RECORDS = 100_000
FILL = {
    "sqlite": """
        WITH RECURSIVE numbers(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
        INSERT INTO things SELECT 't' || n, NULL, n, 1, 'o' || (n % 100), 'https://a.example',
        '{"teams":["o' || (n % 100) || '"]}', 'created', '', NULL, 1, '{}', '{"text":"x"}' FROM numbers WHERE true
    """,
    "postgresql": """
        INSERT INTO things SELECT 't' || n, NULL, n, 1, 'o' || (n % 100), 'https://a.example',
        '{"teams":["o' || (n % 100) || '"]}', 'created', '', NULL, 1, '{}', '{"text":"x"}'
        FROM generate_series(CAST(?1 AS int), CAST(?2 AS int)) AS n
    """,
}


def with_database(make: Make, work: Callable[[Database], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "things")
            await work(database)

    asyncio.run(worked())


async def as_caller(caller: tuple[str, ...], work: Awaitable[object]) -> None:
    """Do the work as that caller; call it in a task of its own."""
    CURRENT.set(caller)
    await work


def rule(*atoms: Atom) -> RecordFilter:
    """A filter of one rule."""
    return clauses((PERMIT, atoms))


async def listed(things: RecordTable, found: RecordFilter, page: Page) -> int:
    """Pass over the list until the page is full, where no question permits anything, and return the records passed."""
    permitted = compile_filter(found, things.database.dialect)
    steps, passed = ListSteps(permitted, page), 0
    while True:
        window = await things.page(permitted, page, steps.window)
        passed += window.passed
        if window.end is None:
            return passed
        steps.go_on(window)
        page = replace(page, after=window.end)


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_greedy_lists_leave_the_reads_of_others_alone(make: Make) -> None:
    """Lists under a shared attribute and a rule that no index answers, among many records of others."""

    async def work(database: Database) -> None:
        for first in range(1, RECORDS, 10_000):
            await database.write(Step(FILL[database.kind], (first, first + 9_999)))
        things = RecordTable(database, "things")
        share = Atom(OwnerShares("teams", ("mine",)), holds=True)
        # Each record has to be looked at, and none is permitted.
        filters = [rule(share), rule(Atom(OwnerShares("teams", ("o1",)), holds=False), share)]
        lists = 4 if database.kind == "sqlite" else 32

        async def greedy(number: int) -> None:
            CURRENT.set(GREEDY)
            while True:
                await listed(things, filters[number % 2], Page(20))

        async def reads(count: int) -> list[float]:
            CURRENT.set(MODEST)
            times = []
            for number in range(count):
                began = perf_counter()
                assert await things.find(f"t{1 + number * 397}") is not None
                times.append(perf_counter() - began)
                await asyncio.sleep(0.005)
            return sorted(times)

        alone = await asyncio.create_task(reads(100))
        tasks = [asyncio.create_task(greedy(number)) for number in range(lists)]
        beside = await asyncio.create_task(reads(100))
        for task in tasks:
            task.cancel()
        assert not any(isinstance(end, Exception) for end in await asyncio.gather(*tasks, return_exceptions=True))
        # As it was, each read waited for a whole list: seconds.
        assert beside[50] < alone[50] + 0.05
        assert beside[-1] < alone[-1] + 0.5

    with_database(make, work)


@pytest.mark.alone
def test_a_slow_list_keeps_no_read_no_write_and_no_list_of_others_waiting(make: Make) -> None:
    async def work(database: Database) -> None:
        slow = [asyncio.create_task(as_caller(GREEDY, database.scan(SLOW[database.kind]))) for _ in range(8)]
        await asyncio.sleep(0.1)
        things = RecordTable(database, "things")
        began = perf_counter()
        async with asyncio.timeout(PATIENCE):
            await database.write(things.inserting(Draft("a", {}).owned_by(None)))
            assert await things.find("a") is not None
            assert await database.scan("SELECT 1") == [(1,)]
        assert perf_counter() - began < 2
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)

    with_database(make, work)


def test_a_list_whose_client_has_left_ends(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LIST_SECONDS", 300)
    monkeypatch.setattr(postgres, "LIST_SECONDS", 300)

    async def work(database: Database) -> None:
        for _ in range(10):
            slow = asyncio.create_task(database.scan(SLOW[database.kind]))
            await asyncio.sleep(0.05)
            slow.cancel()
            await asyncio.wait([slow])
            assert slow.cancelled()
        # Ten of them would take minutes, on fewer connections than that.
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*(database.scan("SELECT 1") for _ in range(8))) == [[(1,)]] * 8

    with_database(make, work)


def test_a_statement_of_a_list_ends_after_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LIST_SECONDS", 0.3)
    monkeypatch.setattr(postgres, "LIST_SECONDS", 0.3)

    async def work(database: Database) -> None:
        for _ in range(3):
            began = perf_counter()
            with pytest.raises(Overlong, match="takes too long for this list"):
                await database.scan(SLOW[database.kind])
            assert perf_counter() - began < 3
        assert await database.scan("SELECT 1") == [(1,)]

    with_database(make, work)


def test_hundreds_of_writes_of_one_caller_delay_the_write_of_another_by_a_batch(make: Make) -> None:
    async def work(database: Database) -> None:
        things = RecordTable(database, "things")
        ended: list[str] = []

        async def write(caller: tuple[str, ...], name: str) -> None:
            CURRENT.set(caller)
            await database.write(things.inserting(Draft(name, {}).owned_by(None)))
            ended.append(name)

        tasks = [asyncio.create_task(write(GREEDY, f"g{number}")) for number in range(500)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(write(MODEST, "modest")))
        await asyncio.gather(*tasks)
        assert ended.index("modest") <= 150

    with_database(make, work)


def test_hundreds_of_reads_of_one_caller_delay_the_read_of_another_by_a_batch(make: Make) -> None:
    async def work(database: Database) -> None:
        ended: list[str] = []

        async def read(caller: tuple[str, ...], name: str) -> None:
            CURRENT.set(caller)
            await database.read("SELECT 1")
            ended.append(name)

        tasks = [asyncio.create_task(read(GREEDY, f"g{number}")) for number in range(500)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(read(MODEST, "modest")))
        await asyncio.gather(*tasks)
        assert ended.index("modest") <= 150

    with_database(make, work)


def test_who_asks_for_more_lists_than_may_wait_is_told_so_at_once(make: Make) -> None:
    async def work(database: Database) -> None:
        tasks = [asyncio.create_task(as_caller(GREEDY, database.scan(SLOW[database.kind]))) for _ in range(250)]
        await asyncio.sleep(0.2)
        refused = [task for task in tasks if task.done()]
        assert 100 < len(refused) < 150  # a hundred threads of one client may wait
        assert all(isinstance(task.exception(), NoRoom) for task in refused)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with_database(make, work)


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_list_looks_at_each_record_once_and_a_bounded_number_in_a_statement(make: Make, newest_first: bool) -> None:
    async def work(database: Database) -> None:
        await database.write(Step(FILL[database.kind], (1, 5_000)))
        things = RecordTable(database, "things")
        windows: list[int] = []
        plain = things.database.scan

        async def scan(statement: str, *values: str | int | None) -> list[tuple[object, ...]]:
            rows = await plain(statement, *values)
            windows.append(rows[-1][-1] if rows else 0)
            return rows

        database.scan = scan  # type: ignore[method-assign, assignment]
        nothing = rule(Atom(OwnerShares("teams", ("mine",)), holds=True), Atom(Undecided(), holds=True))
        assert await listed(things, nothing, Page(20, newest_first=newest_first)) == 0
        none_of_these = rule(Atom(OwnerShares("teams", tuple(f"o{n}" for n in range(100))), holds=False))
        assert await listed(things, none_of_these, Page(20, newest_first=newest_first)) == 5_000
        assert max(windows) == LARGEST_WINDOW
        assert sum(windows) == 5_000
        windows.clear()
        by_facet = Page(20, newest_first=newest_first, facet="none")
        assert await listed(things, rule(), by_facet) == 5_000
        assert windows[0] == 200

    with_database(make, work)


def test_a_list_that_passes_over_too_many_is_refused_with_a_hint() -> None:
    permitted = compile_filter(rule(), sqlite.SqliteDatabase.dialect)
    steps = ListSteps(permitted, Page(20))
    with pytest.raises(ListTooLong, match=r"passed over 200,000 records .* a smaller `limit`"):
        for _ in range(1 + MOST_PASSED // LARGEST_WINDOW):
            steps.go_on(Window((), LARGEST_WINDOW, None))


def test_a_caller_in_thousands_of_groups_takes_small_windows() -> None:
    share = Atom(OwnerShares("teams", tuple(f"g{number}" for number in range(10_000))), holds=True)
    steps = ListSteps(compile_filter(rule(share), sqlite.SqliteDatabase.dialect), Page(1_000))
    for _ in range(5):
        assert steps.window == 50
        steps.go_on(Window((), 50, None))


def test_owners_of_each_kind_are_found_among_others(make: Make) -> None:
    """A page that takes several windows holds what one window would."""

    async def work(database: Database) -> None:
        things = RecordTable(database, "things")
        people = [Principal("ben", ISSUER, {"teams": (f"t{number % 7}",)}) for number in range(300)]
        await database.write(
            *(things.inserting(Draft(f"r{n}", {}, facet=str(n % 11)).owned_by(of)) for n, of in enumerate(people))
        )
        share = Atom(OwnerShares("teams", ("t1", "t5")), holds=True)
        permitted = compile_filter(rule(share), database.dialect)
        expected = [f"r{n}" for n in range(300) if n % 7 in (1, 5) and n % 11 == 3]
        for newest_first in (True, False):
            page, found = Page(3, newest_first=newest_first, facet="3"), []
            while True:
                window = await things.page(permitted, page, 4)
                found += [record.id for record, _ in window.rows]
                if window.end is None:
                    break
                page = replace(page, after=window.end)
            assert found == (expected[::-1] if newest_first else expected)

    with_database(make, work)
