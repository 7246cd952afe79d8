"""Claims → attributes."""

from __future__ import annotations

from typing import Any

import pytest

from policy.claims import DEFAULT_CLAIMS
from server.authn import AuthenticationFailed
from server.authn.attributes import ClaimsMapping


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
    assert ClaimsMapping(DEFAULT_CLAIMS, is_default=True).attributes(claims) == {
        "roles": ("system:serviceaccount:ns:sa", "developer", "admin"),
        "teams": ("system:authenticated", "ml"),
        "projects": ("one",),
        "namespaces": ("a", "b"),
    }


def test_a_mapping_replaces_the_default_as_a_whole() -> None:
    claims = {"sub": "admin", "roles": ["admin"], "x": ["y"]}
    assert ClaimsMapping({"x": "uid_attr"}).attributes(claims) == {"uid_attr": ("y",)}


@pytest.mark.parametrize(
    ("claims", "mapping", "expected"),
    [
        ({"realm_access": {"roles": ["a"]}}, {"realm_access.roles": "roles"}, {"roles": ("a",)}),
        ({"a": {"b": {"c": "d"}}}, {"a.b.c": "roles"}, {"roles": ("d",)}),
        ({"https://x.example/roles": ["a"]}, {"https://x.example/roles": "roles"}, {"roles": ("a",)}),
        ({"kubernetes.io": {"namespace": "ml"}}, {"kubernetes.io.namespace": "t"}, {"t": ("ml",)}),
        ({"a": {"b.c": {"d.e": "f"}}}, {"a.b.c.d.e": "t"}, {"t": ("f",)}),
        ({"a.b": {"c": "x"}, "a": {"d": "y"}}, {"a.b.c": "t", "a.d": "u"}, {"t": ("x",), "u": ("y",)}),
        ({"a.b": {"x": "y"}, "a": {"b.c": "z"}}, {"a.b.c": "t"}, {"t": ("z",)}),
        ({"a.b": {"c": "x"}, "a": "text"}, {"a.b.c": "t"}, {"t": ("x",)}),
        ({"a.b": None}, {"a.b": "roles"}, {}),
        ({"https://x.example/claims": {"roles": "a"}}, {"https://x.example/claims.roles": "t"}, {"t": ("a",)}),
        ({"a": {"c": 1}}, {"a.b": "roles", "a.b.c": "roles"}, {}),
        ({"a": None}, {"a": "roles", "a.b": "roles"}, {}),
        ({"scope": "read  write read"}, {"scope": "scopes"}, {"scopes": ("read", "write")}),
        ({"scp": "read  write read"}, {"scp": "scopes"}, {"scopes": ("read", "write")}),
        ({"token": {"scp": "read write"}}, {"token.scp": "scopes"}, {"scopes": ("read", "write")}),
        ({"scope": ["read write"]}, {"scope": "scopes"}, {"scopes": ("read write",)}),
        ({"scp": ["read write"]}, {"scp": "scopes"}, {"scopes": ("read write",)}),
        ({"x": [1, 2]}, {"x": "t"}, {"t": ("1", "2")}),
        ({"x": 7}, {"x": "t"}, {"t": ("7",)}),
        ({"x": [True, False]}, {"x": "t"}, {"t": ("true", "false")}),
        ({"x": False}, {"x": "t"}, {"t": ("false",)}),
        ({"x": [1.5, 1.0, 1, 1e3, -0.0]}, {"x": "t"}, {"t": ("1.5", "1", "1000", "0")}),
        ({"x": [12345678901234567890123]}, {"x": "t"}, {"t": ("12345678901234567890123",)}),
        ({"x": ["a", 1, "", "1"]}, {"x": "t"}, {"t": ("a", "1")}),
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
    assert ClaimsMapping(mapping).attributes(claims) == expected


def test_a_mapping_that_splits_takes_any_text_for_a_list() -> None:
    mapping = ClaimsMapping({"groups": "teams", "sub": "roles", "listed": "lists"}, splits=True)
    claims = {"groups": " staff  contractors ", "sub": "user-1", "listed": ["a b"]}
    expected = {"teams": ("staff", "contractors"), "roles": ("user-1",), "lists": ("a b",)}
    assert mapping.attributes(claims) == expected


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"x": {"admin": True}}, "neither a text nor a list"),
        ({"x": {}}, "neither a text nor a list"),
        ({"x": 10**300}, "is not a text of at most 256"),
        ({"x": [float("inf")]}, "is not a text of at most 256"),
        ({"x": ["a", [1]]}, "is not a text of at most 256"),
        ({"y.z": "a", "y": {"z": "b"}}, "can be read in 2 ways"),
        ({"y.z": "a", "y": {"z": "a"}}, "can be read in 2 ways"),
        ({"y.z": None, "y": {"z": "b"}}, "can be read in 2 ways"),
        ({"y.z": "a", "y": {"z": None}}, "can be read in 2 ways"),
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
        ClaimsMapping({"x": "teams", "y.z": "roles"}).attributes(claims)


def test_a_name_of_many_parts_has_as_many_readings_as_the_token_gives_it() -> None:
    claims = {"a.b": {"c": 1}, "a": {"b.c": 2, "b": {"c": 3}}, "a.b.c": 4}
    with pytest.raises(AuthenticationFailed, match="can be read in 4 ways"):
        ClaimsMapping({"a.b.c": "t"}).attributes(claims)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"admin": {"1": "x"}}, {}),
        ({}, {}),
        ([{"name": "admin"}], {}),
        (["a", {"name": "admin"}], {"teams": ("a",)}),
        ([1, True], {"teams": ("1", "true")}),
    ],
)
def test_the_default_mapping_leaves_objects_out(claim: object, expected: dict[str, tuple[str, ...]]) -> None:
    assert ClaimsMapping(DEFAULT_CLAIMS, is_default=True).attributes({"groups": claim}) == expected


@pytest.mark.parametrize("claim", [["a", None], [["a"]], [[{"a": 1}]], "a\nb", ["a", "v" * 257]])
def test_the_default_mapping_refuses_what_is_no_object_and_no_value(claim: object) -> None:
    with pytest.raises(AuthenticationFailed, match="is not a text of at most 256"):
        ClaimsMapping(DEFAULT_CLAIMS, is_default=True).attributes({"groups": claim})
