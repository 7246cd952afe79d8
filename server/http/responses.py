"""Successful answers."""

from __future__ import annotations

from collections.abc import Iterable
from json import JSONEncoder
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.fairness.places import Steps
from server.inference.provider import Pieces

_ENCODER: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_response(shown: dict[str, Any]) -> JsonInPieces:
    """Return an answer with `shown` as JSON."""
    return JsonInPieces([encoded(shown)])


async def list_response(frame: dict[str, Any], data: Iterable[dict[str, Any]], member: str = "data") -> JsonInPieces:
    """Return the list `frame` as JSON, with this `data` as its `member`, which may be large: it is made while others
    are served.
    """
    return await list_of_texts(frame, map(encoded, data), member)


async def list_of_texts(frame: dict[str, Any], data: Iterable[bytes], member: str = "data") -> JsonInPieces:
    """Return what `list_response` returns, for `data` that is JSON already, or is made as it is iterated; `member` is
    its name.
    """
    begin = {name: value for name, value in frame.items() if name != member} | {member: []}
    slices, steps = _Slices(), Steps()
    slices.add(encoded(begin).removesuffix(b"]}"))
    comma = b""
    for each in data:
        slices.add(comma)
        slices.add(each)
        comma = b","
        await steps.rest()
    slices.add(b"]}")
    return JsonInPieces(slices.all())


class _Slices:
    """Joins short texts to pieces of about `SLICE` bytes: sending one costs more than copying it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._short: list[bytes] = []
        self._size = 0

    def add(self, text: bytes) -> None:
        self._short.append(text)
        self._size += len(text)
        if self._size >= SLICE:
            self._join()

    def all(self) -> Pieces:
        self._join()
        return self._pieces

    def _join(self) -> None:
        self._pieces.append(b"".join(self._short))
        self._short, self._size = [], 0


def encoded(value: object) -> bytes:
    """Return a value as the text of an answer."""
    return _ENCODER.encode(value).encode()


SLICE: Final = 64 * 1024
"""Bytes that are handed on at a time. A client that reads none of them within `http1.STALL_SECONDS` is cut off."""


async def send_piece(send: Send, piece: bytes | memoryview, *, more: bool) -> None:
    """Send a piece of a body, and with its end the end of the body unless there is `more`."""
    if len(piece) > SLICE:
        view = memoryview(piece)
        last = (len(view) - 1) // SLICE * SLICE
        for start in range(0, last, SLICE):
            await send({"type": "http.response.body", "body": view[start : start + SLICE], "more_body": True})
        piece = view[last:]
    await send({"type": "http.response.body", "body": piece, "more_body": more})


class JsonInPieces(Response):
    """A JSON text, which may be large."""

    media_type = "application/json"

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        size = sum(map(len, pieces))
        self.headers["content-length"] = str(size)
        # Sending costs more than copying where there is little to copy.
        self._pieces = pieces if size > SLICE else (b"".join(pieces),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        *others, last = self._pieces
        for piece in others:
            await send_piece(send, piece, more=True)
        await send_piece(send, last, more=False)
