"""Policies of a thousand rules: where a rule stands among many others changes nothing about what it means."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.equivalence.test_policies import judged, normalized, summary
from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.policy_questions import (
    ACTIONS,
    ATTRIBUTES,
    IDS,
    NAMES,
    PATHS,
    STORAGE,
    TYPES,
    VALUES,
    aim_caller,
    questions,
)
from tests.support.policy_strategies import PATH_PATTERNS, PATH_REGEXES, RESOURCE_REGEXES

RULES = 1_000
PAIRS = 250
"""How often a policy is asked by somebody and by nobody; each time about a route and about a resource."""


@pytest.fixture(scope="module")
def live(opa_binary: Path) -> Iterator[LiveOpa]:
    with LiveOpa(opa_binary) as opa:
        yield opa


@pytest.mark.parametrize("seed", range(2))
def test_a_thousand_rules_decide_as_the_reference_model_does(live: LiveOpa, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    auth = {
        "provider_config": {"type": "oauth2_token", "jwks": {"uri": "https://issuer.example/jwks"}},
        "route_policy": [rule(chance, route_scope(chance), about_resources=False) for _ in range(RULES)],
        "access_policy": [rule(chance, access_scope(chance), about_resources=True) for _ in range(RULES)],
    }
    config = {"version": 2, "storage": STORAGE, "server": {"auth": auth}}
    live.load(compile_config(yaml.safe_dump(config, sort_keys=False, allow_unicode=True)))
    asked = [normalized(question) for _ in range(PAIRS) for question in aimed(chance, auth)]
    path = "/v1/data/ostiary/decision/answers?strict-builtin-errors=true"
    status, answer = live.request("POST", path, json.dumps({"input": {"questions": asked}}).encode())
    assert (status, len(answer["result"])) == (200, len(asked))
    decided = Counter[str]()
    for question, answers in zip(asked, answer["result"], strict=True):
        for part, expected in judged(config, question).items():
            assert summary(answers[part]) == expected, json.dumps(question)
            if expected[1] is not None:
                decided[f"{part} by one of the {'first hundred' if expected[1] < 100 else 'others'}"] += 1
    assert len(decided) == 4, decided
    assert min(decided.values()) >= PAIRS // 10, decided


def aimed(chance: random.Random, auth: dict[str, Any]) -> list[dict[str, Any]]:
    """A pair of questions; the first is about a route of any rule, however far behind."""
    first, second = questions(chance, auth)
    rule = chance.choice(auth["route_policy"])
    aim_caller(chance, rule, first["principal"])
    (path,) = rule["permit" if "permit" in rule else "forbid"]["paths"]
    return [{**first, "route": {"method": "GET", "path": path.rstrip("*")}} if path[0] == "/" else first, second]


def access_scope(chance: random.Random) -> dict[str, Any]:
    """Mostly one resource and one action, so that many rules are passed over; seldom a kind, seldom somebody."""
    scope: dict[str, Any] = {"actions": chance.sample(ACTIONS, chance.choice([1, 1, 1, 2]))}
    name = chance.choice([*(name for name in NAMES if "\n" not in name), *(f"name-{n}" for n in range(60))])
    regex = f"regex:{chance.choice(RESOURCE_REGEXES)}"
    scope["resource"] = f"{chance.choice(TYPES)}::{name}" if chance.random() < 0.94 else regex
    if chance.random() < 0.3:
        scope["principal"] = chance.choice(IDS)
    return scope


def route_scope(chance: random.Random) -> dict[str, Any]:
    """One path among many, seldom a kind of path."""
    exact = chance.choice([*PATHS, *(f"/v1/route-{n}" for n in range(200))])
    wide = chance.choice([*PATH_PATTERNS, *(f"regex:{regex}" for regex in PATH_REGEXES)])
    return {"paths": [exact if chance.random() < 0.998 else wide]}


def rule(chance: random.Random, scope: dict[str, Any], *, about_resources: bool) -> dict[str, Any]:
    """A rule of either effect with one to three conditions, which often don't hold."""
    attribute = chance.choice(ATTRIBUTES)
    spellings = [f'user with "{value}" in {attribute}' for value in VALUES if '"' not in value]
    if about_resources:
        spellings += ["user is owner", f"user in owners {attribute}", "user is not owner", "resource is unowned"]
    conditions = chance.choices(spellings, k=chance.choice([1, 2, 3]))
    return {chance.choice(["permit", "forbid"]): scope, chance.choice(["when", "when", "when", "unless"]): conditions}
