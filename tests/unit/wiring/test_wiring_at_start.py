"""The sentences about a store that can't be opened at the start: its address, the reason, and what to correct."""

from __future__ import annotations

from asyncio import run
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from server.config import Config
from server.quota.counters import CountersUnavailable
from server.storage.database.database import DatabaseUnavailable
from server.telemetry.dependencies import Dependency
from server.wiring.at_start import origin_of
from server.wiring.databases import database_of
from server.wiring.observed import ObservedDatabase
from server.wiring.quotas import build_quota
from tests.support.config_texts import load, with_server
from tests.support.ports import free_port


async def refusal_of_records(config: Config, backend: str) -> str:
    database = ObservedDatabase(database_of(config, backend), Dependency("database"), origin_of(config, backend))
    try:
        with pytest.raises(DatabaseUnavailable) as failed:
            await database.start()
    finally:
        await database.close()
    return str(failed.value)


async def refusal_of_quota(text: str) -> str:
    quota = build_quota(load(text))
    assert quota is not None
    with pytest.raises(CountersUnavailable) as failed:
        async with quota.open():
            pass
    return str(failed.value)


def postgres(host: str, port: int, db: str = "records") -> Config:
    server = f"host: {host}, port: {port}, db: {db}, user: canary-user, password: canary-password"
    return load(f"storage: {{backends: {{pg: {{type: sql_postgres, {server}}}}}}}\n")


def test_a_postgresql_that_is_not_there() -> None:
    port = free_port()
    assert run(refusal_of_records(postgres("127.0.0.1", port), "pg")) == (
        f"the database `records` of PostgreSQL at `127.0.0.1:{port}` can't be used: Connection refused;"
        " start it, or correct `storage.backends.pg`"
    )


def test_a_host_that_has_no_address() -> None:
    told = run(refusal_of_records(postgres("no-such-host.invalid", 5432), "pg"))
    assert "`no-such-host.invalid:5432` can't be used: no address of its host is known; start it" in told


def test_a_database_that_postgresql_does_not_have(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    host, port = query.get("host", parts.hostname), query.get("port", parts.port or 5432)
    user, password = parts.username, parts.password or "none"
    server = f"host: {host}, port: {port}, db: no-such, user: {user}, password: '{password}'"
    config = load(f"storage: {{backends: {{pg: {{type: sql_postgres, {server}}}}}}}\n")
    assert "can't be used: it has no database of that name; " in run(refusal_of_records(config, "pg"))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    file.write_text("words", encoding="utf-8")
    config = load(f"storage: {{backends: {{own: {{type: sql_sqlite, db_path: {file}}}}}}}\n")
    told = run(refusal_of_records(config, "own"))
    assert told.startswith(f"the records in `{file}` can't be used: ")
    assert told.endswith("; correct `storage.backends.own`")


def test_counters_that_are_not_there() -> None:
    port = free_port()
    text = with_server("quota: {kvstore: {backend: kv, namespace: q}, anonymous_max_requests: 1}")
    text += f"storage: {{backends: {{kv: {{type: kv_redis, host: 127.0.0.1, port: {port}, password: canary}}}}}}\n"
    assert run(refusal_of_quota(text)) == (
        f"Redis or Valkey at `127.0.0.1:{port}` can't be used: Connection refused;"
        " start it, or correct `storage.backends.kv`"
    )


def test_counters_in_a_file_that_is_none(tmp_path: Path) -> None:
    text = f"quota: {{kvstore: {{type: sqlite, db_path: {tmp_path}}}, anonymous_max_requests: 1}}"
    told = run(refusal_of_quota(with_server(text)))
    assert told.endswith("; correct `db_path` in `server.quota.kvstore`")
