"""Server-sent events to the client: every decision is made before the first byte, every stream ends properly."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.background.faults import log_fault
from server.fairness.shares import NoRoom
from server.http.disconnects import WhileConnected
from server.http.error_table import error_of
from server.http.errors import ApiError, internal, provider_error
from server.http.open_streams import OpenStreams, StreamEnded
from server.http.request_state import state_of
from server.http.responses import send_piece
from server.inference.provider import DONE, ChatModel, ChatRequest, ChatStream, ProviderFailed

_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

_ENDED: Final = ApiError(
    503, "the server is shutting down and has ended this stream; send the request again", code="server_ending"
)

_log: Final = logging.getLogger("ostiary.api")

Ending: TypeAlias = Callable[[ApiError], Awaitable[bytes]]
"""Returns the last events of a stream that an error has ended."""


class EventStream(Response):
    """Asks a chat model for a stream, and relays its events as they come.

    What the provider refuses is an ApiError, since no byte is sent before it accepts; then the head goes out at once.
    Where nothing goes wrong, `last` is the last event. If the provider breaks off, or the server stops, an `error`
    event is, or what `ending` makes of the error; if the client goes, the provider's work is ended. A client that does
    not read holds up its own stream alone: no more than a send buffer and one piece are kept for it, its provider has
    to wait, and `HttpProtocol` cuts it off in the end.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        model: ChatModel,
        chat: ChatRequest,
        streams: OpenStreams,
        ending: Ending | None = None,
        last: bytes = DONE,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._model = model
        self._chat: ChatRequest | None = chat
        self._streams = streams
        self._ending = ending
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events to their end; raises ApiError if there are none."""
        events: ChatStream | None = None
        try:
            async with WhileConnected(receive):
                events = await self._accepted()
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                call = state_of(scope)
                send = call.send_piece
                error = await self._relay(events, send, call.request_id)
                if error is not None:
                    await events.aclose()
                    last = b"data: %b\n\n" % error.body if self._ending is None else await self._ending(error)
                    await send_piece(send, last, more=False)
        finally:
            # After the last byte, since the provider may take its time to end.
            if events is not None:
                await events.aclose()

    async def _accepted(self) -> ChatStream:
        # A stream may last for hours; the request, which may be large, is not kept for it.
        chat, self._chat = self._chat, None
        if chat is None:
            raise RuntimeError("a stream is sent once")
        try:
            return await self._model.stream(chat)
        except ProviderFailed as failure:
            raise provider_error(failure) from None

    async def _relay(self, events: ChatStream, send: Send, request_id: str) -> ApiError | None:
        """Send everything up to the end, or return why there is no end."""
        pieces = aiter(events)
        try:
            with self._streams.one_more() as stream:
                while True:
                    with stream:
                        piece = await anext(pieces)
                    more = not piece.endswith(self._last)
                    await send_piece(send, piece, more=more)
                    if not more:
                        await anext(pieces, None)
                        return None
        except ProviderFailed as failure:
            return provider_error(failure)
        except StreamEnded:
            return _ENDED
        except NoRoom as full:
            return error_of(full, request_id)
        except Exception as fault:  # noqa: BLE001 - a status is too late, so any fault is told in the stream
            log_fault(_log, f"{request_id}: the stream failed", fault)
            return internal(request_id)
