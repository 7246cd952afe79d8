"""Chunks in tables of LanceDB, one for each store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from server.background.ends import in_thread_to_its_end, to_its_end
from server.storage.vectors import lance_queries, memory
from server.storage.vectors.index import Chunk, Held, Hit, IndexUnavailable, Vector
from server.storage.vectors.keys import checked, numbers
from server.storage.vectors.lance_library import FAULTS, connected, is_missing, is_passing, unavailable
from server.storage.vectors.lance_place import SETTLED_SECONDS, Place
from server.storage.vectors.lance_upkeep import Upkeep, index, rewritten
from server.storage.vectors.opening import FULL, NO_ROOM, Opening
from server.storage.vectors.rows import NewRows, Placed, in_part, in_parts, schema, unit_vectors, wrong

MOST_OPEN: Final = 64
"""Tables that one process holds open; the one that was used least recently is closed for another."""

TRIES: Final = 4
"""Times that something is done while other processes change the same table under it."""

MARKS: Final = 4
"""Removed vectors of each store that a purge looks for in the files, besides counting these."""

MOST_MARKED: Final = 1024
"""Stores whose removed vectors one process remembers."""

_PAUSE: Final = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that is open, and the number of its vectors' dimensions."""

    rows: Any
    dimensions: int


class LanceIndex:
    """A `VectorIndex` in a directory or a bucket, which several processes may use.

    Vectors have length 1, so that their distance is 1 less their cosine. Searches compare the query with each vector of
    the parts: an approximate index misses most of what a filter leaves (decision 117).
    """

    def __init__(self, place: Place, *, lazily: bool = False) -> None:
        """`lazily` opens it at its first use."""
        self._place = place
        self._opening = Opening[Any](self._open, lazily=lazily)
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._marks: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._upkeep = Upkeep(self._optimizable)
        self._full = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the index in the background for as long as the context lasts; entering it waits for nothing."""
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self._opening.running(self._closed))
            await opened.enter_async_context(self._upkeep.running())
            yield

    @property
    def fault(self) -> str | None:
        """Why the index isn't ready, or takes no more chunks; None where it does."""
        return self._opening.fault or (FULL if self._full else None)

    def check_open(self) -> None:
        """Raise IndexUnavailable unless the index is open; one that opens at its first use begins to."""
        self._opening.opened()

    async def add(self, key: str, dimensions: int, part: int, chunks: AsyncIterator[Sequence[Chunk]]) -> int:
        """Add chunks to a part, all in one commit, and return how many; raises WrongDimensions and what they raise."""
        [number] = numbers([part])
        return await self._added(key, dimensions, in_part(number, chunks))

    async def put(self, key: str, dimensions: int, chunks: Mapping[int, Sequence[Chunk]]) -> None:
        """Add chunks to several parts, all of them in one commit or none; raises WrongDimensions."""
        numbers([*chunks])
        await self._added(key, dimensions, in_parts(chunks))

    async def _added(self, key: str, dimensions: int, placed: AsyncIterator[Sequence[Placed]]) -> int:
        self._opening.opened()
        checked(key)
        rows = await asyncio.to_thread(NewRows, dimensions, self._place.scratch)
        try:
            async for some in placed:
                with self._written():
                    await in_thread_to_its_end(partial(rows.write, some))
            if rows.count:
                async with self._place.held(key, alone=False):
                    with self._written():
                        await self._tried(key, partial(self._append, rows), made_for=dimensions)
                self._upkeep.committed(key)
        finally:
            await in_thread_to_its_end(partial(_let_go, rows))
        return rows.count

    async def nearest(self, key: str, vector: Vector, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that are nearest to the vector, best first."""
        [query] = unit_vectors([vector], len(vector))
        wanted = numbers(parts)

        async def search(table: _Table) -> list[Hit]:
            if len(vector) != table.dimensions:
                raise wrong(len(vector), table.dimensions)
            return await lance_queries.nearest(table.rows, query, wanted, limit)

        return (await self._tried(key, search) or []) if parts else []

    async def matching(self, key: str, text: str, parts: Sequence[int], limit: int) -> list[Hit]:
        """Return the chunks of these parts that have words of the text, best first by BM25."""
        wanted = numbers(parts)

        async def search(table: _Table) -> list[Hit]:
            return await lance_queries.matching(table.rows, text, wanted, limit)

        return (await self._tried(key, search) or []) if parts and text else []

    async def chunks(self, key: str, part: int, first: int, limit: int) -> list[Chunk]:
        """Return the chunks of a part from the ordinal `first` on, in their order, without their vectors."""
        [number] = numbers([part])

        async def scan(table: _Table) -> list[Chunk]:
            return await lance_queries.chunks(table.rows, number, first, limit)

        return await self._tried(key, scan) or []

    async def named(self, key: str, names: Mapping[int, Sequence[str]]) -> list[Held]:
        """Return the chunks that have one of these names in one of these parts, in no order."""
        wanted = {part: names[part] for part in numbers([*names]) if names[part]}

        async def scan(table: _Table) -> list[Held]:
            return await lance_queries.named(table.rows, wanted)

        return (await self._tried(key, scan) or []) if wanted else []

    async def remove(self, key: str, parts: Sequence[int]) -> None:
        """Remove whole parts: nothing finds them any more."""
        wanted = numbers(parts)
        if wanted:
            await self._delete(key, lance_queries.among(wanted))

    async def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> None:
        """Remove chunks of parts by their ordinals, all of them in one commit."""
        wanted = {part: ordinals[part] for part in numbers([*ordinals]) if ordinals[part]}
        if wanted:
            await self._delete(key, lance_queries.at_ordinals(wanted))

    async def drop(self, key: str) -> None:
        """Remove a store with its bytes; one that isn't there is no error."""
        connection = self._opening.opened()
        async with self._place.held(key, alone=True) as alone:
            if not alone:
                raise IndexUnavailable("the vector store is being changed; try again later")
            self._forget(key)
            self._marks.pop(key, None)
            try:
                await connection.drop_table(checked(key), ignore_missing=True)
            except FAULTS as fault:
                raise unavailable(fault) from None

    async def purge(self, key: str) -> bool:
        """Rewrite a store without the bytes of what was removed, and return whether none of these bytes is left."""
        self._opening.opened()
        async with self._place.held(key, alone=True) as alone:
            if not alone:
                return False
            marks = [*self._marks.get(key, ())]
            with self._written():
                await self._place.tidy(key)
            files = await self._place.files(key)
            # A file that no version names may be one that another process is about to commit.
            leftovers = self._place.guards or files.newest > SETTLED_SECONDS
            with self._written():
                clean = await self._tried(key, partial(rewritten, self._place, key, leftovers=leftovers))
            if clean is False:
                return False
            gone = (
                await self._tried(key, lambda table: lance_queries.without_twins(table.rows, marks)) if marks else marks
            )
            if await self._place.holds(key, marks if gone is None else gone):
                return False
            self._marks.pop(key, None)
            await asyncio.to_thread(memory.give_back)
            return True

    async def _open(self) -> Any:
        await self._place.prepare()
        return await connected(self._place.uri, self._place.options())

    async def _closed(self, connection: Any) -> None:
        self._tables.clear()
        connection.close()

    async def _append(self, rows: NewRows, table: _Table) -> None:
        # One that is cancelled would go on in LanceDB's threads for a while, and read a file that is closed by then.
        await to_its_end(table.rows.add(rows.read(), write_parallelism=1))

    async def _delete(self, key: str, which: Any) -> None:
        async def delete(table: _Table) -> None:
            seen = await table.rows.query().where(which).select(["vector"]).limit(MARKS).to_arrow()
            await table.rows.delete(which)
            self._mark(key, (bytes(row.values.to_numpy().tobytes()) for row in seen["vector"]))

        self._opening.opened()
        async with self._place.held(key, alone=False):
            with self._written():
                await self._tried(key, delete)
        self._upkeep.committed(key)

    def _mark(self, key: str, vectors: Iterator[bytes]) -> None:
        """Remember vectors that were removed, but none of zeros, which stand anywhere."""
        kept = self._marks.setdefault(key, deque(maxlen=MARKS))
        kept.extend(vector for vector in vectors if any(vector))
        self._marks.move_to_end(key)
        while len(self._marks) > MOST_MARKED:
            self._marks.popitem(last=False)

    async def _tried(self, key: str, work: Callable[[Any], Awaitable[T]], *, made_for: int | None = None) -> T | None:
        """Return what `work` returns of the store's table, again where another process has changed it.

        None where there is no table, unless one is to be `made_for` vectors of so many dimensions.
        """
        checked(key)
        for tried in range(TRIES):
            try:
                table = await self._table(key, made_for)
                if table is None:
                    return None
                return await work(table)
            except FAULTS as fault:
                self._forget(key)
                if isinstance(fault, OSError) and fault.errno in NO_ROOM:
                    raise IndexUnavailable(FULL) from None
                if tried == TRIES - 1 or not is_passing(fault):
                    raise unavailable(fault) from None
            await asyncio.sleep(_PAUSE * 2**tried)
        raise AssertionError("the last try raises")

    async def _table(self, key: str, made_for: int | None = None) -> _Table | None:
        connection = self._opening.opened()
        found = self._tables.get(checked(key))
        if found is None:
            try:
                rows = await connection.open_table(key)
            except ValueError as fault:
                if not is_missing(fault):
                    raise
                if made_for is None:
                    return None
                rows = await self._made(key, made_for)
            found = _Table(rows, (await rows.schema()).field("vector").type.list_size)
        if made_for not in (None, found.dimensions):
            raise wrong(made_for, found.dimensions)
        self._tables[key] = found
        self._tables.move_to_end(key)
        while len(self._tables) > MOST_OPEN:
            self._tables.popitem(last=False)
        return found

    async def _made(self, key: str, dimensions: int) -> Any:
        connection = self._opening.opened()
        rows = await connection.create_table(key, schema=schema(dimensions), exist_ok=True)
        await index(rows)
        return rows

    async def _optimizable(self, key: str, work: Callable[[Any], Awaitable[None]]) -> None:
        """Let `work` at the store's table, unless it is being purged."""
        async with self._place.held(key, alone=False):
            await self._tried(key, lambda table: work(table.rows))

    def _forget(self, key: str) -> None:
        self._tables.pop(key, None)

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Note whether the disk takes what is written; raises IndexUnavailable where it doesn't."""
        try:
            yield
        except OSError as error:
            self._full = self._full or error.errno in NO_ROOM
            raise (IndexUnavailable(FULL) if error.errno in NO_ROOM else unavailable(error)) from None
        except IndexUnavailable as fault:
            self._full = self._full or str(fault) == FULL
            raise
        self._full = False


def _let_go(rows: NewRows) -> None:
    """Close the rows, whose file the disk may take a while to remove, and give back what they had of the memory."""
    rows.close()
    if rows.is_large:
        memory.give_back()
