"""Claims → attributes."""

from __future__ import annotations

from typing import Any

import pytest

from policy.claims import DEFAULT_CLAIMS
from server.authn import AuthenticationFailed
from server.authn.claims import map_claims


def test_the_default_makes_the_subject_and_roles_roles_and_groups_and_teams_teams() -> None:
    claims = {
        "sub": "system:serviceaccount:ns:sa",
        "roles": ["developer", "admin"],
        "groups": ["system:authenticated"],
        "teams": ["ml", "system:authenticated"],
        "projects": "one",
        "namespaces": ["a", "b"],
        "email": "not@mapped.example",
    }
    assert map_claims(claims, DEFAULT_CLAIMS) == {
        "roles": ("system:serviceaccount:ns:sa", "developer", "admin"),
        "teams": ("system:authenticated", "ml"),
        "projects": ("one",),
        "namespaces": ("a", "b"),
    }


def test_a_mapping_replaces_the_default_as_a_whole() -> None:
    assert map_claims({"sub": "admin", "roles": ["admin"], "x": ["y"]}, {"x": "uid_attr"}) == {"uid_attr": ("y",)}


@pytest.mark.parametrize(
    ("claims", "mapping", "expected"),
    [
        ({"realm_access": {"roles": ["a"]}}, {"realm_access.roles": "roles"}, {"roles": ("a",)}),
        ({"a": {"b": {"c": "d"}}}, {"a.b.c": "roles"}, {"roles": ("d",)}),
        ({"https://x.example/roles": ["a"]}, {"https://x.example/roles": "roles"}, {"roles": ("a",)}),
        ({"a.b": ["exact"], "a": {"b": ["path"]}}, {"a.b": "roles"}, {"roles": ("exact",)}),
        ({"a.b": None, "a": {"b": ["path"]}}, {"a.b": "roles"}, {}),
        ({"a": {"c": 1}}, {"a.b": "roles", "a.b.c": "roles"}, {}),
        ({"a": None}, {"a": "roles", "a.b": "roles"}, {}),
        ({"scope": "read  write read"}, {"scope": "scopes"}, {"scopes": ("read", "write")}),
        ({"scope": ["read write"]}, {"scope": "scopes"}, {"scopes": ("read write",)}),
        ({"team": "machine learning"}, {"team": "teams"}, {"teams": ("machine learning",)}),
        ({"a": ["x", "y"], "b": ["y", "z"]}, {"b": "t", "a": "t"}, {"t": ("y", "z", "x")}),
        ({"a": [], "b": "", "c": [""]}, {"a": "t", "b": "u", "c": "v"}, {}),
        ({"groups": [f"g{n}" for n in range(1_000)]}, {"groups": "t"}, {"t": tuple(f"g{n}" for n in range(1_000))}),
        ({"groups": ["g"] * 10_000}, {"groups": "t"}, {"t": ("g",)}),
    ],
)
def test_claims_become_attributes(
    claims: dict[str, Any], mapping: dict[str, str], expected: dict[str, tuple[str, ...]]
) -> None:
    assert map_claims(claims, mapping) == expected


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"x": {"admin": True}}, "neither a text nor a list"),
        ({"x": 1}, "neither a text nor a list"),
        ({"x": True}, "neither a text nor a list"),
        ({"x": 1.5}, "neither a text nor a list"),
        ({"x": [1]}, "is not a text of at most 256"),
        ({"x": ["a", None]}, "is not a text of at most 256"),
        ({"x": [["a"]]}, "is not a text of at most 256"),
        ({"x": [{"name": "a"}]}, "is not a text of at most 256"),
        ({"x": "v" * 257}, "is not a text of at most 256"),
        ({"x": "a\nb"}, "is not a text of at most 256"),
        ({"x": "a\ud800"}, "is not a text of at most 256"),
        ({"x": ["a\x00"]}, "is not a text of at most 256"),
        ({"x": [f"g{n}" for n in range(10_000)]}, "more than 1000"),
        ({"x": [f"g{n}" for n in range(600)], "y": {"z": [f"h{n}" for n in range(401)]}}, "more than 1000"),
        ({"y": "text"}, "its parent is not an object"),
        ({"y": [{"z": "a"}]}, "its parent is not an object"),
    ],
)
def test_an_odd_claim_refuses_the_token(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(AuthenticationFailed, match=reason):
        map_claims(claims, {"x": "teams", "y.z": "roles"})
