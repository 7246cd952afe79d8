"""Chat models whose answers are messages: whole ones, and streams of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Final

from server.api.messages.body import MessageBody
from server.api.messages.course import Course
from server.api.messages.terms import in_our_terms
from server.api.responses.chunks import read_beside, read_events, read_whole
from server.api.responses.happenings import Happening
from server.fairness.threads import in_thread
from server.http.error_shapes import anthropic_body
from server.http.errors import ApiError
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import NotAnAnswer, encoded
from server.inference.provider import ChatModel, ChatRequest, ChatStream, Fault, Kind, Pieces, ProviderFailed
from server.json_input.strict import Json

_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_BROKEN: Final = "the model has called a tool with arguments that are no JSON object"


class MessagingChat:
    """Answers one request by `model` as a message; `named` returns the canonical name of the model that answers."""

    def __init__(self, model: ChatModel, body: MessageBody, named: Callable[[], str], request_id: str) -> None:
        self._model = model
        self._stops = frozenset(body.stops)
        self._shows_thoughts = body.shows_thoughts
        self._named = named
        self._request_id = request_id

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole message; raises ProviderFailed, and NoRoom."""
        with _our_terms():
            pieces = await self._model.complete(request)
        happenings = await read_beside(read_whole, b"".join(pieces))
        is_large = sum(map(len, pieces)) > QUICK
        try:
            return [await in_thread(self._whole, happenings) if is_large else self._whole(happenings)]
        except NotAnAnswer:
            raise _broken() from None

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the events of the message; raises ProviderFailed if the model does not accept the request."""
        with _our_terms():
            return _MessageStream(await self._model.stream(request), self._course())

    async def told(self, error: ApiError) -> bytes:
        """Return the last event of a stream that breaks off."""
        return b"event: error\ndata: %b\n\n" % anthropic_body(error, self._request_id)

    def _whole(self, happenings: Iterable[Happening]) -> bytes:
        return encoded(self._course().whole(happenings))

    def _course(self) -> Course:
        return Course(f"msg_{token_hex(12)}", self._named(), self._stops, shows_thoughts=self._shows_thoughts)


class _MessageStream:
    """The events of one message, which come with the chunks of a chat; the last piece ends with `MESSAGE_STOP`."""

    def __init__(self, chunks: ChatStream, course: Course) -> None:
        self._chunks = chunks
        self._course = course

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield _texts(self._course.begin())
        try:
            async for piece in self._chunks:
                if piece.startswith(b":"):
                    # Events may follow in the same piece.
                    yield _PING
                happenings = await read_beside(read_events, piece)
                told = _texts(event for happening in happenings for event in self._course.step(happening))
                if told:
                    yield told
            yield _texts(self._course.end())
        except NotAnAnswer:
            raise _broken() from None

    async def aclose(self) -> None:
        """End the provider's work."""
        await self._chunks.aclose()


def _texts(events: Iterable[Json]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encoded(event)) for event in events)


MESSAGE_STOP: Final = _texts([{"type": "message_stop"}])
"""The last event of a stream."""


@contextmanager
def _our_terms() -> Iterator[None]:
    """Have a failure of the provider speak of the message, whose chat is not known to the caller."""
    try:
        yield
    except ProviderFailed as failure:
        failure.message = in_our_terms(failure.message, failure.param)
        raise


def _broken() -> ProviderFailed:
    return ProviderFailed(Fault.PROVIDER, _BROKEN, kind=Kind.BROKEN, spent=True)
