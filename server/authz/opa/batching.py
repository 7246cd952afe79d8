"""Questions of several requests in one exchange with OPA, which takes less than an exchange for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
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

PAIR_SECONDS: Final = 0.06
"""Seconds of the slowest of the last exchanges up to which two questions of a request go together. They share one
deadline: rules that take more than half of it for a question would have both refused."""

GATHER_SECONDS: Final = 0.001
"""Seconds for which questions gather at most, if no exchange ends before: a slow one delays none that comes after."""

MOST: Final = 8
"""Questions in one exchange: they share its deadline, so they stay few."""

LONGEST: Final = 1024
"""Bytes of a question that may share. A longer one takes OPA longer, and would make the others wait."""

_FADING: Final = 0.9
"""Part of the slowest time that is left after another exchange."""

_Waiting: TypeAlias = tuple[Sequence[bytes], asyncio.Future[Sequence[bytes] | None]]
"""The questions of a request in an exchange that another one leads: their answers, or None if they have to go alone."""


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
        self._count = 0
        self._go: asyncio.Future[None] | None = None

    async def exchange(self, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION) -> bytes:
        """Exchange as `OpaTransport.exchange` does; its promise holds for each question."""
        if entrypoint is Entrypoint.DECISION and self._gathers and self._may_share(body):
            found = await self._shared([body])
            if found is not None:
                return found[0]
        return await self._alone(body, entrypoint)

    async def pair(self, first: bytes, second: bytes) -> tuple[bytes, bytes | None]:
        """Return the replies to two questions of one request, as `exchange` returns each of them.

        None stands for the second one where it has to go alone, which it has not then. Raises as `exchange` does about
        the first.
        """
        if self._slowest > PAIR_SECONDS:
            return await self.exchange(first), None
        if self._may_share(first) and self._may_share(second):
            found = await (self._shared([first, second]) if self._gathers else self._together([first, second]))
            if found is not None:
                return found[0], found[1]
        return await self._alone(first, Entrypoint.DECISION), None

    @property
    def _gathers(self) -> bool:
        """True while so much is under way that questions wait for others."""
        return self._under_way >= (1 if self._slowest <= QUICK_SECONDS else ENOUGH)

    def _may_share(self, body: bytes) -> bool:
        return len(body) <= LONGEST and not self._opa_logs and CURRENT.get() is None

    async def _shared(self, bodies: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return the replies to questions of one request that go with those of others; None where they have to go
        alone.
        """
        if self._led is not None and self._count + len(bodies) > MOST:
            self._send_full()
        if self._led is None:
            return await self._lead(bodies)
        answers: asyncio.Future[Sequence[bytes] | None] = asyncio.get_running_loop().create_future()
        self._led.append((bodies, answers))
        self._count += len(bodies)
        if self._count == MOST:
            self._send_full()
        return await answers

    def _send_full(self) -> None:
        """Have the questions that gather go, and let no more join them."""
        self._led = None
        self._send_gathered()

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

    async def _lead(self, bodies: Sequence[bytes]) -> Sequence[bytes] | None:
        """Ask these questions and those that gather behind them; whatever happens, let them go."""
        led: list[_Waiting] = []
        loop = asyncio.get_running_loop()
        self._led, self._count, self._go = led, len(bodies), loop.create_future()
        timer = loop.call_later(GATHER_SECONDS, _wake, self._go)
        replies: list[bytes] | None = None
        try:
            await self._go
            self._close(led)
            gathered = [*bodies, *(body for followers, _ in led for body in followers)]
            if len(gathered) > 1:
                replies = await self._together(gathered)
        except PolicyUnavailable as failure:
            for _, answers in led:
                if not answers.done():
                    answers.set_exception(PolicyUnavailable(failure.failure, failure.reason))
            raise
        finally:
            timer.cancel()
            self._close(led)
            place = len(bodies)
            for followers, answers in led:
                if not answers.done():
                    answers.set_result(None if replies is None else replies[place : place + len(followers)])
                place += len(followers)
        return None if replies is None else replies[: len(bodies)]

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
