"""An imported policy of Llama Stack permits what it permitted there, and nothing else; or the file is refused."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config.llama_stack import imported
from tests.reference import llama_stack, model
from tests.support.imports import plain

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
POLICIES = 3_000 if NIGHTLY else 100
GOOD_CONDITIONS = [
    *("user with admin in roles", "user with admin not in roles", "user with a in teams", "user  is  owner"),
    *("user is not owner", "user in owners teams", "user not in owners teams", "resource is unowned"),
]
GOOD_RESOURCES = [
    *("model::a", "model::*", "prompt::*", "regex:model::a", "regex:.*::a", "regex:(?!model)"),
    *("sql_record::*", "sql_record::openai_files::*", "sql_record::openai_files::a", "regex:sql_record::"),
]
GOOD_PATHS = ["/v1/files", "/v1/files*", "/v1/files/*", "*", "regex:/v1/f", "regex:.*s$", "/v1/models", "/*"]
CONDITIONS = [*GOOD_CONDITIONS * 4, 'user with "admin" in roles', "user with 'a' not in teams"]
RESOURCES = [
    *GOOD_RESOURCES * 2,
    *("model::", "model", "*", "a", "model::a::*", "sql_record::openai_files", "sql_record::openai_files::a::*"),
    *("sql_record::", "regex:model::(a"),
]
"""The last ones of these two are read otherwise here, or not at all."""
PATHS = [*GOOD_PATHS * 3, "/v1/files/", "/v1/models/", "files"]
ACTIONS = ["create", "read", "update", "delete"]
PRINCIPALS = [
    {"id": name, "issuer": "i", "attributes": attributes}
    for name in ("user-1", "admin")
    for attributes in ({}, {"roles": ["admin"]}, {"teams": ["a"], "roles": ["user"]})
]
SUBJECTS = [
    *(("model", name) for name in ("ab", "a::b")),
    ("prompt", "a"),
    *(("sql_record::openai_files", name) for name in ("a", "a::b")),
]

conditions = st.sampled_from(CONDITIONS) | st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=2)
clauses = st.fixed_dictionaries({}) | st.one_of(
    st.fixed_dictionaries({"when": conditions}), st.fixed_dictionaries({"unless": conditions})
)
extras = st.sampled_from([{}] * 12 + [{"issuer": "other"}, {"methods": ["POST"]}])
access_scopes = st.fixed_dictionaries(
    {"actions": st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3)},
    optional={"resource": st.sampled_from(RESOURCES), "principal": st.sampled_from(["user-1", "admin"])},
)
route_scopes = st.fixed_dictionaries(
    {"paths": st.sampled_from(PATHS) | st.lists(st.sampled_from(PATHS), min_size=1, max_size=2)}
)


@st.composite
def rules(draw: st.DrawFn, scopes: st.SearchStrategy[Any]) -> list[Any]:
    """A policy of one to four rules."""
    effect = st.sampled_from(["permit", "forbid"])
    return [{draw(effect): {**draw(scopes), **draw(extras)}, **draw(clauses)} for _ in range(draw(st.integers(1, 3)))]


def carried(key: str, policy: list[Any]) -> list[Any] | None:
    """The policy after an import; None where the import or the parser refuses it."""
    text = yaml.safe_dump({"distro_name": "a", "server": {"auth": {"provider_config": TOKENS, key: policy}}})
    found = imported(parse_document(text, "stack.yaml"))
    if found.findings.has_errors or read_policies(found.document, {}, Findings()) is None:
        return None
    document = plain(found.document)
    assert isinstance(document, dict)
    written: list[Any] = document["server"]["auth"][key]
    return written


TOKENS = {"type": "oauth2_token", "issuer": "i", "jwks": {"uri": "https://a.example.com/keys"}}
QUIET = settings(
    max_examples=POLICIES,
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    print_blob=NIGHTLY,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(3_000 if NIGHTLY else 120)
@QUIET
@given(policy=rules(access_scopes))
def test_an_access_policy_permits_the_same(policy: list[Any]) -> None:
    written = carried("access_policy", policy)
    if written is None:
        return
    config = {"server": {"auth": {"provider_config": TOKENS, "access_policy": written}}}
    for principal in PRINCIPALS:
        for owner in (None, principal, PRINCIPALS[5]):
            for kind, name in SUBJECTS:
                for action in ACTIONS:
                    whose = principal if action == "create" else owner
                    resource = {"type": kind, "names": [name], "owner": owner, "origin": "created"}
                    here = model.decide_access(config, principal, action, resource)[0] == "permit"
                    there = llama_stack.may_do(policy, principal, action, f"{kind}::{name}", whose)
                    assert here == there, (policy, principal, action, kind, name, owner)


@pytest.mark.timeout(3_000 if NIGHTLY else 120)
@QUIET
@given(policy=rules(route_scopes))
def test_a_route_policy_permits_the_same(policy: list[Any]) -> None:
    written = carried("route_policy", policy)
    if written is None:
        return
    config = {"server": {"auth": {"provider_config": TOKENS, "route_policy": written}}}
    for principal in PRINCIPALS:
        for path in ("/v1/files", "/v1/files/", "/v1/files/a", "/v1/models", "/v1/other", "/"):
            here = model.decide_route(config, principal, "GET", path)[0] == "permit"
            assert here == llama_stack.may_use(policy, principal, path), (policy, principal, path)


def test_many_policies_are_carried_over() -> None:
    plain_rules = [
        {"forbid": {"actions": ["delete"], "resource": "model::*"}, "unless": "user with admin in roles"},
        {"permit": {"actions": ["read"]}, "when": ["user is owner"]},
    ]
    assert carried("access_policy", plain_rules) == plain_rules
