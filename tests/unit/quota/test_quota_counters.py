"""Counting in each store: atomic, in periods, never lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from policy.vocabulary import Anonymous
from server.config import read_config
from server.quota import postgres as postgres_module
from server.quota import sqlite as sqlite_module
from server.quota.postgres import PostgresCounters
from server.quota.sqlite import SqliteCounters
from server.quota.valkey import ValkeyCounters
from server.wiring.quotas import build_admission
from tests.support.quota_counters import WINDOW, Make, new_key, opened, run, units, used

MANY = 10_000 if os.environ.get("OSTIARY_NIGHTLY") else 2_000


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


def test_many_counts_are_forgotten_in_steps(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sqlite_module, postgres_module):
        monkeypatch.setattr(module, "LOOKED_AT", 3)

    async def scenario() -> None:
        sqlite, postgres = SqliteCounters(tmp_path / "quotas.db"), PostgresCounters(postgres_url)
        keys = [(new_key(), WINDOW + number % 2 * 60) for number in range(20)]
        async with opened(sqlite, postgres):
            for counters in (sqlite, postgres):
                for key, window in keys:
                    await counters.take(units(key, 1, window=window))
                await counters.forget(WINDOW + 60)
                for key, window in keys:
                    given = (await counters.take(units(key, 1, window=window)))[0]
                    assert given is (window == WINDOW), "what is over is forgotten, and nothing else"

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


def test_servers_that_start_together_on_a_new_database_all_start(postgres_url: str) -> None:
    async def scenario() -> None:
        admin = await asyncpg.connect(postgres_url)
        for _ in range(10):
            await admin.execute("DROP TABLE IF EXISTS ostiary_quota")
            async with opened(*(PostgresCounters(postgres_url) for _ in range(6))):
                pass
        await admin.close()

    run(scenario())
