"""A mapped claim that a token says is elsewhere refuses the token: its caller could slip past a `forbid`."""

from __future__ import annotations

from typing import Any

import pytest

from policy.claims import DEFAULT_CLAIMS
from server.authn import AuthenticationFailed
from server.authn.attributes import ClaimsMapping

GRAPH = {"src1": {"endpoint": "https://graph.microsoft.com/v1.0/users/1/getMemberObjects"}}
GROUPS = {"groups": "teams"}

ELSEWHERE: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "distributed, as Entra writes it": ({"_claim_names": {"groups": "src1"}, "_claim_sources": GRAPH}, GROUPS),
    "distributed without a source": ({"_claim_names": {"groups": "src1"}}, GROUPS),
    "distributed to nowhere": ({"_claim_names": {"groups": None}}, GROUPS),
    "distributed over several sources": ({"_claim_names": {"groups": ["src1", "src2"]}}, GROUPS),
    "aggregated": ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"JWT": "a.b.c"}}}, GROUPS),
    "some groups are there": ({"groups": ["a"], "_claim_names": {"groups": "src1"}}, GROUPS),
    "an empty list is there": ({"groups": [], "_claim_names": {"groups": "src1"}}, GROUPS),
    "the parent of a path": ({"_claim_names": {"realm_access": "src1"}}, {"realm_access.roles": "roles"}),
    "a path": ({"_claim_names": {"realm_access.roles": "src1"}}, {"realm_access.roles": "roles"}),
    "a part of a claim": ({"a": ["b"], "_claim_names": {"a.more": "src1"}}, {"a": "teams"}),
    "inside an object": (
        {"realm_access": {"_claim_names": {"roles": "src1"}}},
        {"realm_access.roles": "roles"},
    ),
    "inside an object with dots": (
        {"kubernetes.io": {"_claim_names": {"namespace": "src1"}}},
        {"kubernetes.io.namespace": "namespaces"},
    ),
    "deep inside": (
        {"a": {"b": {"_claim_names": {"c": "src1"}, "c": ["x"]}}},
        {"a.b.c": "teams"},
    ),
    "a name with dots": ({"_claim_names": {"https://x.example/groups": "s"}}, {"https://x.example/groups": "teams"}),
    "names that are a list": ({"_claim_names": ["groups"]}, GROUPS),
    "names that are an empty list": ({"_claim_names": []}, GROUPS),
    "names that are a text": ({"_claim_names": "groups"}, GROUPS),
    "names that are a boolean": ({"_claim_names": True}, GROUPS),
    "names that are a number": ({"_claim_names": 0}, GROUPS),
    "sources that no name is assigned to": ({"_claim_sources": GRAPH}, GROUPS),
    "sources and empty names": ({"_claim_names": {}, "_claim_sources": GRAPH}, GROUPS),
    "sources that are a list": ({"_claim_sources": ["src1"]}, GROUPS),
    "Entra: hasgroups": ({"hasgroups": True}, GROUPS),
    "Entra: hasgroups as a text": ({"hasgroups": "true"}, GROUPS),
    "Entra: hasgroups as a number": ({"hasgroups": 1}, GROUPS),
    "Entra: hasgroups beside some groups": ({"hasgroups": True, "groups": ["a"]}, GROUPS),
    "Entra: groups:src1": ({"groups:src1": GRAPH["src1"]}, GROUPS),
    "Entra: groups is the name of a source": ({"groups": "src1", "_claim_sources": GRAPH}, GROUPS),
    "a reference beside names of others": (
        {"groups": "src1", "_claim_names": {"address": "src1"}, "_claim_sources": GRAPH},
        GROUPS,
    ),
    "a reference in a list": (
        {"groups": ["src1"], "_claim_names": {"address": "src1"}, "_claim_sources": GRAPH},
        GROUPS,
    ),
    "a reference in place of a parent": (
        {"realm_access": "src1", "_claim_names": {"address": "src1"}, "_claim_sources": GRAPH},
        {"realm_access.roles": "roles"},
    ),
    "hidden by a digest": ({"_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"], "_sd_alg": "sha-256"}, GROUPS),
    "hidden by a digest beside some groups": ({"_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPo"], "groups": ["a"]}, GROUPS),
    "hidden by a digest inside an object": (
        {"realm_access": {"_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPo"]}},
        {"realm_access.roles": "roles"},
    ),
    "one value hidden by a digest": ({"groups": ["a", {"...": "pFndjkZ_VCzmyTa6UjlZo3dh-ko8aIKQc9DlGzhaVYo"}]}, GROUPS),
    "an object that says so of its members": ({"groups": {"_claim_names": {"values": "src1"}}}, GROUPS),
    "SAML through a bridge": ({"http://schemas.microsoft.com/claims/groups.link": "https://graph.example"}, GROUPS),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_mapped_claim_that_is_elsewhere_refuses_the_token(case: str) -> None:
    claims, mapping = ELSEWHERE[case]
    with pytest.raises(AuthenticationFailed, match="in another place"):
        ClaimsMapping(mapping).attributes(claims | {"sub": "user-1", "roles": ["developer"]})


