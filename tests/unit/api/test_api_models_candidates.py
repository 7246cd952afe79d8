"""The order in which models are asked: weights decide how often each comes first, and nothing comes twice."""

from __future__ import annotations

from collections import Counter

import pytest

from server.api.models.candidates import _order
from server.api.models.model import Model


def model(weights: dict[str, int] | None = None, fallback: tuple[str, ...] = ()) -> Model:
    return Model("m", "p", "m", "llm", {}, fallback=fallback, weights=weights or {})


def test_a_model_comes_before_what_it_falls_back_on() -> None:
    assert _order(model(fallback=("p/a", "q/b")), lambda: 0.5) == ["p/m", "p/a", "q/b"]


@pytest.mark.parametrize(("drawn", "first"), [(0.0, "a"), (0.2999, "a"), (0.3, "b"), (0.9999, "b")])
def test_a_draw_chooses_by_weight(drawn: float, first: str) -> None:
    order = _order(model({"a": 3, "b": 7, "c": 0}, ("d",)), lambda: drawn)
    assert order[0] == first
    # What weighs nothing, and the model itself, come where the others can't.
    assert sorted(order[:2]) == ["a", "b"]
    assert order[2:] == ["c", "p/m", "d"]


def test_the_model_itself_may_have_a_weight() -> None:
    assert _order(model({"p/m": 1, "a": 1}), lambda: 0.0) == ["p/m", "a"]


def test_each_comes_first_as_often_as_its_weight_says() -> None:
    parted = model({"a": 1, "b": 2, "p/m": 3})
    first = Counter(_order(parted, lambda place=place: (place + 0.5) / 600)[0] for place in range(600))
    assert first == {"a": 100, "b": 200, "p/m": 300}


def test_what_is_left_is_drawn_by_its_weights_too() -> None:
    second = Counter[str]()
    for place in range(300):
        draws = iter([0.0, (place + 0.5) / 300, 0.0])
        second[_order(model({"a": 5, "b": 1, "c": 2}), lambda draws=draws: next(draws))[1]] += 1
    assert second == {"b": 100, "c": 200}
