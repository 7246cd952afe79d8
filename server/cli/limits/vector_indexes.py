"""Limits of the indexes of vector stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.cli.limits.row import Limit
from server.storage.vectors import (
    faiss_index,
    faiss_loaded,
    faiss_rows,
    lance_index,
    lance_library,
    lance_place,
    lance_upkeep,
    rows,
)

CONSTANTS: Final[dict[str, Any]] = {
    "faiss_index": faiss_index,
    "faiss_loaded": faiss_loaded,
    "faiss_rows": faiss_rows,
    "lance_index": lance_index,
    "lance_library": lance_library,
    "lance_place": lance_place,
    "lance_upkeep": lance_upkeep,
    "rows": rows,
}
"""Modules by the names that rows give them."""

LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "threads of LanceDB that compute, its reads at the same time, and each of its two caches",
        "{lance_library.CPU_THREADS}; {lance_library.IO_THREADS}; {lance_library.CACHE_BYTES:bytes}",
        "others wait; what was used least recently is read again",
    ),
    Limit(
        "rows and bytes that LanceDB reads ahead, words that it gathers for an index, and what it sorts in memory",
        "{lance_library.BATCH_ROWS}; {lance_library.READ_BYTES:bytes}; {lance_library.WORDS_BYTES:bytes}; "
        "{lance_library.SORTED_BYTES:bytes}",
        "it goes on with the next ones, or on the disk",
    ),
    Limit(
        "tables of LanceDB that one process holds open, and files of a table before they are merged",
        "{lance_index.MOST_OPEN}; {lance_upkeep.MOST_FRAGMENTS}",
        "a table is opened again",
    ),
    Limit(
        "rows of a table whose parts no index knows yet, and of one whose index of words a purge makes anew",
        "{lance_upkeep.MOST_UNKNOWN}; {lance_upkeep.MOST_RENEWED}",
        "the index of parts is made anew; a word may stay that no text has",
    ),
    Limit(
        "stores whose vectors `inline::faiss` holds in memory, and their bytes",
        "{faiss_loaded.MOST_STORES}; {faiss_loaded.MOST_BYTES:bytes}, more where one store is larger",
        "those that were used least recently are read again",
    ),
    Limit(
        "rows of a part that are held in memory before they are written",
        "{rows.HELD_BYTES:bytes}; in `inline::faiss` {faiss_index.STEP} of them go in one transaction, and "
        "{faiss_rows.REMOVED} that are removed",
        "further ones are in a file until then",
    ),
    Limit(
        "a change of a vector store that is being purged, and a purge of one that is being changed",
        "{lance_place.LOCK_SECONDS:seconds}; {lance_place.ALONE_SECONDS:seconds}",
        "they are tried again later",
    ),
    Limit(
        "words that a keyword search in `inline::faiss` looks for, and a word in `inline::lancedb`",
        "{faiss_rows.MOST_WORDS}; {lance_upkeep.LONGEST_WORD} characters",
        "others are left out",
    ),
)
"""Rows in the order of the page."""
