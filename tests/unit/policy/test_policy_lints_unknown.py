"""Paths, names and words that nothing has: what is found, what is suggested, and what is let be."""

from __future__ import annotations

import json

import pytest

from policy.source.diagnostics import Diagnostic
from tests.support.policy_texts import codes, read, read_auth, route_rules

MODELS = """
providers:
  inference: [{provider_id: vllm, provider_type: "remote::vllm"}]
models:
- {model_id: llama-3, provider_id: vllm, provider_model_id: meta/llama-3}
- {model_id: "${env.MODEL:=mistral}", provider_id: vllm}
"""


def of_path(text: str, effect: str = "permit", methods: str = "") -> list[tuple[str, str]]:
    more = f", methods: {methods}" if methods else ""
    _, found = route_rules(f"- {effect}: {{paths: {json.dumps(text)}{more}}}")
    return [(one.code, one.hint) for one in found if one.code in ("unknown-route", "later-route")]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("/v1/modles*", "did you mean `/v1/models*`?"),
        ("/v1/modles/*", "did you mean `/v1/models/*`?"),
        ("/v1/Models", "did you mean `/v1/models`?"),
        ("/V1/models", "did you mean `/v1/models`?"),
        ("/models", "did you mean `/v1/models`?"),
        ("/v1/chat/completion", "did you mean `/v1/chat/completions`?"),
        ("/v1/chat/completions/a/message", "did you mean `/v1/chat/completions`?"),
        ("/v1/chat", "write `/v1/chat/*` for what is below it"),
        ("/v1", "write `/v1/*` for what is below it"),
        ("/v1/vector-db", "did you mean `/v1/vector-dbs`?"),
        ("/v1/healthz", "did you mean `/v1/health`?"),
        ("/nothing/like/it", "`docs/api/api.md` lists every route"),
        ("regex:^/v1/modles(/.*)?$", "did you mean paths that begin with `/v1/models`?"),
        ("regex:^/v1/(modles|filez)/.*", "did you mean paths that begin with `/v1/files` and `/v1/models`?"),
        ("regex:^/v1/model$", "did you mean paths that begin with `/v1/models`?"),
    ],
)
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_a_path_that_no_route_has_gets_the_nearest_one(text: str, hint: str, effect: str) -> None:
    assert of_path(text, effect) == [("unknown-route", hint)]


@pytest.mark.parametrize(
    "text",
    [
        *("*", "/*", "/v1*", "/v1/m*", "/metrics", "/v1/models/", "/v1/models/a/b/c", "/v1/files/a/content"),
        *("/v1/conversations/a/items/b", "/v1/prompts/a/set-default-version", "/v1/eval/benchmarks/a/b"),
        *("regex:.*", "regex:(?i)/V1/MODELS", "regex:^/v1/(modles|files)$", "regex:/v1/.*x$", "regex:^/v1/files?$"),
        *("regex:^/v1/files/[^/]+/content$", "regex:(?!/v1/files).*", "regex:^/v1/(chat|inference)/.*$"),
    ],
)
def test_a_path_that_a_route_may_have_is_let_be(text: str) -> None:
    assert of_path(text) == of_path(text, "forbid") == []


@pytest.mark.parametrize("text", ["/v1/files/a/b", "/v1/health/x", "/v1/prompts/a/b", "/v1/chat/completions/a/b"])
def test_a_path_below_a_route_is_none(text: str) -> None:
    assert [code for code, _ in of_path(text)] == ["unknown-route"]


def test_a_method_that_no_route_takes_is_pointed_out() -> None:
    assert of_path("/v1/models", methods="[GET, PUT]") == []
    assert of_path("/v1/models", methods="HEAD") == []
    assert of_path("/v1/models", methods="PUT") == [("unknown-route", "the routes there take GET and POST")]
    assert of_path("/v1/files/*", "forbid", "PATCH") == [("unknown-route", "the routes there take GET and DELETE")]


@pytest.mark.parametrize(
    "text",
    ["/v1/admin*", "/v1/audit", "regex:^/v1/inference/.*$", "/v1/admin/x"],
)
def test_a_path_of_a_later_version_is_pointed_out_in_a_permit(text: str) -> None:
    assert [code for code, _ in of_path(text)] == ["later-route"]
    assert of_path(text, "forbid") == []


def test_a_path_gets_one_remark() -> None:
    assert codes(route_rules("- permit: {paths: ['/v1/modles*', 'regex:^/v1/modles']}")[1]) == ["unknown-route"] * 2
    assert codes(route_rules("- permit: {paths: '/v1/*/x'}")[1]) == ["literal-star"]


def test_of_many_unknown_paths_the_first_are_told_and_the_others_counted() -> None:
    _, found = route_rules(f"- forbid: {{paths: {json.dumps([f'/v1/x{number}' for number in range(50)])}}}")
    assert len(found) == 21
    assert "29 after it" in found[-1].message


def names(rules: str, config: str = MODELS, **environ: str) -> list[Diagnostic]:
    auth = "".join(f"    - {{{rule}}}\n" for rule in rules.split("; "))
    policies, found = read(f"{config}server:\n  auth:\n    access_policy:\n{auth}", environ)
    assert policies is not None, found
    return [one for one in found if one.code == "unknown-name"]


def reading(resource: str, effect: str = "permit") -> str:
    return f"{effect}: {{actions: read, resource: '{resource}'}}"


