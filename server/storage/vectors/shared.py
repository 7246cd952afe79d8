"""An index whose searches come in fair turns of their callers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from server.fairness.shares import FairShares, Share
from server.storage.vectors.index import Chunk, Held, Hit, Vector, VectorIndex

HERE: Final = Share("searches of vectors", 2, 1, waiting=2048, waiting_each=512, seconds=30.0)
"""Searches of one process at the same time in an index on this machine. They compute, and each of them uses a core."""

IN_BUCKET: Final = Share("searches of vectors in the bucket", 16, 4, waiting=2048, waiting_each=512, seconds=60.0)
"""The same in an index in a bucket, where they mostly wait for it."""


class SharedIndex:
    """Waits for a turn of the current caller before each search, and raises NoRoom; changes don't wait."""

    def __init__(self, index: VectorIndex, share: Share) -> None:
        self._index = index
        self.shares = FairShares(share)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Open the index in the background for as long as the context lasts."""
        return self._index.running()

    @property
    def fault(self) -> str | None:
        """Why the index isn't ready, in one sentence; None where it is."""
        return self._index.fault

    def check_open(self) -> None:
        """Raise IndexUnavailable unless the index is open; one that opens at its first use begins to."""
        self._index.check_open()

    async def add(self, key: str, dimensions: int, part: int, chunks: AsyncIterator[Sequence[Chunk]]) -> int:
        """Add chunks to a part, all of them in one commit or none, and return how many."""
        return await self._index.add(key, dimensions, part, chunks)

    async def put(self, key: str, dimensions: int, chunks: Mapping[int, Sequence[Chunk]]) -> None:
        """Add chunks to several parts, all of them in one commit or none."""
        await self._index.put(key, dimensions, chunks)

    async def nearest(self, key: str, vector: Vector, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that are nearest to the vector, best first."""
        async with self.shares.turn():
            return await self._index.nearest(key, vector, parts, limit)

    async def matching(self, key: str, text: str, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that have words of the text, best first by BM25."""
        async with self.shares.turn():
            return await self._index.matching(key, text, parts, limit)

    async def chunks(self, key: str, part: int, first: int, limit: int) -> list[Chunk]:
        """Return the chunks of a part from the ordinal `first` on, in their order."""
        async with self.shares.turn():
            return await self._index.chunks(key, part, first, limit)

    async def named(self, key: str, names: Mapping[int, Sequence[str]]) -> list[Held]:
        """Return the chunks that have one of these names in one of these parts, in no order."""
        async with self.shares.turn():
            return await self._index.named(key, names)

    async def remove(self, key: str, parts: Sequence[int]) -> None:
        """Remove whole parts: nothing finds them any more."""
        await self._index.remove(key, parts)

    async def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> None:
        """Remove chunks of parts by their ordinals."""
        await self._index.remove_chunks(key, ordinals)

    async def drop(self, key: str) -> None:
        """Remove a store with its bytes."""
        await self._index.drop(key)

    async def purge(self, key: str) -> bool:
        """Rewrite a store without the bytes of what was removed, and return whether none of these bytes is left."""
        return await self._index.purge(key)
