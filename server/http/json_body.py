"""Reading of JSON bodies: limits of size and time, and the media type; `server.json_input` parses them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from json import loads
from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from server.fairness.caller import CURRENT
from server.fairness.places import without_place
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, ClientGone, invalid
from server.http.request_state import state_of
from server.json_input.body_parser import BodyCheck, BodyParser, Value
from server.json_input.reader import LARGE, Reader
from server.json_input.strict import Document, InvalidJson, Json, Why
from server.storage.records.body import SMALL

MAX_BODY: Final = 10 * 1024 * 1024
"""Bytes of a JSON body."""

BODY_SECONDS: Final = 60.0
"""Limit of the time in which a client sends a body."""

_JSON_TYPE: Final = re.compile(r"application/json(\s*;\s*charset=\"?utf-?8\"?)?\s*", re.IGNORECASE)
_CLOSE: Final = {"Connection": "close"}
_SOON: Final = {"Retry-After": "1", "x-should-retry": "true"}


async def read_body(
    request: Request, reader: Reader, parser: BodyParser[Value], *, optional: bool = False
) -> tuple[bytes, Value]:
    """Return the request's body, which must be one JSON object, and the value that `parser` makes of it.

    An empty body of no type is an empty object where the body is `optional`. Raises the ApiError that says what else
    it is, and ClientGone.
    """
    untyped = optional and not request.headers.get("content-type")
    _check_headers(request, untyped=untyped)
    try:
        with reader.room.share(CURRENT.get()) as hold:
            turn = state_of(request.scope).turn
            first = await _part(request.receive) if turn is not None and turn.has_next else None
            if first is None or first[1] or len(first[0]) >= LARGE:
                return await _read_slowly(request, reader, parser, hold, first, untyped=untyped)
            # Most bodies come with their head: what is there needs no clock.
            raw = _empty(first[0]) if untyped else first[0]
            return raw, parser.value(await reader.look(raw, parser.check))
    except InvalidJson as refusal:
        raise refused(refusal) from None


async def look_again(reader: Reader, stored: bytes, look: BodyCheck) -> Json:
    """Return what `look` returns of a text that was stored: a small one is parsed here, a large one beside the server.

    Raises the 503 of a server that is busy reading, and NoRoom.
    """
    if len(stored) < SMALL:
        await asyncio.sleep(0)  # a page may hold many small ones
        return look(Document(loads(stored), stored))
    try:
        return await reader.look(stored, look, beside=True)
    except InvalidJson as refusal:
        raise refused(refusal) from None


def _check_headers(request: Request, *, untyped: bool) -> None:
    headers = request.headers
    length = int(headers.get("content-length", "0"))
    if (length or not untyped) and not _JSON_TYPE.fullmatch(headers.get("content-type", "")):
        raise _not_json()
    if headers.get("content-encoding", "identity") != "identity":
        raise ApiError(415, "send the body without `Content-Encoding`; compressed ones are not read")
    if length > MAX_BODY:
        raise _too_large()


def _empty(raw: bytes) -> bytes:
    """Return an empty object in the place of an empty body; raises the 415 for any other."""
    if raw:
        raise _not_json()
    return b"{}"


def _not_json() -> ApiError:
    return ApiError(415, "send the body as `Content-Type: application/json`, in UTF-8")


async def _read_slowly(
    request: Request,
    reader: Reader,
    parser: BodyParser[Value],
    hold: Callable[[int], None],
    first: tuple[bytes, bool] | None,
    *,
    untyped: bool,
) -> tuple[bytes, Value]:
    """Return what `read_body` returns, for a body that is large or still coming, of which the first part may be there.

    The place of the request is given up until there is work to do: a request that waited for it with each part would
    hold that part long after its client has left, since a connection whose part waits is not read.
    """
    members: Json | None = None
    async with AsyncExitStack() as away:
        await away.enter_async_context(without_place())
        raw = await _read(request.receive, hold, first)
        if untyped:
            raw = _empty(raw)
        async with WhileConnected(request.receive):
            if len(raw) >= LARGE:
                members = await reader.look(raw, parser.check)
            await away.aclose()
    if members is None:
        members = await reader.look(raw, parser.check)
    return raw, parser.value(members)


async def _read(receive: Receive, hold: Callable[[int], None], first: tuple[bytes, bool] | None) -> bytes:
    """Return the body; `hold` is called with the bytes of a large one, and raises NoRoom."""
    parts, size, held, more = [], 0, 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                part, more = first or await _part(receive)
                first = None
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    raise _too_large()
                if size >= LARGE:
                    hold(size - held)
                    held = size
    except TimeoutError:
        raise ApiError(408, f"the body was not sent within {BODY_SECONDS:.0f} seconds", headers=_CLOSE) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


def _too_large() -> ApiError:
    return ApiError(413, f"the body is larger than {MAX_BODY} bytes")


def refused(refusal: InvalidJson) -> ApiError:
    """Return the error of the API for a body that is refused."""
    match refusal.why:
        case Why.WRONG:
            return invalid(refusal.message, refusal.param, refusal.code)
        case Why.TOO_COMPLEX:
            return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, refusal.message)
        case Why.BUSY:
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, refusal.message, headers=_SOON)
