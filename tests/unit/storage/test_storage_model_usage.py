"""Usage of models in the databases: written once whatever happens, by several processes, and removed in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from policy.vocabulary import Principal
from server.inference.answers.metered import Ending
from server.inference.provider import Tokens
from server.storage.database.database import Database, DatabaseUnavailable, InDoubt, Step
from server.storage.usage import recorder
from server.storage.usage.recorder import UsageRecorder
from server.storage.usage.report import UsageQuery, whole_report
from server.storage.usage.table import UsageTable
from server.storage.usage.tally import DAY_SECONDS, UsageTally, UsedModel
from tests.support.databases import Make, opened

MODEL = UsedModel("p/m", "p", is_configured=True)
ALICE = Principal("alice", "https://idp", {"teams": ("ml",)})


class Server:
    """What one process counts, and how it writes that; `now` is its clock."""

    def __init__(self, database: Database, keep_days: int = 10) -> None:
        self.now = 100.0 * DAY_SECONDS
        self.tally = UsageTally(lambda: self.now)
        self.table = UsageTable(database, "usage")
        self.recorder = UsageRecorder(self.tally, self.table, "teams", keep_days, lambda: self.now)

    def count(self, times: int = 1, caller: Principal = ALICE, tokens: int = 3) -> None:
        for _ in range(times):
            self.tally.count(caller, MODEL, Ending.ANSWERED, tokens, Tokens(tokens, 2, 1))

    async def sums(self, by: str = "principal", first: int = 0) -> dict[str | int, tuple[int, int]]:
        """The requests and tokens of each group."""
        groups = await whole_report(self.table, UsageQuery(by, first))
        return {group.key: (group.spent.requests, group.spent.total_tokens) for group in groups}


@asynccontextmanager
async def serving(make: Make, keep_days: int = 10) -> AsyncIterator[Server]:
    async with opened(make) as database:
        server = Server(database, keep_days)
        await server.table.prepare()
        yield server


class Unsure:
    """A database whose writes fail as the test says, before or after they are made."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.before: Exception | None = None
        self.after: Exception | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    async def write(self, *steps: Step) -> None:
        if self.before is not None:
            raise self.before
        await self._database.write(*steps)
        if self.after is not None:
            raise self.after


def test_what_is_counted_is_added_up(make: Make) -> None:
    async def run() -> None:
        async with serving(make) as server:
            server.count(3)
            await server.recorder.flush()
            await server.recorder.flush()
            server.count(2)
            server.count(1, Principal("bob", "https://idp"), 5)
            server.now += DAY_SECONDS
            server.count(1)
            await server.recorder.flush()
            assert await server.sums() == {"https://idp::alice": (6, 18), "https://idp::bob": (1, 5)}
            assert await server.sums("team") == {"ml": (6, 18), "": (1, 5)}
            assert await server.sums("model") == {"p/m": (7, 23)}
            assert await server.sums("provider") == {"p": (7, 23)}
            assert await server.sums("day") == {100: (6, 20), 101: (1, 3)}
            assert await server.sums("day", first=101) == {101: (1, 3)}

    asyncio.run(run())


def test_several_processes_add_to_the_same_counts(make: Make) -> None:
    async def run() -> None:
        async with serving(make) as one, serving(make) as other:
            for _ in range(20):
                for server in (one, other):
                    for number in range(20):
                        server.count(1, Principal(f"p{number}"))
                await asyncio.gather(one.recorder.flush(), other.recorder.flush())
            assert await one.sums() == {f"::p{number}": (40, 120) for number in range(20)}

    asyncio.run(run())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_is_written_once_though_its_commit_was_in_doubt(make: Make, moment: str) -> None:
    async def run() -> None:
        async with opened(make) as database:
            unsure = Unsure(database)
            server = Server(unsure)  # type: ignore[arg-type]
            await server.table.prepare()
            for fault in (InDoubt("lost"), DatabaseUnavailable("away"), None):
                setattr(unsure, moment, fault)
                server.count(2)
                if fault is not None:
                    with pytest.raises(DatabaseUnavailable):
                        await server.recorder.flush()
            await server.recorder.flush()
            assert await server.sums() == {"https://idp::alice": (6, 18)}

    asyncio.run(run())


