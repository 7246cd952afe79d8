"""Measurements of one index with one number of chunks."""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from bench.vectors.filled import KEY, Filled, fill
from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.index import VectorIndex
from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import Directory

KINDS: Final = ("lancedb", "faiss")

SETTLING: Final = 0.5
"""Seconds between the searches that wait for the end of upkeep."""

_LIMIT: Final = 10
_SEARCHES: Final = 200
_PAUSE: Final = 0.002
_TRIES: Final = 30_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Times in milliseconds, `rate` in chunks per second, memory in bytes, `purged` in seconds.

    `stalled` is the longest time for which the event loop stood still while chunks were added.
    """

    kind: str
    count: int
    rate: float
    stalled: float
    p50: float
    p99: float
    cpu: float
    recall: float
    words: float
    memory: int
    purged: float


async def measured(kind: str, count: int, folder: Path) -> Measured:
    """Fill an index in a directory, search it and purge it."""
    index = FaissIndex(folder / "faiss.db") if kind == "faiss" else LanceIndex(Directory(folder))
    async with index.running():
        await _open(index)
        before, began = _memory(), time.perf_counter()
        stalls: list[float] = []
        async with _watched(stalls):
            filled = await fill(index, count)
        rate = count / (time.perf_counter() - began)
        await _settled(index, filled)
        times, cpu, recall = await _searches(index, filled)
        words = await _timed([_words(index, filled, number) for number in range(_SEARCHES)])
        memory = _memory() - before
        began = time.perf_counter()
        await index.remove(KEY, filled.parts[:1])
        clean = await index.purge(KEY)
        purged = time.perf_counter() - began
        if not clean:
            raise AssertionError("the purge has left bytes")
    p99 = quantiles(times, n=100)[98]
    return Measured(kind, count, rate, max(stalls), median(times), p99, cpu, recall, median(words), memory, purged)


async def _open(index: VectorIndex) -> None:
    for _ in range(_TRIES):
        if index.fault is None:
            return
        await asyncio.sleep(_PAUSE)
    raise AssertionError(index.fault)


async def _settled(index: VectorIndex, filled: Filled) -> None:
    """Let the upkeep that adding has begun come to its end, and read what is read once."""
    times = [1.0]
    # Searches are slower while it runs.
    while len(times) < 50 and (len(times) < 5 or times[-1] > 1.2 * min(times)):
        await asyncio.sleep(SETTLING)
        times += await _timed([_search(index, filled, 0)])


async def _searches(index: VectorIndex, filled: Filled) -> tuple[list[float], float, float]:
    """Return the times, the processor time of one search, and the part of what is nearest that was found."""
    times, found = [], 0
    cpu = time.process_time()
    for number in range(_SEARCHES):
        query = filled.topics[number]
        began = time.perf_counter()
        hits = await index.nearest(KEY, array("f", query.tobytes()), filled.parts, _LIMIT)
        times.append((time.perf_counter() - began) * 1000)
        found += len({(hit.part, hit.ordinal) for hit in hits} & filled.nearest(query, _LIMIT))
    spent = (time.process_time() - cpu) * 1000 / _SEARCHES
    return times, spent, found / (_SEARCHES * _LIMIT)


def _search(index: VectorIndex, filled: Filled, number: int) -> Callable[[], Awaitable[object]]:
    query = array("f", filled.topics[number].tobytes())
    return lambda: index.nearest(KEY, query, filled.parts, _LIMIT)


def _words(index: VectorIndex, filled: Filled, number: int) -> Callable[[], Awaitable[object]]:
    text = " ".join(filled.words[(number * step) % len(filled.words)] for step in (1, 31, 517))
    return lambda: index.matching(KEY, text, filled.parts, _LIMIT)


async def _timed(works: Sequence[Callable[[], Awaitable[object]]]) -> list[float]:
    times = []
    for work in works:
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    return times


@asynccontextmanager
async def _watched(stalls: list[float]) -> AsyncIterator[None]:
    """Note by how much later than asked for the event loop goes on."""

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_PAUSE)
            stalls.append((time.perf_counter() - began - _PAUSE) * 1000)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
