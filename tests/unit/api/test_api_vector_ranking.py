"""Rankings: scores from 0 to 1, in one order, and computed from nothing but what was found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api.vector_stores.ranking import Fusion, Ranking, best, by_words, fused
from server.storage.vectors.index import Hit

HITS = st.lists(
    st.builds(
        Hit,
        part=st.integers(1, 3),
        ordinal=st.integers(0, 3),
        text=st.sampled_from(["a blue bicycle", "a red bicycle", "something else", "", "blue blue BLUE", "blü"]),
        score=st.floats(0, 1),
    ),
    max_size=8,
    unique_by=lambda hit: (hit.part, hit.ordinal),
)
RANKINGS = st.builds(
    Ranking,
    fusion=st.sampled_from(Fusion),
    vector_weight=st.floats(0.0, 2.0),
    text_weight=st.floats(0.01, 2.0),
    impact=st.floats(0.1, 100.0),
    threshold=st.floats(0, 1),
)


def hit(ordinal: int, score: float = 0.0, text: str = "", part: int = 1) -> Hit:
    return Hit(part, ordinal, text, score)


def ordinals(hits: list[Hit]) -> list[int]:
    return [each.ordinal for each in hits]


@settings(derandomize=True, deadline=None, database=None)
@given(found=st.lists(HITS, max_size=3), ranking=RANKINGS, limit=st.integers(1, 5))
def test_the_best_are_bounded_in_order_and_once(found: list[list[Hit]], ranking: Ranking, limit: int) -> None:
    shown = best(found, ranking, limit)
    keys = [(each.part, each.ordinal) for each in shown]
    assert len({*keys}) == len(keys) <= limit
    assert [each.score for each in shown] == sorted((each.score for each in shown), reverse=True)
    assert all(ranking.threshold <= each.score <= 1 for each in shown)
    known = {(each.part, each.ordinal) for hits in found for each in hits if each.score >= ranking.threshold}
    assert len(keys) == min(limit, len(known))


@settings(derandomize=True, deadline=None, database=None)
@given(vector=HITS, text=HITS, ranking=RANKINGS)
def test_a_fusion_holds_what_either_order_has(vector: list[Hit], text: list[Hit], ranking: Ranking) -> None:
    made = fused(vector, text, ranking)
    keys = [(each.part, each.ordinal) for each in made]
    assert sorted(keys) == sorted({(each.part, each.ordinal) for each in [*vector, *text]})
    assert [each.score for each in made] == sorted((each.score for each in made), reverse=True)
    assert all(0 <= each.score <= 1 for each in made)


@settings(derandomize=True, deadline=None, database=None)
@given(hits=HITS, query=st.sampled_from(["blue bicycle", "BLUE", "nothing of it", "", "? !", "a"]))
def test_words_are_scored_by_what_was_found_alone(hits: list[Hit], query: str) -> None:
    scored = by_words(query, hits)
    assert all(0 < each.score <= 1 for each in scored)
    # Neither the index's scores nor its order can be told from the result.
    assert scored == by_words(query, [replace(each, score=0.5) for each in hits[::-1]])


def test_a_text_with_all_words_comes_before_one_with_some() -> None:
    texts = ["red car", "a blue bicycle", "blue", "bicycles are not blue things", "BLUE BICYCLE"]
    found = by_words("blue bicycle", [hit(place, text=text) for place, text in enumerate(texts)])
    assert {*ordinals(found)[:2]} == {1, 4}
    assert ordinals(found)[-1] == 0


def test_a_rare_word_counts_for_more_than_a_common_one() -> None:
    texts = ["the car", "the the the house", "the bicycle", "the the the the the", "the"]
    found = by_words("the bicycle", [hit(place, text=text) for place, text in enumerate(texts)])
    assert ordinals(found)[0] == 2


def test_what_both_orders_have_comes_first() -> None:
    vector = [hit(0, 0.9), hit(1, 0.8), hit(2, 0.7)]
    text = [hit(3, 0.9), hit(1, 0.2), hit(4, 0.1)]
    made = fused(vector, text, Ranking())
    assert ordinals(made) == [1, 0, 3, 2, 4]
    assert made[0].score == pytest.approx(61 / 62)
    assert fused(vector, vector, Ranking())[0].score == 1


def test_weights_choose_between_the_orders() -> None:
    vector, text = [hit(0, 0.9), hit(1, 0.1)], [hit(1, 0.8)]
    assert ordinals(fused(vector, text, Ranking(vector_weight=1, text_weight=0))) == [0, 1]
    assert ordinals(fused(vector, text, Ranking(vector_weight=0, text_weight=1))) == [1, 0]
    made = fused(vector, text, Ranking(Fusion.WEIGHTED, vector_weight=1, text_weight=3))
    assert ordinals(made) == [1, 0]
    assert [each.score for each in made] == pytest.approx([0.625, 0.225])


def test_a_threshold_leaves_out_what_has_less() -> None:
    shown = best([[hit(0, 0.95), hit(1, 0.9), hit(2, 0.89)]], Ranking(threshold=0.9), 10)
    assert ordinals(shown) == [0, 1]


def test_a_chunk_that_two_queries_find_has_its_better_score() -> None:
    shown = best([[hit(0, 0.2), hit(1, 0.5)], [hit(0, 0.7)]], Ranking(), 10)
    assert [(each.ordinal, each.score) for each in shown] == [(0, 0.7), (1, 0.5)]
