"""The guard in front of everything: a request that two readers could understand differently goes no further."""

from __future__ import annotations

import logging
import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from policy.routes import normalize_path
from server.http.credentials import check_credentials
from server.http.error_shapes import error_response
from server.http.errors import ApiError
from server.http.request_state import state_of

MAX_PATH: Final = 2 * 1024
"""Bytes of a path, as sent."""

MAX_HEADERS: Final = 32 * 1024
"""Bytes of all headers and the query together, as sent."""

MAX_PARAMETERS: Final = 1000
"""Parameters of a query: to read more of them, however short, would keep others waiting."""

_log: Final = logging.getLogger("ostiary.edge")

_PLAIN: Final = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+/*|/+")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SLASH: Final = re.compile(rb"%2[fF]")
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\]")

SLASHED_IDS: Final = (
    "/v1/models/",
    "/v1/shields/",
    "/v1/vector-dbs/",
    "/v1/toolgroups/",
    "/v1/tools/",
    "/v1/datasets/",
    "/v1/scoring-functions/",
    "/v1/eval/benchmarks/",
)
"""The paths with ids in which an escaped slash is part of the id: callers choose these ids, and clients escape them."""

_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")

_ONCE: Final = frozenset({b"authorization", b"content-length", b"content-type", b"host", b"transfer-encoding"})


class EdgeGuard:
    """Refuses malformed requests with 400, and gives the others one path that policy and router both see."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a well-formed HTTP request on, with its path normalized; close a WebSocket."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                check_headers(scope)
                use_path(scope, normalized(scope["raw_path"]))
                check_credentials(scope)
            except ApiError as refusal:
                _log.info("%s: malformed request: %s", state_of(scope).request_id, refusal.message)
                await error_response(refusal, scope)(scope, receive, send)
                return
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})


def normalized(raw: bytes) -> str:
    """Return the path that `raw` (percent-encoded, without query) means, decoded once and without trailing slashes."""
    if len(raw) > MAX_PATH:
        raise _malformed(f"the path is longer than {MAX_PATH} bytes")
    if _PLAIN.fullmatch(raw):
        return normalize_path(raw.decode("ascii"))
    path = normalize_path(_decoded(raw))
    if path != "/" and (path[:1] != "/" or not {"", ".", ".."}.isdisjoint(path[1:].split("/"))):
        raise _malformed("the path has an empty or dot segment")
    return path


def _decoded(raw: bytes) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise _malformed("the path has a `%` that starts no escape")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("the path is not UTF-8") from None
    if _UNPRINTABLE.search(path):
        raise _malformed("the path has a control character or a backslash")
    if _ESCAPE.search(path):
        raise _malformed("the path is escaped twice")
    if _ESCAPED_SLASH.search(raw):
        before_id = next((prefix for prefix in SLASHED_IDS if path.startswith(prefix)), "")
        # Before the id, each slash of the path is one as it was sent.
        slashes = before_id.count("/")
        if not slashes or _ESCAPED_SLASH.search(b"/".join(raw.split(b"/", slashes)[:slashes])):
            raise _malformed("the path has an escaped slash")
    return path


def use_path(scope: Scope, path: str) -> None:
    """Make `path` the only path that anything behind the guard can see."""
    scope["path"] = path
    if scope["raw_path"] != path.encode():
        scope["raw_path"] = quote(path, safe="/:@!$&'()*+,;=~").encode("ascii")
    # Starlette's router takes this off the path before it matches.
    scope["root_path"] = ""


def check_headers(scope: Scope) -> None:
    """Refuse headers that are too many, that come twice where once is meant, or that frame the body in two ways."""
    size = len(scope["query_string"])
    seen = set()
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
        if name in _ONCE:
            if name in seen:
                raise _malformed(f"the header `{name.decode('ascii')}` comes twice")
            seen.add(name)
            if name == b"transfer-encoding" and (value.lower() != b"chunked" or scope["http_version"] == "1.0"):
                raise _malformed("the only transfer encoding is `chunked`, and HTTP/1.0 has none")
            if name == b"host" and not _HOST.fullmatch(value):
                raise _malformed("the header `host` is not a name or an address")
    if size > MAX_HEADERS:
        raise _malformed(f"headers and query are larger than {MAX_HEADERS} bytes")
    if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
        raise _malformed(f"the query has more than {MAX_PARAMETERS} parameters")
    if b"host" not in seen and scope["http_version"] != "1.0":
        raise _malformed("the header `host` is missing")
    if b"content-length" in seen and b"transfer-encoding" in seen:
        raise _malformed("a request has either `content-length` or `transfer-encoding`")


def _malformed(message: str) -> ApiError:
    return ApiError(400, message, code="malformed_request")
