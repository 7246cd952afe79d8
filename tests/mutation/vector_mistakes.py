"""Deliberate mistakes in vector stores, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

FINDABLE = "server/api/vector_stores/findable.py"
SEARCH = "server/api/vector_stores/search.py"
FILTERS = "server/api/vector_stores/filters.py"
ATTACHING = "server/api/vector_stores/attaching.py"
FILES = "server/api/vector_stores/files.py"
PAGES = "server/api/vector_stores/pages.py"
FILLING = "server/api/vector_stores/filling.py"
DOCUMENTS = "server/api/vector_stores/documents.py"
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
