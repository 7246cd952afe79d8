"""What every index promises."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from server.storage.vectors.index import Chunk, Held, WrongDimensions
from tests.support.vector_indexes import DIMENSIONS, Opened, chunks, vectors, without_vectors

LARGEST = 2**63 - 1
ONE = [1.0] + [0.0] * (DIMENSIONS - 1)


def test_a_store_that_is_not_there_has_nothing(index: Opened, key: str) -> None:
    assert index.nearest(key, ONE, [1]) == []
    assert index.matching(key, "text", [1]) == []
    assert index(index.index.chunks(key, 1, 0, 10)) == []
    index(index.index.remove(key, [1]))
    index(index.index.remove_chunks(key, {1: [0]}))
    assert index(index.index.named(key, {1: ["a"]})) == []
    index(index.index.drop(key))
    assert index(index.index.purge(key)) is True


def test_nothing_is_added_by_nothing(index: Opened, key: str) -> None:
    assert index.add(key, 1, []) == 0
    assert index.nearest(key, ONE, [1]) == []


def test_the_same_text_is_found_first_with_a_score_of_one(index: Opened, key: str) -> None:
    bicycle, other = vectors(2, 1)
    unlike = array("f", [-number for number in bicycle])
    texts = [Chunk(0, "a blue bicycle", bicycle), Chunk(1, "another", other), Chunk(2, "the opposite", unlike)]
    index.add(key, 7, texts)
    found = index(index.index.nearest(key, bicycle, [7], 3))
    assert [hit.text for hit in found] == ["a blue bicycle", "another", "the opposite"]
    assert found[0].score == pytest.approx(1.0, abs=1e-5)
    assert found[2].score == 0.0
    cosine = sum(a * b for a, b in zip(bicycle, other, strict=True)) / math.hypot(*bicycle) / math.hypot(*other)
    assert found[1].score == pytest.approx(max(cosine, 0.0), abs=1e-5)
    assert all(0.0 <= hit.score <= 1.0 for hit in found)


def test_a_chunk_comes_back_as_it_was(index: Opened, key: str) -> None:
    given = [
        Chunk(0, "", vectors(1, 1)[0]),
        Chunk(
            5, "nul \0 in it, \U0001f600, e\u0301, \u202e, '\"`\\ --; DROP", vectors(1, 2)[0], "x' OR 1=1", '{"a": "ü"}'
        ),
        Chunk(2**40, "line\r\nbreak", vectors(1, 3)[0], "日本", "\0"),
    ]
    index.add(key, LARGEST, given)
    assert index(index.index.chunks(key, LARGEST, 0, 10)) == without_vectors(given)
    [hit] = index(index.index.nearest(key, given[1].vector, [LARGEST], 1))
    assert (hit.part, hit.ordinal, hit.text, hit.id, hit.extra) == (
        LARGEST,
        5,
        given[1].text,
        given[1].id,
        given[1].extra,
    )


def test_half_a_pair_of_surrogates_loses_no_chunk(index: Opened, key: str) -> None:
    index.add(key, 1, [Chunk(0, "a \ud83d b", vectors(1, 1)[0], "\ud83d", "\ud83d")])
    [found] = index(index.index.chunks(key, 1, 0, 1))
    assert (found.text, found.id, found.extra) == ("a ? b", "?", "?")
    [held] = index(index.index.named(key, {1: ["\ud83d"]}))
    index(index.index.remove_chunks(key, {1: [held.ordinal]}))
    assert index(index.index.chunks(key, 1, 0, 1)) == []
    assert index.matching(key, "\ud83d", [1]) == []


def test_a_search_finds_among_its_parts_alone(index: Opened, key: str) -> None:
    """Many chunks of others are nearer to the query than all of one's own."""
    query = np.array(vectors(1, 9)[0])
    near = [Chunk(i, "theirs", array("f", query + i / 10_000)) for i in range(2000)]
    far = [Chunk(i, "mine", vector) for i, vector in enumerate(vectors(300, 5))]
    index.add(key, 1, near, step=500)
    index.add(key, 2, far[:150])
    index.add(key, 3, far[150:])
    matrix = np.array([chunk.vector for chunk in far])
    scores = matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)
    best = np.argsort(-scores)[:10]
    expected = [(2 if place < 150 else 3, place) for place in best.tolist()]
    found = index.nearest(key, query.tolist(), [3, 2, 3, 12345])
    assert [place for place, _ in found] == expected
    assert [score for _, score in found] == pytest.approx(np.maximum(scores[best], 0).tolist(), abs=1e-5)
    assert index.nearest(key, query.tolist(), []) == []
    assert index.nearest(key, query.tolist(), [99]) == []


def test_ten_thousand_parts_may_be_named(index: Opened, key: str) -> None:
    mine = chunks(50, 3)
    index.add(key, 77, mine)
    parts = [LARGEST - number for number in range(9999)]
    index.add(key, parts[5000], chunks(2, 4))
    found = index.nearest(key, mine[4].vector, [*parts, 77], limit=52)
    assert found[0][0] == (77, 4)
    assert len(found) == 52
    assert index.matching(key, "text", [*parts, 77], limit=60) != []


