"""`fallback` and `weights` of models: what they may name, and circles."""

from __future__ import annotations

import pytest

from server.wiring.application import _models
from tests.support.config_texts import errors, load, warnings, with_models

BOTH = ("ollama", "other")


def model(name: str, more: str = "", provider: str = "ollama") -> str:
    return f"{{model_id: {name}, provider_id: {provider}{', ' if more else ''}{more}}}"


def test_any_name_of_a_model_leads_to_it() -> None:
    first = model("a", "fallback: [b, other/c-1], weights: {ollama/a: 3, other/b: 1, c: 0}")
    text = with_models(
        first, model("b", provider="other"), model("c", "provider_model_id: c-1", "other"), providers=BOTH
    )
    built = _models(load(text).models)
    assert built[0].fallback == ("other/b", "other/c-1")
    assert built[0].weights == {"ollama/a": 3, "other/b": 1, "other/c-1": 0}


MANY = ", ".join(f"x{number}" for number in range(9))
NOT_A_WEIGHT = "`b` takes a whole number from 0 to 1000, not "
WRONG = [
    ("fallback: [olama/b]", "no model of the configuration is called `olama/b`; did you mean `ollama/b`?"),
    ("fallback: [zzz]", "no model of the configuration is called `zzz`; use one of `b`, `ollama/b`"),
    ("weights: {zzz: 1}", "no model of the configuration is called `zzz`; use one of `b`, `ollama/b`"),
    ("fallback: [b, b]", "`b` is named twice; keep one of them"),
    ("fallback: [b, ollama/b]", "`ollama/b` is named twice; keep one of them"),
    ("weights: {b: 1, ollama/b: 2}", "`ollama/b` is named twice; keep one of them"),
    ("fallback: [a]", "`a` is the model itself; name another model"),
    ("fallback: b", "`fallback` takes a list, not a text"),
    ("weights: [b]", "`weights` takes a mapping, not a list"),
    ("weights: {b: x}", f"{NOT_A_WEIGHT}`x`"),
    ("weights: {b: 1001}", f"{NOT_A_WEIGHT}`1001`"),
    ("weights: {b: -1}", f"{NOT_A_WEIGHT}`-1`"),
    ("weights: {b: 0}", "`weights` needs a weight above 0"),
    (f"fallback: [{MANY}]", "`fallback` takes at most 8 names of models"),
    (
        "model_type: embedding, fallback: [b]",
        "`b` is of another `model_type` than the model that names it; name a model that does the same",
    ),
]


@pytest.mark.parametrize(("first", "sentence"), WRONG)
def test_what_can_t_be_named_is_an_error_at_its_place(first: str, sentence: str) -> None:
    found = [error for error in errors(with_models(model("a", first), model("b"))) if sentence in error]
    assert len(found) == 1
    line, column, _ = found[0].split(":", 2)
    assert (line, int(column) > 1) == ("5", True)


def test_a_name_that_two_models_share_leads_to_neither() -> None:
    text = with_models(model("a", "fallback: [b]"), model("b"), model("b", provider="other"), providers=BOTH)
    assert [error.split(": ", 1)[1] for error in errors(text)] == [
        "more than one model is called `b`; name its provider too"
    ]


@pytest.mark.parametrize(
    "models",
    [
        [model("a", "fallback: [b]"), model("b", "fallback: [a]")],
        [model("a", "weights: {b: 1}"), model("b", "fallback: [ollama/a]")],
        [model("a", "fallback: [b]"), model("b", "weights: {c: 1, b: 2}"), model("c", "fallback: [d, a]"), model("d")],
        [model("x", "fallback: [a, b]"), model("a", "fallback: [b]"), model("b", "fallback: [x]")],
    ],
)
def test_a_circle_is_one_error_where_it_closes(models: list[str]) -> None:
    [error] = errors(with_models(*models))
    assert "leads back to itself here; name a model that doesn't" in error


def test_two_ways_to_one_model_are_no_circle() -> None:
    diamond = [model("a", "fallback: [b, c]"), model("b", "fallback: [d]"), model("c", "fallback: [d]"), model("d")]
    assert load(with_models(*diamond))


