"""Answers to HTTP/1.0, which knows no chunks: a body of unknown length ends where the connection closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CloseDelimited:
    """The application as a client of HTTP/1.0 needs it: never chunked (RFC 9112, section 6.1), and asked to send a
    body without a `100 Continue` before it (RFC 9110, section 10.1.1).

    uvicorn closes the connection after each answer to such a client. `cycle` is its state of this request.
    """

    def __init__(self, app: ASGI3Application, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._endless = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        cycle = self._cycle
        cycle.waiting_for_100_continue = False

        async def send_unchunked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._endless = all(name.lower() != b"content-length" for name, _ in message["headers"])
                if self._endless:
                    cycle.chunked_encoding = False
            elif self._endless:
                # uvicorn compares each piece with what is left of the announced length.
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_unchunked)  # type: ignore[arg-type]  # as uvicorn calls it
