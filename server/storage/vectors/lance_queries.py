"""Queries of a table of LanceDB, and the conditions in them.

Each takes the open table, and parts as whole numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import or_
from typing import Any, Final, TypeVar

from server.storage.vectors.index import Chunk, Held, Hit
from server.storage.vectors.rows import likeness, written

MOST_TERMS: Final = 256
"""Parts whose chunks one statement looks for by their names."""

_HELD: Final = {
    **{name: name for name in ("part", "ordinal", "id")},
    "bytes": "octet_length(text) + octet_length(id) + octet_length(extra)",
}
_SHOWN: Final = ["part", "ordinal", "id", "extra", "text"]
_SAME: Final = 1e-5
"""The distance below which two vectors may be the same."""

T = TypeVar("T")


async def nearest(table: Any, vector: Any, parts: Sequence[int], limit: int) -> list[Hit]:
    """Return the chunks of these parts that are nearest to a vector of length 1, best first."""
    asked = table.query().nearest_to(vector).distance_type("dot").bypass_vector_index()
    found = await asked.where(among(parts)).select([*_SHOWN, "_distance"]).limit(limit).to_arrow()
    return [_hit(row, 1.0 - row["_distance"]) for row in found.to_pylist()]


async def matching(table: Any, text: str, parts: Sequence[int], limit: int) -> list[Hit]:
    """Return the chunks of these parts that have words of the text, best first by BM25."""
    from lancedb.query import MatchQuery

    asked = table.query().nearest_to_text(MatchQuery(written(text), "text"))
    found = await asked.where(among(parts)).select([*_SHOWN, "_score"]).limit(limit).to_arrow()
    return [_hit(row, likeness(row["_score"])) for row in found.to_pylist()]


async def chunks(table: Any, part: int, first: int, limit: int) -> list[Chunk]:
    """Return the chunks of a part from the ordinal `first` on, in their order, without their vectors."""
    from lancedb.query import ColumnOrdering

    asked = table.query().where(f"{among([part])} AND ordinal >= {int(first)}")
    ordered = asked.select(_SHOWN).order_by([ColumnOrdering(column_name="ordinal")])
    found = await ordered.limit(limit).to_arrow()
    return [Chunk(row["ordinal"], row["text"], array("f"), row["id"], row["extra"]) for row in found.to_pylist()]


async def named(table: Any, names: Mapping[int, Sequence[str]]) -> list[Held]:
    """Return the chunks that have one of these names in one of these parts, in no order."""
    return [held for some in _some(names) for held in await _held(table, some)]


async def without_twins(table: Any, vectors: Sequence[bytes]) -> list[bytes]:
    """Return those of the removed vectors that no row of the table has too, as one with the same text does."""
    import numpy as np

    found = []
    for vector in vectors:
        asked = table.query().nearest_to(np.frombuffer(vector, np.float32)).distance_type("dot")
        closest = await asked.bypass_vector_index().select(["_distance"]).limit(1).to_arrow()
        if not any(distance < _SAME for distance in closest["_distance"].to_pylist()):
            found.append(vector)
    return found


def among(parts: Sequence[int]) -> str:
    """Return the condition that a chunk is in one of these parts."""
    return f"part IN ({', '.join(map(str, parts))})"


def at_ordinals(ordinals: Mapping[int, Sequence[int]]) -> str:
    """Return the condition that a chunk has one of these ordinals of its part; there is one at least."""
    wanted = [
        f"(part = {part} AND ordinal IN ({', '.join(str(int(each)) for each in some)}))"
        for part, some in ordinals.items()
    ]
    return _joined(wanted, lambda left, right: f"({left} OR {right})")


async def _held(table: Any, names: Mapping[int, Sequence[str]]) -> list[Held]:
    from lancedb.expr import col

    terms = [(col("part") == part) & col("id").isin([written(name) for name in some]) for part, some in names.items()]
    # The first condition is one that the index of parts answers.
    wanted = col("part").isin([*names]) & _joined(terms, or_)
    found = await table.query().where(wanted).select(_HELD).to_arrow()
    return [Held(**row) for row in found.to_pylist()]


def _some(wanted: Mapping[int, T]) -> Iterator[dict[int, T]]:
    """Yield the parts with their names, as many at a time as one statement may have."""
    parts = [*wanted]
    for start in range(0, len(parts), MOST_TERMS):
        yield {part: wanted[part] for part in parts[start : start + MOST_TERMS]}


def _joined(terms: Sequence[T], join: Callable[[T, T], T]) -> T:
    """Return the terms as one, joined in pairs: LanceDB's library ends the process at conditions that are deep."""
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [*(join(left, right) for left, right in pairs), *terms[len(terms) & ~1 :]]
    return terms[0]


def _hit(row: dict[str, Any], score: float) -> Hit:
    bounded = min(1.0, max(0.0, score))
    return Hit(row["part"], row["ordinal"], row["text"], bounded, row["id"], row["extra"])