def test_a_flush_that_is_cancelled_anywhere_loses_and_repeats_nothing(make: Make) -> None:
    async def run() -> None:
        async with serving(make) as server:
            for turns in range(30):
                server.count(2)
                task = asyncio.create_task(server.recorder.flush())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            await server.recorder.flush()
            assert await server.sums() == {"https://idp::alice": (60, 180)}

    asyncio.run(run())


def test_a_count_that_can_not_be_written_keeps_no_other(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving(make) as server:
            for number in range(7):
                server.count(1, Principal(f"p{number}"))
            server.count(1, Principal("secret-name"), 2**70)
            for number in range(7, 12):
                server.count(1, Principal(f"p{number}"))
            await server.recorder.flush()
            assert await server.sums() == {f"::p{number}": (1, 3) for number in range(12)}

    asyncio.run(run())
    assert ["the usage of one principal can't be written" in record.message for record in caplog.records] == [True]
    assert "secret-name" not in caplog.text


def test_the_end_of_a_server_writes_what_is_left(make: Make) -> None:
    async def run() -> None:
        async with serving(make) as server:
            async with server.recorder.running():
                server.count(4)
            assert await server.sums() == {"https://idp::alice": (4, 12)}

    asyncio.run(run())


def test_counts_wait_for_a_database_that_is_away(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(recorder, "_PAUSE", 0.01)

    async def run() -> None:
        async with opened(make) as database:
            unsure = Unsure(database)
            server = Server(unsure)  # type: ignore[arg-type]
            await server.table.prepare()
            unsure.before = DatabaseUnavailable("away")
            async with server.recorder.running():
                server.count(4)
                await asyncio.sleep(0.05)
                assert await server.sums() == {}
                server.count(1)
                unsure.before = None
                for _ in range(500):
                    if await server.sums() == {"https://idp::alice": (5, 15)}:
                        return
                    await asyncio.sleep(0.01)
                raise AssertionError("the counts were not written")

    asyncio.run(run())


def test_a_database_that_stays_away_delays_the_end_of_a_server_but_does_not_prevent_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "LAST_SECONDS", 0.05)
    monkeypatch.setattr(recorder, "_PAUSE", 0.01)

    async def run() -> None:
        async with opened(make) as database:
            unsure = Unsure(database)
            server = Server(unsure)  # type: ignore[arg-type]
            await server.table.prepare()
            unsure.before = DatabaseUnavailable("away")
            async with server.recorder.running():
                server.count(4)

    asyncio.run(run())
    assert "usage that still waited for its database is lost" in caplog.text


def test_old_days_go_and_so_do_accounts_without_any(make: Make) -> None:
    async def run() -> None:
        async with serving(make) as server:
            for number in range(700):
                server.count(1, Principal(f"p{number}"))
            server.now += 5 * DAY_SECONDS
            server.count(1, Principal("p1"))
            await server.recorder.flush()
            await server.table.forget(100)
            assert len(await server.sums()) == 700
            await server.table.forget(101)
            assert await server.sums() == {"::p1": (1, 3)}
            assert await server.table.database.read("SELECT id FROM usage") == [("::p1",)]

    asyncio.run(run())


def test_the_owner_of_usage_never_changes(make: Make) -> None:
    async def run() -> None:
        async with serving(make) as server:
            server.count(1)
            await server.recorder.flush()
            with pytest.raises(Exception, match="the owner of usage never changes"):
                await server.table.database.write(Step("UPDATE usage SET owner_principal = 'eve'"))

    asyncio.run(run())
