"""Laws of every decision, on policies and questions that nobody wrote, judged by the real OPA.

They speak of what the generated rules and the law say together, and need no second opinion: the sets of applicable
rules come from the same OPA as the decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.policy_questions import STORAGE
from tests.support.policy_strategies import worlds

POLICIES = {"route": "route_policy", "resource": "access_policy"}
PACKAGES = {"route": "routes", "resource": "access"}
WITHOUT_A_RULE = {
    ("permit", "authentication is not configured"),
    ("permit", "no route policy is configured"),
    ("deny", "a valid token is required"),
    ("deny", "no rule applies"),
}

Law = Callable[[Any, dict[str, Any], dict[str, Any]], None]


def holds_always(live: LiveOpa, law: Law, policies: int = 15, questions: int = 20) -> None:
    """Check `law(auth section, question, answer)` on random policies and questions."""

    @settings(
        max_examples=policies,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(world=worlds())
    def checked(world: tuple[str, list[dict[str, Any]]]) -> None:
        text, asked = world
        live.load(compile_config(text))
        for question in asked[:questions]:
            law(yaml.safe_load(text)["server"]["auth"], question, live.ask(question))

    checked()


def _config_of(auth: dict[str, Any]) -> str:
    """The text of a configuration with this section `server.auth`."""
    return yaml.safe_dump({"storage": STORAGE, "server": {"auth": auth}}, sort_keys=False, allow_unicode=True)


def applicable(live: LiveOpa, part: str, question: dict[str, Any]) -> dict[str, list[int]]:
    """The indexes of the rules that apply, by effect."""
    status, answer = live.request(
        "POST", f"/v1/data/ostiary/{PACKAGES[part]}", json.dumps({"input": question}).encode()
    )
    assert status == 200
    return {effect: answer["result"][effect] for effect in ("permit", "forbid")}


def test_no_rule_denies(live: LiveOpa) -> None:
    def law(auth: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        for part in POLICIES:
            found = applicable(live, part, question)
            if not found["permit"] and not found["forbid"] and answer[part]["effect"] == "permit":
                assert (part == "route" and "route_policy" not in auth) or is_off(auth, question)

    holds_always(live, law)


def test_first_applicable_decides(live: LiveOpa) -> None:
    def law(auth: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        for part in POLICIES:
            decision, found = answer[part], applicable(live, part, question)
            assert not set(found["permit"]) & set(found["forbid"])
            if decision["rule"] is not None:
                first = min(found["permit"] + found["forbid"])
                assert index_of(decision) == first
                assert decision["effect"] == ("permit" if first in found["permit"] else "deny")

    holds_always(live, law)


def test_what_follows_the_determining_rule_is_irrelevant(live: LiveOpa) -> None:
    def law(auth: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        for part, policy in POLICIES.items():
            index = index_of(answer[part])
            if index is None or policy not in auth:
                continue
            cut = {**auth, policy: auth[policy][: index + 1]}
            alone = {**auth, policy: [auth[policy][index]]}
            for shorter, place in ((cut, index), (alone, 0)):
                live.load(compile_config(_config_of(shorter)))
                decision = live.ask(question)[part]
                assert (decision["effect"], index_of(decision)) == (answer[part]["effect"], place)
        live.load(compile_config(_config_of(auth)))

    holds_always(live, law, policies=5, questions=8)


def test_every_permit_needs_a_rule_or_a_reason(live: LiveOpa) -> None:
    def law(auth: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        for part, policy in POLICIES.items():
            decision = answer[part]
            if decision["rule"] is None:
                assert (decision["effect"], decision["reason"]) in WITHOUT_A_RULE
                assert decision["source"] is decision["description"] is None
                if decision["reason"] == "authentication is not configured":
                    assert part == "resource"
                    assert is_off(auth, question)
                if decision["reason"] == "no route policy is configured":
                    assert part == "route"
                    assert policy not in auth
            elif policy in auth:
                rule = auth[policy][index_of(decision)]
                assert ("permit" in rule) == (decision["effect"] == "permit")
                assert decision["description"] == rule.get("description")

    holds_always(live, law)


def test_owner_is_stamped_from_the_decision(live: LiveOpa) -> None:
    def law(auth: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        assert answer["route"]["obligations"] == []
        decision, caller = answer["resource"], question["principal"]
        creates = question["action"] == "create" and decision["effect"] == "permit" and decision["rule"] is not None
        expected = [{"id": "stamp_owner", "owner": caller}] if creates and caller is not None else []
        assert decision["obligations"] == expected

    holds_always(live, law)


def test_the_owner_that_a_create_claims_changes_nothing(live: LiveOpa) -> None:
    claimed = {"id": "mallory", "issuer": "https://a.example", "attributes": {"teams": ["admin"], "roles": ["admin"]}}

    def law(auth: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        creates = {**question, "action": "create"}
        honest = {**creates, "resource": {**question["resource"], "owner": None}}
        lying = {**creates, "resource": {**question["resource"], "owner": claimed}}
        assert live.ask(honest) == live.ask(lying)

    holds_always(live, law)


def is_off(auth: Any, question: dict[str, Any]) -> bool:
    """Is this a question by nobody while authentication isn't configured?"""
    return question["principal"] is None and "provider_config" not in auth


def index_of(decision: dict[str, Any]) -> int | None:
    """The position of the determining rule."""
    rule = decision["rule"]
    return None if rule is None else int(rule.partition("[")[2].rstrip("]"))
