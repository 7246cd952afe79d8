"""A store of counts that goes away and comes back: nothing is given meanwhile, and nothing is refused afterwards."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from server.quota.counters import Counters, CountersUnavailable
from server.quota.postgres import PostgresCounters
from server.quota.sqlite import SqliteCounters
from server.quota.valkey import ValkeyCounters
from tests.support.patience import PATIENCE
from tests.support.postgres import Postgres, running_postgres
from tests.support.quota_counters import new_key, opened, run, served, units, used
from tests.support.valkey import running_valkey


@pytest.mark.parametrize("noticed", [0.0, 0.2])
def test_no_request_is_refused_once_a_valkey_is_back(noticed: float) -> None:
    """Connections that a store has closed are found out before they are used, or cost a second try and no refusal."""
    with ExitStack() as before:
        url = before.enter_context(running_valkey()).connection_url

        async def scenario() -> None:
            counters, key = ValkeyCounters(url, 2 * 86_400), new_key()
            async with opened(counters):
                for _ in range(3):
                    await served(counters, key)
                before.close()
                with running_valkey(port=urlsplit(url).port):
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
                async with asyncio.timeout(PATIENCE):
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


def test_a_database_that_is_away_is_told_in_our_words_alone(caplog: pytest.LogCaptureFixture) -> None:
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
