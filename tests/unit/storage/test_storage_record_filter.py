"""Clauses as SQL: the first applicable one decides in every row, whatever is NULL there."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter

import asyncpg
import pytest

from policy.vocabulary import Effect
from server.authz.contract.record_filter import Atom
from server.storage.database.dialect import SQLITE
from server.storage.records.sql_filter import RowVerdict, compile_filter
from tests.support.database_rows import Rows
from tests.support.filter_rows import (
    FORBID,
    MINE,
    PERMIT,
    ROWS,
    TEAM,
    UNKNOWN,
    clauses,
    possible,
    random_clauses,
    row,
    verdict_on,
)


def test_the_first_applicable_clause_decides_in_every_row(rows: Rows) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable on purpose
    seen = Counter[tuple[str, int]]()
    rows.replace(ROWS)
    for _ in range(3_000):
        record_filter = random_clauses(chance)
        found = compile_filter(record_filter, rows.dialect)
        for one, (verdict, selected) in zip(ROWS, rows.judge(found), strict=True):
            expected = possible(record_filter, one)
            assert verdict in found.outcomes
            if verdict is RowVerdict.ASK:
                # No row is left out that a question may permit.
                assert selected or expected == {RowVerdict.DENY}, (record_filter, one, found)
            else:
                assert expected == {verdict}, (record_filter, one, found)
                assert selected is (verdict is RowVerdict.PERMIT), (record_filter, one, found)
            seen[verdict, len(expected)] += 1
    # An `ask` that was certain all the same is rare: it is a superset, but not a wild one.
    assert min(seen["permit", 1], seen["deny", 1], seen["ask", 2]) > 1_000, seen
    assert seen["ask", 1] < seen["ask", 2], seen


@pytest.mark.parametrize(
    ("written", "verdict", "condition"),
    [
        ([], "'deny'", "1 = 0"),
        ([(FORBID, [])], "'deny'", "1 = 0"),
        ([(PERMIT, [])], "'permit'", "1 = 1"),
        ([(PERMIT, []), (FORBID, [MINE])], "'permit'", "1 = 1"),
        ([(PERMIT, [MINE]), (PERMIT, [])], "'permit'", "1 = 1"),
        ([(FORBID, [MINE]), (FORBID, [TEAM])], "'deny'", "1 = 0"),
        ([(FORBID, [UNKNOWN])], "'deny'", "1 = 0"),
        ([(FORBID, [MINE, UNKNOWN])], "'deny'", "1 = 0"),
        ([(PERMIT, [MINE, UNKNOWN]), (PERMIT, [])], "'permit'", "1 = 1"),
        ([(PERMIT, [UNKNOWN]), (PERMIT, [])], "'permit'", "1 = 1"),
        ([(PERMIT, [UNKNOWN])], "'ask'", "1 = 1"),
        ([(FORBID, [UNKNOWN]), (PERMIT, [])], "'ask'", "1 = 1"),
        ([(FORBID, [UNKNOWN]), (FORBID, []), (PERMIT, [])], "'deny'", "1 = 0"),
    ],
)
def test_what_no_row_can_change_is_a_constant(
    written: list[tuple[Effect, list[Atom]]], verdict: str, condition: str
) -> None:
    found = compile_filter(clauses(*written), SQLITE)
    assert (found.verdict, found.condition, found.parameters) == (verdict, condition, ())
    assert found.outcomes == {verdict.strip("'")}


@pytest.mark.parametrize(
    ("stored", "shared"),
    [
        (None, False),
        ("{}", False),
        ('{"teams": []}', False),
        ('{"teams": ["ml"]}', True),
        ('{"teams": ["x", "ml"], "roles": ["y"]}', True),
        ('{"roles": ["ml"]}', False),
        ('{"teams": ["mlx", "m", "ML", " ml"]}', False),
        ('{"teams": "ml"}', False),
        ('{"teams": {"ml": "ml"}}', False),
        ('{"teams": null}', False),
        ('{"teams": [["ml"]]}', False),
        ('{"a": {"teams": ["ml"]}}', False),
        ('{"te\\u0061ms": ["\\u006dl"]}', True),
    ],
)
def test_attributes_are_shared_only_where_a_list_of_the_owner_holds_the_value(
    rows: Rows, stored: str | None, *, shared: bool
) -> None:
    owned = {**row("a", "ben"), "access_attributes": stored}
    expected = RowVerdict.PERMIT if shared else RowVerdict.DENY
    assert verdict_on(rows, owned, (PERMIT, [TEAM])) is expected
    assert verdict_on(rows, owned, (FORBID, [Atom(TEAM.fact, holds=False)]), (PERMIT, [])) is expected


def test_attributes_without_an_owner_are_no_callers(rows: Rows) -> None:
    assert verdict_on(rows, {**row(), "access_attributes": '{"teams": ["ml"]}'}, (PERMIT, [TEAM])) is RowVerdict.DENY


@pytest.mark.parametrize("column", ["owner_principal", "owner_issuer"])
def test_half_an_owner_is_not_the_caller(rows: Rows, column: str) -> None:
    half = {**row("a", "ann", "https://a.example"), column: None}
    assert verdict_on(rows, half, (PERMIT, [MINE])) is RowVerdict.DENY
    assert verdict_on(rows, half, (FORBID, [Atom(MINE.fact, holds=False)]), (PERMIT, [])) is RowVerdict.DENY


def test_attributes_that_are_no_json_fail_the_statement(rows: Rows) -> None:
    with pytest.raises((sqlite3.OperationalError, asyncpg.DataError), match=r"malformed JSON|invalid input syntax"):
        verdict_on(rows, {**row("a", "ben"), "access_attributes": "{teams"}, (PERMIT, [TEAM]))