@pytest.mark.parametrize(
    ("resource", "hint"),
    [
        ("model::lama-3", "did you mean `llama-3`?"),
        ("model::LLAMA-3", "did you mean `llama-3`?"),
        ("model::vllm/meta/lama-3", "did you mean `vllm/meta/llama-3`?"),
        ("model::x", "it has `vllm/meta/llama-3`, `vllm/llama-3`, `llama-3`, `vllm/mistral`, `mistral`"),
        ("provider::vlm", "did you mean `vllm`?"),
    ],
)
def test_a_name_that_nothing_in_the_configuration_has(resource: str, hint: str) -> None:
    for effect in ("permit", "forbid"):
        (only,) = names(reading(resource, effect))
        assert only.hint == hint
        assert only.span.column > 1
    assert len(names(f"{reading(resource)}; {reading(resource, 'forbid')}")) == 1


@pytest.mark.parametrize(
    "resource",
    [
        *("model::llama-3", "model::vllm/llama-3", "model::vllm/meta/llama-3", "model::mistral", "model::*"),
        *(
            "regex:model::lama-3",
            "model::lama*",
            "provider::vllm",
            "prompt::x",
            "sql_record::responses::x",
            "shield::x",
        ),
    ],
)
def test_a_name_that_something_has_or_that_may_be_anything(resource: str) -> None:
    assert names(reading(resource)) == []


def test_the_environment_names_models() -> None:
    assert names(reading("model::qwen"), MODEL="qwen") == []
    assert len(names(reading("model::mistral"), MODEL="qwen")) == 1


@pytest.mark.parametrize("model_id", ["${env.MODEL}", "${env.MODEL:__disabled__}", "${env.MODEL:=__disabled__}", "[a]"])
def test_where_a_name_is_not_known_here_nothing_is_said(model_id: str) -> None:
    config = MODELS.replace("${env.MODEL:=mistral}", model_id).replace('"[a]"', "[a]")
    assert names(reading("model::lama-3"), config) == []
    assert len(names(reading("provider::vlm"), config)) == 1


def test_where_models_may_be_registered_only_a_near_name_is_told() -> None:
    create = "permit: {actions: [create, read]}, when: user is owner"
    assert names(f"{create}; {reading('model::gpt')}") == []
    (only,) = names(f"{create}; {reading('model::lama-3')}")
    assert only.hint == "did you mean `llama-3`? if not, the rule waits for one that is registered under that name"
    elsewhere = "permit: {actions: create, resource: 'shield::*'}"
    assert names(f"{elsewhere}; {reading('model::gpt')}")[0].hint.startswith("it has ")


def test_where_nothing_is_configured_nothing_is_said() -> None:
    assert names(reading("model::lama-3"), "version: 2\n") == []


def test_other_things_of_the_configuration_have_names_too() -> None:
    config = "shields: [{shield_id: guard, provider_shield_id: meta/guard}]\nvector_dbs: [{vector_db_id: notes}]\n"
    assert names(reading("shield::guard"), config) == names(reading("shield::meta/guard"), config) == []
    assert names(reading("shield::gard"), config)[0].hint == "did you mean `guard`?"
    assert names(reading("vector_db::note"), config)[0].hint == "did you mean `notes`?"


def case(text: str) -> list[str]:
    policies, found = read_auth(f"provider_config: {{type: custom}}\n{text}")
    assert policies is not None, found
    return [one.message.partition(":")[0] for one in found if one.code == "differs-in-case"]


def test_words_that_differ_in_case_alone() -> None:
    rule = "access_policy: [{permit: {actions: create}, when: [user with %s in %s, user in owners %s]}]"
    assert case(rule % ("admin", "roles", "roles")) == []
    (only,) = case(rule % ("admin", "roles", "Roles"))
    assert only == "the attribute `Roles` is not `roles` of `access_policy[0]` (line 4)"
    other = "\nroute_policy: [{permit: {paths: '*'}, when: user with Admin in roles}]"
    (only,) = case(rule % ("admin", "roles", "roles") + other)
    assert only == "the value `Admin` is not `admin` of `access_policy[0]` (line 4)"
    assert case(rule % ("admin", "roles", "roles") + other.replace("in roles", "in teams")) == []


def test_each_other_spelling_is_told_once() -> None:
    principals = ["ann", "Ann", "ANN", "Ann", "ann", "ben"]
    rules = "".join(f"- permit: {{actions: create, principal: {name}}}\n" for name in principals)
    assert len(case(f"access_policy:\n{rules}")) == 2
    assert case("access_policy:\n- permit: {actions: create, principal: straße}\n") == []
    both = "".join(f"- permit: {{actions: create, principal: {name}}}\n" for name in ("straße", "strasse"))
    assert case(f"access_policy:\n{both}") == []


def test_an_attribute_that_no_caller_has_is_not_told_twice() -> None:
    rules = "access_policy: [{permit: {actions: create}, when: [user with a in Roles, user with b in roles]}]"
    _, found = read_auth(f"provider_config: {{type: github_token}}\n{rules}")
    assert codes(found) == ["subject-is-role", "unknown-attribute"]


def test_limits_are_looked_at_too() -> None:
    _, found = read(
        """
        server:
          auth:
            provider_config: {type: oauth2_token, claims_mapping: {groups: teams}}
            route_policy: [{permit: {paths: "*"}, when: user with ml in teams}]
          quota:
            limits:
            - {when: user with ML in teams, max_requests: 5}
            - {when: user with x in groupz, max_requests: 5}
        """
    )
    assert [(one.code, one.span.line) for one in found] == [("unknown-attribute", 9), ("differs-in-case", 8)]
    assert "`groupz`" in found[0].message
