"""Vector stores that no caller fills, and agents that no caller uses: when `policy check` says so, and when not."""

from __future__ import annotations

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document

HEAD = "apis: [{}]\nvector_stores: [{{vector_store_id: docs, embedding_model: m}}]\nserver:\n  auth:\n"
PROVIDER = "    provider_config: {type: custom}\n"
RECORDS = "permit: {actions: [create, read], resource: 'sql_record::*'}, when: user is owner"
FILLED = "permit: {actions: [update], resource: 'vector_store::docs'}, when: user with a in roles"


def codes(access: str, routes: str = "", apis: str = "agents", provider: str = PROVIDER) -> list[str]:
    text = HEAD.format(apis) + provider
    for name, rules in (("route_policy", routes), ("access_policy", access)):
        if rules:
            text += f"    {name}:\n" + "".join(f"    - {{{rule}}}\n" for rule in rules.split("; "))
    findings = Findings()
    assert read_policies(parse_document(text, "config.yaml"), {}, findings) is not None, findings.diagnostics
    return [one.code for one in findings.diagnostics if one.code in ("unfilled-store", "unused-agents")]


@pytest.mark.parametrize(
    ("rule", "unused"),
    [
        (RECORDS, False),
        ("permit: {actions: [create], resource: 'sql_record::responses'}, when: user with a in roles", False),
        ("permit: {actions: [create], resource: 'regex:sql_record::resp.*'}, unless: resource is unowned", False),
        ("permit: {actions: [create]}, when: user in owners teams", False),
        ("permit: {actions: [create], resource: 'sql_record::openai_files'}; permit: {actions: [read]}", True),
        ("permit: {actions: [read, update, delete], resource: 'sql_record::*'}", True),
        ("permit: {actions: [create], resource: 'sql_record::*'}, when: user is not owner", True),
        ("permit: {actions: [create], resource: 'sql_record::*'}, when: resource is from config", True),
        ("forbid: {actions: [create], resource: 'sql_record::openai_files'}; " + RECORDS, False),
        ("forbid: {actions: [create], resource: 'sql_record::responses'}, unless: user is owner; " + RECORDS, False),
        ("forbid: {actions: [create], resource: 'sql_record::responses'}; " + RECORDS, True),
        ("forbid: {actions: [create], resource: 'sql_record::*'}; " + RECORDS, True),
    ],
)
@pytest.mark.parametrize("api", ["agents", "responses"])
def test_agents_need_a_rule_that_creates_responses(rule: str, unused: bool, api: str) -> None:
    assert codes(f"{rule}; {FILLED}", apis=api) == ["unused-agents"] * unused
    assert codes(f"{rule}; {FILLED}", apis="inference") == []
    assert codes(f"{rule}; {FILLED}", apis=api, provider="") == []


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ("permit: {paths: '*'}", []),
        ("permit: {paths: [/v1/responses, '/v1/vector_stores/docs/*']}", []),
        ("permit: {paths: ['regex:/v1/(responses|vector-io/insert)$']}", []),
        ("permit: {paths: /v1/responses, methods: POST}; permit: {paths: /v1/vector-io/insert}", []),
        ("permit: {paths: /v1/responses}; permit: {paths: '/v1/vector_stores/other/*'}", ["unfilled-store"]),
        ("permit: {paths: /v1/responses}; permit: {paths: /v1/vector_stores}", ["unfilled-store"]),
        ("permit: {paths: '/v1/*', methods: GET}", ["unfilled-store", "unused-agents"]),
        ("permit: {paths: '/v1/responses/*'}; permit: {paths: '/v1/vector-io*'}", ["unused-agents"]),
        ("forbid: {paths: '*'}", ["unfilled-store", "unused-agents"]),
    ],
)
def test_both_need_an_open_route(routes: str, found: list[str]) -> None:
    assert codes(f"{RECORDS}; {FILLED}", routes) == found


def test_the_default_policy_lets_agents_be_used() -> None:
    assert codes("") == ["unfilled-store"]
