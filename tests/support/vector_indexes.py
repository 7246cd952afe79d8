"""Indexes of vectors for tests, and chunks to put into them."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.index import Chunk, VectorIndex
from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import Directory

KINDS = ("lancedb", "faiss")
DIMENSIONS = 8

T = TypeVar("T")


class Opened:
    """An index that is open, with the event loop that it belongs to."""

    def __init__(self, index: VectorIndex, runner: asyncio.Runner) -> None:
        self.index = index
        self._runner = runner

    def __call__(self, work: Any) -> Any:
        """What the coroutine returns."""
        return self._runner.run(work)

    def add(self, key: str, part: int, chunks: Sequence[Chunk], dimensions: int = DIMENSIONS, step: int = 100) -> int:
        """Add chunks in pieces."""
        return int(self(self.index.add(key, dimensions, part, pieces(chunks, step))))

    def nearest(self, key: str, vector: Sequence[float], parts: Sequence[int], limit: int = 10) -> list[Any]:
        """The places of the chunks that are found, with their scores."""
        found = self(self.index.nearest(key, array("f", vector), parts, limit))
        return [((hit.part, hit.ordinal), hit.score) for hit in found]

    def matching(self, key: str, text: str, parts: Sequence[int], limit: int = 10) -> list[Any]:
        """The same for words."""
        return [(hit.part, hit.ordinal) for hit in self(self.index.matching(key, text, parts, limit))]


def index_of(kind: str, folder: Path, *, lazily: bool = False) -> VectorIndex:
    """An index in a directory."""
    return FaissIndex(folder / "f.db") if kind == "faiss" else LanceIndex(Directory(folder), lazily=lazily)


async def ready(index: VectorIndex) -> None:
    """Wait until the index is open."""
    for _ in range(6000):
        if index.fault is None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(index.fault)


@contextmanager
def opened(index: VectorIndex) -> Iterator[Opened]:
    """The index for as long as the context lasts."""
    with asyncio.Runner() as runner:
        running = index.running()
        runner.run(running.__aenter__())
        try:
            runner.run(ready(index))
            yield Opened(index, runner)
        finally:
            runner.run(running.__aexit__(None, None, None))


async def pieces(chunks: Sequence[Chunk], step: int = 100) -> AsyncIterator[Sequence[Chunk]]:
    """The chunks, a few at a time."""
    for start in range(0, len(chunks), step):
        yield chunks[start : start + step]


def vectors(count: int, seed: int, dimensions: int = DIMENSIONS) -> list[array[float]]:
    """Random vectors, the same for the same seed."""
    numbers = random.Random(seed)  # noqa: S311  # no secrets
    return [array("f", (numbers.gauss(0, 1) for _ in range(dimensions))) for _ in range(count)]


def chunks(count: int, seed: int, text: str = "text {number}", dimensions: int = DIMENSIONS) -> list[Chunk]:
    """Chunks with random vectors and names."""
    made = vectors(count, seed, dimensions)
    return [
        Chunk(number, text.format(number=number), vector, f"n{number}", f'{{"n": {number}}}')
        for number, vector in enumerate(made)
    ]


def without_vectors(given: Sequence[Chunk]) -> list[Chunk]:
    """Chunks as an index returns them."""
    return [Chunk(each.ordinal, each.text, array("f"), each.id, each.extra) for each in given]
