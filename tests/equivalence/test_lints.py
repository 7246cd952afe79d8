"""Each lint is true of random policies, as the reference model decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from policy.resource_types import RECORD_TABLES
from policy.served_routes import SERVED
from policy.vocabulary import RECORD_PREFIX
from tests.reference import model
from tests.support.lint_policies import (
    ACTIONS,
    KINDS,
    OWNERS,
    STRANGER,
    World,
    access_decisions,
    callers,
    instances,
    route_decisions,
    thing,
    words,
    worlds,
)

Check = Callable[[World, str, int, Any], None]
EXAMPLES = 400


def test_what_lints_say_is_true() -> None:
    said = Counter[str]()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(world=worlds())
    def law(world: World) -> None:
        for policy, index, found in world.placed:
            if found.code in CHECKS:
                CHECKS[found.code](world, policy, index, found)
                said[found.code] += 1

    law()
    assert said.keys() == CHECKS.keys(), said
    assert min(said.values()) >= 5, said


def is_late(world: World, policy: str, index: int, found: Any) -> None:
    """Without the `forbid`, or the parts of it that are named, everything is decided as with it."""
    rule, parts = world.rule(policy, index), words(found.message.partition(", this")[0])
    without = None
    if found.message.startswith("for "):
        key = "actions" if set(parts) <= set(ACTIONS) else "paths" if parts[0][0] in "/*r" else "methods"
        left = [one for one in model.listed(rule["forbid"][key]) if one not in parts]
        if key == "methods":
            left = [one for one in left if one != "HEAD" or "GET" not in parts]
        assert left
        without = {**rule, "forbid": {**rule["forbid"], key: left}}
    decisions = access_decisions if policy == "access_policy" else route_decisions
    asking = callers(world)
    assert [*decisions(world.config, asking)] == [*decisions(world.changed(policy, index, without), asking)], world


def is_open_to_everyone(world: World, policy: str, index: int, found: Any) -> None:
    """Every caller may do it to what others own, but for what earlier rules forbid; a stranger may, to something."""
    said, _, exceptions = found.message.partition(", but for what ")
    everything = found.code == "unguarded-everything"
    actions = (
        ACTIONS
        if everything
        else [
            one
            for one in ACTIONS
            if f" {one}" in said.replace(",", "").partition("every caller")[2].partition(" every ")[0]
        ]
    )
    tables = [f"{RECORD_PREFIX}{table}" for table in RECORD_TABLES if f"`{table}`" in said]
    kinds = KINDS if everything else tables or [kind for kind in KINDS if kind.startswith(RECORD_PREFIX)]
    assert actions
    for action in actions:
        for who in callers(world):
            for owner in OWNERS:
                if (owner["id"], owner["issuer"]) != (who["id"], who["issuer"]):
                    for kind in kinds:
                        effect, by = model.decide_access(world.config, who, action, thing(kind, "zz", owner))
                        assert effect == "permit" or (exceptions and by is not None and by < index), world
        strange = [model.decide_access(world.config, STRANGER, action, thing(kind, "zz", OWNERS[1])) for kind in kinds]
        assert "permit" in [effect for effect, _ in strange], world


def is_open_to_changes(world: World, policy: str, index: int, found: Any) -> None:
    """Every caller may change what the rule is about, but for what earlier rules forbid."""
    said, _, exceptions = found.message.partition(", but for what ")
    scope = world.rule(policy, index)["permit"]
    for action in [one for one in ("update", "delete") if one in said]:
        for who in callers(world):
            for kind in KINDS:
                for name in "ab":
                    asked = thing(kind, name, OWNERS[2])
                    if model.names_resource(scope.get("resource", "*"), asked):
                        effect, by = model.decide_access(world.config, who, action, asked)
                        assert effect == "permit" or (exceptions and by is not None and by < index), world


def matches_no_route(world: World, policy: str, index: int, found: Any) -> None:
    """The path matches no path of any route, for any of the rule's methods."""
    rule = world.rule(policy, index)
    scope = rule["permit"] if "permit" in rule else rule["forbid"]
    pattern = words(found.message)[0]
    assert pattern in model.listed(scope["paths"])
    methods = ["GET" if one == "HEAD" else one for one in model.listed(scope.get("methods", []))]
    for served in SERVED:
        if not methods or served.method in methods:
            assert not any(model.names_path(pattern, path) for path in instances(served)), (pattern, served)


def opens_no_route(world: World, policy: str, index: int, found: Any) -> None:
    """On each route that a named path matches, no caller gets something that a request needs."""
    scope = world.rule(policy, index)["permit"]
    methods = ["GET" if one == "HEAD" else one for one in model.listed(scope.get("methods", []))]
    named = [word for word in words(found.message) if word in model.listed(scope["paths"])]
    matched = [
        served
        for served in SERVED
        if (not methods or served.method in methods)
        and any(model.names_path(pattern, path) for pattern in named for path in instances(served))
    ]
    assert named
    assert all(any(is_denied_to_all(world, *ask) for ask in served.needs) for served in matched), world


def is_denied_to_all(world: World, action: str, kind: str) -> bool:
    """No caller may do this to anything of the type."""
    return all(
        model.decide_access(world.config, who, action, thing(kind, name, owner))[0] == "deny"
        for who in callers(world)
        for name in "ab"
        for owner in [None, *OWNERS]
    )


def permits_what_no_route_is_for(world: World, policy: str, index: int, found: Any) -> None:
    """No caller may use a route on which any of the rule's actions would be asked about."""
    kind = words(found.message)[1]
    for served in SERVED:
        if any(kind == asked and action in words_of(world, index) for action, asked in served.asks):
            for who in callers(world):
                for path in instances(served):
                    assert model.decide_route(world.config, who, served.method, path)[0] == "deny", world


def words_of(world: World, index: int) -> list[str]:
    """The actions of an access rule."""
    listed: list[str] = model.listed(world.rule("access_policy", index)["permit"]["actions"])
    return listed


def has_no_caller(world: World, policy: str, index: int, found: Any) -> None:
    """Callers can have four attributes, and this is none of them."""
    assert world.config["server"]["auth"]["provider_config"]["type"] == "oauth2_token"
    assert words(found.message)[0] not in ("roles", "teams", "projects", "namespaces")


CHECKS: dict[str, Check] = {
    "late-forbid": is_late,
    "unguarded-everything": is_open_to_everyone,
    "unguarded-records": is_open_to_everyone,
    "unguarded-change": is_open_to_changes,
    "unknown-route": matches_no_route,
    "later-route": matches_no_route,
    "useless-route": opens_no_route,
    "useless-permit": permits_what_no_route_is_for,
    "unknown-attribute": has_no_caller,
}