def test_a_long_chain_is_no_trouble() -> None:
    chain = [model(f"m{number}", f"fallback: [m{number + 1}]") for number in range(3000)]
    assert load(with_models(*chain, model("m3000")))


def test_embeddings_of_other_lengths_can_t_take_each_other_s_place() -> None:
    first = model("a", "model_type: embedding, metadata: {embedding_dimension: 8}, fallback: [b, c]")
    second = model("b", "model_type: embedding, metadata: {embedding_dimension: 16}")
    third = model("c", "model_type: embedding")
    [error] = errors(with_models(first, second, third))
    assert "`b` has another `embedding_dimension` than the model that names it" in error


@pytest.mark.parametrize(
    ("first", "second", "place"),
    [
        ("aliases: [b]", "", "5:"),
        ("aliases: [ollama/b]", "", "5:"),
        ("aliases: [ollama/b-1]", "provider_model_id: b-1", "5:"),
        ("aliases: [a]", "", "5:"),
        ("aliases: [ollama/a]", "", "5:"),
        ("aliases: [x, x]", "", "5:"),
        ("aliases: [x]", "aliases: [y, x]", "6:"),
        ("", "aliases: [a]", "6:"),
    ],
)
def test_an_alias_that_is_a_name_already_is_an_error(first: str, second: str, place: str) -> None:
    [error] = errors(with_models(model("a", first), model("b", second)))
    assert error.startswith(place)
    assert error.endswith("already; choose another one, or leave it out")


def test_an_alias_that_begins_as_models_of_another_provider_do_is_an_error() -> None:
    text = with_models(model("a", "aliases: [ollama/x, third/x, other, other/x]"), providers=BOTH)
    [error] = errors(text)
    assert error.startswith("6:")
    assert error.endswith(
        "`other/x` begins with the id of another provider, as its models do; "
        "choose one that begins otherwise, or leave it out"
    )


def test_a_model_id_that_begins_so_is_told_to_the_operator() -> None:
    [warning] = warnings(with_models(model("other/x"), model("ollama/y"), model("third/z"), providers=BOTH))
    assert warning.startswith("6:")
    assert "`other/x` begins with the id of another provider, so rules about its models match" in warning


def test_an_alias_is_a_name_that_others_may_use() -> None:
    [first, second] = _models(
        load(with_models(model("a", "fallback: [gpt-4o]"), model("b", "aliases: [gpt-4o]"))).models
    )
    assert (first.fallback, second.names) == (("ollama/b",), ("ollama/b", "b", "gpt-4o"))


def test_a_model_has_so_many_aliases_and_no_more() -> None:
    many = ", ".join(f"x{number}" for number in range(9))
    [error] = errors(with_models(model("a", f"aliases: [{many}]")))
    assert error.endswith("`aliases` takes at most 8 names")


def test_a_model_that_its_provider_may_not_be_asked_for_is_an_error() -> None:
    text = with_models(model("a"), model("b", "provider_model_id: b-1"), model("c", "provider_model_id: c-1"))
    allowing = text.replace(
        "provider_type: remote::ollama", "provider_type: remote::ollama, config: {allowed_models: [a, b, c-1]}"
    )
    assert errors(allowing) == ["6:57: the provider `ollama` may not be asked for `b-1`; add it to `allowed_models`"]
    assert errors(allowing.replace("[a, b, c-1]", "[b-1, c-1, a]")) == []
    assert len(errors(allowing.replace("[a, b, c-1]", "[]"))) == 3


@pytest.mark.parametrize("empty", ["", "~", "'${env.ALLOWED:=}'"])
def test_empty_allowed_models_do_not_allow_all(empty: str) -> None:
    text = with_models(model("a"))
    allowing = text.replace(
        "provider_type: remote::ollama", f"provider_type: remote::ollama, config: {{allowed_models: {empty}}}"
    )
    [error] = errors(allowing)
    assert "`allowed_models` needs a value" in error
    assert error.endswith("; leave it out for no restriction")
