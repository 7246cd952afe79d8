"""The index of chunks: what every implementation promises.

An index knows neither callers nor policies. A search names the parts of a store that may be found, and finds nothing
else: this limits the search itself, not its result.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Vector: TypeAlias = "array[float]"
"""Numbers of 32 bits."""


class IndexUnavailable(Exception):
    """The index can't do what it was asked for now: it is starting, its disk is full, or its service doesn't answer.

    `starting` where it will be ready in a moment.
    """

    def __init__(self, message: str, *, starting: bool = False) -> None:
        super().__init__(message)
        self.starting = starting


class WrongDimensions(Exception):
    """A vector has another number of dimensions than those of the store."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text: its place in the part, its text, its vector, and `extra`, JSON that the index only keeps.

    `id` is the name that a caller gave it, which no other chunk of the part has; empty where it has none.
    """

    ordinal: int
    text: str
    vector: Vector
    id: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found. `score` is from 0 to 1, and higher for a better one, whatever the index computes."""

    part: int
    ordinal: int
    text: str
    score: float
    id: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk that an index holds: its place, its name, and the bytes of its text, its name and its `extra`."""

    part: int
    ordinal: int
    id: str
    bytes: int


class VectorIndex(Protocol):
    """Chunks of many stores. A store is known by its `key`, 32 hexadecimal digits that the server draws and no caller
    chooses; a part of it (what one file, or one document, has brought) by a random number of 63 bits.

    Every method raises IndexUnavailable. Methods that change a store may be called by several processes at once.
    """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Open the index in the background for as long as the context lasts; entering it waits for nothing."""
        ...

    @property
    def fault(self) -> str | None:
        """Why the index isn't ready, in one sentence; None where it is."""
        ...

    def check_open(self) -> None:
        """Raise IndexUnavailable unless the index is open; one that opens at its first use begins to."""
        ...

    async def add(self, key: str, dimensions: int, part: int, chunks: AsyncIterator[Sequence[Chunk]]) -> int:
        """Add chunks to a part, all of them in one commit or none, and return how many; the store comes with its first
        part. Chunks are taken as they come and held in bounded memory. Raises WrongDimensions and what `chunks` raises.
        """
        ...

    async def put(self, key: str, dimensions: int, chunks: Mapping[int, Sequence[Chunk]]) -> None:
        """Add chunks to several parts, all of them in one commit or none; raises WrongDimensions."""
        ...

    async def nearest(self, key: str, vector: Vector, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that are nearest to the vector, best first: exactly those that comparing it
        with every one of them finds. A store without chunks has none. `score` is the cosine, 0 where it is negative.
        """
        ...

    async def matching(self, key: str, text: str, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that have words of the text, best first by BM25. `text` is words, never a
        language of queries.
        """
        ...

    async def chunks(self, key: str, part: int, first: int, limit: int) -> list[Chunk]:
        """Return the chunks of a part from the ordinal `first` on, in their order; their vectors may be empty."""
        ...

    async def named(self, key: str, names: Mapping[int, Sequence[str]]) -> list[Held]:
        """Return the chunks that have one of these names in one of these parts, in no order."""
        ...

    async def remove(self, key: str, parts: Sequence[int]) -> None:
        """Remove whole parts: nothing finds them any more. Their bytes may stay until `purge`."""
        ...

    async def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> None:
        """Remove chunks of parts by their ordinals, as `remove`; all of them or none."""
        ...

    async def drop(self, key: str) -> None:
        """Remove a store with its bytes; one that isn't there is no error."""
        ...

    async def purge(self, key: str) -> bool:
        """Rewrite a store without the bytes of what was removed, and return whether none of these bytes is left."""
        ...
