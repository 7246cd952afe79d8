"""Policies that nobody wrote: the reference model and the real OPA must agree on each decision and on its rule."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.diagnostics import Findings
from policy.document import parse_document
from policy.parser import read_policies
from policy.routes import normalize_path
from tests.conformance.engine import OpaServer
from tests.equivalence.policy_strategies import configurations, questions
from tests.reference import model
from translators.compiler import Bundle, compile_policies

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
DECISIONS = 50_000 if NIGHTLY else 2_400
QUESTIONS = 20
"""Questions for each policy; each yields a decision about a route and one about a resource."""


class Live:
    """One running OPA whose policies are exchanged through its REST interface, which takes a few milliseconds."""

    def __init__(self, opa: OpaServer) -> None:
        self.opa = opa
        self._loaded: Mapping[str, bytes] = {}

    def load(self, bundle: Bundle) -> None:
        """Put what differs from the last bundle in force, and nothing else."""
        files = {path: content for path, content in bundle.files.items() if path != ".manifest"}
        for path in self._loaded.keys() - files.keys():
            self._send("DELETE", path, b"")
        for path, content in files.items():
            if self._loaded.get(path) != content:
                self._send("PUT", path, content)
        self._loaded = files

    def _send(self, method: str, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        data = name == "data.json"
        target = f"/v1/data/{folder}" if data else f"/v1/policies/{quote(path, safe='')}"
        status, answer = self.opa.request(method, target, content, "application/json" if data else "text/plain")
        assert status in (200, 204), answer


@pytest.fixture(scope="module")
def live(opa_binary: Path) -> Iterator[Live]:
    with OpaServer(opa_binary) as opa:
        yield Live(opa)


def test_opa_decides_as_the_reference_model_does(live: Live) -> None:
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=DECISIONS // (2 * QUESTIONS),
        derandomize=not NIGHTLY,
        database=None,
        deadline=None,
        print_blob=NIGHTLY,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=configurations(), asked=st.lists(questions(), min_size=QUESTIONS, max_size=QUESTIONS))
    def law(text: str, asked: list[dict[str, Any]]) -> None:
        live.load(compiled(text))
        config = model.load(text, {})
        for question in asked:
            answer = live.opa.ask(normalized(question))
            for part, expected in judged(config, question).items():
                assert summary(answer[part]) == expected, json.dumps({"question": question, "answer": answer})
                outcomes[f"{part}: {expected[0]}, {'no rule' if expected[1] is None else 'rule'}"] += 1

    law()
    assert outcomes.total() >= DECISIONS
    # Every kind of outcome is common, or else the strategies have drifted from what they are for.
    assert len(outcomes) == 8, outcomes
    assert min(outcomes.values()) >= DECISIONS // 100, outcomes


def test_a_batch_is_answered_as_its_questions_are_alone(live: Live) -> None:
    @settings(max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(text=configurations(), asked=st.lists(questions(), min_size=1, max_size=QUESTIONS))
    def law(text: str, asked: list[dict[str, Any]]) -> None:
        live.load(compiled(text))
        path = "/v1/data/ostiary/decision/answers?strict-builtin-errors=true"
        status, answer = live.opa.request("POST", path, json.dumps({"input": {"questions": asked}}).encode())
        assert (status, answer["result"]) == (200, [live.opa.ask(question) for question in asked])

    law()


def compiled(text: str) -> Bundle:
    """The bundle of a configuration, which must be free of errors."""
    findings = Findings()
    policies = read_policies(parse_document(text, "config.yaml"), {}, findings)
    assert policies is not None, findings.diagnostics
    return compile_policies(policies)


def normalized(question: dict[str, Any]) -> dict[str, Any]:
    """The question with its path as the server sends it."""
    return {**question, "route": {**question["route"], "path": normalize_path(question["route"]["path"])}}


def judged(config: Any, question: dict[str, Any]) -> dict[str, tuple[str, int | None, Any]]:
    """What the reference model says of both parts: effect, index of the rule, owner to stamp."""
    principal, route = question["principal"], question["route"]
    effect, index = model.decide_access(config, principal, question["action"], question["resource"])
    stamped = effect == "permit" and index is not None and question["action"] == "create" and principal is not None
    return {
        "route": (*model.decide_route(config, principal, route["method"], route["path"]), None),
        "resource": (effect, index, principal if stamped else None),
    }


def summary(decision: dict[str, Any]) -> tuple[str, int | None, Any]:
    """The same of OPA's decision."""
    rule, duties = decision["rule"], decision["obligations"]
    index = None if rule is None else int(rule.partition("[")[2].rstrip("]"))
    assert len(duties) <= 1
    assert all(duty["id"] == "stamp_owner" for duty in duties)
    return decision["effect"], index, duties[0]["owner"] if duties else None
