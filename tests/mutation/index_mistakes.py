"""Deliberate mistakes in the indexes of vectors, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

QUERIES = "server/storage/vectors/lance_queries.py"
UPKEEP = "server/storage/vectors/lance_upkeep.py"
FAISS = "server/storage/vectors/faiss_loaded.py"
KEYS = "server/storage/vectors/keys.py"
SHARED = "server/storage/vectors/shared.py"
ROWS = "server/storage/vectors/faiss_rows.py"
FILE = "server/storage/vectors/faiss_file.py"

INDEX_MISTAKES = (
    Mistake(
        "a search of vectors finds in other parts",
        QUERIES,
        'asked.where(among(parts)).select([*_SHOWN, "_distance"])',
        'asked.select([*_SHOWN, "_distance"])',
    ),
    Mistake(
        "a search of words finds in other parts",
        QUERIES,
        'asked.where(among(parts)).select([*_SHOWN, "_score"])',
        'asked.select([*_SHOWN, "_score"])',
    ),
    Mistake("a distance is shown as a likeness", QUERIES, '1.0 - row["_distance"]', 'row["_distance"]'),
    Mistake(
        "a purge leaves few rows of many",
        UPKEEP,
        "    if (await optimize()).deletions:\n        # LanceDB",
        "    if False:\n        # LanceDB",
    ),
    Mistake(
        "a purge leaves what a killed process was writing",
        "server/storage/vectors/lance_place.py",
        "            if _HALF_WRITTEN.fullmatch(name):\n",
        "            if False:\n",
    ),
    Mistake("Faiss searches every part", FAISS, '_among(np.packbits(among, bitorder="little"))', "None"),
    Mistake(
        "two processes have one file of vectors", FILE, "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"
    ),
    Mistake(
        "Faiss finds words in other parts",
        ROWS,
        '"AND c.part IN (SELECT value FROM json_each(?)) ORDER BY',
        '"AND (c.part >= 0 OR c.part IN (SELECT value FROM json_each(?))) ORDER BY',
    ),
    Mistake("Faiss finds what is not committed", ROWS, 'which = "b.committed" if', 'which = "b.batch" if'),
    Mistake("removed rows stay in the file", FILE, "PRAGMA secure_delete = ON", "PRAGMA secure_delete = OFF"),
    Mistake(
        "chunks of other parts go too",
        QUERIES,
        'f"(part = {part} AND ordinal IN',
        'f"(part >= 0 AND ordinal IN',
    ),
    Mistake(
        "chunks of other parts are read by their names",
        QUERIES,
        'terms = [(col("part") == part) & col("id").isin(',
        'terms = [(col("part") >= 0) & col("id").isin(',
    ),
    Mistake("any text is the key of a store", KEYS, "if not _KEY.fullmatch(key):", "if not _KEY:"),
    Mistake(
        "a search by name waits for no turn",
        SHARED,
        "        async with self.shares.turn():\n            return await self._index.named",
        "        if self.shares:\n            return await self._index.named",
    ),
    Mistake(
        "a purge of Faiss waits for a vector of another store",
        ROWS,
        "return not any(read(f",
        "return bool(stores) or not any(read(f",
    ),
    Mistake(
        "the C library keeps large blocks that are freed",
        "server/storage/vectors/memory.py",
        "library.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)",
        "library.mallopt(_M_MMAP_THRESHOLD, 2**25)",
    ),
    Mistake(
        "Faiss removes chunks of other parts",
        ROWS,
        "(part, ordinal) IN (SELECT json_extract(value, '$[0]')",
        "(0, ordinal) IN (SELECT 0",
    ),
)
