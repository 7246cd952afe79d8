"""Counters in Valkey or Redis, for any number of servers; they last as long as the store keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from server.quota.counters import Charge, CountersUnavailable, Usage

_CONNECTIONS: Final = 16
_SECONDS: Final = 5.0
_PREFIX: Final = "ostiary:quota:"

# Each key is a hash of window, requests and tokens that ends by itself; a script runs as one step.
_TAKE: Final = """
local window, requests, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most_requests, most_tokens = tonumber(ARGV[4]), tonumber(ARGV[5])
local kept = redis.call('HMGET', KEYS[1], 'window', 'requests', 'tokens')
local used_requests, used_tokens = 0, 0
if kept[1] and tonumber(kept[1]) >= window then
    window, used_requests, used_tokens = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
end
if (most_requests >= 0 and used_requests + requests > most_requests)
    or (most_tokens >= 0 and used_tokens + tokens > most_tokens) then
    return {0, used_requests, used_tokens, window}
end
redis.call('HSET', KEYS[1], 'window', window, 'requests', used_requests + requests, 'tokens', used_tokens + tokens)
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[6]))
return {1, used_requests + requests, used_tokens + tokens, window}
"""
_GIVE_BACK: Final = """
local kept = redis.call('HMGET', KEYS[1], 'window', 'tokens')
if kept[1] and tonumber(kept[1]) == tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], 'tokens', math.max(0, tonumber(kept[2]) - tonumber(ARGV[2])))
end
"""
_RESET: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HSET', KEYS[1], 'requests', 0, 'tokens', 0)
end
"""
_NO_LIMIT: Final = -1


class ValkeyCounters:
    """Counts at `url` (`redis://…`, `rediss://…`); each count is kept for `seconds`, the length of two periods."""

    def __init__(self, url: str, seconds: int) -> None:
        # A pool that waits: the other kind opens a connection for everyone who comes at once.
        limits = {"timeout": _SECONDS, "socket_timeout": _SECONDS, "socket_connect_timeout": _SECONDS}
        # With such notifications, the pool would give out connections that the store has closed.
        quiet = MaintNotificationsConfig(enabled=False)
        self._pool = BlockingConnectionPool.from_url(
            url, max_connections=_CONNECTIONS, maint_notifications_config=quiet, **limits
        )
        self._client: Any = Redis.from_pool(self._pool)
        self._take = self._client.register_script(_TAKE)
        self._give_back = self._client.register_script(_GIVE_BACK)
        self._reset = self._client.register_script(_RESET)
        self._seconds = seconds

    async def start(self) -> None:
        """Check that the store answers; raises CountersUnavailable."""
        await self.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def take(self, units: Charge) -> tuple[bool, Usage]:
        """Return whether the units were taken, and the usage now; raises CountersUnavailable.

        Where a connection breaks, it asks once more on a new one. At worst the units are taken twice, and never given.
        """
        limits = [_NO_LIMIT if most is None else most for most in (units.most_requests, units.most_tokens)]
        arguments = [units.window, units.requests, units.tokens, *limits, self._seconds]
        async with _reported():
            try:
                taken, *used = await self._take(keys=[_PREFIX + units.key], args=arguments)
            except ConnectionLost:
                # What is idle is no younger than what broke.
                await self._pool.disconnect(inuse_connections=False)
                taken, *used = await self._take(keys=[_PREFIX + units.key], args=arguments)
        return taken == 1, Usage(*used)

    async def give_back(self, key: str, window: int, tokens: int) -> None:
        """Correct the tokens used in that period; raises CountersUnavailable."""
        async with _reported():
            await self._give_back(keys=[_PREFIX + key], args=[window, tokens])

    async def used(self, key: str) -> Usage | None:
        """Return the usage in the last period that was counted; raises CountersUnavailable."""
        async with _reported():
            found = await self._client.hmget(_PREFIX + key, "requests", "tokens", "window")
        return None if None in found else Usage(*map(int, found))

    async def reset(self, key: str) -> None:
        """Set the counts of the period that is in force to 0; raises CountersUnavailable."""
        async with _reported():
            await self._reset(keys=[_PREFIX + key])

    async def ping(self) -> None:
        """Return if the store answers; raises CountersUnavailable."""
        async with _reported():
            await self._client.ping()

    async def forget(self, before: int) -> None:
        """Nothing: each count ends by itself."""


@asynccontextmanager
async def _reported() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise CountersUnavailable(f"the quotas in Valkey can't be used ({type(error).__name__})") from None
