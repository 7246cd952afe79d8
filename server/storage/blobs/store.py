"""The interface for storage of files' bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final, Protocol

PIECE: Final = 256 * 1024
"""Bytes that are written or read at a time, which bound the memory for a transfer."""

_KEY: Final = re.compile(r"[a-z]+-[0-9a-f]{48}")


class BlobsUnavailable(Exception):
    """Raised if bytes can't be stored or read now; the message is for the operator's log."""


class BlobsUnusable(Exception):
    """Raised if the configured storage can't be used; the message says why and what to do."""


class BlobsFull(BlobsUnavailable):
    """Raised if there is no room for more bytes."""


class BlobMissing(BlobsUnavailable):
    """Raised if a stored blob no longer exists, or has changed."""


class BlobWriting(Protocol):
    """A blob that is being written. It is not visible before it is finished."""

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises BlobsUnavailable."""
        ...

    async def finish(self) -> None:
        """Return when the whole blob is stored durably, safe from a crash of the process or its machine."""
        ...

    async def abandon(self) -> None:
        """Discard what was written; a part that can't be removed now is left to `Blobs.delete`."""
        ...


class BlobReading(Protocol):
    """A blob that is being read; `size` is in bytes."""

    @property
    def size(self) -> int:
        """The blob's length in bytes."""
        ...

    async def read(self) -> bytes:
        """Return the next piece, empty at the end; raise BlobsUnavailable."""
        ...

    async def close(self) -> None:
        """Stop reading."""
        ...


@asynccontextmanager
async def pieces_of(reading: BlobReading) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield the pieces of a blob, which is closed with the context, also where none of them was asked for."""
    try:
        async with aclosing(_pieces(reading)) as pieces:
            yield pieces
    finally:
        await reading.close()


async def _pieces(reading: BlobReading) -> AsyncGenerator[bytes, None]:
    while piece := await reading.read():
        yield piece


class Blobs(Protocol):
    """Bytes by key. A key is made by the server (`checked`), written once, and never says anything about its bytes."""

    @property
    def gathered(self) -> int:
        """The bytes that a blob which is being written has in memory at most, besides the piece that is given."""
        ...

    async def start(self) -> None:
        """Check that blobs can be stored; raise BlobsUnusable."""
        ...

    async def begin(self, key: str) -> BlobWriting:
        """Start to write a blob; raises BlobsUnavailable."""
        ...

    async def open(self, key: str) -> BlobReading:
        """Start to read a blob; raise BlobMissing or BlobsUnavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the blob, or an unfinished one, if it exists; raise BlobsUnavailable."""
        ...

    async def ping(self) -> None:
        """Return if blobs can be stored and read, as far as a check shows; raise BlobsUnavailable."""
        ...

    async def close(self) -> None:
        """Release every resource."""
        ...


def checked(key: str) -> str:
    """Return the key, which must have the server's format, so that no other text becomes part of a path."""
    if not _KEY.fullmatch(key):
        raise ValueError("the key of a blob is a word, `-` and 48 hexadecimal digits")
    return key
