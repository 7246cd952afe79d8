"""Purges: the bytes of what is gone leave the indexes, which is verified before it is forgotten.

What is gone is hidden by the change that removes it; this only makes sure that nothing of it is kept. Any number of
processes may sweep, each with other notes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

from server.api.vector_stores.links import FILE_ID
from server.api.vector_stores.purges import UNDER_WAY, Note, key_of, part_of
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.store import VectorStores
from server.background.pauses import about, until_woken
from server.background.tasks import in_background
from server.fairness.shares import NoRoom
from server.storage.database.database import DatabaseUnavailable, Overtaken
from server.storage.records.record import Record
from server.storage.records.table import RecordTable
from server.storage.vectors.index import IndexUnavailable, VectorIndex

SWEEP_SECONDS: Final = 10.0
"""Seconds between two sweeps, about; what is deleted here is purged in a second or two."""

CLAIM_SECONDS: Final = 45
"""Seconds for which a process that purges a store keeps others away from what it purges."""

STARTING_SECONDS: Final = 2
"""Seconds after which what could not be purged is due again because its index was about to open."""

SCAN_SECONDS: Final = 3600
"""Seconds between two scans for links whose files are gone without a note."""

_AT_ONCE: Final = 200
_LINKS_AT_ONCE: Final = 500
_SOON: Final = 1.0
"""Seconds in which further deletions come into the same purge."""

_PAUSE: Final = 0.01

_log: Final = logging.getLogger("ostiary.vectors")

IndexOfProvider: TypeAlias = Callable[[str | None], VectorIndex]
"""Returns the index of a provider, None for the default one; raises IndexUnavailable where it isn't configured."""


class PurgeSweeper:
    """Does what the notes of a queue say, for stores whose files are in the table `files`.

    `oldest` is the age in seconds of the oldest note that is not done, as of the last sweep; 0 where there is none.
    """

    def __init__(
        self,
        stores: VectorStores,
        queue: IngestionQueue,
        files: RecordTable,
        index_of: IndexOfProvider,
        count: Callable[[int], None] = lambda _parts: None,
    ) -> None:
        """`count` is told of parts whose bytes are gone."""
        self.oldest = 0
        self._count = count
        self._is_planned = False
        self._stores = stores
        self._queue = queue
        self._notes = queue.notes
        self._files = files
        self._index_of = index_of
        links = stores.links
        self._some_links = (
            f"SELECT id, {FILE_ID[links.database.kind]} "  # noqa: S608 - a checked name
            f'FROM "{links.name}" WHERE id > ?1 ORDER BY id LIMIT {_LINKS_AT_ONCE}'
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep for as long as the context lasts."""
        async with in_background("purge of vector stores", self._sweep_for_ever()):
            yield

    async def sweep(self) -> None:
        """Do what is due; raises DatabaseUnavailable and NoRoom."""
        if not self._is_planned:
            await self._notes.records.database.write(self._notes.scanning())
            self._is_planned = True
        due = await self._notes.due(_AT_ONCE)
        self.oldest = max((int(time.time()) - note.created_at for note in due if note.facet != Note.SCAN), default=0)
        stores: dict[str, list[Record]] = defaultdict(list)
        for note in due:
            # Of notes that another process has claimed in the meantime, that one takes care.
            with suppress(Overtaken):
                match note.facet:
                    case Note.FILE:
                        await self._unlink(note)
                    case Note.SCAN:
                        await self._scan(note)
                    case _:
                        stores[key_of(note)].append(note)
        for key, notes in stores.items():
            with suppress(Overtaken):
                await self._purge(key, notes)

    async def _sweep_for_ever(self) -> None:
        while True:
            self._queue.purging.clear()
            try:
                await self.sweep()
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("deleted chunks of vector stores are still on the disk: %s", fault)
            await until_woken(self._queue.purging, about(SWEEP_SECONDS))
            await asyncio.sleep(_SOON)

    async def _purge(self, key: str, notes: Sequence[Record]) -> None:
        """Purge what these notes of one store are about; raises Overtaken where another process does that."""
        began = time.monotonic()
        claimed = await self._notes.claim(notes, CLAIM_SECONDS)
        store, parts = claimed[0].body["store"], [part_of(note) for note in claimed if note.facet == Note.PART]
        whole = any(note.facet == Note.STORE for note in claimed)
        try:
            index = self._index_of(claimed[0].body["provider_id"])
            if whole:
                await index.drop(key)
                # Nothing of the parts is left either.
                claimed += [note for note in await self._notes.about(key, _AT_ONCE) if note.facet not in UNDER_WAY]
            else:
                await index.remove(key, parts)
                for note in claimed:
                    if chunks := self._notes.chunks_of(note):
                        await index.remove_chunks(key, chunks)
                if not await index.purge(key):
                    _log.warning("deleted chunks of the vector store `%s` are still on the disk; tried again", store)
                    return
        except IndexUnavailable as fault:
            _log.warning("deleted chunks of the vector store `%s` are still on the disk: %s", store, fault)
            if fault.starting:
                # It opens in a moment; a claim that lasts longer would only delay the purge.
                await self._notes.claim(claimed, STARTING_SECONDS)
            return
        known = {note.id: note for note in claimed}
        gone = await self._stores.find(store) is None
        await self._notes.records.database.write(*self._notes.purged(key, [*known.values()], store_is_gone=gone))
        self._count(len(known))
        seconds = time.monotonic() - began
        what = "everything" if whole else f"{len(parts)} parts" if parts else "chunks"
        _log.info("purged %s of the vector store `%s` in %.1f s", what, store, seconds)

    async def _unlink(self, note: Record) -> None:
        """Remove the links to a file that is gone; raises Overtaken where another process does that."""
        [claimed] = await self._notes.claim([note], CLAIM_SECONDS)
        file_id: str = claimed.body["file_id"]
        if not await self._files.find_all([file_id]):
            while links := await self._stores.links_to(file_id):
                for link in links:
                    store = await self._stores.find(link.store_id)
                    leaving = () if store is None else self._queue.leaving(store, link)
                    with suppress(Overtaken):
                        await self._stores.links.database.write(self._stores.links.removing_this(link.record), *leaving)
                    await asyncio.sleep(_PAUSE)
        await self._notes.records.database.write(self._notes.records.removing_this(claimed))
        self._queue.purging.set()

    async def _scan(self, note: Record) -> None:
        """Note the files that are gone and still have links; raises Overtaken where another process does that."""
        await self._notes.claim([note], SCAN_SECONDS)
        after = ""
        while rows := await self._stores.links.database.read(self._some_links, after):
            after = rows[-1][0]
            named = {file_id for _, file_id in rows if file_id}
            missing = named - {stored.id for stored in await self._files.find_all([*named])}
            steps = [step for file_id in missing for step in self._notes.file_gone(file_id)]
            if steps:
                await self._notes.records.database.write(*steps)
            await asyncio.sleep(_PAUSE)
