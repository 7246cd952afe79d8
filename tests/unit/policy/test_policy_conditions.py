"""Every spelling of a condition, and the nearest right one for those that aren't."""

from __future__ import annotations

import json

import pytest

from policy.conditions import FORMS
from policy.rules import (
    Clause,
    Condition,
    HasValue,
    IsAuthenticated,
    IsFromConfig,
    IsOwner,
    IsUnowned,
    SharesWithOwner,
)
from tests.support.policy_texts import access_rules, codes, read_auth, route_rules

SPELLINGS: list[tuple[str, Condition]] = [
    ("user with admin in roles", HasValue("admin", "roles", negated=False)),
    ("user with admin not in roles", HasValue("admin", "roles", negated=True)),
    ('user with "ml engineer" in roles', HasValue("ml engineer", "roles", negated=False)),
    ("user with 'ml engineer' not in roles", HasValue("ml engineer", "roles", negated=True)),
    ('user with "it\'s" in roles', HasValue("it's", "roles", negated=False)),
    ("user with o'brien in roles", HasValue("o'brien", "roles", negated=False)),
    ("user with in in roles", HasValue("in", "roles", negated=False)),
    ("user with not not in roles", HasValue("not", "roles", negated=True)),
    ('user with "not" in roles', HasValue("not", "roles", negated=False)),
    ('user with " padded " in roles', HasValue(" padded ", "roles", negated=False)),
    ("user with system:serviceaccount:a:b in roles", HasValue("system:serviceaccount:a:b", "roles", negated=False)),
    ("user with Ünïcode in rôles", HasValue("Ünïcode", "rôles", negated=False)),
    ("  user   with  admin in   roles ", HasValue("admin", "roles", negated=False)),
    ("user with admin\u00a0 in\u3000roles\u00a0", HasValue("admin", "roles", negated=False)),
    ("user\u00a0is owner", IsOwner(negated=False)),
    ('user with "no\u00a0break" in roles', HasValue("no\u00a0break", "roles", negated=False)),
    ("user is owner", IsOwner(negated=False)),
    ("user is not owner", IsOwner(negated=True)),
    ("user in owners teams", SharesWithOwner("teams", negated=False)),
    ("user in owner teams", SharesWithOwner("teams", negated=False)),
    ("user not in owners teams", SharesWithOwner("teams", negated=True)),
    ("user not in owner teams", SharesWithOwner("teams", negated=True)),
    ("user is authenticated", IsAuthenticated()),
    ("resource is unowned", IsUnowned()),
    ("resource is from config", IsFromConfig()),
]


def hint(text: str) -> str:
    policies, found = read_auth(f"access_policy:\n  - permit: {{actions: read}}\n    when: [{json.dumps(text)}]")
    assert policies is None
    assert codes(found) == ["invalid-condition"]
    return found[0].hint


@pytest.mark.parametrize(("text", "expected"), SPELLINGS)
def test_a_spelling_becomes_its_condition(text: str, expected: Condition) -> None:
    rules, found = access_rules(f"- permit: {{actions: create}}\n  when: {json.dumps(text)}")
    assert rules[0].conditions is not None
    assert rules[0].conditions.conditions == (expected,)
    assert set(codes(found)) <= {"unknown-attribute"}


@pytest.mark.parametrize("block", ["|\n    user is owner", "|+\n    user is owner\n\n", ">\n    user is\n    owner"])
def test_a_condition_may_stand_in_a_block(block: str) -> None:
    rules, _ = access_rules(f"- permit: {{actions: read}}\n  when: {block}")
    assert rules[0].conditions is not None
    assert rules[0].conditions.conditions == (IsOwner(negated=False),)


def test_every_documented_form_parses() -> None:
    rules, _ = access_rules(f"- permit: {{actions: read}}\n  when: {json.dumps(FORMS)}")
    assert rules[0].conditions is not None
    assert len(rules[0].conditions.conditions) == len(FORMS)


def test_a_list_keeps_its_order_and_its_clause() -> None:
    rules, _ = access_rules("- forbid: {actions: read}\n  unless: [user is owner, user with a in b]")
    assert rules[0].conditions is not None
    assert rules[0].conditions.clause is Clause.UNLESS
    assert rules[0].conditions.conditions == (IsOwner(False), HasValue("a", "b", False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User with admin in roles", "did you mean `user with admin in roles`?"),
        ("user with Admin IN roles", "did you mean `user with Admin in roles`?"),
        ("user is Owner", "did you mean `user is owner`?"),
        ("user is the owner", "did you mean `user is owner`?"),
        ("user isn't owner", "did you mean `user is owner`?"),
        ("user in owners", "the attribute's name is missing at the end, as in `user in owners teams`"),
        ("user with admin in", "the attribute's name is missing at the end, as in `user in owners teams`"),
        (
            "user with ml engineer in roles",
            'a value that holds blanks needs quotes: `user with "ml engineer" in roles`',
        ),
        (
            "user with a b c not in roles",
            'a value that holds blanks needs quotes: `user with "a b c" not in roles`',
        ),
        ('user with "admin in roles', "a quote opens and does not close around one whole value"),
        ('user with "admin"s in roles', "a quote opens and does not close around one whole value"),
        ('user with "" in roles', "the value is empty"),
        ("user with not in roles", 'write the value `not` in quotes: `"not"`, or add the one that is missing'),
        ('user with a in "roles"', "an attribute's name takes no quotes"),
        ('user not in owners "roles"', "an attribute's name takes no quotes"),
        ("user is owner or user is authenticated", "write one condition per entry of a list; `or` is a second rule"),
        (
            "user is not authenticated",
            "turn the clause round: `unless: user is authenticated` in place of `when`, or the reverse",
        ),
        (
            "resource is owned",
            "turn the clause round: `unless: resource is unowned` in place of `when`, or the reverse",
        ),
    ],
)
def test_the_right_spelling_is_suggested(text: str, expected: str) -> None:
    assert hint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "true()",
        "user",
        "user is owner; drop",
        '"user" is owner',
        "user with a in b c",
        "user with a\u00a0b in roles",
        "resource is owner",
    ],
)
def test_nothing_else_is_a_condition(text: str) -> None:
    assert hint(text)


@pytest.mark.parametrize(
    "text",
    ["user is owner", "user is not owner", "user in owners teams", "user not in owner teams", "resource is unowned",
     "resource is from config"],
)  # fmt: skip
def test_a_route_rule_knows_no_resource(text: str) -> None:
    policies, found = read_auth(f"route_policy:\n  - permit: {{paths: '*'}}\n    unless: {text}")
    assert policies is None
    assert codes(found) == ["resource-in-route"]


def test_a_route_rule_may_ask_about_the_user() -> None:
    rules, _ = route_rules("- permit: {paths: '*'}\n  when: [user with admin in roles, user is authenticated]")
    assert rules[0].conditions is not None
    assert rules[0].conditions.conditions == (HasValue("admin", "roles", False), IsAuthenticated())
