"""Blobs whose reads and writes come in fair turns of their callers."""

from __future__ import annotations

from typing import Final

from server.fairness.shares import FairShares, Share
from server.storage.blobs.store import BlobReading, Blobs, BlobWriting

ON_DISK: Final = Share("reads and writes of files", 4, 2, waiting=8192, waiting_each=2048, seconds=30.0)
"""Pieces that are read or written at the same time in a directory, which has as many threads."""

IN_BUCKET: Final = Share("reads and writes of files in the bucket", 64, 16, 8192, 2048, seconds=30.0)
"""Pieces that are read or written at the same time in a bucket."""


class SharedBlobs:
    """Waits for a turn of the current caller before each piece; what cleans up never waits. Raises NoRoom too."""

    def __init__(self, blobs: Blobs, share: Share) -> None:
        self._blobs = blobs
        self.shares = FairShares(share)

    @property
    def gathered(self) -> int:
        """The bytes that a blob which is being written has in memory at most."""
        return self._blobs.gathered

    async def start(self) -> None:
        """Check that blobs can be stored; raise BlobsUnusable."""
        await self._blobs.start()

    async def begin(self, key: str) -> BlobWriting:
        """Start to write a blob; raises BlobsUnavailable."""
        async with self.shares.turn():
            return _Writing(await self._blobs.begin(key), self.shares)

    async def open(self, key: str) -> BlobReading:
        """Start to read a blob; raise BlobMissing or BlobsUnavailable."""
        async with self.shares.turn():
            return _Reading(await self._blobs.open(key), self.shares)

    async def delete(self, key: str) -> None:
        """Remove the blob, or an unfinished one, if it exists; raise BlobsUnavailable."""
        await self._blobs.delete(key)

    async def ping(self) -> None:
        """Return if blobs can be stored and read, as far as a check shows; raise BlobsUnavailable."""
        await self._blobs.ping()

    async def close(self) -> None:
        """Release every resource."""
        await self._blobs.close()


class _Writing:
    def __init__(self, writing: BlobWriting, shares: FairShares) -> None:
        self._writing = writing
        self._shares = shares

    async def write(self, piece: bytes) -> None:
        async with self._shares.turn():
            await self._writing.write(piece)

    async def finish(self) -> None:
        async with self._shares.turn():
            await self._writing.finish()

    async def abandon(self) -> None:
        await self._writing.abandon()


class _Reading:
    def __init__(self, reading: BlobReading, shares: FairShares) -> None:
        self._reading = reading
        self._shares = shares

    @property
    def size(self) -> int:
        return self._reading.size

    async def read(self) -> bytes:
        async with self._shares.turn():
            return await self._reading.read()

    async def close(self) -> None:
        await self._reading.close()
