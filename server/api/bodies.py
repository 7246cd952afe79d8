"""Reading a JSON body: one parse, one meaning.

What two parsers could read differently (a key that comes twice, a number that is none, half a character) is refused, so
that the policy, this server and the provider behind it always see the same request.
"""

from __future__ import annotations

import asyncio
import re
from json import JSONDecodeError, JSONDecoder
from math import isinf
from typing import Any, Final, NoReturn

from starlette.requests import Request
from starlette.types import Receive

from server.api.errors import ApiError, ClientGone, invalid

Json = dict[str, Any]

MAX_BODY: Final = 10 * 1024 * 1024
"""Bytes of a JSON body."""

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other."""

BODY_SECONDS: Final = 60.0
"""How long a client may take to send a body."""

_THREAD_FROM: Final = 64 * 1024
"""Bytes from which parsing would keep other requests waiting."""

_JSON_TYPE: Final = re.compile(r"application/json(\s*;\s*charset=\"?utf-?8\"?)?\s*", re.IGNORECASE)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


async def read_object(request: Request) -> Json:
    """The request's body, which must be one JSON object; raises the ApiError that says what else it is."""
    _check_headers(request)
    raw = await _read(request.receive)
    return parse_object(raw) if len(raw) < _THREAD_FROM else await asyncio.to_thread(parse_object, raw)


def _check_headers(request: Request) -> None:
    headers = request.headers
    if not _JSON_TYPE.fullmatch(headers.get("content-type", "")):
        raise ApiError(415, "send the body as `Content-Type: application/json`, in UTF-8")
    if headers.get("content-encoding", "identity") != "identity":
        raise ApiError(415, "send the body without `Content-Encoding`; compressed ones are not read")
    if int(headers.get("content-length", "0")) > MAX_BODY:
        raise _too_large()


async def _read(receive: Receive) -> bytes:
    first, more = await _part(receive)
    if not more:
        return first
    parts, size = [first], len(first)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                part, more = await _part(receive)
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    raise _too_large()
    except TimeoutError:
        raise ApiError(408, f"the body was not sent within {BODY_SECONDS:.0f} seconds") from None
    return b"".join(parts)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


def _too_large() -> ApiError:
    return ApiError(413, f"the body is larger than {MAX_BODY} bytes")


def parse_object(raw: bytes) -> Json:
    """The JSON object that `raw` certainly means; raises a 400 otherwise."""
    try:
        body = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise invalid("the body is not UTF-8") from None
    except JSONDecodeError as fault:
        place = f"line {fault.lineno} column {fault.colno}"
        raise invalid(f"the body is not JSON: {fault.msg.lower()} at {place}") from None
    except RecursionError:
        raise _too_deep() from None
    except _Ambiguous as fault:
        raise invalid(str(fault)) from None
    except ValueError:
        raise invalid("the body holds a number with too many digits") from None
    if type(body) is not dict:
        raise invalid("the body is not a JSON object")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper(body, MAX_DEPTH):
        raise _too_deep()
    if _SURROGATE.search(raw) and _has_surrogate(body):
        raise invalid("the body holds half of a surrogate pair, which is no character")
    return body


class _Ambiguous(ValueError):
    """What some parsers take for JSON, each in its own way."""


def _unique(members: list[tuple[str, Any]]) -> Json:
    found = dict(members)
    if len(found) != len(members):
        raise _Ambiguous("a key comes twice in one object of the body")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _Ambiguous(f"the body holds `{name}`, which is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _Ambiguous("the body holds a number that is too large")
    return number


def _is_deeper(body: Any, limit: int) -> bool:
    level = [body]
    for _ in range(limit):
        level = [
            child
            for holder in level
            for child in (holder.values() if type(holder) is dict else holder)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _has_surrogate(body: Json) -> bool:
    waiting: list[Any] = [body]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting += value.keys()
            waiting += value.values()
        elif type(value) is list:
            waiting += value
        elif type(value) is str and not _is_text(value):
            return True
    return False


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> ApiError:
    return invalid(f"the body nests more than {MAX_DEPTH} levels deep")


_DECODER: Final = JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