@pytest.mark.parametrize("claim", ["roles", "groups", "teams", "projects", "namespaces"])
def test_so_does_a_claim_of_the_default_mapping(claim: str) -> None:
    default = ClaimsMapping(DEFAULT_CLAIMS, is_default=True)
    with pytest.raises(AuthenticationFailed, match=f"its claim `{claim}` is in another place"):
        default.attributes({"sub": "user-1", "_claim_names": {claim: "src1"}, "_claim_sources": GRAPH})


@pytest.mark.parametrize(
    "groups",
    [
        {"_claim_names": {"values": "src1"}},
        [{"_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}],
        [{"...": "pFndjkZ_VCzmyTa6UjlZo3dh-ko8aIKQc9DlGzhaVYo"}],
        {"_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPo"]},
    ],
)
def test_an_object_that_says_so_is_not_left_out_under_the_default_mapping(groups: object) -> None:
    with pytest.raises(AuthenticationFailed, match="its claim `groups` is in another place"):
        ClaimsMapping(DEFAULT_CLAIMS, is_default=True).attributes({"sub": "user-1", "groups": groups})


HERE: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "another claim is elsewhere": ({"_claim_names": {"address": "src1"}, "_claim_sources": GRAPH}, {"roles": "roles"}),
    "a longer name is elsewhere": ({"_claim_names": {"roles_of_more": "src1"}}, {"roles": "roles"}),
    "groups are not mapped": (
        {"_claim_names": {"groups": "src1"}, "_claim_sources": GRAPH, "hasgroups": True},
        {"roles": "roles"},
    ),
    "groups:src1 is not mapped": ({"groups:src1": GRAPH["src1"]}, {"roles": "roles"}),
    "no names": ({"_claim_names": {}, "_claim_sources": {}}, {"roles": "roles"}),
    "null": ({"_claim_names": None, "_claim_sources": None, "hasgroups": None}, {"roles": "roles", "groups": "teams"}),
    "no digests": ({"_sd": []}, {"roles": "roles"}),
    "digests of an object beside the path": ({"address": {"_sd": ["X9yH0Ajrdm1O"]}}, {"roles": "roles"}),
    "hasgroups is false": ({"hasgroups": False}, {"roles": "roles", "groups": "teams"}),
    "an object beside the path": ({"address": {"_claim_names": {"roles": "src1"}}}, {"roles": "roles"}),
}


@pytest.mark.parametrize("case", HERE)
def test_what_is_not_mapped_may_be_anywhere(case: str) -> None:
    claims, mapping = HERE[case]
    assert ClaimsMapping(mapping).attributes(claims | {"roles": ["developer"]}) == {"roles": ("developer",)}
