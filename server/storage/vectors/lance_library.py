"""The library LanceDB: its import, its threads and its errors. Nothing imports it before an index is opened."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final

from server.background.ends import in_thread_to_its_end
from server.background.priority import give_way
from server.storage.vectors import memory
from server.storage.vectors.index import IndexUnavailable
from server.storage.vectors.opening import FULL, Unusable

CPU_THREADS: Final = 2
"""Threads of LanceDB that compute."""

IO_THREADS: Final = 4
"""Reads of LanceDB at the same time."""

CACHE_BYTES: Final = 32 * 1024 * 1024
"""Bytes of LanceDB's cache of indexes, and of its cache of metadata."""

BATCH_ROWS: Final = 512
"""Rows that LanceDB reads at a time; chunks are some kilobytes long, and it reads several batches ahead."""

READ_BYTES: Final = 8 * 1024 * 1024
"""Bytes that LanceDB reads ahead in one scan; it would be 2 GB."""

WORDS_BYTES: Final = 16 * 1024 * 1024
"""Bytes of words that LanceDB gathers before it writes a part of an index of words."""

SORTED_BYTES: Final = 16 * 1024 * 1024
"""Bytes that LanceDB sorts in memory."""

_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "LANCE_CPU_THREADS": str(CPU_THREADS),
    "LANCE_DEFAULT_BATCH_SIZE": str(BATCH_ROWS),
    "LANCE_DEFAULT_FRAGMENT_READAHEAD": str(CPU_THREADS),
    "LANCE_DEFAULT_IO_BUFFER_SIZE": str(READ_BYTES),
    "LANCE_FTS_NUM_SHARDS": "1",
    "LANCE_FTS_PARTITION_SIZE": str(WORDS_BYTES // 1024**2),
    "LANCE_IO_THREADS": str(IO_THREADS),
    "LANCEDB_LOG": "error",
    "LANCE_LOG": "error",
    "LANCE_MEM_POOL_SIZE": str(SORTED_BYTES),
    "TOKIO_WORKER_THREADS": str(CPU_THREADS),
}
"""Variables that LanceDB reads once; those of the operator stay."""

_NO_ROOM: Final = ("no space left", "os error 28", "os error 27", "os error 122")
_NOT_THERE: Final = "was not found"
_GONE: Final = ("not found", "notfound", "no such file", "nosuchkey")
_CONFLICT: Final = "conflict"

FAULTS: Final = (RuntimeError, ValueError, OSError)
"""The exceptions that LanceDB raises."""


async def connected(uri: str, options: Mapping[str, str]) -> Any:
    """Return a connection to the tables at `uri`; raise Unusable."""
    await asyncio.to_thread(_import)
    # Threads get the priority of the one that starts them, and LanceDB starts its own at its first use.
    with ThreadPoolExecutor(1, "lancedb", initializer=give_way) as threads:
        try:
            return await in_thread_to_its_end(partial(_connect, uri, dict(options)), threads=threads, undo=_close)
        except FAULTS as fault:
            raise Unusable(f"the vector index can't be opened ({type(fault).__name__})") from None


def unavailable(fault: Exception) -> IndexUnavailable:
    """Return what is told of an error of LanceDB, whose message may hold names and addresses."""
    said = str(fault).lower()
    if any(sign in said for sign in _NO_ROOM):
        return IndexUnavailable(FULL)
    return IndexUnavailable(f"the vector index can't be used ({type(fault).__name__})")


def is_missing(fault: Exception) -> bool:
    """Return whether the error says that there is no such table."""
    return isinstance(fault, ValueError) and _NOT_THERE in str(fault)


def is_passing(fault: Exception) -> bool:
    """Return whether the same may succeed when it is tried again: another process has changed the table."""
    said = str(fault).lower()
    return _CONFLICT in said or any(sign in said for sign in _GONE)


def _import() -> None:
    memory.bound()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The import makes so many objects that collections of them would stop the event loop for parts of a second.
    collects = gc.isenabled()
    gc.disable()
    try:
        import lancedb.expr
        import lancedb.index
        import lancedb.query
        import numpy as np
        import pyarrow as pa

        del lancedb, np, pa
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _connect(uri: str, options: dict[str, str]) -> Any:
    import lancedb

    session = lancedb.Session(index_cache_size_bytes=CACHE_BYTES, metadata_cache_size_bytes=CACHE_BYTES)

    async def connect() -> Any:
        return await lancedb.connect_async(
            uri,
            # Each read sees what other processes have committed.
            read_consistency_interval=timedelta(0),
            storage_options=options or None,
            session=session,
        )

    return asyncio.run(connect())


def _close(connection: Any) -> None:
    connection.close()
