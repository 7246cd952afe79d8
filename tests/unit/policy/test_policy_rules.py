"""Rules: what they need, what they refuse, and what becomes of them."""

from __future__ import annotations

import json

import pytest

from policy.parser import parse_access_policy, parse_route_policy
from policy.rules import AccessRule, Clause, Conditions, ExactName, HasValue, RouteRule
from policy.source.diagnostics import Findings, Span
from policy.source.document import parse_document
from policy.vocabulary import Action, Effect
from tests.support.policy_texts import access_rules, codes, read_auth, route_rules


def errors(policy: str, rules: str) -> list[str]:
    policies, found = read_auth(f"{policy}:\n" + "\n".join("  " + line for line in rules.split("\n")))
    assert policies is None
    return codes(found)


def test_an_access_rule_carries_everything_that_was_written() -> None:
    rules, found = access_rules(
        """
        - forbid: {actions: read}
        - permit:
            principal: user-1
            actions: [create, read, update, delete]
            resource: model::a
          unless: user with guest in roles
          description: |
            two
            lines
        """
    )
    assert found == []
    assert rules[1] == AccessRule(
        index=1,
        effect=Effect.PERMIT,
        principal="user-1",
        actions=(Action.CREATE, Action.READ, Action.UPDATE, Action.DELETE),
        resource=ExactName("model", "a"),
        conditions=Conditions(Clause.UNLESS, (HasValue("guest", "roles", negated=False),)),
        description="two\nlines\n",
        span=Span("config.yaml", 5, 9),
    )


def test_a_rule_may_say_very_little() -> None:
    rules, _ = access_rules("- forbid: {actions: delete}")
    assert (rules[0].principal, rules[0].actions, rules[0].conditions, rules[0].description) == (
        None,
        (Action.DELETE,),
        None,
        "",
    )


def test_actions_written_twice_count_once() -> None:
    rules, found = access_rules("- permit: {actions: [read, create, read], resource: 'model::*'}")
    assert rules[0].actions == (Action.READ, Action.CREATE)
    assert found == []


def test_a_route_rule_carries_everything_that_was_written() -> None:
    rules, found = route_rules("- permit: {paths: [/v1/models], methods: [HEAD, GET, POST]}\n  description: reading")
    assert found == []
    assert isinstance(rules[0], RouteRule)
    assert rules[0].methods == ("GET", "POST")
    assert rules[0].description == "reading"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_can_be_named(method: str) -> None:
    rules, _ = route_rules(f"- permit: {{paths: '*', methods: {method}}}")
    assert rules[0].methods == (method,)


def test_head_counts_as_get() -> None:
    rules, _ = route_rules("- permit: {paths: '*', methods: HEAD}")
    assert rules[0].methods == ("GET",)


def test_no_methods_means_every_method() -> None:
    rules, _ = route_rules("- permit: {paths: '*'}")
    assert rules[0].methods == ()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("- permit: {actions: read}\n  forbid: {actions: read}", ["two-effects"]),
        ("- description: nothing", ["no-effect"]),
        ("- {}", ["no-effect"]),
        ("- permt: {actions: read}", ["unknown-key"]),
        ("- permit: {actions: read}\n  when: user is owner\n  unless: user is owner", ["two-clauses"]),
        ("- permit: {actions: read}\n  if: user is owner", ["unknown-key"]),
        ("- permit: {actions: read, resuorce: a}", ["unknown-key"]),
        ("- permit: {actions: read, when: user is owner}", ["misplaced-key"]),
        ("- permit: {actions: read, unless: user is owner}", ["misplaced-key"]),
        ("- permit: {actions: read, description: text}", ["misplaced-key"]),
        ("- permit: {actions: read, paths: /v1}", ["misplaced-key"]),
        ("- permit:\n  actions: read", ["misplaced-key"]),
        ("- permit:", ["empty-value"]),
        ("- permit: read", ["not-a-mapping"]),
        ("- permit: {}", ["missing-key"]),
        ("- permit: {resource: model::a}", ["missing-key"]),
        ("- permit: {actions: []}", ["empty-list"]),
        ("- permit: {actions: [read, raed]}", ["unknown-action"]),
        ("- permit: {actions: Read}", ["unknown-action"]),
        ("- permit: {actions: '*'}", ["unknown-action"]),
        ("- permit: {actions: {read: yes}}", ["not-a-text"]),
        ("- permit: {actions: [on]}", ["not-a-text"]),
        ("- permit: {actions: read, principal: 12}", ["not-a-text"]),
        ("- permit: {actions: read, principal: no}", ["not-a-text"]),
        ("- permit: {actions: read, principal: 1.5}", ["not-a-text"]),
        ("- permit: {actions: read, principal: }", ["empty-value"]),
        ("- permit: {actions: read, principal: ''}", ["empty-value"]),
        ("- permit: {actions: read, principal: [a]}", ["not-a-text"]),
        ("- permit: {actions: read, resource: [model::a]}", ["not-a-text"]),
        ("- permit: {actions: read, resource: ''}", ["empty-value"]),
        ("- permit: {actions: read}\n  when:", ["empty-value"]),
        ("- permit: {actions: read}\n  when: []", ["empty-list"]),
        ("- permit: {actions: read}\n  when: true", ["not-a-text"]),
        ("- permit: {actions: read}\n  when: [[user is owner]]", ["not-a-text"]),
        ("- permit: {actions: read}\n  description: 5", ["not-a-text"]),
        ("- permit: {actions: read}\n  description: [a]", ["not-a-text"]),
        ("- permit: {actions: read}\n  description: '${env.WHY}'", ["environment-in-policy"]),
        ("- permit: {actions: read}\n  description: \"bell \\a\"", ["control-character"]),
        ("- permit: {actions: read, principal: '${env.WHO}'}", ["environment-in-policy"]),
        ("- permit: {actions: '${env.WHAT:=read}'}", ["environment-in-policy"]),
        ("- permit: {actions: read, resource: 'regex:${env.'}", ["environment-in-policy"]),
        ("- permit: {actions: read}\n  when: user with ${env.R:+a} in roles", ["environment-in-policy"]),
        ('- permit: {actions: read, principal: "a\\nb"}', ["control-character"]),
        ('- permit: {actions: read, resource: "regex:a\\x85"}', ["control-character"]),
        ('- permit: {actions: read}\n  when: "user with \'a\\tb\' in roles"', ["control-character"]),
        ("- text", ["not-a-mapping"]),
        ("- ", ["not-a-mapping"]),
    ],
)  # fmt: skip
def test_a_mistake_in_an_access_rule_is_an_error(rule: str, expected: list[str]) -> None:
    assert errors("access_policy", rule) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("- permit: {paths: []}", ["empty-list"]),
        ("- permit: {paths: ''}", ["empty-value"]),
        ("- permit: {paths: [/v1, 5]}", ["not-a-text"]),
        ("- permit: {methods: GET}", ["missing-key"]),
        ("- permit: {paths: /v1, methods: []}", ["empty-list"]),
        ("- permit: {paths: /v1, methods: get}", ["unknown-method"]),
        ("- permit: {paths: /v1, methods: TRACE}", ["unknown-method"]),
        ("- permit: {paths: /v1, method: GET}", ["unknown-key"]),
        ("- permit: {paths: /v1, principal: a}", ["misplaced-key"]),
        ("- permit: {paths: /v1, when: user with a in b}", ["misplaced-key"]),
        ("- permit:\n  paths: /v1", ["misplaced-key"]),
        ('- permit: {paths: "/v1\\0"}', ["control-character"]),
        ("- permit: {paths: '/${env.PATH}'}", ["environment-in-policy"]),
    ],
)
def test_a_mistake_in_a_route_rule_is_an_error(rule: str, expected: list[str]) -> None:
    assert errors("route_policy", rule) == expected


