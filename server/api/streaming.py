"""Server-sent events to the client: every decision is made before the first byte, every stream ends properly."""

from __future__ import annotations

import logging
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.api.disconnects import WhileConnected
from server.api.errors import ApiError, internal
from server.api.failures import provider_error
from server.inference.provider import ChatStream, ProviderFailed
from server.requests import call_of

_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

_log: Final = logging.getLogger("ostiary.api")


class EventStream(Response):
    """Relays a provider's events as they come.

    The head goes out at once. If the provider breaks off, an `error` event is the last one; if the client goes, the
    provider's work is ended. A client that does not read holds up its own stream alone: no more than a send buffer and
    one piece are kept for it, and `DoorProtocol` cuts it off in the end.
    """

    media_type = "text/event-stream"

    def __init__(self, events: ChatStream) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events to their end."""
        try:
            async with WhileConnected(receive):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._relay(scope, send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._events.aclose()

    async def _relay(self, scope: Scope, send: Send) -> None:
        try:
            async for piece in self._events:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ProviderFailed as failure:
            await _send_error(send, provider_error(failure))
        except Exception:  # noqa: BLE001 - a status is too late, so any fault is told in the stream
            request_id = call_of(scope).request_id
            _log.exception("%s: the stream failed", request_id)
            await _send_error(send, internal(request_id))


async def _send_error(send: Send, error: ApiError) -> None:
    await send({"type": "http.response.body", "body": b"data: %b\n\n" % error.body, "more_body": True})
