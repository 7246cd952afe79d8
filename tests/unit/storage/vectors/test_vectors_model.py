"""An index does what a dictionary does, whatever is done in whatever order."""

from __future__ import annotations

import secrets
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.storage.vectors.index import Chunk
from tests.support.vector_indexes import DIMENSIONS, Opened, vectors

POOL = vectors(60, 11)
PARTS = st.integers(1, 5)
STEPS = st.one_of(
    st.tuples(st.just("add"), PARTS, st.integers(0, 12)),
    st.tuples(st.just("remove"), st.lists(PARTS, max_size=3)),
    st.tuples(st.just("remove some"), PARTS, st.lists(st.integers(0, 30), max_size=4)),
    st.tuples(st.just("purge")),
    st.tuples(st.just("drop")),
)


def expected(held: dict[tuple[int, int], Any], query: Any, parts: list[int]) -> list[float]:
    """The scores of all chunks of the parts, best first."""
    rows = [np.array(POOL[vector]) for (part, _), vector in held.items() if part in parts]
    scores = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in rows]
    return sorted((max(0.0, score) for score in scores), reverse=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=10), query=st.integers(0, 59), parts=st.lists(PARTS, max_size=4))
def test_it_holds_what_was_added_and_not_removed(index: Opened, steps: list[Any], query: int, parts: list[int]) -> None:
    key = secrets.token_hex(16)
    held: dict[tuple[int, int], int] = {}
    following = 0
    for kind, *given_ in steps:
        if kind == "add":
            part, count = given_
            new = [(part, following + number) for number in range(count)]
            assert index.add(key, part, [_chunk(ordinal) for _, ordinal in new], step=5) == count
            held.update((place, place[1] % 60) for place in new)
            following += count
        elif kind == "remove":
            index(index.index.remove(key, given_[0]))
            held = {place: vector for place, vector in held.items() if place[0] not in given_[0]}
        elif kind == "remove some":
            part, ordinals = given_
            index(index.index.remove_chunks(key, {part: ordinals}))
            held = {place: vector for place, vector in held.items() if place[0] != part or place[1] not in ordinals}
        elif kind == "purge":
            assert index(index.index.purge(key)) is True
        else:
            index(index.index.drop(key))
            held = {}
    found = index.nearest(key, POOL[query], parts, 1000)
    assert {place for place, _ in found} == {place for place in held if place[0] in parts}
    scores = [score for _, score in found]
    assert scores == pytest.approx(expected(held, np.array(POOL[query]), parts), abs=1e-5)
    assert set(index.matching(key, "some", parts, 1000)) == {place for place, _ in found}
    for part in parts:
        ordinals = [chunk.ordinal for chunk in index(index.index.chunks(key, part, 0, 1000))]
        assert ordinals == sorted(ordinal for owner, ordinal in held if owner == part)


def _chunk(ordinal: int) -> Chunk:
    return Chunk(ordinal, f"some text {ordinal}", array("f", POOL[ordinal % 60][:DIMENSIONS]), f"n{ordinal}")