def test_what_is_misplaced_is_sent_home() -> None:
    _, found = read_auth("access_policy:\n  - permit:\n      actions: read\n      when: user is owner")
    assert found[0].hint == "move it out one level, beside `permit`"


def test_all_mistakes_of_a_file_are_reported_together() -> None:
    policies, found = read_auth(
        """
        access_policy:
          - permit: {actions: raed, resource: modle::a, principal: 5}
            when: user is boss
          - permit: {actions: [read]}
          - forbid: {}
        route_policy:
          - permit: {paths: v1}
        """
    )
    assert policies is None
    assert codes(found) == [
        "unknown-action", "unknown-type", "not-a-text", "invalid-condition", "missing-key", "invalid-path",
    ]  # fmt: skip


def test_a_rule_with_an_error_never_becomes_a_rule() -> None:
    access = (
        "- permit: {actions: [read, raed]}\n- permit: {actions: read}\n"
        "- forbid: {actions: read}\n  when: [user is owner, x]"
    )
    findings = Findings()
    rules = parse_access_policy(parse_document(f"p:\n{access}\n", "c.yaml").entries["p"].node, findings)
    assert [rule.index for rule in rules] == [1]
    routes = "- permit: {paths: [/v1, v2]}\n- permit: {paths: /v1}\n  description: 5"
    findings = Findings()
    assert parse_route_policy(parse_document(f"p:\n{routes}\n", "c.yaml").entries["p"].node, findings) == ()


def test_a_rule_with_a_warning_does() -> None:
    rules, found = access_rules("- permit: {actions: read, resource: 'model::a*'}")
    assert len(rules) == 1
    assert codes(found) == ["literal-star"]


@pytest.mark.parametrize("principal", ["*", "system:serviceaccount:ns:*", "regex:user-.*"])
def test_a_principal_is_no_pattern(principal: str) -> None:
    rules, found = access_rules(f"- permit: {{actions: read, principal: '{principal}'}}")
    assert rules[0].principal == principal
    assert codes(found) == ["literal-star"]


@pytest.mark.parametrize(
    "text",
    ['"; allow := true #', "`", "}", "a\u2028b", "{{ }}", "a\\", "$env", "日本語", "' or 1=1", "%s", "\U0001f600"],
)
def test_any_other_text_is_a_name_like_any_other(text: str) -> None:
    quoted = json.dumps(text, ensure_ascii="\u2028" in text)
    resource = json.dumps("model::" + text, ensure_ascii="\u2028" in text)
    rules, found = access_rules(
        f"- permit: {{principal: {quoted}, actions: read, resource: {resource}}}\n  description: {quoted}"
    )
    assert (rules[0].principal, rules[0].resource, rules[0].description) == (text, ExactName("model", text), text)
    assert found == []
