"""Deliberate mistakes in vector stores, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

FINDABLE = "server/api/vector_stores/findable.py"
SEARCH = "server/api/vector_stores/search.py"
FILTERS = "server/api/vector_stores/filters.py"
ATTACHING = "server/api/vector_stores/attaching.py"
FILES = "server/api/vector_stores/files.py"
PAGES = "server/api/vector_stores/pages.py"
INGESTION = "server/api/vector_stores/ingestion.py"
FILLING = "server/api/vector_stores/filling.py"
PURGING = "server/api/vector_stores/purging.py"
PURGES = "server/api/vector_stores/purges.py"
PLACES = "server/api/vector_stores/file_places.py"
WORK = "server/api/vector_stores/work.py"
CLAIMS = "server/api/vector_stores/claims.py"
DOCUMENTS = "server/api/vector_stores/documents.py"
DEFERRED = "server/http/deferred.py"
PERMITTED = "server/storage/records/permitted.py"
FINGERPRINTS = "server/api/models/fingerprints.py"
STORE = "server/api/vector_stores/store.py"
EMBEDDING = "server/api/models/embedding.py"

VECTOR_MISTAKES = (
    Mistake(
        "a search finds texts of files that the caller may not read",
        FINDABLE,
        "return {part: place for part, place in places.items() if not place.file_id or place.file_id in readable}",
        "return places if readable is not None else {}",
    ),
    Mistake("a search looks in links that are not completed", FINDABLE, "AND facet = ?4", "AND ?4 = ?4"),
    Mistake(
        "a search passes over its filter", FINDABLE, 'f" AND ({condition.text})"', 'f" AND (1 = 1 OR {condition.text})"'
    ),
    Mistake(
        "a chunk of a part that its link has left is shown",
        SEARCH,
        "if found is not None and found[0].part == hit.part:",
        "if found is not None:",
    ),
    Mistake(
        "an expired store is searched",
        SEARCH,
        "        await self._stores.use(store)\n        index = self._index_of(store)\n        leave_place()",
        "        index = self._index_of(store)\n        leave_place()",
    ),
    Mistake(
        "a score tells how often others use a word",
        SEARCH,
        "await in_thread(by_words, query, matching) if matching else []",
        "matching",
    ),
    Mistake(
        "a value of a filter is part of its statement",
        FILTERS,
        "yield spelled.text.format(sign, self._bound(value))",
        "yield spelled.text.format(sign, f\"'{value}'\")",
    ),
    Mistake(
        "filters inside each other are not held together",
        FILTERS,
        'join(f"({self.condition(each)})" for each in filters)',
        'join(f"{self.condition(each)}" for each in filters)',
    ),
    Mistake(
        "one file that may be read lets others be attached",
        ATTACHING,
        "            if identity not in readable:",
        "            if not readable:",
    ),
    Mistake(
        "a file is attached by who may only read the store",
        FILES,
        'store, permit = await self._stores.changeable(gate, request.path_params["vector_store_id"])',
        'identity = request.path_params["vector_store_id"]\n'
        "        store, permit = await self._stores.records.permitted(gate, identity, Action.READ)",
    ),
    Mistake(
        "a store is shown to who may change it and not read it",
        "server/api/vector_stores/store.py",
        "permitted(gate, identity, Action.UPDATE)\n",
        "permitted(gate, identity, Action.UPDATE, shown=False)\n",
    ),
    Mistake(
        "a file is taken out by who may only read the store",
        FILES,
        'store, _ = await self._stores.changeable(gate, request.path_params["vector_store_id"])\n'
        "        await self._pages",
        'store = await self._stores.readable(gate, request.path_params["vector_store_id"])\n        await self._pages',
    ),
    Mistake(
        "a file is described by who may only read the store",
        FILES,
        'store, _ = await self._stores.changeable(gate, request.path_params["vector_store_id"])\n        link',
        'store = await self._stores.readable(gate, request.path_params["vector_store_id"])\n        link',
    ),
    Mistake(
        "a file that may not be read is taken out",
        FILES,
        "        await self._pages.find(gate, store, file_id)\n",
        "",
    ),
    Mistake(
        "a list shows links to files that may not be read",
        PAGES,
        "return [link for link in links if link.file_id in readable]",
        "return [link for link in links if link.file_id or readable]",
    ),
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
        "what is found is what may be changed",
        PERMITTED,
        "async with gate.listing(Action.READ, self._kind.type, self._kind.types) as listing:\n            permitted",
        "async with gate.listing(Action.UPDATE, self._kind.type, self._kind.types) as listing:\n            permitted",
    ),
    Mistake(
        "records that only a question decides are found unasked",
        PERMITTED,
        "found.update(record.id for record in await self._kept(listing, rows))",
        "found.update(record.id for record, verdict in rows if verdict is not RowVerdict.DENY)",
    ),
    Mistake(
        "a model makes embeddings for who may not read it",
        EMBEDDING,
        "found = replace(await find_model(self._catalogue, gate, name), fallback",
        "found = replace(self._catalogue._configured[name], fallback",
    ),
    Mistake("another model makes vectors for a store", EMBEDDING, ", fallback=(), weights={})", ", weights={})"),
    Mistake(
        "another model searches among vectors of a store",
        SEARCH,
        "        check_model(store, model)\n        try:",
        "        try:",
    ),
    Mistake(
        "another model fills a store",
        FILLING,
        "        check_model(store, model)\n        room",
        "        room",
    ),
    Mistake(
        "another model makes vectors for texts of a store",
        DOCUMENTS,
        "            check_model(store, model)\n            for",
        "            for",
    ),
    Mistake(
        "any files are those of a model",
        FINGERPRINTS,
        'return None if digest is None else f"{named} {digest}"',
        "return None if digest is None else named",
    ),
    Mistake(
        "a store takes the dimensions of what fills it",
        STORE,
        "body = {**store.body, **first, **kept}",
        "body = {**store.body, **kept, **first}",
    ),
    Mistake("vectors go to other texts", EMBEDDING, 'sorted(entries, key=lambda entry: entry["index"])', "entries"),
    Mistake(
        "a link is found to a file that may not be read",
        PAGES,
        "if link is None or file_id not in readable:",
        "if link is None or readable is None:",
    ),
    Mistake(
        "a batch of another store is shown",
        "server/api/vector_stores/store.py",
        'chosen("id = ?1 AND parent = ?2"',
        'chosen("id = ?1 AND ?2 = ?2"',
    ),
    Mistake(
        "what a cancelled link has ingested is completed",
        INGESTION,
        "                if link.status is not Status.IN_PROGRESS:\n                    return False\n",
        "",
    ),
    Mistake(
        "a store whose variable is not set is there", "server/config/tree.py", '    "vector_dbs": _STORE_IDS,\n', ""
    ),
    Mistake(
        "no route has to fill a store",
        "policy/lints/stores.py",
        "not any(_opens(rule, name) for rule in routes)",
        "not name",
    ),
    Mistake(
        "a rule about what is there creates responses",
        "policy/lints/agents.py",
        "and not _is_never_about_new_ones(rule.conditions)",
        "",
    ),
    Mistake(
        "no route has to make responses",
        "policy/lints/agents.py",
        "not any(_opens(rule) for rule in routes)",
        "not routes",
    ),
    Mistake(
        "a forbid in front of all leaves responses",
        "policy/lints/agents.py",
        "rule.effect is Effect.FORBID\n        and Action.CREATE",
        "rule.effect is None\n        and Action.CREATE",
    ),
)
