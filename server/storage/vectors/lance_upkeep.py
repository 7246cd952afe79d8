"""Upkeep of LanceDB's tables: their indexes, the merging of small files, and rewriting without what was removed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final, Protocol

from server.background.tasks import BackgroundTasks
from server.fairness.caller import CURRENT, SERVER
from server.storage.vectors import memory
from server.storage.vectors.index import IndexUnavailable
from server.storage.vectors.lance_place import Files, Place
from server.storage.vectors.rows import UNUSED_PART, filler

COMMITS: Final = 20
"""Changes of a store after which one process looks whether its table needs upkeep."""

MOST_FRAGMENTS: Final = 256
"""Files of rows from which on they are merged, however few rows are new."""

NEW_PART: Final = 4
"""The rows that no index knows yet are merged and indexed when they are one part of so many of all rows."""

MOST_UNKNOWN: Final = 10_000
"""Rows that the index of parts may not know, since each search reads their parts."""

MOST_RENEWED: Final = 10_000
"""Rows of a table whose index of words a purge makes anew; that of a larger one takes too long."""

MOST_WATCHED: Final = 4096
"""Stores whose changes one process counts."""

LONGEST_WORD: Final = 200
"""Characters of a word that keyword search knows; longer ones are left out."""

KEPT_MINUTES: Final = 10
"""Minutes for which a table's older versions stay, for searches that have begun in them."""

_AT_ONCE: Final = timedelta(milliseconds=1)
_ROUNDS: Final = 3

Work = Callable[[Any], Awaitable[None]]


class Table(Protocol):
    """A table that is open, and the number of its vectors' dimensions."""

    @property
    def rows(self) -> Any:
        """LanceDB's table."""
        ...

    @property
    def dimensions(self) -> int:
        """The numbers of each vector."""
        ...


class Upkeep:
    """Counts the changes of stores, and merges and indexes what has gathered, one table at a time."""

    def __init__(self, at: Callable[[str, Work], Awaitable[None]]) -> None:
        """`at` lets work at a store's table; it raises IndexUnavailable."""
        self._at = at
        self._commits: OrderedDict[str, int] = OrderedDict()
        self._tasks = BackgroundTasks()
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End what is under way at the end of the context."""
        try:
            yield
        finally:
            await self._tasks.cancel()

    def committed(self, key: str) -> None:
        """Note a change of a store."""
        count = self._commits.pop(key, 0) + 1
        if count < COMMITS:
            self._commits[key] = count
            if len(self._commits) > MOST_WATCHED:
                self._commits.popitem(last=False)
            return
        token = CURRENT.set(SERVER)
        self._tasks.start("upkeep of a vector store", self._keep(key))
        CURRENT.reset(token)

    async def _keep(self, key: str) -> None:
        async with self._one:
            # Another process may do the same, or the store may be gone: the next changes are another occasion.
            with suppress(IndexUnavailable):
                await self._at(key, _kept)
        await asyncio.to_thread(memory.give_back)


async def index(rows: Any) -> None:
    """Give a table the indexes that it lacks, which `optimize` extends by new rows."""
    from lancedb.index import BTree

    known = {column for found in await rows.list_indices() for column in found.columns}
    if "part" not in known:
        await rows.create_index("part", config=BTree())
    if "text" not in known:
        await rows.create_index("text", config=_words())


async def rewritten(place: Place, key: str, table: Table, *, leftovers: bool) -> bool:
    """Rewrite a table without the rows that were removed, and return whether its files hold the others alone.

    `leftovers` removes files that no version names, too. Each file of rows is one fragment: so where there are as many,
    no mark of deleted rows and one version, no file holds anything else.
    """
    rows = table.rows

    async def optimize() -> Files:
        await rows.optimize(cleanup_older_than=_AT_ONCE, delete_unverified=leftovers)
        return await place.files(key)

    if (await optimize()).deletions:
        # LanceDB leaves a file alone that has few deleted rows, unless it merges it with another small one. It merges
        # only files that the same indexes cover, and so the second time.
        await rows.delete(f"part = {UNUSED_PART}")
        await rows.add(filler(table.dimensions))
        await optimize()
        if (await optimize()).deletions:
            # An update of all rows, which are too many for a small file, writes all of them anew.
            await rows.update(updates_sql={"extra": "extra"})
    if (await rows.stats())["num_rows"] <= MOST_RENEWED:
        # Words that no text has any more may stay in the index of words until it is made anew.
        await rows.create_index("text", config=_words(), replace=True)
    for _ in range(_ROUNDS):
        files = await optimize()
        fragments = (await rows.stats())["fragment_stats"]["num_fragments"]
        if (files.deletions, files.versions, files.data) == (0, 1, fragments):
            return True
    return False


async def _kept(rows: Any) -> None:
    from lancedb.index import BTree

    await index(rows)
    stats = await rows.stats()
    unknown = {column: found.num_unindexed_rows or 0 for found in await rows.list_indices() for column in found.columns}
    fragments = stats["fragment_stats"]["num_fragments"]
    if fragments >= MOST_FRAGMENTS or (fragments > 1 and max(unknown.values()) * NEW_PART >= stats["num_rows"]):
        await rows.optimize(cleanup_older_than=timedelta(minutes=KEPT_MINUTES))
    elif unknown["part"] >= MOST_UNKNOWN:
        # It takes much less than the index of words, and each search reads the parts of rows that it doesn't know.
        await rows.create_index("part", config=BTree(), replace=True)


def _words() -> Any:
    from lancedb.index import FTS

    return FTS(base_tokenizer="icu", max_token_length=LONGEST_WORD, remove_stop_words=False, num_workers=1)
