"""Policies that nobody wrote: the reference model and the real OPA must agree on each decision and on its rule.

So must SQL, wherever a record that can be stored is asked about: the filter of a list, over that record in SQLite. That
OPA's index of rules changes no answer is in `test_index`.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from policy.resource_types import LISTED_TYPES
from policy.routes import normalize_path
from policy.vocabulary import RECORD_PREFIX
from server.storage.records.sql_filter import RowVerdict
from tests.reference import model
from tests.reference.configuration import load
from tests.support.database_rows import SqliteRows
from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.policy_strategies import worlds
from tests.support.record_lists import List, asked, verdicts

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
DECISIONS = 50_000 if NIGHTLY else 9_600
DECISIONS_FOR_EACH_POLICY = 60
"""Thirty questions, each with a decision about a route and one about a resource."""


@pytest.fixture(scope="module")
def live(opa_binary: Path) -> Iterator[LiveOpa]:
    with LiveOpa(opa_binary) as opa:
        yield opa


@pytest.fixture
def rows() -> Iterator[SqliteRows]:
    with closing(SqliteRows()) as made:
        yield made


@pytest.mark.timeout(1_200 if NIGHTLY else 120)
def test_opa_decides_as_the_reference_model_does(live: LiveOpa, rows: SqliteRows) -> None:
    outcomes, by_sql = Counter[str](), Counter[str]()

    @settings(
        max_examples=math.ceil(DECISIONS / DECISIONS_FOR_EACH_POLICY),
        derandomize=not NIGHTLY,
        database=None,
        deadline=None,
        # Shrinking takes minutes; the message alone shows the policy and the one question.
        phases=[Phase.generate, Phase.shrink] if NIGHTLY else [Phase.generate],
        print_blob=NIGHTLY,
        suppress_health_check=list(HealthCheck),
    )
    @given(world=worlds())
    def law(world: tuple[str, list[dict[str, Any]]]) -> None:
        text, asked = world
        live.load(compile_config(text))
        config = load(text, {})
        for question in asked:
            answer = live.ask(normalized(question))
            for part, expected in judged(config, question).items():
                assert summary(answer[part]) == expected, f"{text}\n{json.dumps(question)}\n{json.dumps(answer)}"
                outcomes[f"{part}: {expected[0]}, {'no rule' if expected[1] is None else 'rule'}"] += 1
            if can_be_stored(question):
                verdict = judged_by_sql(live, rows, question)
                effect = answer["resource"]["effect"]
                assert verdict in (effect, RowVerdict.ASK), f"{text}\n{json.dumps(question)}\n{json.dumps(answer)}"
                by_sql[f"{verdict}: {effect}"] += 1

    law()
    rows.close()
    assert outcomes.total() >= DECISIONS
    # Every kind of outcome is common, or else the strategies have drifted from what they are for.
    assert len(outcomes) == 8, outcomes
    assert min(outcomes.values()) >= DECISIONS // 200, outcomes
    assert min(by_sql["permit: permit"], by_sql["deny: deny"]) >= DECISIONS // 100, by_sql


def test_a_batch_is_answered_as_its_questions_are_alone(live: LiveOpa) -> None:
    @settings(max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(world=worlds())
    def law(world: tuple[str, list[dict[str, Any]]]) -> None:
        text, asked = world
        live.load(compile_config(text))
        path = "/v1/data/ostiary/decision/answers?strict-builtin-errors=true"
        status, answer = live.request("POST", path, json.dumps({"input": {"questions": asked}}).encode())
        assert (status, answer["result"]) == (200, [live.ask(question) for question in asked])

    law()


def normalized(question: dict[str, Any]) -> dict[str, Any]:
    """The question with its path as the server sends it."""
    return {**question, "route": {**question["route"], "path": normalize_path(question["route"]["path"])}}


def can_be_stored(question: dict[str, Any]) -> bool:
    """Whether the question is about one record that a list might show: those have one name."""
    resource = question["resource"]
    stored = resource["type"] in LISTED_TYPES or resource["type"].startswith(RECORD_PREFIX)
    return stored and question["action"] != "create" and len(resource["names"]) == 1


def judged_by_sql(live: LiveOpa, rows: SqliteRows, question: dict[str, Any]) -> RowVerdict:
    """What the filter of a list says of the one record."""
    resource = question["resource"]
    wanted = List(
        question["principal"], question["action"], resource["type"], (resource,), tuple(resource.get("types", ()))
    )
    ((verdict, selected),) = verdicts(rows, asked(live, wanted), wanted.records)
    assert selected or verdict is not RowVerdict.PERMIT
    return verdict


def judged(config: Any, question: dict[str, Any]) -> dict[str, tuple[str, int | None, Any]]:
    """What the reference model says of both parts: effect, index of the rule, obligations."""
    principal, route = question["principal"], question["route"]
    effect, index = model.decide_access(config, principal, question["action"], question["resource"])
    stamped = effect == "permit" and index is not None and question["action"] == "create" and principal is not None
    return {
        "route": (*model.decide_route(config, principal, route["method"], route["path"]), []),
        "resource": (effect, index, [{"id": "stamp_owner", "owner": principal}] if stamped else []),
    }


def summary(decision: dict[str, Any]) -> tuple[str, int | None, Any]:
    """The same of OPA's decision."""
    rule = decision["rule"]
    return (
        decision["effect"],
        None if rule is None else int(rule.partition("[")[2].rstrip("]")),
        decision["obligations"],
    )
