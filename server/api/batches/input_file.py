"""The input file of a batch, of which lines are read in their order, mostly."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from server.storage.blobs.store import BlobMissing, BlobReading, pieces_of

KNOWN_SECONDS: Final = 1.0
"""Seconds between two looks whether the input file is still there."""


class InputFile:
    """The bytes of a file that `open_file` begins to read; no more than some pieces of them are held.

    `find` returns whether the file is still there, which is looked up now and then.
    """

    def __init__(self, open_file: Callable[[], Awaitable[BlobReading]], find: Callable[[], Awaitable[bool]]) -> None:
        self._open = open_file
        self._find = find
        self._found_at: float | None = None
        self._is_there = False
        self._reading: BlobReading | None = None
        self._piece = b""
        self._at = 0

    async def is_there(self) -> bool:
        """Return whether the file was there a moment ago: its bytes may be read for longer."""
        now = time.monotonic()
        if self._found_at is None or now - self._found_at > KNOWN_SECONDS:
            self._is_there, self._found_at = await self._find(), now
        return self._is_there

    async def close(self) -> None:
        """Stop reading."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await reading.close()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield all of the file; raises BlobMissing and BlobsUnavailable."""
        async with pieces_of(await self._open()) as pieces:
            async for piece in pieces:
                yield piece

    async def cut(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end`; raises as `pieces` does. Going back means to begin anew."""
        if self._reading is None or start < self._at:
            await self.close()
            self._reading, self._piece, self._at = await self._open(), b"", 0
        parts: list[bytes] = []
        while True:
            behind = self._at + len(self._piece)
            if behind > start:
                parts.append(self._piece[max(0, start - self._at) : end - self._at])
            if behind >= end:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            piece = await self._reading.read()
            if not piece:
                raise BlobMissing("the input file of a batch is shorter than it was")
            self._piece, self._at = piece, behind
