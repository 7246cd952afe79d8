"""Authentication by a remote service, with a bounded cache of its answers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.authenticator import AuthenticationFailed, IdentityUnavailable
from server.authn.verify import MAX_TOKEN_LENGTH
from server.net.http_client import MAX_CONNECTIONS, ServiceFailed

MAX_REMEMBERED: Final = 10_000
"""Most cached tokens of each kind, valid and refused: a flood of forged ones does not evict the valid ones."""

REFUSAL_SECONDS: Final = 5.0
"""Seconds for which a refused token is refused again without a request to the service."""

MAX_WAITING: Final = 16 * MAX_CONNECTIONS
"""Most tokens that may wait for an answer at one time."""

_Answer = TypeVar("_Answer")

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


class CachingAuthenticator:
    """Asks a validator once for all concurrent requests with a token, and caches a valid answer for `seconds`.

    The cache holds the SHA-256 of tokens only, and valid ones never beyond their expiry. With `seconds` 0 every request
    asks. `now` is in seconds since 1970, `clock` counts seconds and never runs backwards.
    """

    def __init__(
        self,
        validator: Validator,
        seconds: float,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._validator = validator
        self._seconds = seconds
        self._now = now
        self._clock = clock
        self._good: OrderedDict[bytes, tuple[Validated, float]] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Validated]] = {}

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """Return the principal of `token`; raise only `AuthenticationFailed` or `IdentityUnavailable`."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationFailed(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._remembered(key)
        if known is not None:
            return known.principal
        return (await self._ask(key, token, request)).principal

    async def close(self) -> None:
        """Close every connection."""
        await self._validator.close()

    def _remembered(self, key: bytes) -> Validated | None:
        now = self._clock()
        vouched, until = self._good.get(key, (None, 0.0))
        if vouched is not None and now < until and not self._is_over(vouched):
            return vouched
        sentence, until = self._refused.get(key, ("", 0.0))
        if now < until:
            raise AuthenticationFailed(sentence)
        return None

    async def _ask(self, key: bytes, token: str, request: Scope) -> Validated:
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= MAX_WAITING:
                raise IdentityUnavailable(f"too many tokens wait for an answer of {self._validator.service}")
            task = asyncio.create_task(self._learn(key, token, request))
            # Without a cache each request asks on its own: the service may judge the request too.
            slot = key if self._seconds else id(task).to_bytes(8, "big")
            self._asking[slot] = task
            task.add_done_callback(lambda done: self._forget_question(slot, done))
        # Shielded: a client that disconnects must not cancel the question that others wait for.
        return await asyncio.shield(task)

    def _forget_question(self, slot: bytes, done: asyncio.Task[Validated]) -> None:
        del self._asking[slot]
        if not done.cancelled():
            done.exception()  # retrieved, even if every client has disconnected

    async def _learn(self, key: bytes, token: str, request: Scope) -> Validated:
        try:
            vouched = await self._validator.validate(token, request)
        except AuthenticationFailed as refusal:
            _remember(self._refused, key, (str(refusal), self._clock() + REFUSAL_SECONDS))
            raise
        except ServiceFailed as failure:
            _log.warning("%s could not be asked about a token: %s", self._validator.service, failure)
            raise IdentityUnavailable(f"{self._validator.service} can't be asked about the token now") from None
        if self._is_over(vouched):
            raise AuthenticationFailed("the token has expired")
        if self._seconds:
            _remember(self._good, key, (vouched, self._clock() + self._seconds))
        return vouched

    def _is_over(self, vouched: Validated) -> bool:
        return vouched.expires is not None and vouched.expires <= self._now()


def _remember(memory: OrderedDict[bytes, _Answer], key: bytes, answer: _Answer) -> None:
    memory[key] = answer
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
