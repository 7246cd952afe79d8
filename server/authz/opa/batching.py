"""Questions of several requests in one exchange with OPA, which takes less than an exchange for each."""

from __future__ import annotations

import asyncio
import time
from typing import Final, TypeAlias

from server.authz.contract.answer import apart, of_logging_opa
from server.authz.contract.errors import SILENCE, PolicyUnavailable
from server.authz.contract.question import together
from server.authz.opa.transport import Entrypoint, OpaTransport
from server.net.trace_context import CURRENT

ENOUGH: Final = 4
"""Exchanges under way from which on questions gather, however long OPA takes: it has fewer answered sooner side by
side."""

QUICK_SECONDS: Final = 0.005
"""Seconds of the slowest of the last exchanges up to which one under way is enough: the rest of it is hardly waited
for."""

GATHER_SECONDS: Final = 0.001
"""Seconds for which questions gather at most, if no exchange ends before: a slow one delays none that comes after."""

MOST: Final = 8
"""Questions in one exchange: they share its deadline, so they stay few."""

LONGEST: Final = 1024
"""Bytes of a question that may share. A longer one takes OPA longer, and would make the others wait."""

_FADING: Final = 0.9
"""Part of the slowest time that is left after another exchange."""

_Waiting: TypeAlias = tuple[bytes, asyncio.Future[bytes | None]]
"""A question in an exchange that another one leads: its answer, or None if it has to go alone."""


class QuestionBatcher:
    """Asks through `transport`; questions that come while others are under way go together.

    They wait for the end of an exchange, or for `GATHER_SECONDS`. OPA judges each alone (`answers` in the bundle), and
    nothing is kept from one exchange to the next. A question goes alone where it is traced (OPA continues the trace),
    where OPA logs (it has one id for an exchange), and once more where the exchange failed in a way that another
    question may be to blame for.
    """

    def __init__(self, transport: OpaTransport) -> None:
        self._transport = transport
        self._under_way = 0
        self._slowest = 0.0
        self._opa_logs = False
        self._led: list[_Waiting] | None = None
        self._go: asyncio.Future[None] | None = None

    async def exchange(self, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION) -> bytes:
        """Exchange as `OpaTransport.exchange` does; its promise holds for each question."""
        if not self._may_share(body, entrypoint):
            return await self._alone(body, entrypoint)
        if self._led is None:
            return await self._lead(body)
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._led.append((body, answer))
        if len(self._led) == MOST - 1:
            self._led = None
            self._send_gathered()
        found = await answer
        return await self._alone(body, entrypoint) if found is None else found

    def _may_share(self, body: bytes, entrypoint: Entrypoint) -> bool:
        return (
            self._under_way >= (1 if self._slowest <= QUICK_SECONDS else ENOUGH)
            and entrypoint is Entrypoint.DECISION
            and len(body) <= LONGEST
            and not self._opa_logs
            and CURRENT.get() is None
        )

    async def _alone(self, body: bytes, entrypoint: Entrypoint) -> bytes:
        self._under_way += 1
        began = time.perf_counter()
        try:
            reply = await self._transport.exchange(body, entrypoint)
        finally:
            self._under_way -= 1
            self._slowest = max(time.perf_counter() - began, self._slowest * _FADING)
            self._send_gathered()
        self._opa_logs = of_logging_opa(reply)
        return reply

    async def _lead(self, body: bytes) -> bytes:
        """Ask this question and those that gather behind it; whatever happens, let them go."""
        led: list[_Waiting] = []
        loop = asyncio.get_running_loop()
        self._led, self._go = led, loop.create_future()
        timer = loop.call_later(GATHER_SECONDS, _wake, self._go)
        replies: list[bytes] | None = None
        try:
            await self._go
            self._close(led)
            if led:
                replies = await self._together([body, *(follower for follower, _ in led)])
        except PolicyUnavailable as failure:
            for _, answer in led:
                if not answer.done():
                    answer.set_exception(PolicyUnavailable(failure.failure, failure.reason))
            raise
        finally:
            timer.cancel()
            self._close(led)
            for place, (_, answer) in enumerate(led, start=1):
                if not answer.done():
                    answer.set_result(None if replies is None else replies[place])
        return await self._alone(body, Entrypoint.DECISION) if replies is None else replies[0]

    def _send_gathered(self) -> None:
        """Have the questions that gather go with the end of this turn of the loop."""
        if self._go is not None:
            _wake(self._go)

    def _close(self, led: list[_Waiting]) -> None:
        if self._led is led:
            self._led = None

    async def _together(self, bodies: list[bytes]) -> list[bytes] | None:
        """Return a reply for each, or None where one of them, or an odd answer, spoilt it for the others."""
        try:
            reply = await self._alone(together(bodies), Entrypoint.DECISIONS)
        except PolicyUnavailable as failure:
            if failure.failure in SILENCE:
                raise
            return None
        return apart(reply, len(bodies))


def _wake(go: asyncio.Future[None]) -> None:
    if not go.done():
        go.set_result(None)
