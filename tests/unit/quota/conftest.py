"""The stores that count, each a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.quota.postgres import PostgresCounters
from server.quota.sqlite import SqliteCounters
from server.quota.valkey import ValkeyCounters
from tests.support.quota_counters import Make
from tests.support.valkey import running_valkey


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A Valkey on loopback: the one at VALKEY_URL, or one that is started."""
    configured = os.environ.get("VALKEY_URL")
    if configured:
        yield configured
        return
    with running_valkey() as server:
        yield server.connection_url


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
