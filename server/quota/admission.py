"""Admission of requests: each takes a unit of the caller's quota, and a place among its concurrent requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from policy.vocabulary import Anonymous, Principal
from server.fairness.caller import Caller, caller_of
from server.fairness.known_tokens import KnownTokens
from server.fairness.shares import NoRoom
from server.fairness.shown_callers import ShownCallers
from server.net.client_address import ClientAddresses
from server.quota.counters import CountersUnavailable
from server.quota.quota import Limit, Quota, QuotaExceeded, Standing
from server.quota.storage_limit import StorageExceeded, StorageLimit

FREE: Final = frozenset({"/metrics", "/v1/health", "/v1/health/ready", "/v1/version"})
"""The paths that cost nothing, since a quota must not stop a probe."""

_FREE_SHARE: Final = "free"
_LATER_SHARE: Final = "later"
_OPEN: Final = nullcontext()


def at_path(path: str, caller: Caller) -> Caller:
    """Return the caller as it counts at that path: at free paths, every caller has shares apart."""
    return (*caller, _FREE_SHARE) if path in FREE else caller


@dataclass(frozen=True, slots=True)
class Limited:
    """A limit of the configuration that stops a request: `limit` is its place, `most` its value, `reason` a sentence.

    `unavailable` is true where nothing could be counted; then the two numbers are None.
    """

    limit: str
    most: int | None
    used: int | None
    reason: str
    unavailable: bool = False


class TooManyAtOnce(Exception):
    """The caller has `most` requests under way, and may not have more."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


def limited_by(fault: QuotaExceeded | CountersUnavailable | StorageExceeded | TooManyAtOnce | NoRoom) -> Limited:
    """Return the limit that stops a request, for the decision log."""
    match fault:
        case NoRoom(name=name, of_caller=True):
            return Limited("server.fairness", None, None, f"the caller's share of {name} is used up")
        case NoRoom(name=name):
            return Limited("server.fairness", None, None, f"the room for {name} is used up", unavailable=True)
        case TooManyAtOnce(most=most):
            reason = "the caller has as many requests under way as it may have"
            return Limited("server.max_concurrent_requests", most, most, reason)
        case StorageExceeded(place=place, most=most, used=kept):
            return Limited(place, most, kept, "the caller keeps as much as it may")
        case QuotaExceeded(standing=standing):
            limit, used = standing.limit, standing.used
            if fault.of_tokens:
                return Limited(limit.tokens_place, limit.tokens, used.tokens, "the caller's share of tokens is used up")
            reason = "the caller's share of requests is used up"
            return Limited(limit.requests_place, limit.requests, used.requests, reason)
    return Limited("server.quota", None, None, "nothing can be counted now", unavailable=True)


class Reservation:
    """Tokens that are set aside for one request; without a settlement all of them are used.

    They are of the share and the period of `standing`; None is a caller whose tokens are not counted.
    """

    __slots__ = ("_charge", "_settled", "_standing", "reserved")

    def __init__(self, charge: RequestCharge, standing: Standing | None, reserved: int) -> None:
        self._charge = charge
        self._standing = standing
        self.reserved = reserved
        self._settled = False

    async def settle(self, used: int) -> None:
        """Record that `used` tokens were spent; only the first call counts."""
        if not self._settled:
            self._settled = True
            if self._standing is not None:
                await self._charge.settle(self._standing, self.reserved, used)


class RequestCharge:
    """The charge of one request to the quota; of its tokens alone where the request `is_paid` already.

    While `was_paid_before` is true, nothing is counted: an earlier request has paid for what this one is to get.
    `exceeded` is the state of a caller whose share was used up, None where there was enough. A request `never_fits`
    where it needs more than a whole period has.
    """

    __slots__ = (
        "_address",
        "_caller",
        "_quota",
        "_share",
        "exceeded",
        "is_paid",
        "never_fits",
        "standing",
        "storage",
        "was_paid_before",
    )

    def __init__(self, quota: Quota, caller: Principal | Anonymous, address: str, *, is_paid: bool = False) -> None:
        self._quota = quota
        self.is_paid = is_paid
        self._caller = caller
        self._address = address
        self._share: Limit | None = None
        self.was_paid_before = False
        self.standing: Standing | None = None
        self.exceeded: Standing | None = None
        self.never_fits = False
        self.storage: StorageLimit | None = None

    async def pay(self, limit: int | None) -> None:
        """Take the request out of the caller's share; `limit` is the one that the policy names, if it names one.

        Raises QuotaExceeded and CountersUnavailable.
        """
        self._share = self._quota.limit_of(self._caller, limit)
        self.storage = self._share.storage
        if not self.was_paid_before:
            await self._take(self._share)

    async def pay_after_all(self) -> None:
        """Take out a request that was to get what is paid for, and gets an error; raise as `pay` does."""
        if self.was_paid_before and self._share is not None:
            self.was_paid_before = False
            await self._take(self._share)

    async def _take(self, share: Limit) -> None:
        try:
            requests = 0 if self.is_paid else 1
            self.standing = await self._quota.take(self._caller, self._address, share, requests)
            self.is_paid = True
        except QuotaExceeded as exceeded:
            self.standing = self.exceeded = exceeded.standing
            self.never_fits = share.requests == 0
            raise

    def check_tokens(self) -> None:
        """Raise QuotaExceeded if the caller has no tokens left, for work that will need some."""
        if self.standing is not None and self.standing.tokens_left == 0:
            self.exceeded = self.standing
            self.never_fits = self.standing.limit.tokens == 0
            raise QuotaExceeded(self.standing, of_tokens=True)

    @property
    def may_count_tokens(self) -> bool:
        """True if any caller's tokens are limited."""
        return self._quota.counts_tokens

    @property
    def counts_tokens(self) -> bool:
        """True if this caller's tokens are limited, which is known once it has paid."""
        return self.standing is not None and self.standing.limit.tokens is not None

    async def reserve(self, least: int, most: int) -> Reservation:
        """Set aside `most` tokens of the caller's share, or the rest of it if that is at least `least`; at least one.

        None are where the caller has no limit of tokens. Raises QuotaExceeded and CountersUnavailable.
        """
        if self._share is None:
            raise RuntimeError("tokens are reserved before the request is paid for")
        standing = self.standing
        if standing is None or standing.limit.tokens is None:
            return Reservation(self, None, 0)
        tokens = max(1, least, min(most, standing.tokens_left or 0))
        try:
            self.standing = reserved = await self._quota.reserve(standing, tokens)
        except QuotaExceeded as exceeded:
            self.standing = self.exceeded = exceeded.standing
            self.never_fits = standing.limit.tokens is not None and tokens > standing.limit.tokens
            raise
        return Reservation(self, reserved, tokens)

    async def settle(self, taken: Standing, reserved: int, used: int) -> None:
        """Replace tokens that were reserved as of `taken` by used ones; the request may have been paid for anew since,
        in another period or under another limit.
        """
        now = self.standing
        if now is None or now.used.window != taken.used.window:
            await self._quota.settle(taken, reserved, used)
        else:
            self.standing = await self._quota.settle(now, reserved, used)


