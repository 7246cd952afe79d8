"""Shields in a configuration: their ids, providers, params and judges, each mistake at its line."""

from __future__ import annotations

import pytest

from server.config.llama_guard import VERSIONS, guessed
from server.config.shield_params import BadParams, keyword_params
from tests.support.config_texts import errors, load

BASE = """\
providers:
  inference:
  - {provider_id: a, provider_type: remote::vllm, config: {url: "http://a"}}
  - {provider_id: b, provider_type: remote::vllm, config: {url: "http://b"}}
  safety:
  - {provider_id: guard, provider_type: inline::llama-guard}
  - {provider_id: words, provider_type: inline::keyword}
  - {provider_id: aws, provider_type: remote::bedrock, config: {region: eu-west-1, api_key: k}}
models:
- {model_id: Llama-Guard-3-8B, provider_id: a}
- {model_id: twice, provider_id: a}
- {model_id: twice, provider_id: b}
- {model_id: vectors, provider_id: b, model_type: embedding}
shields:
- SHIELD
"""


def found(shield: str, more: str = "") -> list[str]:
    return [error.partition(" ")[2] for error in errors(BASE.replace("SHIELD", shield) + more)]


def test_the_ids_of_a_shield_stand_for_each_other() -> None:
    for written in (
        "{provider_id: guard, provider_shield_id: Llama-Guard-3-8B}",
        "{provider_id: guard, shield_id: Llama-Guard-3-8B}",
        "{provider_id: guard, shield_id: Llama-Guard-3-8B, provider_shield_id: null}",
    ):
        [shield] = load(BASE.replace("SHIELD", written)).shields
        assert (shield.identity, shield.resource_id) == ("Llama-Guard-3-8B", "Llama-Guard-3-8B")
    [shield] = load(BASE.replace("SHIELD", "{provider_id: guard, shield_id: s, provider_shield_id: a/twice}")).shields
    assert (shield.identity, shield.resource_id) == ("s", "a/twice")


@pytest.mark.parametrize(
    ("shield", "sentence"),
    [
        ("{provider_id: guard}", "this shield has no id; write `shield_id` or `provider_shield_id`"),
        ("{shield_id: s}", "this shield has no `provider_id`; name one of the providers under `providers.safety`"),
        (
            "{shield_id: s, provider_id: gard}",
            "no provider of `safety` is called `gard`; did you mean `guard`?",
        ),
        (
            "{shield_id: s, provider_id: guard, provider_shield_id: twice}",
            "more than one model is called `twice`; name its provider too, as `provider_shield_id`",
        ),
        (
            "{shield_id: Llama-Guard-3-8b, provider_id: guard}",
            "no model of the configuration is called `Llama-Guard-3-8b`, which is to judge for this shield; "
            "did you mean `a/Llama-Guard-3-8B`?",
        ),
        (
            "{shield_id: s, provider_id: guard, provider_shield_id: vectors}",
            "the model `vectors` does not chat, and is to judge for this shield; name another one",
        ),
        (
            "{shield_id: s, provider_id: aws, provider_shield_id: No Such, params: {version: 1}}",
            "`provider_shield_id` takes the id of a guardrail, of small letters and digits, or its ARN",
        ),
        (
            "{shield_id: s, provider_id: aws}",
            "`guardrailVersion` is needed once; write a number from 1, or `DRAFT`",
        ),
        (
            "{shield_id: s, provider_id: aws, params: {version: 0}}",
            "`version` takes a number from 1, or `DRAFT`",
        ),
        (
            "{shield_id: s, provider_id: words, params: {wrods: [a]}}",
            "`wrods` is not a key of `params`; did you mean `words`?",
        ),
        (
            "{shield_id: s, provider_id: words, params: {words: [a], timeout: 200}}",
            "`timeout` takes seconds, more than 0 and at most 120",
        ),
        (
            "{shield_id: a/twice, provider_id: guard, params: {taxonomy: llama-guard-5}}",
            "`taxonomy` takes `llama-guard-1`, `llama-guard-2`, `llama-guard-3`, `llama-guard-3-1b`, "
            "`llama-guard-3-vision` or `llama-guard-4`",
        ),
        (
            "{shield_id: a/twice, provider_id: guard, params: {excluded_categories: [O1]}}",
            "`excluded_categories` holds `O1`, which is no category of `llama-guard-3`",
        ),
    ],
)
def test_each_mistake_is_explained(shield: str, sentence: str) -> None:
    assert found(shield) == [sentence]


def test_excluding_every_category_is_refused() -> None:
    codes = ", ".join(VERSIONS["llama-guard-2"].categories)
    params = f"{{taxonomy: llama-guard-2, excluded_categories: [{codes}]}}"
    assert found(f"{{shield_id: a/twice, provider_id: guard, params: {params}}}") == [
        "`excluded_categories` holds every category of `llama-guard-2`, so nothing would be unsafe; "
        "leave one of them out, or the shield"
    ]


def test_two_shields_have_two_ids() -> None:
    words = "params: {words: [a]}"
    shield = f"{{shield_id: s, provider_id: words, {words}}}\n- {{shield_id: s, provider_id: words, {words}}}"
    assert found(shield) == ["`s` is the id of the shield in line 15 already; give each shield its own"]


def test_the_default_is_a_shield_or_one_that_is_switched_off() -> None:
    shield = "{shield_id: s, provider_id: words, params: {words: [a]}}"
    assert found(shield, "safety: {default_shield_id: t}\n") == [
        "no shield of the configuration is called `t`; use `s`"
    ]
    assert load(BASE.replace("SHIELD", shield) + "safety: {default_shield_id: s}\n").safety.default_shield_id == "s"
    off = '{shield_id: s, provider_id: "${env.ON:+words}", params: {words: [a]}}'
    assert load(BASE.replace("SHIELD", off) + "safety: {default_shield_id: s}\n").shields == ()
    off = '{shield_id: "${env.ON:=__disabled__}", provider_id: words}'
    assert load(BASE.replace("SHIELD", off)).shields == ()


def test_shields_need_their_api() -> None:
    text = "apis: [inference]\n" + BASE.replace("SHIELD", "{shield_id: s, provider_id: words, params: {words: [a]}}")
    assert [error.partition(" ")[2] for error in errors(text)] == [
        "`safety` has providers, and `apis` leaves it out; list it there",
        "`shields` needs `safety`, and `apis` leaves it out; list it there",
    ]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("meta-llama/LlamaGuard-7b", "llama-guard-1"),
        ("vllm-1/meta-llama/Meta-Llama-Guard-2-8B", "llama-guard-2"),
        ("meta-llama/Llama-Guard-3-8B", "llama-guard-3"),
        ("llama-guard3", "llama-guard-3"),
        ("llama-guard3:1b", "llama-guard-3-1b"),
        ("meta-llama/Llama-Guard-3-1B-INT4", "llama-guard-3-1b"),
        ("meta-llama/Llama-Guard-3-11B-Vision", "llama-guard-3-vision"),
        ("groq/meta-llama/Llama-Guard-4-12B", "llama-guard-4"),
        ("llama_guard_4", "llama-guard-4"),
        ("llama-guard:3b", None),
        ("my-judge", None),
    ],
)
def test_the_version_is_told_by_the_models_name(name: str, version: str | None) -> None:
    assert guessed(name) == version


def test_texts_of_variables_are_read_as_what_they_are() -> None:
    assert keyword_params({"words": ["a"], "timeout": "2.5", "whole_words": "false"}).common.timeout == 2.5
    for wrong in ("0", "121", "soon"):
        with pytest.raises(BadParams):
            keyword_params({"words": ["a"], "timeout": wrong})
