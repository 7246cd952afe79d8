"""Rules that never decide: what is said of them is true, and enough is said."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from tests.reference import model
from tests.reference.configuration import load
from tests.support.policy_strategies import rules, some
from tests.support.policy_texts import codes, read_auth

IDLE = {"shadowed-rule", "unreachable-rule", "never-applies", "late-forbid"}
DEVELOPER = "user with developer in roles"


def idle(policy: str, rules: list[dict[str, Any]]) -> dict[int, str]:
    """The rules of which it is said that they never decide, by their index, and the codes."""
    text = yaml.safe_dump({"server": {"auth": {"provider_config": {"type": "custom"}, policy: rules}}})
    return told(text)[policy]


def told(text: str) -> dict[str, dict[int, str]]:
    findings = Findings()
    policies = read_policies(parse_document(text, "config.yaml"), {}, findings)
    assert policies is not None, findings.diagnostics
    by_policy: dict[str, dict[int, str]] = {}
    for name, policy in (("access_policy", policies.access), ("route_policy", policies.routes or ())):
        lines = {rule.span.line: rule.index for rule in policy}
        never = [one for one in findings.diagnostics if one.code in IDLE and "changes nothing" not in one.message]
        found = {lines[one.span.line]: one for one in never if one.span.line in lines}
        by_policy[name] = {}
        for index, one in found.items():
            if one.code == "unreachable-rule":
                by_policy[name] |= dict.fromkeys(range(index, len(policy)), one.code)
            else:
                by_policy[name][index] = one.code
    return by_policy


def codes_of(rules: list[dict[str, Any]], never: set[int]) -> dict[int, str]:
    """The codes of rules that earlier ones decide: a forbid behind a permit is told apart."""
    late = {index for index in never if "forbid" in rules[index] and "permit" in rules[0]}
    return {index: "late-forbid" if index in late else "shadowed-rule" for index in sorted(never)}


def access(effect: str, actions: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    scope = {"actions": actions.split(), "resource": resource}
    if "principal" in more:
        scope["principal"] = more.pop("principal")
    return {effect: scope, **more}


def route(effect: str, *paths: str, methods: str = "", **more: Any) -> dict[str, Any]:
    return {effect: {"paths": list(paths)} | ({"methods": methods.split()} if methods else {}), **more}


FEW_RESOURCES = ["*", "model::*", "model::a", "vector_db::*", "sql_record::*", "sql_record::openai_files"]
FEW_RESOURCES += ["regex:model::a", "regex:vector_db::.*", "regex:.*", "regex:sql_record::openai_files::.*", "regex:["]
FEW_CONDITIONS = ["user with admin in roles", "user with admin not in roles", "user with dev in roles", "user is owner"]
FEW_CONDITIONS += ["user is not owner", "resource is unowned", "user is authenticated", "user in owners roles"]
FEW_CONDITIONS += ["user not in owners roles", "resource is from config"]
FEW_PATHS = [
    "*",
    "/v1*",
    "/v1/files",
    "/v1/files/*",
    "/v1/files/a",
    "regex:^/v1/files/a",
    "regex:/v1/files",
    "regex:.*",
]
few_access = rules(
    st.fixed_dictionaries(
        {"actions": some(["create", "read", "delete"]), "resource": st.sampled_from(FEW_RESOURCES)},
        optional={"principal": st.sampled_from(["ann", "ben"])},
    ).filter(lambda scope: scope["resource"] != "regex:["),
    st.sampled_from(FEW_CONDITIONS),
)
few_routes = rules(
    st.fixed_dictionaries({"paths": some(FEW_PATHS)}, optional={"methods": some(["GET", "HEAD", "POST"])}),
    st.sampled_from([*FEW_CONDITIONS[:3], "user is authenticated"]),
)


def caller(name: str, *roles: str) -> dict[str, Any]:
    return {"id": name, "issuer": "", "attributes": {"roles": list(roles)} if roles else {}}


CALLERS = [None, caller("ann"), caller("ann", "admin"), caller("ben", "dev"), caller("ben", "admin", "dev")]
OWNERS = [None, caller("ann"), caller("ann", "admin", "dev"), caller("eve", "other")]
THINGS = [("model", "a"), ("model", "b"), ("vector_store", "a"), ("prompt", "a"), ("sql_record::openai_files", "a")]
ACCESS_QUESTIONS = [
    (who, action, {"type": kind, "names": [name], "owner": owner, "origin": "created" if owner else "config"})
    for who, action, (kind, name), owner in product(CALLERS, ["create", "read", "delete"], THINGS, OWNERS)
]
ROUTE_QUESTIONS = list(
    product(CALLERS, ["GET", "HEAD", "POST", "PUT"], ["/", "/v1/files", "/v1/files/a", "/v1/health"])
)


def test_a_rule_that_is_said_never_to_decide_never_does() -> None:
    said = dict.fromkeys(IDLE, 0)
    deciding = 0

    @settings(
        max_examples=120,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        provider=st.sampled_from([{"type": "custom"}, None]),
        access_policy=st.lists(few_access, min_size=4, max_size=10),
        route_policy=st.lists(few_routes, min_size=4, max_size=10),
    )
    def law(provider: Any, access_policy: list[Any], route_policy: list[Any]) -> None:
        nonlocal deciding
        auth = {"provider_config": provider, "access_policy": access_policy, "route_policy": route_policy}
        text = yaml.safe_dump({"server": {"auth": auth}}, sort_keys=False)
        config, found = load(text, {}), told(text)
        access_rules = {model.decide_access(config, *question)[1] for question in ACCESS_QUESTIONS}
        route_rules = {model.decide_route(config, *question)[1] for question in ROUTE_QUESTIONS}
        assert not access_rules & found["access_policy"].keys(), text
        assert not route_rules & found["route_policy"].keys(), text
        for code in (*found["access_policy"].values(), *found["route_policy"].values()):
            said[code] += 1
        deciding += len(access_rules | route_rules)

    law()
    assert min(said.values()) >= 10, said
    assert deciding >= 200


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # Wider and narrower resources
        ([access("permit", "read", "model::*"), access("forbid", "read", "model::a")], {1}),
        ([access("permit", "read", "model::a"), access("forbid", "read", "model::*")], set()),
        ([access("permit", "read", "vector_db::*"), access("forbid", "read", "vector_store::a")], {1}),
        ([access("permit", "read", "model::*"), access("forbid", "read", "regex:^model::x-.*")], {1}),
        ([access("permit", "read", "model::*"), access("forbid", "read", "regex:(?i)model::x-.*")], set()),
        ([access("permit", "read", "model::*"), access("forbid", "read", "regex:model::a|prompt::b")], set()),
        ([access("permit", "read", "model::*"), access("forbid", "read", "regex:mod")], set()),
        ([access("permit", "read", "regex:model::.*"), access("forbid", "read", "regex:model::.*")], {1}),
        ([access("permit", "read", "regex:.*"), access("forbid", "read", "prompt::a")], {1}),
        ([access("permit", "read", "sql_record::*"), access("forbid", "read", "sql_record::responses")], {1}),
        ([access("permit", "read", "sql_record::*"), access("forbid", "read", "regex:sql_record::res.*")], {1}),
        ([access("permit", "read", "sql_record::responses"), access("forbid", "read", "sql_record::*")], set()),
        ([access("permit", "read", "regex:model::.*"), access("forbid", "read", "model::a")], {1}),
        ([access("permit", "read", "regex:^(model|prompt)::"), access("forbid", "read", "prompt::a")], {1}),
        ([access("permit", "read", "regex:sql_record::.*$"), access("forbid", "read", "sql_record::responses")], {1}),
        ([access("permit", "read", "regex:vector_db::"), access("forbid", "read", "vector_store::a")], {1}),
        ([access("permit", "read", "model::a"), access("forbid", "read", "regex:^model::a$")], {1}),
        ([access("permit", "read", "regex:^model::(a|b)$"), access("forbid", "read", "model::b")], {1}),
        ([access("permit", "read", "regex:model::.*x"), access("forbid", "read", "model::ax")], set()),
        ([access("permit", "read", "regex:(?!model::a)model::.*"), access("forbid", "read", "model::a")], set()),
        ([access("permit", "read", "regex:model::a"), access("forbid", "read", "model::*")], set()),
        # Principals
        ([access("permit", "read"), access("forbid", "read", principal="ann")], {1}),
        ([access("permit", "read", principal="ann"), access("forbid", "read", principal="ann")], {1}),
        ([access("permit", "read", principal="ann"), access("forbid", "read")], set()),
        ([access("permit", "read", principal="ann"), access("forbid", "read", principal="ben")], set()),
        # Actions, all or some, by one rule or by several
        ([access("permit", "read"), access("forbid", "read create")], set()),
        ([access("permit", "read"), access("permit", "create"), access("forbid", "read create")], {2}),
        # Conditions
        ([access("permit", "read", when=DEVELOPER), access("forbid", "read", when=[DEVELOPER, "user is owner"])], {1}),
        (
            [access("permit", "read", when=[DEVELOPER, "user is owner"]), access("forbid", "read", when=DEVELOPER)],
            set(),
        ),
        ([access("forbid", "read", unless=DEVELOPER), access("permit", "read", when=DEVELOPER)], set()),
        (
            [
                access("forbid", "read", unless=DEVELOPER),
                access("permit", "read", when="user with developer not in roles"),
            ],
            {1},
        ),
        ([access("forbid", "read", when="user is authenticated"), access("permit", "read", when="user is owner")], {1}),
        ([access("forbid", "read", when="user is authenticated"), access("permit", "read", principal="ann")], {1}),
        ([access("forbid", "read", when="user is authenticated"), access("permit", "read", unless=DEVELOPER)], {1}),
        ([access("forbid", "read", when="user is authenticated"), access("forbid", "read", unless=DEVELOPER)], set()),
        ([access("permit", "read", unless=DEVELOPER), access("forbid", "read", unless=DEVELOPER)], set()),
        ([access("forbid", "read", unless=DEVELOPER), access("permit", "read", unless=DEVELOPER)], {1}),
        ([access("permit", "read", unless="resource is unowned"), access("forbid", "read", when="user is owner")], {1}),
        (
            [access("forbid", "read", unless=[DEVELOPER, "user is owner"]), access("permit", "read", unless=DEVELOPER)],
            {1},
        ),
        (
            [access("forbid", "read", unless=DEVELOPER), access("permit", "read", unless=[DEVELOPER, "user is owner"])],
            set(),
        ),
    ],
)
def test_access_rules_that_an_earlier_one_always_decides_first(rules: list[dict[str, Any]], expected: set[int]) -> None:
    assert idle("access_policy", rules) == codes_of(rules, expected)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([route("permit", "/v1/files*"), route("forbid", "/v1/files", "/v1/files/a")], {1}),
        ([route("permit", "/v1/files*"), route("forbid", "/v1/files", "/v1/models")], set()),
        (
            [route("permit", "/v1/files*"), route("permit", "/v1/models"), route("forbid", "/v1/files", "/v1/models")],
            {2},
        ),
        ([route("permit", "/v1/files/*"), route("forbid", "regex:^/v1/files/(a|b)$")], {1}),
        ([route("permit", "/v1/files/*"), route("forbid", "regex:^/v1/(files|models)/a$")], set()),
        ([route("permit", "/v1/files/*"), route("forbid", "/v1/files*")], set()),
        ([route("permit", "regex:^/v1/.*$"), route("forbid", "/v1/files/a")], {1}),
        ([route("permit", "regex:^/v1/(files|models)(/.*)?$"), route("forbid", "/v1/files/a", "/v1/models")], {1}),
        ([route("permit", "regex:^/v1/(files|models)(/.*)?$"), route("forbid", "/v1/files*")], set()),
        ([route("permit", "regex:/v1/files"), route("forbid", "/v1/files*")], {1}),
        ([route("permit", "/v1/files*"), route("forbid", "regex:^/v1/files(/a|/b)?$")], {1}),
        ([route("permit", "/v1/files/*"), route("forbid", "regex:^/v1/files(/.*)?$")], set()),
        ([route("permit", "regex:^/v1/files/[ab]$"), route("forbid", "/v1/files/b")], {1}),
        ([route("permit", "/v1/files", methods="GET POST"), route("forbid", "/v1/files", methods="HEAD")], {1}),
        ([route("permit", "/v1/files", methods="GET POST"), route("forbid", "/v1/files")], set()),
        ([route("permit", "/v1/files"), route("forbid", "/v1/files", methods="GET")], {1}),
        ([route("permit", "/v1/files", when=DEVELOPER), route("forbid", "/v1/files", when=DEVELOPER)], {1}),
        ([route("permit", "/v1/files", when=DEVELOPER), route("forbid", "/v1/files")], set()),
        ([route("permit", "/v1/files", "regex:["), route("forbid", "/v1/files", "regex:^x")], set()),
    ],
)
def test_route_rules_that_an_earlier_one_always_decides_first(rules: list[dict[str, Any]], expected: set[int]) -> None:
    assert idle("route_policy", rules) == codes_of(rules, expected)


@pytest.mark.parametrize(
    ("policy", "rules", "expected"),
    [
        ("route_policy", [route("permit", "/v1/models", "*"), route("permit", "/v1"), route("permit", "*")], {1, 2}),
        ("route_policy", [route("permit", "*", methods="GET"), route("forbid", "*")], set()),
        ("route_policy", [route("permit", "*", when=DEVELOPER), route("forbid", "*")], set()),
        ("access_policy", [access("forbid", "create read update delete"), access("permit", "read")], {1}),
        ("access_policy", [access("forbid", "create read update"), access("permit", "delete")], set()),
    ],
)
def test_rules_after_a_catch_all_are_reported_once(
    policy: str, rules: list[dict[str, Any]], expected: set[int]
) -> None:
    assert idle(policy, rules) == dict.fromkeys(expected, "unreachable-rule")
    _, found = read_auth(yaml.safe_dump({policy: rules}))
    assert codes(found).count("unreachable-rule") == bool(expected)


def test_forbids_after_a_catch_all_permit_are_late_and_reported_once() -> None:
    rules = [route("permit", "/v1/models", "*"), route("permit", "/v1/files"), route("forbid", "*")]
    _, found = read_auth(yaml.safe_dump({"route_policy": [*rules, route("forbid", "/v1/files")]}))
    only, rest = [one for one in found if one.code in IDLE]
    assert (only.code, only.span.line) == ("late-forbid", 11)
    assert "this `forbid` and 1 after it come too late, because `route_policy[0]` (line 4) permits all" in only.message
    assert (rest.code, rest.span.line) == ("unreachable-rule", 8)
    assert only.hint == "if they are to hold, move them in front of `route_policy[0]`"


def test_the_rule_in_front_of_which_it_belongs_is_named_only_if_the_effects_differ() -> None:
    first = access("permit", "read", "model::*")
    _, found = read_auth(yaml.safe_dump({"access_policy": [first, access("permit", "read", "model::a")]}))
    assert found[0].hint == "remove it: it changes nothing"
    _, found = read_auth(yaml.safe_dump({"access_policy": [first, access("forbid", "read", "model::a")]}))
    assert found[0].hint == "if it is to hold, move it in front of `access_policy[0]`"


@pytest.mark.parametrize("other", ["user is owner", "user with tester in teams"])
def test_thousands_of_rules_that_have_much_in_common_are_compared_at_once(other: str) -> None:
    rules = [
        access(
            "permit",
            "read",
            "model::*",
            when=[f"user with r{number % 60} in roles", f"user with t{number} in teams", other],
        )
        for number in range(3000)
    ]
    document = parse_document(yaml.dump({"server": {"auth": {"access_policy": rules}}}, Dumper=yaml.CSafeDumper), "c")
    findings = Findings()
    start = time.process_time()
    read_policies(document, {}, findings)
    assert time.process_time() - start < 3.0
    assert codes(findings.diagnostics) == []
