"""Request ids, and the headers that every response carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.error_shapes import is_anthropics
from server.http.request_state import _KEY, RequestState, new_request_id
from server.quota.admission import quota_headers

_CLIENT_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


_ALWAYS: Final = (
    (b"openai-version", b"2020-10-01"),
    # Answers hold what one caller may see, and are data: no cache keeps them, no browser runs or guesses at them.
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


_NOT_KEPT: Final = (b"cache-control", b"no-store")


_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")


class RequestIds:
    """Gives every request an id, and every response the headers that clients read.

    `x-request-id` is always ours, so that an id on a support ticket names one request. What the client sent as its own
    `X-Request-Id` comes back as `x-client-request-id`, if it is short and plain.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `RequestState` in its scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = scope[_KEY] = RequestState(new_request_id(), perf_counter(), send)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                message["headers"] = [*message["headers"], *_headers(call, scope, message["headers"])]
            await send(message)

        await self.app(scope, receive, send_named)
        # What is said of a request holds ways to receive and to send, and these hold it: a collection would have to
        # come before its memory is free.
        del scope[_KEY]
        call.send_piece, call.turn = send, None


def _headers(call: RequestState, scope: Scope, own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has beside its `own`."""
    milliseconds = int((perf_counter() - call.started) * 1000)
    headers = [
        (b"x-request-id", call.request_id.encode()),
        (b"openai-processing-ms", str(milliseconds).encode()),
        *_ALWAYS,
    ]
    if is_anthropics(scope):
        headers.append((b"request-id", call.request_id.encode()))
    for name, _ in own:
        if name == b"cache-control":
            break
    else:
        headers.append(_NOT_KEPT)
    if scope["scheme"] == "https":
        headers.append(_HTTPS_ONLY)
    if call.gate is not None and call.gate.charge is not None and call.gate.charge.standing is not None:
        headers += quota_headers(call.gate.charge.standing)
    sent = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(sent) == 1 and _CLIENT_ID.fullmatch(sent[0]):
        headers.append((b"x-client-request-id", sent[0]))
    return headers
