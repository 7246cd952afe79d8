"""A PostgreSQL that goes and comes back: one clear error without its address, and no restart of ours."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import asyncpg
import pytest

from server.fairness.shares import NoRoom
from server.storage.database import postgres
from server.storage.database.database import Database, DatabaseUnavailable, InDoubt, Step
from server.storage.database.limits import POSTGRES_CALLS
from server.storage.database.migrate import bring_up_to_date
from server.storage.database.postgres import PostgresDatabase, spelled
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import empty_schema, opened
from tests.support.postgres import Postgres, running_postgres
from tests.support.postgres_proxy import Cutting, cutting

ENDING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ?1"


def test_an_address_without_a_server_stops_the_start_and_is_not_told() -> None:
    async def start() -> None:
        async with opened(lambda: PostgresDatabase("postgresql://me:secret@127.0.0.1:1/db")):
            pytest.fail("nobody listens there")

    with pytest.raises(DatabaseUnavailable) as failed:
        asyncio.run(start())
    assert str(failed.value).startswith("the records in PostgreSQL can't be used (")
    assert "secret" not in str(failed.value) and "127.0.0.1" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_lost_connections_are_errors_once_and_then_new_ones(postgres_url: str) -> None:
    async def lose(url: str) -> None:
        name = f"ostiary_{secrets.token_hex(4)}"
        mine = f"{url}&application_name={name}"
        async with opened(lambda: PostgresDatabase(mine)) as database, connected(postgres_url) as outside:
            await bring_up_to_date(database, "things")
            things = RecordTable(database, "things")
            with pytest.raises(DatabaseUnavailable):
                await database.write(new(things, "a"), Step(ENDING, (name,)), new(things, "b"))
            await until_readable(database)
            assert await database.read("SELECT id FROM things") == []
            await outside.fetch(spelled(ENDING), name)
            reading = asyncio.gather(*(database.read("SELECT pg_sleep(30)") for _ in range(3)), return_exceptions=True)
            while not reading.done():
                await asyncio.wait([reading], timeout=0.01)
                await outside.fetch(spelled(ENDING), name)
            assert {type(each) for each in await reading} == {DatabaseUnavailable}
            await until_readable(database)
            await database.write(new(things, "a"))

    with empty_schema(postgres_url) as url:
        asyncio.run(lose(url))


@pytest.mark.parametrize(
    ("steps", "lost", "told", "done"),
    [
        (1, b"INSERT 0 1\0", InDoubt, True),
        (2, b"COMMIT\0", InDoubt, True),
        (2, b"INSERT 0 1\0", DatabaseUnavailable, False),
        (2, b"BEGIN\0", DatabaseUnavailable, False),
    ],
)
def test_whether_a_change_may_have_been_made_is_told(
    postgres_url: str, steps: int, lost: bytes, told: type[Exception], done: bool
) -> None:
    async def change(way: Cutting) -> None:
        async with opened(lambda: PostgresDatabase(way.url)) as database:
            await bring_up_to_date(database, "things")
            things = RecordTable(database, "things")
            way.at = (lost,)
            with pytest.raises(DatabaseUnavailable) as failed:
                await database.write(*(things.inserting(Draft(f"{n}", {}).owned_by(None)) for n in range(steps)))
            assert type(failed.value) is told
            way.at = ()
            assert await database.read("SELECT count(*) FROM things") == [(steps if done else 0,)]

    with empty_schema(postgres_url) as url, cutting(url) as way:
        asyncio.run(change(way))


def test_a_server_that_is_away_is_told_in_our_words_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def lose(postgres: Postgres) -> None:
        async with opened(lambda: PostgresDatabase(postgres.url)) as database:
            postgres.kill()
            for _ in range(10):
                with pytest.raises(DatabaseUnavailable):
                    await database.read("SELECT 1")
            postgres.start()
            await until_readable(database)

    with running_postgres() as postgres:
        asyncio.run(lose(postgres))
    assert [record.name for record in caplog.records if record.name.startswith("asyncpg")] == []


def test_who_waits_too_long_for_a_connection_is_told_so(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def exhaust(url: str) -> None:
        async with opened(lambda: PostgresDatabase(url)) as database:
            sleeping = asyncio.create_task(database.read("SELECT pg_sleep(30)"))
            await asyncio.sleep(0)
            with pytest.raises(NoRoom, match="reads and writes of records is used up"):
                await database.read("SELECT 1")
            # Lists have connections of their own.
            assert await database.scan("SELECT 1") == [(1,)]
            sleeping.cancel()
            await asyncio.wait([sleeping])
            assert await database.read("SELECT 1") == [(1,)]

    narrow = replace(POSTGRES_CALLS, capacity=1, each=1, seconds=0.5)
    monkeypatch.setattr(postgres, "POSTGRES_CALLS", narrow)
    with empty_schema(postgres_url) as url:
        asyncio.run(exhaust(url))


def test_parameters_are_spelled_as_postgresql_wants_them() -> None:
    assert spelled("a = ?1 AND b = ?12 OR c = CAST($3 AS text)") == "a = $1 AND b = $12 OR c = CAST($3 AS text)"


def new(things: RecordTable, identity: str) -> Step:
    """Has a record of that id."""
    return things.inserting(Draft(identity, {}).owned_by(None))


async def until_readable(database: Database) -> None:
    """Return once no connection of the past is left; each is noticed when it is used, if not before."""
    for _ in range(20):
        with suppress(DatabaseUnavailable):
            await database.read("SELECT 1")
            return
    pytest.fail("the database does not come back")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A way to the database past the server."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
