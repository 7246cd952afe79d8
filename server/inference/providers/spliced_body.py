"""The body of a request to a provider whose files are fetched while it is sent."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from server.fairness.shares import Turn
from server.inference.attachments import NotSent, Spliced

_JSON: Final = "application/json"


class SplicedBody(aiohttp.Payload):
    """Sends `body`, and ends the `turn` that was taken for it as soon as the whole is sent, or can't be.

    aiohttp tells of a failure in its own words; `failure` is what it was.
    """

    _autoclose = True

    def __init__(self, body: Spliced, turn: Turn) -> None:
        super().__init__(body, content_type=_JSON)
        self._body = body
        self._turn = turn
        self._size = body.size
        self.failure: NotSent | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Raise TypeError: the whole is never in memory."""
        raise TypeError("a body with files is never in memory as a whole")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the whole, a piece at a time, as fast as the provider reads."""
        try:
            async with aclosing(self._body.pieces()) as pieces:
                async for piece in pieces:
                    await writer.write(piece)
        except NotSent as failure:
            self.failure = failure
            raise
        finally:
            self._turn.end()
