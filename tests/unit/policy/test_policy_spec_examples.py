"""The examples of the specification parse as printed, their indentation restored."""

from __future__ import annotations

import pytest

from policy.parser import default_access_policy
from policy.rules import (
    AccessRule,
    Clause,
    Condition,
    Conditions,
    Everything,
    ExactName,
    ExactPath,
    HasValue,
    IsOwner,
    OfType,
    PathPattern,
    PathPrefix,
    Regex,
    ResourcePattern,
    RouteRule,
    SharesWithOwner,
)
from tests.support.policy_texts import codes, read_auth
from tests.support.spec_policies import P1, P2, P3, P4, P5, R5, ROUTES

# What is true of the examples: `/v1/files*` isn't only what is below, without a mapping a subject is a role too, and
# this version serves nothing at `/v1/admin`.
WARNINGS = {
    "R0": ["wide-prefix", "wide-prefix", "later-route"],
    "R2": ["subject-is-role", "wide-prefix", "wide-prefix"],
    "R3": ["subject-is-role", "later-route"],
    "R4": ["subject-is-role"],
}


def summary(rule: AccessRule) -> tuple[str, str | None, str, ResourcePattern | str]:
    resource = rule.resource.pattern if isinstance(rule.resource, Regex) else rule.resource
    return rule.effect.value, rule.principal, " ".join(rule.actions), resource


def paths(rule: RouteRule) -> list[PathPattern | str]:
    return [path.pattern if isinstance(path, Regex) else path for path in rule.paths]


def when(value: str) -> Conditions:
    return Conditions(Clause.WHEN, (HasValue(value, "roles", negated=False),))


def one(clause: Clause, condition: Condition) -> Conditions:
    return Conditions(clause, (condition,))


@pytest.mark.parametrize(
    ("text", "principals"),
    [
        (P1, ["user-1", "user-2"]),
        (P2, ["system:serviceaccount:my-namespace:my-serviceaccount", "system:serviceaccount:default:default"]),
    ],
    ids=["P1", "P2"],
)
def test_p1_and_p2_name_principals(text: str, principals: list[str]) -> None:
    policies, found = read_auth(text)
    assert policies is not None
    assert found == []
    assert policies.authentication
    assert [summary(rule) for rule in policies.access] == [
        ("permit", principals[0], "create read delete", Everything()),
        ("permit", principals[1], "read", ExactName("model", "model-1")),
    ]


def test_p3_speaks_of_owners() -> None:
    policies, found = read_auth(P3)
    assert policies is not None
    assert found == []
    assert [(*summary(rule), rule.conditions) for rule in policies.access] == [
        ("permit", None, "read", OfType("model"), None),
        ("forbid", None, "create delete", OfType("model"), one(Clause.UNLESS, HasValue("admin", "roles", False))),
        ("permit", None, "create read delete", Everything(), one(Clause.WHEN, IsOwner(False))),
        ("permit", None, "read", Everything(), one(Clause.WHEN, SharesWithOwner("teams", False))),
    ]
    assert policies.access[0].description == "all users have read access to models"


def test_p4_has_patterns_and_one_of_them_is_odd() -> None:
    policies, found = read_auth(P4)
    assert policies is not None
    assert [summary(rule)[3] for rule in policies.access] == [
        "model::(llama|mistral)-.*",
        r"model::.*-3\\.\\d+-.*",
    ]
    assert codes(found) == ["doubled-backslash"]
    assert r"`regex:model::.*-3\.\d+-.*`" in found[0].hint


def test_p5_isolates_records() -> None:
    policies, found = read_auth(P5)
    assert policies is not None
    assert found == []
    assert [summary(rule)[2:] for rule in policies.access] == [
        ("read", OfType("model")),
        ("create", OfType("sql_record::openai_files")),
        ("read delete", OfType("sql_record::openai_files")),
        ("create", OfType("sql_record::openai_conversations")),
        ("read update delete", OfType("sql_record::openai_conversations")),
        ("create", OfType("sql_record::conversation_items")),
        ("read update delete", OfType("sql_record::conversation_items")),
        ("create", OfType("sql_record::responses")),
        ("read update delete", OfType("sql_record::responses")),
    ]


def test_p6_is_the_default_policy() -> None:
    policies, _ = read_auth("provider_config: {type: github_token}")
    assert policies is not None
    assert policies.access_name == "default_policy"
    assert policies.access == default_access_policy()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("R0", [([PathPrefix("/v1/files"), PathPrefix("/v1/models"), "^/v1/admin/.*$"], None)]),
        (
            "R1",
            [
                ([ExactPath("/v1/health"), ExactPath("/v1/version")], None),
                ([ExactPath("/v1/chat/completions")], None),
            ],
        ),
        (
            "R2",
            [
                ([ExactPath("/v1/chat/completions")], when("developer")),
                ([PathPrefix("/v1/files"), PathPrefix("/v1/models")], when("user")),
                ([Everything()], when("admin")),
            ],
        ),
        (
            "R3",
            [
                ([ExactPath("/v1/health"), ExactPath("/v1/version")], None),
                ([PathPrefix("/v1/admin")], when("admin")),
                ([ExactPath("/v1/chat/completions")], when("developer")),
            ],
        ),
        (
            "R4",
            [
                ([ExactPath("/v1/health"), ExactPath("/v1/version")], None),
                (["^/v1/(files|providers|models)(/.*)?$"], when("user")),
                (["^/v1/(chat|inference)/.*$"], when("developer")),
                ([Everything()], None),
            ],
        ),
    ],
)
def test_route_examples(name: str, expected: list[tuple[list[PathPattern | str], Conditions | None]]) -> None:
    policies, found = read_auth(ROUTES[name])
    assert policies is not None
    assert policies.routes is not None
    assert codes(found) == WARNINGS.get(name, [])
    assert [(paths(rule), rule.conditions) for rule in policies.routes] == expected


def test_r5_has_both_policies() -> None:
    policies, found = read_auth(R5)
    assert policies is not None
    assert policies.routes is not None
    assert codes(found) == ["subject-is-role"]
    assert paths(policies.routes[0]) == [ExactPath("/v1/chat/completions")]
    assert policies.access[0].resource == ExactName("model", "llama-3-2-3b")
    assert policies.access[0].conditions == policies.routes[0].conditions == when("developer")
