"""What the door knows of one request, from its first byte to its last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import urandom
from time import perf_counter
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.quota.admission import quota_headers

if TYPE_CHECKING:
    from server.http.route_guard import Gate

_KEY: Final = "ostiary.call"
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


@dataclass(slots=True)
class Call:
    """One request: its id, when it began (seconds of `perf_counter`), and its way to the policy once there is one.

    `status` is that of the answer, or 0 until that has begun. `send_piece` takes the pieces of a body past the guards,
    which look at nothing but its head: for a stream, being handed from guard to guard would cost more than being sent.
    `caller` tells callers apart: the issuer and the id of a principal, or nothing and an address.
    """

    request_id: str
    started: float
    send_piece: Send
    gate: Gate | None = None
    status: int = 0
    caller: tuple[str, str] = ("", "")


def call_of(scope: Scope) -> Call:
    """The call that a scope belongs to; every scope behind `RequestIds` has one."""
    call: Call = scope[_KEY]
    return call


def gate_of(scope: Scope) -> Gate:
    """The way to the policy of a request that has passed `RouteGuard`."""
    gate = call_of(scope).gate
    if gate is None:
        raise RuntimeError("a handler ran in front of the route guard")
    return gate


def new_request_id() -> str:
    """An id that no other request has, and that nobody can guess."""
    return f"req_{urandom(16).hex()}"


class RequestIds:
    """Gives every request an id, and every response the headers that clients read.

    `x-request-id` is always ours, so that an id on a support ticket names one request. What the client sent as its own
    `X-Request-Id` comes back as `x-client-request-id`, if it is short and plain.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `Call` in its scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = scope[_KEY] = Call(new_request_id(), perf_counter(), send)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                message["headers"] = [*message["headers"], *_headers(call, scope, message["headers"])]
            await send(message)

        await self.app(scope, receive, send_named)


def _headers(call: Call, scope: Scope, own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What every answer carries beside its `own` headers."""
    milliseconds = int((perf_counter() - call.started) * 1000)
    headers = [
        (b"x-request-id", call.request_id.encode()),
        (b"openai-processing-ms", str(milliseconds).encode()),
        *_ALWAYS,
    ]
    if not any(name == b"cache-control" for name, _ in own):
        headers.append(_NOT_KEPT)
    if scope["scheme"] == "https":
        headers.append(_HTTPS_ONLY)
    if call.gate is not None and call.gate.toll is not None and call.gate.toll.standing is not None:
        headers += quota_headers(call.gate.toll.standing)
    sent = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(sent) == 1 and _CLIENT_ID.fullmatch(sent[0]):
        headers.append((b"x-client-request-id", sent[0]))
    return headers
