"""Notes of what has to leave an index: written with the change that hides it, and kept until its bytes are gone.

There is a note for each part that an attempt to ingest something may have begun, for the chunks that a request puts in,
for each part whose link is gone, for each store that is gone, and for each file that is gone. A process that is killed
at any point leaves its notes, and the sweeper of any process goes on with them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from json import dumps
from secrets import token_hex
from typing import Final, TypeAlias

from server.api.vector_stores.links import Link
from server.http.held_lease import LEASE_SECONDS
from server.storage.database.database import Overtaken, Step
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable


class Note(StrEnum):
    """The kind of a note; the facet of its record.

    An `attempt` becomes due unless it is renewed: then its process has ended. `done` says when a store was last purged,
    and `scan` when links are looked through for files that are gone. `chunks` leave parts that stay, and so do `coming`
    chunks unless the request that puts them in comes to its end.
    """

    ATTEMPT = "attempt"
    PART = "part"
    CHUNKS = "chunks"
    COMING = "coming"
    STORE = "store"
    FILE = "file"
    DONE = "done"
    SCAN = "scan"


UNDER_WAY: Final = (Note.ATTEMPT, Note.COMING)
"""Kinds of notes about what isn't gone, but may be soon."""

Ordinals: TypeAlias = Mapping[int, Sequence[int]]
"""Chunks by their parts."""


@dataclass(frozen=True, slots=True)
class Purge:
    """The purges of a store: whether bytes are still to be purged, and when that was last done; None if never."""

    pending: bool = False
    last_purged_at: int | None = None


