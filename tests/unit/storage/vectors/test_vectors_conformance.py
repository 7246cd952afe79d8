"""Promises of every index about searches and reads, and about what it refuses."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest

from server.storage.vectors.index import Chunk, Held
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
