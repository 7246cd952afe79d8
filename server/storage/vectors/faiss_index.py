"""Chunks in an SQLite file, whose vectors Faiss searches in memory."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from server.storage.vectors.faiss_rows import FaissRows, Row, is_full
from server.storage.vectors.index import Chunk, Held, Hit, IndexUnavailable, Vector
from server.storage.vectors.keys import checked, numbers
from server.storage.vectors.opening import FULL, Opening, Unusable
from server.storage.vectors.rows import Placed, in_part, in_parts, unit_vectors

MOST_STORES: Final = 256
"""Stores whose vectors are held in memory at the same time."""

MOST_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of vectors that are held in memory; those of one store may be more."""

STEP: Final = 128
"""Rows that are written in one transaction, so that other writers wait for no more."""

MARKS: Final = 4
"""Removed vectors of each store that a purge looks for in the file."""

_SEARCHING: Final = 4

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Loaded:
    """The vectors of one store in memory: a flat index, and the number and the part of each of its rows."""

    dimensions: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    index: Any = None
    rows: Any = None
    parts: Any = None

    @property
    def bytes(self) -> int:
        return 0 if self.rows is None else len(self.rows) * (self.dimensions * 4 + 16)


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
        self._guard = threading.Lock()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._begun: dict[str, set[int]] = {}
        self._marks: dict[str, deque[bytes]] = {}
        self._full = False

    def running(self) -> AbstractAsyncContextManager[None]:
        """Open the index in the background for as long as the context lasts; entering it waits for nothing."""
        return self._opening.running(self._close)

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
        batch, count = 0, 0
        try:
            async for some in placed:
                for start in range(0, len(some), STEP):
                    step = some[start : start + STEP]
                    vectors = await self._read(unit_vectors, [chunk.vector for _, chunk in step], dimensions)
                    if not batch:
                        batch = await self._change(rows.begin, key, dimensions)
                        self._begun.setdefault(key, set()).add(batch)
                    await self._change(rows.write, key, batch, step, vectors)
                    count += len(step)
            if batch:
                await self._change(self._commit, key, batch)
        except BaseException:
            if batch:
                with suppress(IndexUnavailable):  # the next purge or start removes what can't be removed now
                    await asyncio.shield(self._change(rows.abandon, key, batch))
            raise
        finally:
            self._begun.get(key, set()).discard(batch)
        return count

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
            self._mark(key, await self._change(rows.remove, key, wanted))
            await self._change(self._forget_parts, key, wanted)

    async def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> None:
        """Remove chunks of parts by their ordinals, all of them in one transaction."""
        rows = self._opening.opened()
        numbers([*ordinals])
        if any(ordinals.values()):
            self._mark(key, await self._change(rows.remove_chunks, key, ordinals))
            self._unload(key)

    async def drop(self, key: str) -> None:
        """Remove a store with its bytes; one that isn't there is no error."""
        rows = self._opening.opened()
        await self._change(rows.drop, checked(key))
        self._unload(key)
        await self._change(rows.empty_log)
        self._marks.pop(key, None)

    async def purge(self, key: str) -> bool:
        """Rewrite a store without the bytes of what was removed, and return whether none of these bytes is left."""
        rows = self._opening.opened()
        if await self._read(rows.dimensions, key) is None:
            return await self._change(rows.empty_log)
        marks = [*self._marks.get(key, ())]
        await self._change(rows.clear, key, tuple(self._begun.get(key, ())))
        if not await self._change(rows.purge, key):
            return False
        for mark in marks:
            if await self._read(rows.is_left, mark):
                return False
        self._marks.pop(key, None)
        return True

    async def _open(self) -> FaissRows:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._changing, _import)
        await loop.run_in_executor(self._changing, self._rows.open)
        return self._rows

    async def _close(self, rows: FaissRows) -> None:
        self._loaded.clear()
        # A thread ends what it does before others close its connection.
        for threads in (self._searching, self._changing):
            await asyncio.to_thread(threads.shutdown)
        await asyncio.to_thread(rows.close)

    async def _read(self, work: Callable[..., T], *given: Any) -> T:
        """Return what `work` returns in a thread for searches; raises IndexUnavailable for an error of the file."""
        with _told():
            return await asyncio.get_running_loop().run_in_executor(self._searching, lambda: work(*given))

    async def _change(self, work: Callable[..., T], *given: Any) -> T:
        """Return what `work` returns in the thread for changes, and note whether the disk takes them."""
        try:
            with _told():
                done = await asyncio.get_running_loop().run_in_executor(self._changing, lambda: work(*given))
        except IndexUnavailable as fault:
            self._full = self._full or str(fault) == FULL
            raise
        self._full = False
        return done

    def _commit(self, key: str, batch: int) -> None:
        """Make a batch count, in the file and then in memory; a search sees all of it or none."""
        with self._guard:
            loaded = self._loaded.get(key)
        rows = [] if loaded is None else [*self._rows.vectors(key, batch)]
        if loaded is None:
            self._rows.commit(batch)
            # It may have been loaded just before.
            self._unload(key)
            return
        with loaded.lock:
            self._rows.commit(batch)
            if loaded.index is not None:
                self._extend(loaded, rows)

    def _nearest(self, key: str, vector: Vector, parts: list[int], limit: int) -> list[Hit]:
        import numpy as np

        loaded = self._store(key)
        if loaded is None:
            return []
        query = unit_vectors([vector], loaded.dimensions)
        if not loaded.lock.acquire(blocking=loaded.index is not None):
            raise IndexUnavailable("the vectors of this store are being read; try again in a moment", starting=True)
        try:
            if loaded.index is None:
                self._extend(loaded, self._rows.vectors(key))
            among = np.isin(loaded.parts, np.array(parts, np.int64))
            count = min(limit, int(among.sum()))
            if not count:
                return []
            scores, places = loaded.index.search(query, count, params=_among(np.packbits(among, bitorder="little")))
            found = loaded.rows[places[0]].tolist()
        finally:
            loaded.lock.release()
        self._make_room(key)
        rows = self._rows.rows(key, found)
        return [_hit(rows[row], float(score)) for row, score in zip(found, scores[0], strict=True) if row in rows]

    def _matching(self, key: str, text: str, parts: list[int], limit: int) -> list[Hit]:
        if self._rows.dimensions(key) is None:
            return []
        found = self._rows.matching(key, text, parts, limit)
        return [_hit(row, score / (1.0 + score) if score > 0 else 0.0) for row, score in found]

    def _store(self, key: str) -> _Loaded | None:
        """Return the store, whose vectors may not be there yet; None where there is no such store."""
        with self._guard:
            found = self._loaded.get(key)
            if found is None:
                dimensions = self._rows.dimensions(key)
                if dimensions is None:
                    return None
                found = self._loaded[key] = _Loaded(dimensions)
            self._loaded.move_to_end(key)
            return found

    def _extend(self, loaded: _Loaded, rows: Any) -> None:
        """Add rows to the vectors in memory; the caller has their lock."""
        import faiss
        import numpy as np

        index = loaded.index
        if index is None:
            index = faiss.IndexFlatIP(loaded.dimensions)
            loaded.rows = loaded.parts = np.empty(0, np.int64)
        found, parts = [loaded.rows], [loaded.parts]
        for some in rows:
            found.append(np.array([row for row, _, _ in some], np.int64))
            parts.append(np.array([part for _, part, _ in some], np.int64))
            vectors = np.frombuffer(b"".join(vector for _, _, vector in some), np.float32)
            index.add(vectors.reshape(len(some), loaded.dimensions))
        loaded.rows, loaded.parts = np.concatenate(found), np.concatenate(parts)
        loaded.index = index

    def _forget_parts(self, key: str, parts: list[int]) -> None:
        import numpy as np

        with self._guard:
            loaded = self._loaded.get(key)
        if loaded is None:
            return
        with loaded.lock:
            if loaded.index is None:
                return
            gone = np.isin(loaded.parts, np.array(parts, np.int64))
            if gone.any():
                loaded.index.remove_ids(np.flatnonzero(gone))
                loaded.rows, loaded.parts = loaded.rows[~gone], loaded.parts[~gone]

    def _make_room(self, key: str) -> None:
        """Drop the vectors of stores that were used least recently, where there are too many."""
        with self._guard:
            size = sum(each.bytes for each in self._loaded.values())
            for other in [other for other in self._loaded if other != key]:
                if size <= MOST_BYTES and len(self._loaded) <= MOST_STORES:
                    return
                size -= self._loaded.pop(other).bytes

    def _unload(self, key: str) -> None:
        with self._guard:
            self._loaded.pop(key, None)

    def _mark(self, key: str, marks: Sequence[bytes]) -> None:
        self._marks.setdefault(key, deque(maxlen=MARKS)).extend(mark for mark in marks if any(mark))


@contextmanager
def _told() -> Iterator[None]:
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


def _among(bits: Any) -> Any:
    """Return the parameters of a search among the vectors whose bits are set."""
    import faiss

    library: Any = faiss
    return library.SearchParameters(sel=library.IDSelectorBitmap(bits))


def _hit(row: Row, score: float) -> Hit:
    _, part, ordinal, text, name, extra = row
    return Hit(part, ordinal, text, min(1.0, max(0.0, score)), name, extra)
