"""Deliberate mistakes in the indexes of vectors, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

LANCE = "server/storage/vectors/lance_index.py"
UPKEEP = "server/storage/vectors/lance_upkeep.py"
FAISS = "server/storage/vectors/faiss_index.py"
ROWS = "server/storage/vectors/faiss_rows.py"

INDEX_MISTAKES = (
    Mistake(
        "a search of vectors finds in other parts",
        LANCE,
        'asked.where(among).select([*_SHOWN, "_distance"])',
        'asked.select([*_SHOWN, "_distance"])',
    ),
    Mistake(
        "a search of words finds in other parts",
        LANCE,
        'asked.where(among).select([*_SHOWN, "_score"])',
        'asked.select([*_SHOWN, "_score"])',
    ),
    Mistake("a distance is shown as a likeness", LANCE, '1.0 - row["_distance"]', 'row["_distance"]'),
    Mistake(
        "a purge leaves few rows of many",
        UPKEEP,
        "    if (await optimize()).deletions:\n        # LanceDB",
        "    if False:\n        # LanceDB",
    ),
    Mistake("Faiss searches every part", FAISS, '_among(np.packbits(among, bitorder="little"))', "None"),
    Mistake(
        "two processes have one file of vectors", ROWS, "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"
    ),
)
