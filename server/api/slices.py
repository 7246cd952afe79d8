"""Sending a body no faster than the client reads it."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.inference.provider import Pieces

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
