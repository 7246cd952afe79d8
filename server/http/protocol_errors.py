"""Refusals of requests before the application sees them: the answer, and the counter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

import uvicorn
from starlette.types import ASGIApp

from server.http.cors import Cors
from server.http.errors import ApiError
from server.http.paced_reading import ReadingTurns
from server.http.websocket.shares import SocketShares
from server.net.protocol_errors import ProtocolError

Count: TypeAlias = Callable[[ProtocolError], None]
"""Called for each request that is refused before the application sees it."""


class ProtocolConfig(uvicorn.Config):
    """uvicorn's configuration with `count`, which is called for each refused request, and the `cors` of its answer.

    `sockets` are shared by the WebSockets of the process, and `reading_turns` by all its connections.

    `options` are uvicorn's own.
    """

    def __init__(self, app: ASGIApp, count: Count, cors: Cors | None, **options: Any) -> None:
        super().__init__(app, **options)
        self.count = count
        self.cors = cors
        self.sockets = SocketShares()
        self.reading_turns = ReadingTurns()


def protocol_error_response(
    error: ApiError, request_id: str, cors: Cors | None, headers_read: Iterable[tuple[bytes, bytes]], *, bodiless: bool
) -> bytes:
    """Return the bytes of a whole answer, after which the connection is to be closed.

    `headers_read` is the part of the request's headers that came before what is wrong. The answer to a HEAD request is
    `bodiless`.
    """
    origins = [value.decode("latin-1") for name, value in headers_read if name == b"origin"]
    headers = {
        **(error.headers or {}),
        **({} if cors is None else cors.headers(origins)),
        "content-type": "application/json",
        "content-length": str(len(error.body)),
        "connection": "close",
        "x-request-id": request_id,
        "openai-version": "2020-10-01",
    }
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bodiless else error.body)
