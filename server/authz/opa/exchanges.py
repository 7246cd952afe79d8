"""Exchanges with OPA: small and large ones apart, in turn by caller; small ones and probes feed the breaker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias, TypeVar

from server.authz.contract.errors import SILENCE, PolicyUnavailable
from server.authz.contract.question import MALFORMED
from server.authz.opa import room
from server.authz.opa.batching import QuestionBatcher
from server.authz.opa.breaker import Breaker
from server.authz.opa.transport import Entrypoint, OpaTransport
from server.fairness.shares import FairShares

T = TypeVar("T")

Encoded: TypeAlias = Callable[[], tuple[bytes, int]]
"""Returns the body of an exchange and the number of its questions. It is called when their turn comes."""


class Exchanges:
    """Carries bodies to OPA over `transport`, whose deadline holds for small exchanges and for probes.

    `answered` is told the seconds of each exchange, whatever came of it, without the time in a queue. Besides
    PolicyUnavailable, NoRoom is raised where the caller's share, or that of all callers, stays used up.
    """

    def __init__(self, transport: OpaTransport, answered: Callable[[float], None]) -> None:
        self.breaker = Breaker(time.monotonic)
        self.pace = room.Pace()
        self.small_room = FairShares(room.SMALL)
        self.large_room = FairShares(room.LARGE)
        self._gathering = QuestionBatcher(transport)
        self._large = transport.beside(connections=room.LARGE.capacity, deadline=room.LARGE_SECONDS)
        self._probes = transport.beside(connections=room.PROBE_CONNECTIONS)
        self._answered = answered

    async def small(self, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION, questions: int = 1) -> bytes:
        """Return the reply to a body of at most `SMALL_BYTES`; silence counts as a sign that OPA is dead."""
        return await self._small(partial(self._gathering.exchange, body, entrypoint), questions)

    async def pair(self, first: bytes, second: bytes) -> tuple[bytes, bytes | None]:
        """Return the replies to two questions of one request, as `small` does; None for a second one that has to be
        asked alone, and was not asked.
        """
        return await self._small(partial(self._gathering.pair, first, second), 2)

    async def _small(self, asked: Callable[[], Awaitable[T]], questions: int) -> T:
        turn = self.small_room.take_now(questions) or await self.small_room.take(questions)
        try:
            trial = self.breaker.admit()
            began = time.perf_counter()
            try:
                reply = await asked()
            except PolicyUnavailable as failure:
                self._answered(time.perf_counter() - began)
                self._heard(trial, failure)
                raise
            except BaseException:
                self.breaker.abandoned(trial)
                raise
            self._answered(time.perf_counter() - began)
            self.breaker.succeeded()
            return reply
        finally:
            turn.end()

    async def large(self, encoded: Encoded, entrypoint: Entrypoint = Entrypoint.DECISION) -> tuple[bytes, int]:
        """Return the reply to a body of any size, and the number of its questions; only this caller pays for its
        silence.

        The place of an exchange that is given up stays taken for a while. OPA ends the work for a connection that
        closes, but not before it has read the question.
        """
        turn = await self.large_room.take()
        linger = 0.0
        try:
            if self.breaker.is_open:
                await self._look(self.breaker.admit())
            body, questions = encoded()
            linger, began = room.LINGER_SECONDS, time.perf_counter()
            try:
                reply = await self._large.exchange(body, entrypoint)
            except PolicyUnavailable as failure:
                self._answered(time.perf_counter() - began)
                if failure.failure in SILENCE:
                    with suppress(PolicyUnavailable):
                        await self._look(trial=False)
                raise
            linger, seconds = 0.0, time.perf_counter() - began
        finally:
            if linger:
                asyncio.get_running_loop().call_later(linger, turn.end)
            else:
                turn.end()
        self._answered(seconds)
        self.pace.took(questions, seconds)
        return reply, questions

    async def probe(self, body: bytes) -> bytes:
        """Return the reply to a probe, which waits for no caller and passes the breaker; a reply closes it."""
        reply = await self._probes.exchange(body)
        self.breaker.succeeded()
        return reply

    async def _look(self, trial: bool) -> None:
        """Find out by a probe whether OPA answers at all; the breaker learns of it."""
        try:
            await self.probe(MALFORMED)
        except PolicyUnavailable as failure:
            self._heard(trial, failure)
            raise
        except BaseException:
            self.breaker.abandoned(trial)
            raise

    def _heard(self, trial: bool, failure: PolicyUnavailable) -> None:
        if failure.failure in SILENCE:
            self.breaker.failed(trial)
        else:
            self.breaker.succeeded()
