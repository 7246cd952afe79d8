"""What is refused before the application sees it: why, in which words, and who counts it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeAlias

import uvicorn
from starlette.types import ASGIApp

from server.api.errors import ApiError


class Unreadable(StrEnum):
    """What is wrong with a request that is not handed on, in a word."""

    FRAMING = "framing"
    METHOD = "method"
    PIPELINED = "pipelined"
    SIZE = "size"
    SYNTAX = "syntax"
    TARGET = "target"
    VERSION = "version"


Count: TypeAlias = Callable[[Unreadable], None]
"""Told of each such request."""


class DoorConfig(uvicorn.Config):
    """uvicorn's, and who counts what is refused; `options` are uvicorn's own."""

    def __init__(self, app: ASGIApp, count: Count, **options: Any) -> None:
        super().__init__(app, **options)
        self.count = count


def refusal(error: ApiError, request_id: str) -> bytes:
    """A whole answer, after which the connection is to be closed."""
    headers = {
        **(error.headers or {}),
        "content-type": "application/json",
        "content-length": str(len(error.body)),
        "connection": "close",
        "x-request-id": request_id,
        "openai-version": "2020-10-01",
    }
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + error.body
