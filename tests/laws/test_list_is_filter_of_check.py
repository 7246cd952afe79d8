"""A list holds exactly the records that a question about each of them permits: `list == filter(check)`.

On policies that nobody wrote, all must agree about every record: the filter of one list question, as SQL over rows that
really lie in SQLite and in PostgreSQL, the real OPA asked about the record itself, and the reference model.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.parser import read_policies
from policy.resource_types import LISTED_TYPES, RESOURCE_TYPES
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.authz.contract.errors import PolicyUnavailable
from server.authz.contract.record_filter import Undecided
from server.storage.records.sql_filter import RowVerdict
from tests.reference import model
from tests.reference.configuration import auth, load
from tests.support.conformance_files import ConformanceFile, conformance_files
from tests.support.database_rows import PostgresRows, Rows, SqliteRows
from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.record_lists import TYPES, List, asked, policies, random_list, verdicts
from translators.compiler import compile_policies

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
POLICIES = 3_000 if NIGHTLY else 160
LISTS = 6
"""Lists under each policy."""

GUARDRAIL = b"""package ostiary.guardrails

deny contains {"reason": "frozen"} if "a" in input.resource.names
"""
ANSWERS = "/v1/data/ostiary/decision/answers?strict-builtin-errors=true"


@pytest.fixture(scope="module")
def databases(postgres_url: str) -> Iterator[list[Rows]]:
    with closing(SqliteRows()) as sqlite, closing(PostgresRows(postgres_url)) as postgres:
        yield [sqlite, postgres]


@pytest.mark.timeout(3_000 if NIGHTLY else 120)
def test_list_is_filter_of_check(live: LiveOpa, databases: list[Rows]) -> None:
    seen = Counter[str]()

    @settings(
        max_examples=POLICIES,
        derandomize=not NIGHTLY,
        database=None,
        deadline=None,
        print_blob=NIGHTLY,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=policies(), seed=st.integers(0, 2**63))
    def law(text: str, seed: int) -> None:
        live.load(compile_config(text))
        config, chance = load(text, {}), random.Random(seed)  # noqa: S311 - repeatable on purpose
        for _ in range(LISTS):
            wanted = random_list(chance, auth(config).get("access_policy", []))
            checked = decisions(live, wanted)
            assert checked == [judged(config, question) for question in wanted.questions()]
            seen.update(listed(live, databases, wanted, checked))

    law()
    # Everything that a filter can say is common, or else the strategies have drifted from what they are for.
    assert len(seen) == 15, seen
    assert min(seen.values()) >= POLICIES // 20, seen


@pytest.mark.parametrize("file", conformance_files(), ids=lambda file: file.id)
def test_every_record_of_a_conformance_case_is_listed_as_it_is_decided(
    live: LiveOpa, databases: list[Rows], file: ConformanceFile
) -> None:
    live.load(compile_config(file.config, file.environ))
    for case in file.cases:
        question = case.question
        if case.asked == "resource" and question["action"] != "create" and question["resource"]["type"] in TYPES:
            # A stored record has one name.
            names = question["resource"]["names"]
            records = tuple({**question["resource"], "names": [name]} for name in names)
            types = tuple(question["resource"].get("types", ()))
            wanted = List(question["principal"], question["action"], question["resource"]["type"], records, types)
            checked = decisions(live, wanted)
            assert len(names) > 1 or checked == [case.decision]
            Counter(listed(live, databases, wanted, checked))


def test_guardrails_leave_every_record_that_a_rule_permits_to_its_own_question(
    live: LiveOpa, databases: list[Rows]
) -> None:
    config = "{server: {auth: {access_policy: [{permit: {actions: read}, unless: resource is from config}]}}}"
    found = read_policies(parse_document(config, "config.yaml"), {}, Findings())
    assert found is not None
    live.load(compile_policies(found, {"ostiary/guardrails/frozen.rego": GUARDRAIL}))
    seen = Counter[str]()
    chance = random.Random(0)  # noqa: S311 - repeatable on purpose
    for _ in range(100):
        wanted = random_list(chance, [])
        seen.update(listed(live, databases, wanted, decisions(live, wanted)))
    assert seen["permit"] == 0
    assert min(seen["ask: permit"], seen["ask: deny"], seen["deny"]) >= 10, seen


def test_lists_of_what_is_not_stored_are_not_answered(live: LiveOpa) -> None:
    live.load(compile_config("{server: {auth: {access_policy: [{permit: {actions: read}}]}}}"))
    answered = set()
    for kind in (*RESOURCE_TYPES, "vector_db", "sql_record", "sql_record::anything", ""):
        with suppress(PolicyUnavailable):
            asked(live, List(None, "read", kind, ()))
            answered.add(kind)
    assert answered == {*LISTED_TYPES, "sql_record::anything"}


def listed(live: LiveOpa, databases: list[Rows], wanted: List, checked: list[str]) -> Iterator[str]:
    """Check that the filter of `wanted` says what was decided, in each database; yields words for what it says."""
    record_filter = asked(live, wanted)
    facts = [atom for clause in record_filter.clauses for atom in clause.where]
    everywhere = [verdicts(rows, record_filter, wanted.records) for rows in databases]
    assert all(others == everywhere[0] for others in everywhere), repr(record_filter)
    for place, ((verdict, selected), decided) in enumerate(zip(everywhere[0], checked, strict=True)):
        context = json.dumps({"question": wanted.questions()[place], "filter": repr(record_filter)})
        if verdict is RowVerdict.ASK:
            assert any(isinstance(atom.fact, Undecided) for atom in facts), context
            assert selected or decided == "deny", context
        else:
            assert verdict == decided, context
            assert selected is (decided == "permit"), context
        yield f"ask: {decided}" if verdict is RowVerdict.ASK else verdict
    yield from {f"{'' if atom.holds else 'not '}{type(atom.fact).__name__}" for atom in facts}


def decisions(live: LiveOpa, wanted: List) -> list[str]:
    """What OPA says of each record when it is asked about it."""
    status, answer = live.request("POST", ANSWERS, json.dumps({"input": {"questions": wanted.questions()}}).encode())
    assert status == 200, answer
    return [reply["resource"]["effect"] for reply in answer["result"]]


def judged(config: Any, question: dict[str, Any]) -> str:
    """What the reference model says of one record."""
    return model.decide_access(config, question["principal"], question["action"], question["resource"])[0]
