"""One kept-alive HTTP/1.1 connection to OPA: one question at a time, one answer to each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from server.authz.contract.errors import Failure, PolicyUnavailable

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of one answer, its head included; a decision takes some 300."""


class ClosedUnanswered(PolicyUnavailable):
    """The connection closed before any byte of the answer: OPA can't have judged a question that it didn't read."""


class Connection(asyncio.Protocol):
    """An `asyncio.Protocol` over `httptools`; anything but one well-framed 200 for a question breaks it for good.

    `on_lost` is called once, when the connection is closed for whatever reason.
    """

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self.answered = 0
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[bytes] | None = None
        self._body: list[bytes] = []
        self._received = 0
        self._complete = False
        self._keep = False

    @property
    def usable(self) -> bool:
        """True if a question may be sent now."""
        return self._transport is not None and self._waiter is None

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        """Write one whole request; the future yields the answer's body or raises PolicyUnavailable.

        A caller that stops waiting must `close` the connection, or the next question would get this one's answer.
        """
        assert self._transport is not None and self._waiter is None  # noqa: S101 - the pool hands out usable ones only
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        self._body, self._received, self._complete = [], 0, False
        self._transport.write(request)
        return waiter

    def expire(self) -> None:
        """Give up on the answer, since the deadline has passed."""
        self._fail(PolicyUnavailable(Failure.DEADLINE, "opa did not answer in time"))

    def close(self) -> None:
        """Close at once; a question under way fails, and for good. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(PolicyUnavailable(Failure.CLOSED, "the server closed its connection to opa"))
        self._on_lost(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by asyncio)."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending question (called by asyncio); it may be retried if no byte of an answer came."""
        if self._received:
            self._fail(PolicyUnavailable(Failure.CLOSED, "opa closed the connection within its answer"))
        else:
            self._fail(ClosedUnanswered(Failure.CLOSED, "opa closed the connection without an answer"))

    def data_received(self, data: bytes) -> None:
        """Parse the answer to the pending question (called by asyncio); close the connection after anything else."""
        self._received += len(data)
        waiter = self._waiter
        if waiter is None:
            self._fail(PolicyUnavailable(Failure.MALFORMED, "opa sent bytes without a question"))
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(PolicyUnavailable(Failure.MALFORMED, "opa did not answer in HTTP"))
            return
        if self._received > MAX_ANSWER:
            self._fail(PolicyUnavailable(Failure.TOO_LARGE, f"opa's answer is over {MAX_ANSWER} bytes"))
        elif self._complete:
            self._finish(waiter)

    def on_message_begin(self) -> None:
        """Refuse a second message in the bytes of one answer, which must not wait for the next question."""
        if self._complete:
            raise ValueError("two answers to one question")

    def on_body(self, body: bytes) -> None:
        """Add a part of the answer's body (called by the parser)."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Note the end of the answer (called by the parser)."""
        self._complete = True
        self._keep = self._parser.should_keep_alive()  # the parser forgets it after this call

    def _finish(self, waiter: asyncio.Future[bytes]) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self._fail(PolicyUnavailable(Failure.STATUS, f"opa answered with status {status}"))
            return
        self._waiter = None
        self.answered += 1
        if not waiter.done():
            waiter.set_result(b"".join(self._body))
        if not self._keep:
            self.close()

    def _fail(self, failure: PolicyUnavailable) -> None:
        """Nothing on this connection can be believed any more."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(failure)
        self.close()
