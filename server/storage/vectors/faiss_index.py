"""Chunks in an SQLite file, whose vectors Faiss searches in memory."""

from __future__ import annotations

import sqlite3
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from server.background.ends import in_thread_to_its_end, to_its_end
from server.storage.vectors.faiss_file import is_full
from server.storage.vectors.faiss_loaded import LoadedStores
from server.storage.vectors.faiss_rows import FaissRows, Row
from server.storage.vectors.index import Chunk, Held, Hit, IndexUnavailable, Vector
from server.storage.vectors.keys import checked, numbers
from server.storage.vectors.opening import FULL, Opening, Unusable
from server.storage.vectors.rows import Placed, in_part, in_parts, likeness, unit_vectors

STEP: Final = 128
"""Rows that are written in one transaction, so that other writers wait for no more."""

MARKS: Final = 4
"""Removed vectors of each store that a purge looks for in the file."""

_SEARCHING: Final = 4

T = TypeVar("T")


class FaissIndex:
    """A `VectorIndex` in one file, which one process has.

    The rows in the file are what counts: vectors in memory are read from there when they are needed, and changed after
    it. Each search compares the query with every vector of the parts.
    """

    def __init__(self, file: Path) -> None:
        self._rows = FaissRows(file)
        self._opening = Opening[FaissRows](self._open)
        self._searching = ThreadPoolExecutor(_SEARCHING, "faiss searches")
        self._changing = ThreadPoolExecutor(1, "faiss changes")
        self._loaded = LoadedStores(self._rows)
        self._begun: dict[str, set[int]] = {}
        self._marks: dict[str, deque[bytes]] = {}
        self._full = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the index in the background for as long as the context lasts; entering it waits for nothing."""
        try:
            async with self._opening.running(self._close):
                yield
        finally:
            for threads in (self._searching, self._changing):
                threads.shutdown(wait=False)

    @property
    def fault(self) -> str | None:
        """Why the index isn't ready, or takes no more chunks; None where it does."""
        return self._opening.fault or (FULL if self._full else None)

    def check_open(self) -> None:
        """Raise IndexUnavailable unless the index is open."""
        self._opening.opened()

    async def add(self, key: str, dimensions: int, part: int, chunks: AsyncIterator[Sequence[Chunk]]) -> int:
        """Add chunks to a part, which count once all of them are written, and return how many."""
        [number] = numbers([part])
        return await self._added(key, dimensions, in_part(number, chunks))

    async def put(self, key: str, dimensions: int, chunks: Mapping[int, Sequence[Chunk]]) -> None:
        """Add chunks to several parts, which count once all of them are written."""
        numbers([*chunks])
        await self._added(key, dimensions, in_parts(chunks))

    async def _added(self, key: str, dimensions: int, placed: AsyncIterator[Sequence[Placed]]) -> int:
        rows = self._opening.opened()
        batch, count, undo = 0, 0, partial(rows.abandon, key)
        try:
            async for some in placed:
                for start in range(0, len(some), STEP):
                    step = some[start : start + STEP]
                    vectors = await self._read(unit_vectors, [chunk.vector for _, chunk in step], dimensions)
                    if not batch:
                        batch = await self._change(rows.begin, key, dimensions, undo=undo)
                        self._begun.setdefault(key, set()).add(batch)
                    await self._change(rows.write, key, batch, step, vectors)
                    count += len(step)
            if batch:
                await self._change(self._loaded.commit, key, batch)
        except BaseException:
            if batch:
                with suppress(IndexUnavailable):  # the next purge or start removes what can't be removed now
                    await to_its_end(self._abandoned(rows, key, batch))
            raise
        finally:
            self._begun.get(key, set()).discard(batch)
        return count

    async def _abandoned(self, rows: FaissRows, key: str, batch: int) -> None:
        await self._change(self._loaded.withdraw, key, batch)
        while await self._change(rows.abandon, key, batch):
            pass

    async def nearest(self, key: str, vector: Vector, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that are nearest to the vector, best first."""
        self._opening.opened()
        return await self._read(self._nearest, checked(key), vector, numbers(parts), limit) if parts else []

    async def matching(self, key: str, text: str, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that have words of the text, best first by BM25."""
        self._opening.opened()
        return await self._read(self._matching, checked(key), text, numbers(parts), limit) if parts else []

    async def chunks(self, key: str, part: int, first: int, limit: int) -> list[Chunk]:
        """Return the chunks of a part from the ordinal `first` on, in their order, without their vectors."""
        rows = self._opening.opened()
        if await self._read(rows.dimensions, key) is None:
            return []
        found = await self._read(rows.part, key, numbers([part])[0], first, limit)
        return [Chunk(ordinal, text, array("f"), name, extra) for _, _, ordinal, text, name, extra in found]

    async def named(self, key: str, names: Mapping[int, Sequence[str]]) -> list[Held]:
        """Return the chunks that have one of these names in one of these parts, in no order."""
        rows = self._opening.opened()
        numbers([*names])
        if not any(names.values()) or await self._read(rows.dimensions, key) is None:
            return []
        return [Held(*row) for row in await self._read(rows.named, key, names)]

    async def remove(self, key: str, parts: Sequence[int]) -> None:
        """Remove whole parts: nothing finds them any more."""
        rows = self._opening.opened()
        wanted = numbers(parts)
        if wanted:
            more = True
            while more:
                marks, more = await self._change(rows.remove, key, wanted)
                self._mark(key, marks)
            await self._change(self._loaded.remove, key, wanted)

    async def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> None:
        """Remove chunks of parts by their ordinals, all of them in one transaction."""
        rows = self._opening.opened()
        numbers([*ordinals])
        if any(ordinals.values()):
            self._mark(key, await self._change(rows.remove_chunks, key, ordinals))
            self._loaded.drop(key)

    async def drop(self, key: str) -> None:
        """Remove a store with its bytes; one that isn't there is no error."""
        rows = self._opening.opened()
        while await self._change(rows.drop, checked(key)):
            pass
        self._loaded.drop(key)
        await self._change(rows.file.empty_log)
        self._marks.pop(key, None)

    async def purge(self, key: str) -> bool:
        """Rewrite a store without the bytes of what was removed, and return whether none of these bytes is left."""
        rows = self._opening.opened()
        if await self._read(rows.dimensions, key) is None:
            return await self._change(rows.file.empty_log)
        marks = [*self._marks.get(key, ())]
        while await self._change(rows.clear, key, tuple(self._begun.get(key, ()))):
            pass
        begins = True
        while await self._change(partial(rows.merge, key, begins=begins)):
            begins = False
        if not await self._change(rows.file.empty_log):
            return False
        for mark in marks:
            if await self._read(rows.is_left, mark):
                return False
        self._marks.pop(key, None)
        return True

    async def _open(self) -> FaissRows:
        await in_thread_to_its_end(_import, threads=self._changing)
        await in_thread_to_its_end(self._rows.open, threads=self._changing, undo=lambda _: self._rows.close())
        return self._rows

    async def _close(self, rows: FaissRows) -> None:
        self._loaded.clear()
        # A thread ends what it does before others close its connection.
        for threads in (self._searching, self._changing):
            await in_thread_to_its_end(threads.shutdown)
        await in_thread_to_its_end(rows.close)

    async def _read(self, work: Callable[..., T], *given: Any) -> T:
        """Return what `work` returns in a thread for searches; raises IndexUnavailable for an error of the file."""
        with _as_unavailable():
            return await in_thread_to_its_end(partial(work, *given), threads=self._searching)

    async def _change(self, work: Callable[..., T], *given: Any, undo: Callable[[T], object] | None = None) -> T:
        """Return what `work` returns in the thread for changes, and note whether the disk takes them.

        `undo` is called with what a cancelled caller doesn't get.
        """
        try:
            with _as_unavailable():
                done = await in_thread_to_its_end(partial(work, *given), threads=self._changing, undo=undo)
        except IndexUnavailable as fault:
            self._full = self._full or str(fault) == FULL
            raise
        self._full = False
        return done

    def _nearest(self, key: str, vector: Vector, parts: list[int], limit: int) -> list[Hit]:
        found = self._loaded.nearest(key, vector, parts, limit)
        if not found:
            return []
        rows = self._rows.rows(key, [row for row, _ in found])
        return [_hit(rows[row], score) for row, score in found if row in rows]

    def _matching(self, key: str, text: str, parts: list[int], limit: int) -> list[Hit]:
        if self._rows.dimensions(key) is None:
            return []
        found = self._rows.matching(key, text, parts, limit)
        return [_hit(row, likeness(score)) for row, score in found]

    def _mark(self, key: str, marks: Sequence[bytes]) -> None:
        self._marks.setdefault(key, deque(maxlen=MARKS)).extend(mark for mark in marks if any(mark))


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise IndexUnavailable(FULL if is_full(error) else "the vector index can't be used") from None


def _import() -> None:
    try:
        import faiss
    except ImportError:
        raise Unusable("`inline::faiss` needs the extra `faiss`, which is not installed") from None
    # A search takes less than a millisecond; with threads of its own it would take the cores of other requests.
    faiss.omp_set_num_threads(1)


def _hit(row: Row, score: float) -> Hit:
    _, part, ordinal, text, name, extra = row
    return Hit(part, ordinal, text, min(1.0, max(0.0, score)), name, extra)
