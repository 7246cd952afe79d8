"""Changes of every index: additions that are whole, removals, dropped stores and purges."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence

import pytest

from server.storage.vectors.index import Chunk, WrongDimensions
from tests.support.vector_indexes import DIMENSIONS, Opened, chunks, without_vectors

ONE = [1.0] + [0.0] * (DIMENSIONS - 1)


def test_chunks_of_many_parts_come_at_once_and_go_at_once(index: Opened, key: str) -> None:
    count = 600
    given = dict(enumerate(chunks(count, 1)))
    index(index.index.put(key, DIMENSIONS, {part: [chunk] for part, chunk in given.items()}))
    found = index(index.index.named(key, {part: [chunk.id, "n7"] for part, chunk in given.items()}))
    assert {(held.part, held.ordinal) for held in found} == {(number, number) for number in range(count)}
    assert index.nearest(key, given[5].vector, range(count), 1) == [((5, 5), pytest.approx(1.0, abs=1e-5))]
    index(index.index.remove_chunks(key, {part: [part, 10_000] for part in range(1, count)}))
    assert {place for place, _ in index.nearest(key, ONE, range(count), 1000)} == {(0, 0)}
    index(index.index.put(key, DIMENSIONS, {}))
    with pytest.raises(WrongDimensions):
        index(index.index.put(key, DIMENSIONS, {1: chunks(1, 1), 2: [Chunk(0, "a", array("f", [1.0]))]}))
    assert {place for place, _ in index.nearest(key, ONE, range(count), 1000)} == {(0, 0)}


def test_what_is_removed_is_found_no_more(index: Opened, key: str) -> None:
    given = chunks(20, 1)
    for part in (1, 2, 3, 4):
        index.add(key, part, given)
    index(index.index.remove(key, [1, 3, 99]))
    index(index.index.remove_chunks(key, {2: [3, 4, 77], 1: []}))
    assert {place for place, _ in index.nearest(key, given[3].vector, [1, 2, 3], 100)} == {
        (2, number) for number in range(20) if number not in (3, 4)
    }
    assert (2, 3) not in index.matching(key, "text 3", [1, 2, 3], 100)
    assert index(index.index.chunks(key, 1, 0, 10)) == []
    # A chunk of another part with the same name stays.
    assert index(index.index.chunks(key, 4, 0, 100)) == without_vectors(given)
    index.add(key, 2, [Chunk(3, "again", given[3].vector, "n3")])
    assert index.nearest(key, given[3].vector, [2], 1) == [((2, 3), pytest.approx(1.0, abs=1e-5))]


def test_a_store_that_was_dropped_may_come_again_with_other_dimensions(index: Opened, key: str) -> None:
    index.add(key, 1, chunks(3, 1))
    assert len(index.nearest(key, ONE, [1])) == 3
    index(index.index.drop(key))
    assert index.nearest(key, ONE, [1]) == []
    index.add(key, 1, chunks(2, 1, dimensions=4), dimensions=4)
    assert len(index.nearest(key, [1, 0, 0, 0], [1])) == 2


def test_a_store_has_vectors_of_one_length(index: Opened, key: str) -> None:
    index.add(key, 1, chunks(3, 1))
    with pytest.raises(WrongDimensions, match="has 4 dimensions, and the store has 8"):
        index.add(key, 2, chunks(3, 1, dimensions=4), dimensions=4)
    with pytest.raises(WrongDimensions, match="has 4 dimensions, and the store has 8"):
        index.add(key, 2, [*chunks(200, 1), Chunk(200, "short", array("f", [1, 2, 3, 4]))])
    with pytest.raises(WrongDimensions):
        index.nearest(key, [1.0, 0.0], [1])
    assert index.nearest(key, ONE, [2]) == []
    assert index(index.index.chunks(key, 2, 0, 10)) == []


def test_a_source_that_fails_leaves_nothing(index: Opened, key: str) -> None:
    async def failing() -> AsyncIterator[Sequence[Chunk]]:
        yield chunks(300, 1)
        raise LookupError("the file is gone")

    index.add(key, 1, chunks(2, 2))
    with pytest.raises(LookupError, match="the file is gone"):
        index(index.index.add(key, DIMENSIONS, 1, failing()))
    assert len(index.nearest(key, ONE, [1], 1000)) == 2
    assert len(index.matching(key, "text", [1], 1000)) == 2


def test_an_addition_that_is_given_up_leaves_nothing(index: Opened, key: str) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[Sequence[Chunk]]:
        yield chunks(300, 1)
        begun.set()
        await asyncio.Event().wait()

    async def give_up() -> None:
        task = asyncio.create_task(index.index.add(key, DIMENSIONS, 1, endless()))
        await begun.wait()
        assert await index.index.nearest(key, ONE, [1], 10) == []
        assert await index.index.matching(key, "text", [1], 10) == []
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    index(give_up())
    assert index.nearest(key, ONE, [1]) == []
    assert index(index.index.chunks(key, 1, 0, 10)) == []


def test_many_additions_at_once_lose_nothing(index: Opened, key: str) -> None:
    async def many() -> list[int]:
        works = [index.index.add(key, DIMENSIONS, part, one(chunks(20, part))) for part in range(12)]
        return await asyncio.gather(*works)

    async def one(given: Sequence[Chunk]) -> AsyncIterator[Sequence[Chunk]]:
        yield given

    assert index(many()) == [20] * 12
    assert len(index.nearest(key, ONE, range(12), 1000)) == 240


@pytest.mark.parametrize("name", ["", "a" * 32, "A" * 31, "../" + "a" * 29, "g" * 32, "a" * 31 + "\n"])
def test_no_other_text_is_the_key_of_a_store(index: Opened, name: str) -> None:
    if name == "a" * 32:
        assert index.nearest(name, ONE, [1]) == []
        return
    for work in (
        lambda: index.nearest(name, ONE, [1]),
        lambda: index.matching(name, "a", [1]),
        lambda: index.add(name, 1, chunks(1, 1)),
        lambda: index(index.index.remove(name, [1])),
        lambda: index(index.index.drop(name)),
        lambda: index(index.index.purge(name)),
        lambda: index(index.index.chunks(name, 1, 0, 1)),
        lambda: index(index.index.remove_chunks(name, {1: [0]})),
        lambda: index(index.index.named(name, {1: ["a"]})),
        lambda: index(index.index.put(name, DIMENSIONS, {1: chunks(1, 1)})),
    ):
        with pytest.raises(ValueError, match="32 hexadecimal digits"):
            work()


def test_a_vector_that_another_store_has_too_does_not_hold_up_a_purge(index: Opened, key: str) -> None:
    given, other = chunks(6, 1), "b" * 32
    for store in (key, other):
        index.add(store, 1, given)
    index(index.index.remove(key, [1]))
    assert index(index.index.purge(key)) is True
    index(index.index.remove_chunks(other, {1: [2]}))
    assert index(index.index.purge(other)) is True