class PurgeNotes:
    """The notes in the table `records`, which is in the database of the vector stores."""

    def __init__(self, records: RecordTable) -> None:
        self.records = records
        given = {
            "sqlite": "json_each(?1) AS given",
            "postgresql": "jsonb_array_elements_text(CAST(?1 AS jsonb)) AS given(value)",
        }[records.database.kind]
        kept = f'SELECT 1 FROM "{records.name}" AS kept WHERE facet NOT IN (?2, ?3) AND '  # noqa: S608 - a checked name
        self._pending = (
            f"SELECT given.value FROM {given} WHERE EXISTS ({kept} kept.id = given.value) "  # noqa: S608 - as above
            f"OR EXISTS ({kept} kept.id > given.value || ':' AND kept.id < given.value || ';')"
        )

    def attempt(self, store: Record, part: int) -> Record:
        """Return the note of an attempt that is about to begin."""
        return _note(_part(store, part), Note.ATTEMPT, _origin(store), LEASE_SECONDS)

    def renewing(self, note: Record) -> tuple[Step, Record]:
        """Return the step that says that the work behind a note goes on, and the note then; it raises Overtaken."""
        end = int(time.time()) + LEASE_SECONDS
        return self.records.changing(note, note.body, note.facet, end), replace(
            note, expires_at=end, version=note.version + 1
        )

    def settling(self, attempt: Record) -> Sequence[Step]:
        """Return the steps that end an attempt whose part is kept; they raise Overtaken where it was given up."""
        step, _ = self.renewing(attempt)
        return [step, self.records.removing(attempt.id, otherwise=Overtaken())]

    def giving_up(self, attempt: Record) -> Step:
        """Return the step after which the part of an attempt is purged; it raises Overtaken."""
        return self.records.changing(attempt, attempt.body, Note.PART, int(time.time()))

    def dismissing(self, attempt: Record) -> Step:
        """Return the step that forgets an attempt that has brought nothing; it raises Overtaken."""
        return self.records.removing_this(attempt)

    def leaving(self, store: Record, link: Link) -> Sequence[Step]:
        """Return the steps of a transaction in which a link goes."""
        return [self._adding(_note(_part(store, link.part), Note.PART, _origin(store)))]

    def coming(self, store: Record, chunks: Ordinals, seconds: int) -> Record:
        """Return the note of chunks that are about to come into parts, and are removed unless that ends in time."""
        return _note(_some_chunks(store), Note.COMING, {**_origin(store), "chunks": _texts(chunks)}, seconds)

    def chunks_of(self, note: Record) -> Ordinals:
        """Return the chunks that a note is about, by their parts."""
        return {int(part): ordinals for part, ordinals in note.body.get("chunks", {}).items()}

    def come(self, note: Record, gone: Ordinals) -> Step:
        """Return the step of the transaction in which chunks that were coming count, and those that are `gone` don't.

        It raises Overtaken where the chunks were given up.
        """
        if not gone:
            return self.records.removing_this(note)
        return self.records.changing(note, {**note.body, "chunks": _texts(gone)}, Note.CHUNKS, int(time.time()))

    def not_come(self, store: Record, note: Record, chunks: Ordinals) -> Sequence[Step]:
        """Return the steps that end a note of chunks that were coming, of which these may be there."""
        ending = self.records.removing(note.id)
        if not chunks:
            return [ending]
        gone = _note(_some_chunks(store), Note.CHUNKS, {**_origin(store), "chunks": _texts(chunks)})
        return [ending, self._adding(gone)]

    def dropping(self, store: Record) -> Sequence[Step]:
        """Return the steps of a transaction in which a store goes."""
        return [self._adding(_note(store.body["index"], Note.STORE, _origin(store)))]

    def file_gone(self, file_id: str) -> Sequence[Step]:
        """Return the steps of a transaction in which a file goes, or of one right after it."""
        return [self._adding(_note(f"file:{file_id}", Note.FILE, {"file_id": file_id}))]

    def scanning(self) -> Step:
        """Return the step after which links are looked through, unless that is planned already."""
        return self._adding(_note("scan", Note.SCAN, {}))

    async def due(self, most: int) -> list[Record]:
        """Return up to `most` notes whose time has come, the oldest first."""
        ids = await self.records.expired(int(time.time()), most)
        found = [
            stored.record for identity in ids for stored in await self.records.chosen("id = ?1", identity, limit=1)
        ]
        return [note for note in found if note.expires_at is not None and note.expires_at <= int(time.time())]

    async def about(self, key: str, most: int) -> list[Record]:
        """Return up to `most` notes about the parts of a store."""
        found = await self.records.chosen("id > ?1 AND id < ?2", f"{key}:", f"{key};", limit=most)
        return [stored.record for stored in found]

    async def claim(self, notes: Sequence[Record], seconds: int) -> list[Record]:
        """Return the notes, which no other process works on for so many seconds; raises Overtaken where one does.

        What was an attempt is a part to be purged from then on.
        """
        end = int(time.time()) + seconds
        kinds = [Note.PART if note.facet == Note.ATTEMPT else Note(note.facet) for note in notes]
        steps = [
            self.records.changing(note, note.body, kind.value, end) for note, kind in zip(notes, kinds, strict=True)
        ]
        await self.records.database.write(*steps)
        return [
            replace(note, facet=kind.value, expires_at=end, version=note.version + 1)
            for note, kind in zip(notes, kinds, strict=True)
        ]

    async def of(self, stores: Iterable[Record]) -> dict[str, Purge]:
        """Return how far the purges of these stores are, by the stores' ids."""
        keys = {store.body["index"]: store.id for store in stores}
        if not keys:
            return {}
        pending = await self.records.database.read(self._pending, dumps([*keys]), *(note.value for note in UNDER_WAY))
        waiting = {row[0] for row in pending}
        done = await self.records.find_all([_done(key) for key in keys])
        times = {stored.id: stored.record.body["at"] for stored in done}
        return {identity: Purge(key in waiting, times.get(_done(key))) for key, identity in keys.items()}

    def purged(self, key: str, notes: Sequence[Record], *, store_is_gone: bool = False) -> Sequence[Step]:
        """Return the steps that forget these notes of a store, whose bytes are gone; they raise Overtaken."""
        forgetting = [self.records.removing_this(note) for note in notes]
        done = self.records.removing(_done(key))
        if store_is_gone or any(note.facet == Note.STORE for note in notes):
            return [*forgetting, done]
        return [*forgetting, done, self._adding(_note(_done(key), Note.DONE, {"at": int(time.time())}, None))]

    def _adding(self, note: Record) -> Step:
        """Return the step that adds a note, unless it is there already."""
        step = self.records.inserting(note)
        return replace(step, statement=f"{step.statement} ON CONFLICT (id) DO NOTHING")


def key_of(note: Record) -> str:
    """Return the key of the store in the index that a note of a part or a store is about."""
    return note.id.partition(":")[0]


def part_of(note: Record) -> int:
    """Return the number of the part that a note is about."""
    return int(note.id.partition(":")[2])


def _note(identity: str, kind: Note, body: dict[str, object], lifetime: int | None = 0) -> Record:
    return Draft(identity, body, facet=kind.value, lifetime=lifetime).owned_by(None)


def _some_chunks(store: Record) -> str:
    return f"{store.body['index']}:c{token_hex(16)}"


def _texts(chunks: Ordinals) -> dict[str, list[int]]:
    """Return chunks as JSON has them."""
    return {str(part): [*ordinals] for part, ordinals in chunks.items()}


def _part(store: Record, part: int) -> str:
    return f"{store.body['index']}:{part}"


def _origin(store: Record) -> dict[str, object]:
    """Return what tells the index of a store when the store itself is gone."""
    return {"store": store.id, "provider_id": store.body["provider_id"]}


def _done(key: str) -> str:
    return f"done:{key}"
