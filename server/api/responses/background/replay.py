"""Streams of the stored events of responses, from any event on, while a response is answered and after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from server.api.responses.background.readers import Readers
from server.fairness.places import leave_place
from server.http.errors import ApiError
from server.http.event_stream import EventStream
from server.http.open_streams import OpenStreams
from server.inference.provider import ChatRequest, ChatStream, Pieces

_NOTHING: Final = ChatRequest("", b"")
_BROKEN_OFF: Final = b": this stream ends here; go on with `starting_after`\n\n"


class Replays:
    """Makes streams of stored events; they are some of `streams`."""

    def __init__(self, readers: Readers, streams: OpenStreams) -> None:
        self._readers = readers
        self._streams = streams

    def of(self, identity: str, after: int) -> EventStream:
        """Return the stream of the events of a response behind that number.

        A stream that breaks off has no last event: the response goes on, and so can its reader.
        """
        leave_place()  # it may last as long as the response
        return EventStream(_Replay(self._readers, identity, after), _NOTHING, self._streams, _broken_off)


class _Replay:
    """One reading, as if a model answered with it."""

    def __init__(self, readers: Readers, identity: str, after: int) -> None:
        self._readers = readers
        self._identity = identity
        self._after = after

    async def complete(self, request: ChatRequest) -> Pieces:
        """Raise RuntimeError, since a reading is a stream."""
        raise RuntimeError("stored events are read as a stream")

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the events."""
        return _Events(self._readers.events(self._identity, self._after))


class _Events:
    """The events of one reading."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self._events = events

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the events."""
        return self._events

    async def aclose(self) -> None:
        """End the reading."""
        await self._events.aclose()


async def _broken_off(_error: ApiError) -> bytes:
    return _BROKEN_OFF
