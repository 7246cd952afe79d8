"""A conditional `forbid` that a caller without an identity escapes."""

from __future__ import annotations

import time

import pytest

from tests.support.policy_texts import codes, read_auth

FORBID = "- forbid: {paths: /v1/admin*}\n    unless: user with admin in roles\n  "


def skipped(rules: str, authentication: bool = False) -> list[str]:
    provider = "provider_config: {type: custom}\n" if authentication else ""
    policies, found = read_auth(f"{provider}route_policy:\n  {rules}")
    assert policies is not None, found
    return [code for code in codes(found) if code == "conditional-forbid-skipped"]


@pytest.mark.parametrize(
    "later",
    [
        "- permit: {paths: '*'}",
        "- permit: {paths: /v1*}",
        "- permit: {paths: /v1/admin*}",
        "- permit: {paths: [/v1/health, /v1/a*]}",
        "- permit: {paths: /v1/health}\n  - permit: {paths: '*', methods: GET}",
        "- forbid: {paths: /v1/admin/users}\n  - permit: {paths: '*'}",
        "- forbid: {paths: '*'}\n    when: user with guest in roles\n  - permit: {paths: '*'}",
    ],
)
def test_without_authentication_a_later_permit_opens_what_was_forbidden(later: str) -> None:
    assert "conditional-forbid-skipped" in skipped(FORBID + later)


@pytest.mark.parametrize(
    "later",
    [
        "- permit: {paths: /v1/health}",
        "- permit: {paths: /v1/files*}",
        "- permit: {paths: /v1/admin/users}",
        "- permit: {paths: '*'}\n    when: user with user in roles",
        "- forbid: {paths: /v1/admin*}\n  - permit: {paths: '*'}",
        "- forbid: {paths: '*'}\n  - permit: {paths: '*'}",
    ],
)
def test_without_such_a_permit_nothing_is_said(later: str) -> None:
    assert skipped(FORBID + later) == []


def test_a_forbid_that_comes_after_the_permit_opens_nothing() -> None:
    assert skipped("- permit: {paths: '*'}\n  - forbid: {paths: '*'}\n    when: user with a in b") == []


def test_methods_that_differ_open_nothing() -> None:
    forbid = "- forbid: {paths: '*', methods: [POST, DELETE]}\n    when: user with guest in roles\n  "
    assert skipped(forbid + "- permit: {paths: '*', methods: GET}") == []
    assert skipped(forbid + "- permit: {paths: '*', methods: [GET, POST]}") == ["conditional-forbid-skipped"]


def test_a_regex_is_compared_by_its_text_alone() -> None:
    forbid = "- forbid: {paths: 'regex:^/v1/a.*$'}\n    when: user with guest in roles\n  "
    assert skipped(forbid + "- permit: {paths: /v1/a}") == []
    assert skipped(forbid + "- permit: {paths: 'regex:^/v1/a.*$'}") == ["conditional-forbid-skipped"]
    assert skipped(forbid + "- permit: {paths: '*'}") == ["conditional-forbid-skipped"]


@pytest.mark.parametrize(
    ("clause", "escapes"),
    [
        ("when: user with blocked in roles", True),
        ("when: user is authenticated", True),
        ("when: [user with staff not in roles, user with blocked in roles]", True),
        ("when: user with staff not in roles", False),
        ("unless: user with staff in roles", False),
        ("unless: [user with blocked not in roles, user with staff in roles]", False),
        ("unless: user with blocked not in roles", True),
    ],
)
def test_with_authentication_only_the_public_routes_can_be_reached_without_a_token(clause: str, escapes: bool) -> None:
    for paths, public in {"'*'": 2, "/v1/*": 2, "/v1/health": 1, "[/v1/admin, /v1/version]": 1}.items():
        rules = f"- forbid: {{paths: {paths}}}\n    {clause}\n  - permit: {{paths: '*'}}"
        assert skipped(rules, authentication=True) == ["conditional-forbid-skipped"] * (public if escapes else 0)
    assert skipped(f"- forbid: {{paths: /v1/a*}}\n    {clause}\n  - permit: {{paths: '*'}}", authentication=True) == []
    closed = f"- forbid: {{paths: '*'}}\n    {clause}\n  - permit: {{paths: /v1/models}}"
    assert skipped(closed, authentication=True) == []
    posts = f"- forbid: {{paths: '*', methods: POST}}\n    {clause}\n  - permit: {{paths: '*'}}"
    assert skipped(posts, authentication=True) == []


def test_thousands_of_rules_are_compared_at_once() -> None:
    forbids = "".join(f"- forbid: {{paths: /v1/{i}*}}\n    when: user with a in b\n  " for i in range(3000))
    permits = "".join(f"- permit: {{paths: /v2/{i}*}}\n  " for i in range(3000))
    start = time.process_time()
    assert skipped(forbids + permits) == []
    assert time.process_time() - start < 3.0
