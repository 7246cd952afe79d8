"""The order of what a search has found, and the scores that are shown: from 0 to 1, the higher the better.

Whatever is shown is computed from chunks that the caller may see. An index counts words in all chunks of a store, so
that its own scores for words would tell how often others use them: here they are computed anew from the candidates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import log
from typing import Final

from server.storage.vectors.index import Hit

LONGEST_WORDS: Final = 64
"""Words of a query that count for its keywords; further ones are left out."""

_SATURATION: Final = 1.2
_LENGTH_WEIGHT: Final = 0.75
_LEAST: Final = 0.001
"""The score of a chunk that an index found by another form of a word."""

_WORD: Final = re.compile(r"\w+")


class Mode(StrEnum):
    """The way in which a search looks for a query: by its meaning, by its words, or by both."""

    VECTOR = "vector"
    KEYWORD = "keyword"
    HYBRID = "hybrid"


class Fusion(StrEnum):
    """The way to one order of two: by reciprocal ranks, or by a weighted mean of the scores."""

    RECIPROCAL_RANKS = "rrf"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True)
class Ranking:
    """The options of a ranking; the weights are not negative, and one of them is above 0.

    `impact` makes the first ranks count less among the reciprocal ones. What has less than `threshold` is left out.
    """

    fusion: Fusion = Fusion.RECIPROCAL_RANKS
    vector_weight: float = 1.0
    text_weight: float = 1.0
    impact: float = 60.0
    threshold: float = 0.0


AS_USUAL: Final = Ranking()


def by_words(query: str, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits, best first, with the scores that their texts have for the words of a query.

    These are BM25's with the hits as its whole collection, divided by the most that a text could reach.
    """
    words = [*dict.fromkeys(_words(query))][:LONGEST_WORDS]
    texts = [Counter(_words(hit.text)) for hit in hits]
    held = {word: sum(word in text for text in texts) for word in words}
    weights = {word: log(1 + (len(texts) - count + 0.5) / (count + 0.5)) for word, count in held.items() if count}
    most = sum(weights.values()) * (_SATURATION + 1)
    usual = sum(text.total() for text in texts) / len(texts) if texts else 0.0
    scored = [
        replace(hit, score=max(_LEAST, _bm25(text, weights, usual) / most) if most else _LEAST)
        for hit, text in zip(hits, texts, strict=True)
    ]
    return sorted(scored, key=_order)


def fused(vector: Sequence[Hit], text: Sequence[Hit], ranking: Ranking) -> list[Hit]:
    """Return the hits of two orders in one, best first."""
    weighted = ((ranking.vector_weight, vector), (ranking.text_weight, text))
    whole = ranking.vector_weight + ranking.text_weight
    sums: dict[tuple[int, int], float] = {}
    for weight, hits in weighted:
        for rank, hit in enumerate(hits, 1):
            by_rank = (ranking.impact + 1) / (ranking.impact + rank)
            score = by_rank if ranking.fusion is Fusion.RECIPROCAL_RANKS else hit.score
            sums[_key(hit)] = sums.get(_key(hit), 0.0) + weight / whole * score
    known = {_key(hit): hit for _, hits in weighted for hit in hits}
    return sorted((replace(hit, score=_shown(sums[key])) for key, hit in known.items()), key=_order)


def best(found: Iterable[Sequence[Hit]], ranking: Ranking, limit: int) -> list[Hit]:
    """Return the best hits of several queries, each chunk once and with its best score."""
    known: dict[tuple[int, int], Hit] = {}
    for hit in (hit for hits in found for hit in hits):
        before = known.get(_key(hit))
        if before is None or before.score < hit.score:
            known[_key(hit)] = hit
    ordered = sorted((replace(hit, score=_shown(hit.score)) for hit in known.values()), key=_order)
    return [hit for hit in ordered if hit.score >= ranking.threshold][:limit]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _bm25(text: Counter[str], weights: Mapping[str, float], usual: float) -> float:
    length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * (text.total() / usual if usual else 0.0)
    return sum(
        weight * text[word] * (_SATURATION + 1) / (text[word] + _SATURATION * length)
        for word, weight in weights.items()
        if text[word]
    )


def _key(hit: Hit) -> tuple[int, int]:
    return hit.part, hit.ordinal


def _order(hit: Hit) -> tuple[float, int, int]:
    """Return what hits are sorted by: equal scores have one order whenever they are found."""
    return -hit.score, hit.part, hit.ordinal


def _shown(score: float) -> float:
    return min(1.0, max(0.0, score))
