"""Streams of providers on their way to the caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Final

import aiohttp

from server.fairness.threads import in_thread
from server.inference.answers.event_relay import EventRelay
from server.inference.provider import Kind, ProviderFailed
from server.inference.providers.connections import cut
from server.inference.providers.refusals import broken, refusal_in_answer
from server.inference.providers.response_body import BrokenCoding, ResponseBody

FIRST_EVENT_SECONDS: Final = 2.0
"""Limit of the time in which a caller waits for the head of its answer once the provider has sent its own.

A refusal that comes within it becomes a status.
"""

_DRAIN_SECONDS: Final = 0.5


class RelayedStream:
    """A stream whose provider has accepted the request; it ends at `until`, by the loop's clock."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        body: ResponseBody,
        relay: EventRelay,
        provider_id: str,
        until: float,
    ) -> None:
        self._response = response
        self._body = body
        self._relay = relay
        self._provider_id = provider_id
        self._until = until
        self._is_late = False
        self._timer: asyncio.TimerHandle | None = None
        self._ready: deque[bytes] = deque()
        self._failure: ProviderFailed | None = None
        self._is_ended = False

    async def begin(self, first: bytes = b"") -> None:
        """Wait for the first event, behind the bytes `first`, but not for long.

        Raises the refusal that it tells, and the failure of a stream that breaks off before it.
        """
        if first:
            self._relay.take(first)
            await self._pass_on()
        loop = asyncio.get_running_loop()
        latest = loop.time() + FIRST_EVENT_SECONDS
        while not (self._relay.begun or self._is_ended or self._failure is not None):
            waiting: asyncio.Timeout | None = None
            try:
                # Most often the first event has come with the head, and needs no clock.
                data = self._body.read_now()
                if not data:
                    async with asyncio.timeout_at(latest) as waiting:
                        data = await self._body.read()
            except (aiohttp.ClientError, TimeoutError, OSError, BrokenCoding) as fault:
                if waiting is not None and waiting.expired():
                    return
                raise gone(self._provider_id, fault) from None
            if data:
                self._relay.take(data)
                await self._pass_on()
            else:
                self._end()
        if self._failure is not None and not self._relay.begun:
            raise self._failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # One clock for the whole stream: a timeout of each read costs more than the read.
        self._timer = asyncio.get_running_loop().call_at(self._until, self._cut_late)
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._failure is not None:
                raise self._failure
            if self._is_ended:
                return
            if self._relay.has_more:
                await asyncio.sleep(0)  # let other tasks run
                await self._pass_on(steps=1)
                continue
            try:
                data = await self._body.read()
            except (aiohttp.ClientError, TimeoutError, OSError, BrokenCoding) as fault:
                raise self._late() if self._is_late else gone(self._provider_id, fault) from None
            if self._is_late:
                raise self._late()
            if data:
                self._relay.take(data)
                await self._pass_on(steps=1)
            else:
                self._end()

    async def aclose(self) -> None:
        """Close the connection, unless the answer is read to its end, or comes to it within a moment."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            if self._relay.done:
                await self._read_end()
        finally:
            cut(self._response)

    def _cut_late(self) -> None:
        """End the stream at its limit; a read that is under way fails then."""
        self._is_late = True
        cut(self._response)

    def _late(self) -> ProviderFailed:
        return broken(self._provider_id, "did not end its answer in time", kind=Kind.SILENT)

    def _end(self) -> None:
        """Note that the provider sends no more."""
        last = self._relay.finish()
        if last:
            self._ready.append(last)
            self._is_ended = True
        else:
            self._fail("ended its answer in the middle")

    async def _pass_on(self, steps: int | None = None) -> None:
        """Make pieces of the events that are there: of a few, where `steps` says so, or up to the first event."""
        relay = self._relay
        more = True
        while more:
            piece = await in_thread(relay.pass_on) if relay.is_heavy else relay.pass_on()
            if piece:
                self._ready.append(piece)
            if relay.done:
                self._is_ended = True
                return
            if relay.broken:
                self._fail("sent something other than a chat completion")
                return
            more = steps is None and relay.has_more and not relay.begun

    def _fail(self, did: str) -> None:
        told = self._relay.told
        self._failure = (
            broken(self._provider_id, did)
            if told is None
            else refusal_in_answer(self._provider_id, told, begun=self._relay.begun)
        )

    async def _read_end(self) -> None:
        """Read the end of the body, so that the connection can be used again."""
        content = self._response.content
        if content.at_eof():
            return
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await content.readany():
                    pass


class WholeStream:
    """A stream that is known from its beginning to its end."""

    def __init__(self, events: Iterable[bytes]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            yield event

    async def aclose(self) -> None:
        """Do nothing; the provider has done its work."""


def gone(provider_id: str, fault: Exception) -> ProviderFailed:
    """Return the failure for a broken or silent connection."""
    if isinstance(fault, TimeoutError):
        spent = not isinstance(fault, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        return broken(provider_id, "did not answer in time", kind=Kind.SILENT, spent=spent)
    if isinstance(fault, BrokenCoding):
        return broken(provider_id, "sent an answer that can't be unpacked")
    spent = not isinstance(fault, aiohttp.ClientConnectorError)
    return broken(provider_id, "could not be reached", kind=Kind.UNREACHABLE, spent=spent)