class ConcurrencyLimit:
    """Limits each caller to `most` concurrent requests, streams included; None is no limit.

    The limit holds for one process: with several workers a caller has that many places in each.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._inside: Counter[Caller] = Counter()

    @property
    def most(self) -> int | None:
        """The number of requests that each caller may have; None is no limit."""
        return self._most

    def passing(self, caller: Caller) -> AbstractContextManager[None]:
        """Hold a place for as long as the context lasts; to enter it raises TooManyAtOnce if none is left."""
        return _OPEN if self._most is None else self._counted(self._most, caller)

    @contextmanager
    def _counted(self, most: int, key: Caller) -> Iterator[None]:
        if self._inside[key] >= most:
            raise TooManyAtOnce(most)
        self._inside[key] += 1
        try:
            yield
        finally:
            self._inside[key] -= 1
            if not self._inside[key]:
                del self._inside[key]


def quota_headers(standing: Standing) -> list[tuple[bytes, bytes]]:
    """Return the headers in which OpenAI's clients read a quota; the times are durations such as `6m0s`."""
    headers = []
    for kind, most, left in (
        (b"requests", standing.limit.requests, standing.requests_left),
        (b"tokens", standing.limit.tokens, standing.tokens_left),
    ):
        if most is not None:
            headers += [
                (b"x-ratelimit-limit-" + kind, b"%d" % most),
                (b"x-ratelimit-remaining-" + kind, b"%d" % (left or 0)),
                (b"x-ratelimit-reset-" + kind, _duration(standing.resets_in)),
            ]
    return headers


def _duration(seconds: int) -> bytes:
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, seconds)
    return b"%dm%ds" % (minutes, seconds) if minutes else b"%ds" % seconds


class Admission:
    """The limits of callers; with a `quota` of None only concurrent requests are limited.

    `by` is the attribute whose values share, as in `server.fairness.caller.caller_of`. `known` are the callers of
    tokens that were verified, and `shown` is what callers have shown of themselves. `waiting` returns the number of
    requests that wait for a place.
    """

    def __init__(
        self, quota: Quota | None, concurrency: ConcurrencyLimit, addresses: ClientAddresses, by: str | None = None
    ) -> None:
        self.quota = quota
        self.concurrency = concurrency
        self.addresses = addresses
        self.known = KnownTokens()
        self.shown = ShownCallers()
        self.waiting: Callable[[], int] = int
        self._by = by

    def charge(
        self, path: str, caller: Principal | Anonymous, address: str, *, is_paid: bool = False
    ) -> RequestCharge | None:
        """Return the charge of a request to that path; None where it is free."""
        if self.quota is None or path in FREE:
            return None
        return RequestCharge(self.quota, caller, address, is_paid=is_paid)

    def caller(self, principal: Principal | Anonymous, address: str) -> Caller:
        """Return the caller whose fair shares a request uses."""
        return caller_of(principal, address, self._by)

    def passing(self, path: str, principal: Principal | Anonymous, address: str) -> AbstractContextManager[None]:
        """Hold a place for a request to that path, as `ConcurrencyLimit.passing` does; free paths have their own."""
        if self.concurrency.most is None:
            return _OPEN
        return self.concurrency.passing(at_path(path, caller_of(principal, address)))

    def passing_later(self, principal: Principal | Anonymous, address: str) -> AbstractContextManager[None]:
        """Hold a place for what the server does later for a caller, beside the caller's own requests."""
        return self.concurrency.passing((*caller_of(principal, address), _LATER_SHARE))


def unlimited() -> Admission:
    """Return an admission without a quota and without a limit of concurrent requests."""
    return Admission(None, ConcurrencyLimit(None), ClientAddresses(()))
