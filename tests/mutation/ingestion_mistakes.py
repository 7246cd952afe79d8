"""Deliberate mistakes about texts that come into vector stores and go again, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

INGESTION = "server/api/vector_stores/ingestion.py"
FILLING = "server/api/vector_stores/filling.py"
PURGING = "server/api/vector_stores/purging.py"
PURGES = "server/api/vector_stores/purges.py"
PLACES = "server/api/vector_stores/file_places.py"
WORK = "server/api/vector_stores/work.py"
CLAIMS = "server/api/vector_stores/claims.py"
DOCUMENTS = "server/api/vector_stores/documents.py"
DEFERRED = "server/http/deferred.py"

INGESTION_MISTAKES = (
    Mistake(
        "a file is ingested for who may only read the store",
        FILLING,
        "await self._stores.fillable(gate, store.id)",
        "await self._stores.readable(gate, store.id)",
    ),
    Mistake(
        "a file is ingested for who may not read it",
        FILLING,
        "file = await self._files.records.get(gate, link.file_id)",
        "[file] = await self._files.records.whole([*(await self._files.records.known([link.file_id])).values()])",
    ),
    Mistake("an expired store takes files in", FILLING, "if has_expired(store):", "if not has_expired:"),
    Mistake("a store has chunks without end", FILLING, "        if self._room < 0:", "        if self._room is None:"),
    Mistake(
        "a file is ingested as the owner of the store",
        INGESTION,
        "gate = self._deferred.gate(link.owner",
        "gate = self._deferred.gate(store.owner",
    ),
    Mistake(
        "what is ingested may be more than its owner keeps",
        INGESTION,
        "*([] if limit is None else [staying_within(limit, link.owner)])",
        "*([] if limit is None else [])",
    ),
    Mistake(
        "work that waits passes without the token that requests need",
        DEFERRED,
        "requires_token=self._requires_token)",
        "requires_token=False)",
    ),
    Mistake("a part is not drawn anew", WORK, "int(time.time()), new_part()", "int(time.time()), work.ordering"),
    Mistake(
        "a caller's long file keeps others from its store",
        WORK,
        """AND COALESCE(held.owner_principal, '') = COALESCE(waiting.owner_principal, '')""",
        "AND (TRUE OR waiting.facet = '')",
    ),
    Mistake(
        "long work is begun where only short work is looked for",
        INGESTION,
        "queue.rounds if places.take_long_ones else queue.short_rounds",
        "queue.rounds",
    ),
    Mistake(
        "work that made room is not known for it",
        WORK,
        'return {**lease.work.body, "tries": lease.tries}',
        'return {"tries": lease.tries}',
    ),
    Mistake(
        "long files make no room",
        INGESTION,
        "            places.make_room()\n",
        "",
    ),
    Mistake(
        "all places are for long files",
        PLACES,
        "if len(long) <= LONG_AT_ONCE or",
        "if len(long) <= AT_ONCE or",
    ),
    Mistake(
        "a file makes room again and again",
        PLACES,
        "for each in long if not each.has_waited)",
        "for each in long)",
    ),
    Mistake(
        "a caller of one store has two processes ingest into it",
        WORK,
        "                self.records.inserting(holding),\n",
        "",
    ),
    Mistake(
        "what a failed attempt has left stays",
        WORK,
        "self.notes.giving_up(lease.attempt) if lease.has_begun else",
        "self.notes.giving_up(lease.attempt) if not lease.has_begun else",
    ),
    Mistake(
        "a part that was given up is kept",
        PURGES,
        "return [step, self.records.removing(attempt.id, otherwise=Overtaken())]",
        "return [self.records.removing(attempt.id)] if step else []",
    ),
    Mistake("a purge waits long for an index that opens", PURGING, "if fault.starting:", "if False:"),
    Mistake(
        "what an index still has is forgotten",
        PURGING,
        "if not await index.purge(key):",
        "if await index.purge(key) is None:",
    ),
    Mistake(
        "links to a file that is there go",
        PURGING,
        "if not await self._files.find_all([file_id]):",
        "if file_id:",
    ),
    Mistake(
        "an expired store takes texts in",
        DOCUMENTS,
        "        await self._stores.use(store)\n        index",
        "        index",
    ),
    Mistake(
        "texts are put in whatever a caller keeps",
        CLAIMS,
        "await self._stores.records.write(limit, owner, Stored(0, sum(more.values())), *steps)",
        "await self._stores.records.write(None, owner, Stored(0, sum(more.values())), *steps)",
    ),
    Mistake(
        "two requests change one document",
        CLAIMS,
        'if all((link.record.body.get("busy_until") or 0) <= time.time() for',
        'if all((link.record.body.get("busy_until") or 0) >= 0 for',
    ),
    Mistake(
        "a text goes before the one that takes its place is there",
        DOCUMENTS,
        "            begun = True\n",
        "            await index.remove_chunks(\n"
        "                key, {claim.links[name].part: change.removed for name, change in changes.items()}\n"
        "            )\n"
        "            begun = True\n",
    ),
    Mistake(
        "what a failed request has put in stays",
        CLAIMS,
        "coming = self._notes.chunks_of(claim.note) if has_begun else {}",
        "coming = self._notes.chunks_of(claim.note) if not has_begun else {}",
    ),
    Mistake(
        "chunks of a killed request count as those of its document",
        DOCUMENTS,
        "            await index.remove_chunks(key, claim.stray)\n",
        "",
    ),
    Mistake(
        "chunks of a killed request stay",
        PURGING,
        "if chunks := self._notes.chunks_of(note):",
        "if chunks := {} and self._notes.chunks_of(note):",
    ),
    Mistake(
        "chunks that were given up count",
        PURGES,
        "            return self.records.removing_this(note)\n        return self.records.changing(note, {**note.body",
        "            return self.records.removing(note.id)\n        return self.records.changing(note, {**note.body",
    ),
    Mistake(
        "replaced chunks are forgotten where the index fails",
        PURGES,
        'return self.records.changing(note, {**note.body, "chunks": _texts(gone)}, Note.CHUNKS, int(time.time()))',
        "return self.records.removing_this(note)",
    ),
    Mistake(
        "a document has the attributes of its last chunks",
        DOCUMENTS,
        "is_all = len(before) == claim.links[name].chunks",
        "is_all = len(before) <= claim.links[name].chunks",
    ),
    Mistake(
        "what a cancelled link has ingested is completed",
        INGESTION,
        "                if link.status is not Status.IN_PROGRESS:\n                    return False\n",
        "",
    ),
)
