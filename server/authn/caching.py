"""Authentication by a remote service, with a bounded cache of its answers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.allowance import Allowance
from server.authn.authenticator import AuthenticationFailed, IdentityUnavailable
from server.authn.limits import (
    AHEAD_SECONDS,
    KNOWN,
    MAX_REMEMBERED,
    MAX_REMEMBERED_BYTES,
    RECHECK_RETRY_SECONDS,
    REFUSAL_SECONDS,
    UNKNOWN,
    WARNINGS,
)
from server.authn.unknown_caller import caller_in, known_caller
from server.authn.verify import MAX_TOKEN_LENGTH
from server.fairness.caller import Caller
from server.fairness.remembered import Remembered, bytes_of
from server.fairness.shares import FairShares, Share
from server.net.http_client import ServiceFailed

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Validated:
    """The caller of a token; `expires` in seconds since 1970, None where the service doesn't say."""

    principal: Principal
    expires: float | None = None


class Validator(Protocol):
    """Asks a service about one token."""

    @property
    def service(self) -> str:
        """The service's name in a sentence: "the Kubernetes API server"."""
        ...

    async def validate(self, token: str, request: Scope) -> Validated:
        """Return the service's answer; raise only `AuthenticationFailed` or `ServiceFailed`."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


@dataclass(slots=True)
class _Answer:
    """A caller that the service named: it stands before `until`, and a use from `due` on asks again; seconds of the
    clock. After `until` it says only that the token was good once.
    """

    validated: Validated
    due: float
    until: float


class CachingAuthenticator:
    """Asks a validator once for all concurrent requests with a token, and caches a valid answer for `seconds`.

    Shortly before that time is over, a use of the token asks again in the background while the last answer stands; a
    refusal ends it at once. Tokens that were accepted before are asked about apart from those that are not known, which
    wait in the queue of the address that they come from: `known` and `unknown` are the shares of the service.

    The cache holds the SHA-256 of tokens only, and valid ones never beyond their expiry. With `seconds` 0 every request
    asks. `now` is in seconds since 1970, `clock` counts seconds and never runs backwards.
    """

    def __init__(
        self,
        validator: Validator,
        seconds: float,
        *,
        known: Share = KNOWN,
        unknown: Share = UNKNOWN,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._validator = validator
        self._seconds = seconds
        self._ahead = min(AHEAD_SECONDS, seconds / 2)
        self._now = now
        self._clock = clock
        self._known, self._unknown = FairShares(known), FairShares(unknown)
        self._good: Remembered[_Answer] = Remembered(MAX_REMEMBERED, MAX_REMEMBERED_BYTES)
        self._refused: Remembered[tuple[str, float]] = Remembered(MAX_REMEMBERED)
        self._asking: dict[bytes, asyncio.Task[Validated]] = {}
        self._warnings = Allowance(WARNINGS, 1.0, clock)

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """Return the principal of `token`; raise only `AuthenticationFailed`, `IdentityUnavailable` or `NoRoom`."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationFailed(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        answer, now = self._good.get(key), self._clock()
        if answer is not None and now < answer.until and not self._is_over(answer.validated):
            if now >= answer.due and key not in self._asking:
                answer.due = now + RECHECK_RETRY_SECONDS
                self._begin(key, token, request, answer)
            return answer.validated.principal
        sentence, until = self._refused.get(key) or ("", 0.0)
        if now < until:
            raise AuthenticationFailed(sentence)
        task = self._asking.get(key) or self._begin(key, token, request, answer)
        # Shielded: a client that disconnects must not cancel the question that others wait for.
        return (await asyncio.shield(task)).principal

    async def close(self) -> None:
        """Close every connection."""
        for task in (*self._asking.values(),):
            task.cancel()
        await self._validator.close()

    def _begin(self, key: bytes, token: str, request: Scope, answer: _Answer | None) -> asyncio.Task[Validated]:
        """Begin to ask about a token; `answer` is the last good one, if there was one."""
        known = None if answer is None else known_caller(answer.validated.principal)
        task = asyncio.create_task(self._learn(key, token, request, known))
        # Without a cache each request asks on its own: the service may judge the request too.
        slot = key if self._seconds else id(task).to_bytes(8, "big")
        self._asking[slot] = task
        task.add_done_callback(lambda done: self._forget_question(slot, done))
        return task

    def _forget_question(self, slot: bytes, done: asyncio.Task[Validated]) -> None:
        del self._asking[slot]
        if not done.cancelled():
            done.exception()  # retrieved, even if every client has disconnected

    async def _learn(self, key: bytes, token: str, request: Scope, known: Caller | None) -> Validated:
        shares, caller = (self._unknown, caller_in(request)) if known is None else (self._known, known)
        try:
            async with shares.turn(caller=caller):
                validated = await self._validator.validate(token, request)
        except AuthenticationFailed as refusal:
            self._good.drop(key)
            self._refused.put(key, (str(refusal), self._clock() + REFUSAL_SECONDS), caller_in(request))
            raise
        except ServiceFailed as failure:
            self._warn(failure)
            raise IdentityUnavailable(f"{self._validator.service} can't be asked about the token now") from None
        if self._is_over(validated):
            self._good.drop(key)
            raise AuthenticationFailed("the token has expired")
        until = self._clock() + self._seconds
        principal, answered = validated.principal, _Answer(validated, until - self._ahead, until)
        self._good.put(key, answered, known_caller(principal), bytes_of(principal))
        return validated

    def _warn(self, failure: ServiceFailed) -> None:
        """Log a failure, but not one for each token: any client could fill the log with them."""
        if not self._warnings.wait():
            self._warnings.use()
            _log.warning("%s could not be asked about a token: %s", self._validator.service, failure)

    def _is_over(self, validated: Validated) -> bool:
        return validated.expires is not None and validated.expires <= self._now()
