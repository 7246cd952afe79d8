"""A store with chunks of many callers, of which a thousand are one's own."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from server.storage.vectors.index import Chunk, VectorIndex

KEY: Final = "0123456789abcdef" * 2
DIMENSIONS: Final = 256
MINE: Final = 1000
"""Chunks of one's own."""

_OWN_PARTS: Final = 10
_OTHERS: Final = 50
_TOPICS: Final = 2000
_STEP: Final = 100
_WORDS: Final = 20_000
_WORDS_EACH: Final = 40
_OWN: Final = 1_000_000
"""The number of one's first part; those of others are lower."""


@dataclass(frozen=True, slots=True)
class Filled:
    """One's own parts and the vectors in them, by part and ordinal in their order, and topics to ask about."""

    parts: Sequence[int]
    vectors: Any
    topics: Any
    words: Sequence[str]

    def nearest(self, query: Any, limit: int) -> set[tuple[int, int]]:
        """Return the places of one's own chunks that are nearest to the query, by comparing it with each of them."""
        best = np.argsort(-(self.vectors @ query))[:limit]
        each = MINE // _OWN_PARTS
        return {(self.parts[place // each], place % each) for place in best.tolist()}


class Source:
    """Makes chunks around topics, the same in each run."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(17)
        self.topics = self._unit(_TOPICS)
        self.words = [f"word{number}" for number in range(_WORDS)]

    def vectors(self, count: int) -> Any:
        """Return vectors of length 1."""
        near = self.topics[self._random.integers(0, _TOPICS, count)]
        made = near + 0.5 * self._unit(count)
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    async def chunks(self, count: int, vectors: Any = None) -> AsyncIterator[Sequence[Chunk]]:
        """Yield chunks with these vectors, or with others."""
        for start in range(0, count, _STEP):
            step = min(_STEP, count - start)
            some = self.vectors(step) if vectors is None else vectors[start : start + step]
            chosen = self._random.zipf(1.3, (len(some), _WORDS_EACH)) % _WORDS
            texts = [" ".join(self.words[word] for word in words) for words in chosen.tolist()]
            yield [
                Chunk(start + number, text, array("f", vector.tobytes()))
                for number, (text, vector) in enumerate(zip(texts, some, strict=True))
            ]

    def _unit(self, count: int) -> Any:
        made = self._random.standard_normal((count, DIMENSIONS), dtype=np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)


async def fill(index: VectorIndex, count: int) -> Filled:
    """Fill a store with `count` chunks in all, one's own among those of others."""
    source = Source()
    mine, parts = source.vectors(MINE), range(_OWN, _OWN + _OWN_PARTS)
    each, own = (count - MINE) // _OTHERS, MINE // _OWN_PARTS
    for part in range(_OTHERS):
        await index.add(KEY, DIMENSIONS, part, source.chunks(each))
        if part % (_OTHERS // _OWN_PARTS) == 0:
            number = part // (_OTHERS // _OWN_PARTS)
            some = mine[number * own : (number + 1) * own]
            await index.add(KEY, DIMENSIONS, _OWN + number, source.chunks(own, some))
    return Filled(parts, mine, source.topics, source.words)
