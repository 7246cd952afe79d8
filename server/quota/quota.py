"""The quota: limits, usage and reservations of requests and tokens for each caller."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from json import dumps
from typing import Final

from policy.vocabulary import Anonymous, Principal
from server.background.ends import to_its_end
from server.background.tasks import in_background
from server.quota.counters import Charge, Counters, CountersUnavailable, Usage
from server.quota.storage_limit import StorageLimit

PERIODS: Final = {"minute": 60, "hour": 3600, "day": 24 * 3600}
"""Seconds of each period; all start at whole multiples since 1970, so a day is a day in UTC."""

_SWEEP_SECONDS: Final = 3600.0

_PLACE: Final = "server.quota"

_log: Final = logging.getLogger("ostiary.quota")


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that one caller may use in a period, and may keep; None is no limit.

    The places are those of the two numbers in the configuration, for the decision log.
    """

    requests: int | None = None
    tokens: int | None = None
    requests_place: str = _PLACE
    tokens_place: str = _PLACE
    storage: StorageLimit | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a caller: its limit, its usage, and the seconds until the period ends."""

    key: str
    limit: Limit
    used: Usage
    resets_in: int

    @property
    def requests_left(self) -> int | None:
        """The number of requests that are left; None where there is no limit."""
        return None if self.limit.requests is None else max(0, self.limit.requests - self.used.requests)

    @property
    def tokens_left(self) -> int | None:
        """The number of tokens that are left; None where there is no limit."""
        return None if self.limit.tokens is None else max(0, self.limit.tokens - self.used.tokens)


_NOTHING: Final = Limit(0, 0, storage=StorageLimit(0, 0, _PLACE, _PLACE))


class QuotaExceeded(Exception):
    """The caller has used its share of the period: of tokens if `of_tokens`, else of requests."""

    def __init__(self, standing: Standing, *, of_tokens: bool) -> None:
        super().__init__("Quota exceeded")
        self.standing = standing
        self.of_tokens = of_tokens


class Quota:
    """Counts each caller's requests and tokens in fixed periods of `period` seconds.

    A principal is counted by its issuer and id, across its tokens and addresses; an anonymous caller by its address.
    `named` are the limits that the policy can name, in the order of `server.quota.limits`. Quotas of another
    `namespace` may count in the same store. `now` is in seconds since 1970.
    """

    def __init__(
        self,
        counters: Counters,
        period: int,
        *,
        anonymous: Limit,
        authenticated: Limit,
        named: Sequence[Limit] = (),
        namespace: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._counters = counters
        self._period = period
        self._anonymous = anonymous
        self._authenticated = authenticated
        self._named = tuple(named)
        self._namespace = namespace
        self._now = now

    @property
    def counts_tokens(self) -> bool:
        """True if any caller's tokens are limited."""
        return any(limit.tokens is not None for limit in (self._anonymous, self._authenticated, *self._named))

    def limit_of(self, caller: Principal | Anonymous, index: int | None) -> Limit:
        """Return the caller's limit: the one at `index` of those that the policy can name, or else its kind's own.

        A place without a limit permits nothing, since policy and configuration do not belong together then.
        """
        if index is not None:
            return self._named[index] if index < len(self._named) else _NOTHING
        return self._authenticated if isinstance(caller, Principal) else self._anonymous

    async def take(
        self, caller: Principal | Anonymous, address: str, limit: Limit, requests: int = 1
    ) -> Standing | None:
        """Take one request of the caller's share, or none of those, and return its state; None where there is no limit.

        The tokens of the caller may be used up: most requests need none. Raises QuotaExceeded if its requests are, and
        CountersUnavailable.
        """
        if limit.requests is None and limit.tokens is None:
            return None
        most = limit.requests if requests else None
        units = Charge(self._key(caller, address), self._window(), requests, 0, most, None)
        return await self._taken(units, limit)

    async def reserve(self, standing: Standing, tokens: int) -> Standing:
        """Reserve `tokens` of the caller's share, before the number of used ones is known.

        Raises QuotaExceeded where fewer are left, and CountersUnavailable.
        """
        units = Charge(standing.key, self._window(), 0, tokens, None, standing.limit.tokens)
        return await self._taken(units, standing.limit)

    async def settle(self, standing: Standing, reserved: int, used: int) -> Standing:
        """Replace `reserved` tokens by `used` ones, fewer or more, and return the caller's state.

        A store that cannot be reached keeps the reservation.
        """
        rest, held = reserved - used, standing.used
        if rest:
            with suppress(CountersUnavailable):
                await self._counters.give_back(standing.key, held.window, rest)
        return replace(standing, used=replace(held, tokens=max(0, held.tokens - rest)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the store, and sweep it of periods that are over; raises CountersUnavailable."""
        async with self.open(), in_background("quota sweep", self._sweep()):
            yield

    async def _sweep(self) -> None:
        while True:
            try:
                await self._counters.forget(self._window() - self._period)
            except CountersUnavailable as failure:
                _log.warning("%s", failure)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def standing(self, caller: Principal | Anonymous, address: str) -> Standing:
        """Return the state of a caller in this period, under the limit of its kind; raises CountersUnavailable.

        A limit that the policy names for it is not known here.
        """
        key, window = self._key(caller, address), self._window()
        used = await self._counters.used(key)
        if used is None or used.window < window:
            used = Usage(0, 0, window)
        return self._standing(key, self.limit_of(caller, None), used)

    async def reset(self, caller: Principal | Anonymous, address: str) -> None:
        """Give a caller its whole share of this period again; raises CountersUnavailable."""
        await self._counters.reset(self._key(caller, address))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the store for as long as the context lasts; raises CountersUnavailable."""
        try:
            await self._counters.start()
            yield
        finally:
            await to_its_end(self._counters.close())

    def _window(self) -> int:
        return int(self._now()) // self._period * self._period

    async def _taken(self, units: Charge, limit: Limit) -> Standing:
        taken, used = await self._counters.take(units)
        standing = self._standing(units.key, limit, used)
        if not taken:
            raise QuotaExceeded(standing, of_tokens=not units.requests)
        return standing

    def _standing(self, key: str, limit: Limit, used: Usage) -> Standing:
        return Standing(key, limit, used, max(1, used.window + self._period - int(self._now())))

    def _key(self, caller: Principal | Anonymous, address: str) -> str:
        """Return a name of fixed length, so that no id and no address is kept."""
        who = ("principal", caller.issuer, caller.id) if isinstance(caller, Principal) else ("address", address)
        return hashlib.sha256(dumps((self._namespace, *who)).encode()).hexdigest()
