"""The body of a request that the server makes to its own application: it is whole from the beginning."""

from __future__ import annotations

import asyncio

from starlette.types import Message


class WholeBody:
    """Receives a body that is whole, and then nothing until the client goes."""

    def __init__(self, text: bytes) -> None:
        self._text: bytes | None = text
        self._gone = asyncio.Event()

    async def __call__(self) -> Message:
        """Return the body, and later that the client has gone."""
        if self._text is not None:
            text, self._text = self._text, None
            return {"type": "http.request", "body": text, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def is_there(self) -> bool:
        """Return whether the next message is there."""
        return self._text is not None or self._gone.is_set()

    def leave(self) -> None:
        """Say that the client has gone."""
        self._gone.set()
