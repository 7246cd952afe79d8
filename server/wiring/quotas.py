"""Building of the admission that a configuration describes: quotas and the limit on requests at once."""

from __future__ import annotations

from typing import Final

from server.config import Config
from server.config.quota import LimitConfig, QuotaConfig
from server.config.storage import KvPostgresBackend, KvRedisBackend, KvSqliteBackend, SqliteStore
from server.net.client_address import ClientAddresses
from server.quota.admission import Admission, ConcurrencyLimit
from server.quota.counters import Counters
from server.quota.quota import PERIODS, Limit, Quota
from server.quota.sqlite import SqliteCounters
from server.quota.storage_limit import StorageLimit
from server.telemetry.dependencies import Dependencies, Dependency
from server.wiring.at_start import Origin, origin_of
from server.wiring.observed import ObservedCounters

_PLACE: Final = "server.quota"
_TOKENS: Final = "max_tokens_per_period"


def build_admission(config: Config, dependencies: Dependencies | None = None) -> Admission:
    """Build the admission; the store that counts is added to the `dependencies`."""
    server = config.server
    quota = build_quota(config, dependencies)
    concurrency = ConcurrencyLimit(server.max_concurrent_requests)
    return Admission(quota, concurrency, ClientAddresses(server.trusted_proxies), server.fairness.by)


def build_quota(whole: Config, dependencies: Dependencies | None = None) -> Quota | None:
    """Build the quota, None where nothing is limited; the store that counts is added to the `dependencies`."""
    config = whole.server.quota
    if config is None:
        return None
    dependency = (dependencies or Dependencies()).add(Dependency("quota", needed=True))
    return Quota(
        ObservedCounters(_counters(config, whole), dependency, _origin(config, whole)),
        PERIODS[config.period],
        anonymous=_limit(config, "anonymous_max_requests"),
        authenticated=_limit(config, "authenticated_max_requests"),
        named=[_named(limit, place) for place, limit in enumerate(config.limits)],
        namespace=config.kvstore.namespace or "",
    )


def _limit(config: QuotaConfig, requests: str) -> Limit:
    places = f"{_PLACE}.{requests}", f"{_PLACE}.{_TOKENS}"
    return Limit(getattr(config, requests), config.max_tokens_per_period, *places, _storage(config, _PLACE))


def _named(config: LimitConfig, place: int) -> Limit:
    own = f"{_PLACE}.limits[{place}]"
    places = f"{own}.max_requests", f"{own}.{_TOKENS}"
    return Limit(config.max_requests, config.max_tokens_per_period, *places, _storage(config, own))


def _storage(config: QuotaConfig | LimitConfig, place: str) -> StorageLimit | None:
    if config.max_records is None and config.max_bytes is None:
        return None
    return StorageLimit(config.max_records, config.max_bytes, f"{place}.max_records", f"{place}.max_bytes")


def _origin(config: QuotaConfig, whole: Config) -> Origin:
    store = config.kvstore
    if isinstance(store, SqliteStore):
        return Origin(None, "correct `db_path` in `server.quota.kvstore`")
    return origin_of(whole, store.backend)


def _counters(config: QuotaConfig, whole: Config) -> Counters:
    # Drivers are imported where they are used: a server that counts in a file needn't wait for them.
    store = config.kvstore
    if isinstance(store, SqliteStore):
        return SqliteCounters(store.db_path)
    backend = whole.storage.backends[store.backend]
    match backend:
        case KvSqliteBackend():
            return SqliteCounters(backend.db_path)
        case KvPostgresBackend():
            from server.quota.postgres import PostgresCounters

            return PostgresCounters(backend.url)
        case KvRedisBackend():
            from server.quota.valkey import ValkeyCounters

            return ValkeyCounters(backend.url, 2 * PERIODS[config.period])
    raise ValueError(f"the backend `{store.backend}` is for tables; a quota takes one for keys and values")
