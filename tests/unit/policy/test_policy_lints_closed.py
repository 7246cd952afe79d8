"""Policies that shut each other out: open routes without access, and access without an open route."""

from __future__ import annotations

import pytest

from policy.source.diagnostics import Diagnostic
from tests.support.policy_texts import read_auth

FILES = "permit: {actions: [read], resource: 'sql_record::openai_files'}, when: user is owner"
MODELS = "permit: {actions: [read], resource: 'model::*'}"


def found(routes: str, access: str, provider: str = "{type: custom}") -> list[Diagnostic]:
    listed = ["".join(f"- {{{rule}}}\n" for rule in rules.split("; ")) for rules in (routes, access)]
    policies, said = read_auth(f"provider_config: {provider}\nroute_policy:\n{listed[0]}access_policy:\n{listed[1]}")
    assert policies is not None, said
    return [one for one in said if one.code in ("useless-route", "useless-permit")]


def codes(routes: str, access: str) -> list[str]:
    return [one.code for one in found(routes, access)]


@pytest.mark.parametrize(
    ("paths", "useless"),
    [
        ("/v1/files*", True),
        ("[/v1/models, /v1/files]", True),
        ("[/v1/files, /v1/files/*]", True),
        ("'regex:^/v1/files(/.*)?$'", True),
        ("'regex:^/v1/(files|prompts)(/.*)?$'", True),
        ("'/v1/prompts/*'", True),
        ("/v1/models", False),
        ("'*'", False),
        ("'/v1*'", False),
        ("'regex:^/v1/(files|models)$'", False),
        ("'regex:.*'", False),
        ("/v1/health", False),
        ("/v1/filez", False),
        ("/v1/chat/completions", False),
    ],
)
def test_an_open_route_without_access(paths: str, useless: bool) -> None:
    always = "; permit: {paths: /v1/chat/completions}"
    assert codes(f"permit: {{paths: {paths}}}{always}", MODELS) == ["useless-route"] * useless
    assert "useless-route" not in codes(f"forbid: {{paths: {paths}}}{always}", MODELS)


@pytest.mark.parametrize(
    ("access", "useless"),
    [
        (FILES, False),
        ("permit: {actions: [create], resource: 'sql_record::*'}", False),
        ("permit: {actions: [delete], resource: 'regex:sql_record::.*'}", True),
        ("permit: {actions: [read], principal: ann}", False),
        ("permit: {actions: [read], resource: 'sql_record::openai_files::file-1'}", False),
        ("permit: {actions: [read], resource: 'regex:.*::x'}", False),
        ("permit: {actions: [update], resource: 'sql_record::openai_files'}", True),
        ("permit: {actions: [read, create, delete], resource: 'sql_record::responses'}", True),
        ("forbid: {actions: [read]}; permit: {actions: [read], resource: 'prompt::*'}", True),
    ],
)
def test_access_that_is_enough_for_some_request(access: str, useless: bool) -> None:
    routes = "permit: {paths: ['/v1/files', '/v1/files/*', '/v1/prompts', '/v1/prompts/*', '/v1/models']}"
    said = [one for one in found(routes, f"{access}; {MODELS}") if one.code == "useless-route"]
    assert any("`/v1/files`" in one.message for one in said) == useless


def test_one_thing_is_told_once() -> None:
    first = "permit: {paths: [/v1/files, '/v1/files/*', /v1/prompts]}"
    (only,) = found(f"{first}; permit: {{paths: /v1/files}}; permit: {{paths: /v1/models}}", MODELS)
    assert only.message == (
        "`/v1/files`, `/v1/files/*` and `/v1/prompts` are open, but `access_policy` permits no caller to read, create "
        "or delete any `sql_record::openai_files` or `prompt`, so every request there is refused or finds nothing"
    )
    assert only.hint == "add a rule that permits `read` on `sql_record::openai_files::*`, or close the route"


def test_methods_narrow_what_a_route_needs() -> None:
    routes = "permit: {paths: /v1/models, methods: [%s]}; permit: {paths: /v1/models, methods: [GET]}"
    assert codes(routes % "POST", MODELS) == ["useless-route"]
    assert codes(routes % "HEAD", MODELS) == []


@pytest.mark.parametrize(
    ("paths", "access", "useless"),
    [
        ("/v1/health", MODELS, True),
        ("/v1/files", MODELS, True),
        ("/v1/chat/completions", MODELS, False),
        ("/v1/models", MODELS, False),
        ("'*'", MODELS, False),
        ("'regex:^/v1/(chat|x)/.*'", MODELS, False),
        ("/v1/health", "permit: {actions: [read]}", False),
        ("/v1/health", "permit: {actions: [read], resource: 'model::a'}, when: user is owner", True),
        ("/v1/health", "forbid: {actions: [read], resource: 'model::*'}", False),
        ("/v1/health", "permit: {actions: [read], resource: 'session::*'}, when: user is owner", False),
        ("/v1/health", "permit: {actions: [update], resource: 'model::*'}, when: user is owner", False),
        ("/v1/models", "permit: {actions: [read, delete], resource: 'model::*'}, when: user is owner", False),
        ("/v1/models", "permit: {actions: [delete], resource: 'model::*'}, when: user is owner", True),
        ("/v1/chat/completions", "permit: {actions: [create], resource: 'sql_record::chat_completions'}", False),
        ("/v1/conversations", FILES, False),
    ],
)
def test_access_without_an_open_route(paths: str, access: str, useless: bool) -> None:
    said = [one.code for one in found(f"permit: {{paths: {paths}}}", access)]
    assert ("useless-permit" in said) == useless


def test_without_authentication_every_access_question_is_permitted() -> None:
    assert found("permit: {paths: /v1/files}", MODELS, "") == []


def test_without_either_policy_nothing_is_shut_out() -> None:
    for policy in (f"access_policy: [{{{MODELS}}}]", "route_policy: [{permit: {paths: /v1/files}}]"):
        assert read_auth(f"provider_config: {{type: custom}}\n{policy}")[1] == []
