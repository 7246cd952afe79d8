"""What holds where a file says nothing, by value, and addresses of backends as drivers read them."""

from __future__ import annotations

from typing import Any

import pytest

from server.config.decision_log import RotatedLog
from server.config.storage import KvRedisBackend, SqlPostgresBackend
from tests.support.config_texts import load, one_error, with_server


def test_a_server_that_is_told_nothing() -> None:
    config = load("version: 2\n")
    server, storage = config.server, config.storage
    assert (server.host, server.port, server.workers, server.decision_log) == ("127.0.0.1", 8321, 1, "stdout")
    assert (server.cors, server.quota, server.tracing, server.trusted_proxies) == (False, None, None, ())
    assert (server.max_concurrent_requests, server.opa.location, server.opa.decision_log) == (None, None, False)
    assert (storage.max_file_bytes, storage.blobs, storage.backends) == (512 * 1024**2, None, {})


def test_a_quota_counts_days_and_a_rotated_log_keeps_five_files() -> None:
    quota = load(with_server("quota: {kvstore: {type: sqlite, db_path: quotas.db}}")).server.quota
    assert quota is not None
    assert quota.period == "day"
    assert (quota.anonymous_max_requests, quota.authenticated_max_requests) == (None, None)
    assert (quota.max_tokens_per_period, quota.limits, quota.kvstore.namespace) == (None, (), None)
    log = load(with_server("decision_log: {path: log, rotate_at: 64KiB}")).server.decision_log
    assert isinstance(log, RotatedLog)
    assert (log.rotate_at, log.keep) == (65_536, 5)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "redis://localhost:6379"),
        ({"tls": True}, "rediss://localhost:6379"),
        ({"host": "v.example", "port": 7}, "redis://v.example:7"),
        ({"host": "2001:db8::1"}, "redis://[2001:db8::1]:6379"),
        ({"password": "a:b/c@d#e%"}, "redis://:a%3Ab%2Fc%40d%23e%25@localhost:6379"),
    ],
)
def test_the_address_of_a_valkey(settings: dict[str, Any], url: str) -> None:
    assert KvRedisBackend(type="kv_redis", **settings).url == url


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "postgresql://u:@/ostiary?host=localhost&port=5432&sslmode=prefer"),
        ({"ssl_mode": "verify-full"}, "postgresql://u:@/ostiary?host=localhost&port=5432&sslmode=verify-full"),
        (
            {"user": "a@b/c", "password": "x:y@z?", "db": "d/e", "host": "h.example", "port": 7},
            "postgresql://a%40b%2Fc:x%3Ay%40z%3F@/d%2Fe?host=h.example&port=7&sslmode=prefer",
        ),
    ],
)
def test_the_address_of_a_postgresql(settings: dict[str, Any], url: str) -> None:
    assert SqlPostgresBackend(**({"type": "sql_postgres", "user": "u"} | settings)).url == url


@pytest.mark.parametrize(
    "pattern", ["https?://[0-9.]+", "https://[a-z]\\.[a-z]+", "http://[a-z.-]+", "https://[a-z.-]+:[0-9]+", "null"]
)
def test_credentials_for_a_pattern_of_addresses_schemes_or_ports_are_refused(pattern: str) -> None:
    text = with_server(f"cors: {{allow_origins: [], allow_origin_regex: '{pattern}', allow_credentials: true}}")
    assert one_error(text).startswith("`allow_credentials` needs origins that are named, and `allow_origin_regex`")
