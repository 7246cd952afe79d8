"""The seam between files and the place that keeps their bytes."""

from __future__ import annotations

import re
from typing import Final, Protocol

PIECE: Final = 256 * 1024
"""Bytes that are written or read at a time, and so what a file under way costs in memory."""

_KEY: Final = re.compile(r"[a-z]+-[0-9a-f]{48}")


class BlobsUnavailable(Exception):
    """The bytes of files can't be kept or fetched now; the message is for the operator's log."""


class BlobsUnusable(Exception):
    """The place that is configured for the bytes of files can't be used; the message says why and what to do."""


class BlobsFull(BlobsUnavailable):
    """There is no room for more bytes."""


class BlobMissing(BlobsUnavailable):
    """What was kept is not there any more, or is not what was kept."""


class BlobWriting(Protocol):
    """A blob that is being written. Nobody can see it before it is finished."""

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises BlobsUnavailable."""
        ...

    async def finish(self) -> None:
        """Return when the whole blob is there for good, whatever happens to this process or its machine."""
        ...

    async def abandon(self) -> None:
        """Forget what was written; what can't be removed now is left to `Blobs.delete`."""
        ...


class BlobReading(Protocol):
    """A blob that is being read; `size` is in bytes."""

    @property
    def size(self) -> int:
        """Its length."""
        ...

    async def read(self) -> bytes:
        """The next piece, or nothing at its end; raises BlobsUnavailable."""
        ...

    async def close(self) -> None:
        """Stop reading."""
        ...


class Blobs(Protocol):
    """Bytes by key. A key is made by the server (`checked`), written once, and never says anything about its bytes."""

    async def start(self) -> None:
        """See that blobs can be kept there; raises BlobsUnusable."""
        ...

    async def begin(self, key: str) -> BlobWriting:
        """Start to write a blob; raises BlobsUnavailable."""
        ...

    async def open(self, key: str) -> BlobReading:
        """Start to read a blob; raises BlobMissing and BlobsUnavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the blob, and what is left of its writing; there may be nothing. Raises BlobsUnavailable."""
        ...

    async def ping(self) -> None:
        """Return if blobs can be kept and fetched, as far as that can be told; raises BlobsUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


def checked(key: str) -> str:
    """The key, which must be of the shape that the server makes: nothing else ever becomes part of a path."""
    if not _KEY.fullmatch(key):
        raise ValueError("the key of a blob is a word, `-` and 48 hexadecimal digits")
    return key