def test_words_are_found_whole_and_in_any_case(index: Opened, key: str) -> None:
    texts = ["Ein BLAUES Fahrrad", "a blue bicycle, and a blue door", "bicycles running", "über naïve Cafés", "the"]
    index.add(
        key, 1, [Chunk(i, text, vector) for (i, text), vector in zip(enumerate(texts), vectors(5, 1), strict=True)]
    )
    index.add(key, 2, [Chunk(0, "blue blue blue", vectors(1, 8)[0])])
    assert index.matching(key, "blaues", [1]) == [(1, 0)]
    assert index.matching(key, "blue", [1]) == [(1, 1)]
    assert set(index.matching(key, "BICYCLE", [1])) == {(1, 1), (1, 2)}
    assert index.matching(key, "uber cafe", [1]) == [(1, 3)]
    assert index.matching(key, "the", [1]) == [(1, 4)]
    assert index.matching(key, "blue", [1, 2])[0] == (2, 0)
    assert index.matching(key, "absent", [1, 2]) == []
    hits = index(index.index.matching(key, "blue door", [1, 2], 5))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 < hit.score <= 1 for hit in hits)


@pytest.mark.parametrize(
    "words",
    [
        '"',
        "blue AND (",
        "NEAR(blue, 2) OR",
        "text:blue",
        "-blue",
        "blue*",
        "^blue",
        "{blue}",
        "blue\0",
        "(blue",
        "blue^2",
    ],
)
def test_words_are_no_language(index: Opened, key: str, words: str) -> None:
    index.add(key, 1, [Chunk(0, "a blue bicycle", vectors(1, 1)[0])])
    assert index.matching(key, words, [1]) == ([(1, 0)] if "blue" in words else [])


@pytest.mark.parametrize("words", ["", " ", "?!.", "\0", "a" * 4096, " ".join(f"w{i}" for i in range(1500))])
def test_words_that_no_text_has_find_nothing(index: Opened, key: str, words: str) -> None:
    index.add(key, 1, chunks(3, 1))
    assert index.matching(key, words, [1]) == []


def test_chunks_come_in_pages(index: Opened, key: str) -> None:
    given = chunks(250, 2)
    index.add(key, 5, list(reversed(given)))
    index.add(key, 6, chunks(3, 3))
    first = index(index.index.chunks(key, 5, 0, 100))
    then = index(index.index.chunks(key, 5, 100, 1000))
    assert [*first, *then] == without_vectors(given)
    assert index(index.index.chunks(key, 5, 250, 10)) == []


def test_chunks_are_read_by_their_names(index: Opened, key: str) -> None:
    given = chunks(20, 1)
    assert index(index.index.named(key, {1: ["n3"]})) == []
    for part in (1, 2, 3):
        index.add(key, part, given)
    index.add(key, 2, [Chunk(99, "ü", given[0].vector, "é", '{"a": 1}')])
    wanted = {2: ["n4", "n3", "absent", "'", "\ud83d", "é"], 3: ["n0"], 1: [], 4: ["n3"]}
    found = index(index.index.named(key, wanted))
    size = len((given[3].text + given[3].id + given[3].extra).encode())
    assert sorted(found, key=lambda held: (held.part, held.ordinal)) == [
        Held(2, 3, "n3", size),
        Held(2, 4, "n4", size),
        Held(2, 99, "é", 12),
        Held(3, 0, "n0", size),
    ]
    assert index(index.index.named(key, {2: []})) == []


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


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(index: Opened, key: str, number: float) -> None:
    wrong = Chunk(1, "wrong", array("f", [number, *ONE[1:]]))
    with pytest.raises(ValueError, match="not finite"):
        index.add(key, 1, [*chunks(1, 1), wrong])
    assert index.nearest(key, ONE, [1]) == []
    index.add(key, 1, chunks(1, 1))
    with pytest.raises(ValueError, match="not finite"):
        index.nearest(key, [number, *ONE[1:]], [1])


@pytest.mark.parametrize("length", [1e-30, 1e-10, 1e30])
def test_the_length_of_a_vector_does_not_matter(index: Opened, key: str, length: float) -> None:
    vector = vectors(1, 1)[0]
    index.add(key, 1, [Chunk(0, "t", array("f", [number * length for number in vector]))])
    [(_, score)] = index.nearest(key, [number * length for number in vector], [1])
    assert score == pytest.approx(1.0, abs=1e-4)


def test_a_vector_of_zeros_is_like_none(index: Opened, key: str) -> None:
    zeros = [0.0] * DIMENSIONS
    index.add(key, 1, [Chunk(0, "t", array("f", zeros)), Chunk(1, "t", array("f", ONE))])
    assert index.nearest(key, ONE, [1]) == [((1, 1), pytest.approx(1.0)), ((1, 0), 0.0)]
    assert [score for _, score in index.nearest(key, zeros, [1])] == [0.0, 0.0]


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


@pytest.mark.parametrize("part", [-1, 2**63, 1.0, True, "1", "1) OR (1=1"])
def test_nothing_else_is_a_part(index: Opened, key: str, part: int) -> None:
    index.add(key, 1, chunks(1, 1))
    for work in (
        lambda: index.nearest(key, ONE, [part]),
        lambda: index.matching(key, "text", [part]),
        lambda: index.add(key, part, chunks(1, 1)),
        lambda: index(index.index.remove(key, [part])),
        lambda: index(index.index.remove_chunks(key, {part: [0]})),
        lambda: index(index.index.named(key, {part: ["n0"]})),
        lambda: index(index.index.put(key, DIMENSIONS, {part: chunks(1, 1)})),
        lambda: index(index.index.chunks(key, part, 0, 1)),
    ):
        with pytest.raises(ValueError, match="whole number of 63 bits"):
            work()


def test_a_vector_that_another_store_has_too_does_not_hold_up_a_purge(index: Opened, key: str) -> None:
    given, other = chunks(6, 1), "b" * 32
    for store in (key, other):
        index.add(store, 1, given)
    index(index.index.remove(key, [1]))
    assert index(index.index.purge(key)) is True
    index(index.index.remove_chunks(other, {1: [2]}))
    assert index(index.index.purge(other)) is True
