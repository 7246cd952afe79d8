"""The SQL of a filter as a text and as a plan: no user text in it, parameters in order, indexes used."""

from __future__ import annotations

import random
import re

import pytest

from server.authz.contract.record_filter import (
    Atom,
    FromConfig,
    NameContains,
    NameIs,
    NameStartsWith,
    OwnerIs,
    OwnerShares,
    Unowned,
)
from server.storage.database.dialect import POSTGRESQL, SQLITE, Dialect
from server.storage.records.sql_filter import SqlFilter, compile_filter
from tests.support.database_rows import Rows, SqliteRows
from tests.support.filter_rows import FORBID, MINE, PERMIT, ROWS, TEAM, UNKNOWN, clauses, random_clauses, row

HOSTILE = [
    "' OR 1=1 --",
    "'; DROP TABLE records; --",
    '" OR ""="',
    "\\' OR 1=1 --",
    "%",
    "_",
    "?1",
    "$1",
    ":name",
    "@x",
    "%s",
    "{}",
    "{0}",
    "/*",
    "',1),('",
    "x'00'",
    "\u02bc OR 1=1",
    "a\\",
    "END <> 'deny' OR 'a'='a",
    "]\"}'",
    "\U0001f600'",
]


def test_the_expression_of_a_typical_policy_can_be_read() -> None:
    found = compile_filter(
        clauses((FORBID, [Atom(NameIs("secret"), holds=True)]), (PERMIT, [MINE]), (PERMIT, [TEAM])), SQLITE
    )
    assert found.verdict == (
        "CASE WHEN (id IS ?1) THEN 'deny'"
        " WHEN (owner_principal IS ?2 AND owner_issuer IS ?3) THEN 'permit'"
        " WHEN (owner_principal IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(access_attributes) AS held,"
        " json_each(CASE held.type WHEN 'array' THEN held.value ELSE '[]' END) AS owned"
        " WHERE held.key = ?4 AND owned.value IN (SELECT value FROM json_each(?5)))) THEN 'permit' ELSE 'deny' END"
    )
    assert found.parameters == ("secret", "ann", "https://a.example", "teams", '["ml", "infra"]')


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("first", [1, 4])
def test_parameters_are_numbered_and_the_condition_refers_to_each_of_them(dialect: Dialect, first: int) -> None:
    chance = random.Random(11)  # noqa: S311 - repeatable on purpose
    for _ in range(500):
        found = compile_filter(random_clauses(chance), dialect, first)
        numbers = {int(number) for number in re.findall(r"[?$]([0-9]+)", found.condition)}
        assert numbers == set(range(first, first + len(found.parameters)))
        assert {int(number) for number in re.findall(r"[?$]([0-9]+)", found.verdict)} <= numbers


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_policy_or_a_caller_becomes_sql(dialect: Dialect, text: str) -> None:
    def filter_of(word: str) -> SqlFilter:
        facts = [
            NameIs(word),
            NameStartsWith(word),
            NameContains(word),
            OwnerIs(word, word + "2"),
            OwnerShares(word, (word, word + "3")),
        ]
        both = [
            (PERMIT, [Atom(fact, holds), Atom(FromConfig(), holds=True)]) for fact in facts for holds in (True, False)
        ]
        return compile_filter(clauses((FORBID, [Atom(NameIs(word + "4"), holds=True)]), *both), dialect)

    hostile, harmless = filter_of(text), filter_of("harmless")
    assert (hostile.verdict, hostile.condition) == (harmless.verdict, harmless.condition)
    assert text in hostile.parameters


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_compared_and_nothing_else(rows: Rows, text: str) -> None:
    for fact in (
        NameIs(text),
        NameStartsWith(text),
        NameContains(text),
        OwnerIs(text, text),
        OwnerShares(text, (text,)),
    ):
        for effect, holds_, expected in ((PERMIT, True, "permit"), (PERMIT, False, "deny")):
            rows.replace([row(text, text, text, {text: [text]}), row("harmless", "ann", "", {"teams": ["ml"]})])
            (mine, _), (other, _) = rows.judge(compile_filter(clauses((effect, [Atom(fact, holds_)])), rows.dialect))
            assert (mine == expected, other == expected) == (True, False)


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ([MINE], "by_owner"),
        ([MINE, TEAM, UNKNOWN], "by_owner"),
        ([Atom(NameIs("a"), holds=True)], "by_id"),
        ([Atom(Unowned(), holds=True)], "by_owner"),
        ([Atom(FromConfig(), holds=True)], "by_origin"),
    ],
)
def test_the_condition_is_answered_from_an_index(where: list[Atom], index: str) -> None:
    sqlite = SqliteRows()
    connection = sqlite.connection
    sqlite.replace(ROWS)
    connection.execute("CREATE INDEX by_id ON records (id, origin)")
    connection.execute("CREATE INDEX by_owner ON records (owner_principal, owner_issuer, place)")
    connection.execute("CREATE INDEX by_origin ON records (origin)")
    found = compile_filter(clauses((FORBID, [Atom(NameIs("b"), holds=True)]), (PERMIT, where)), SQLITE)
    statement = f"EXPLAIN QUERY PLAN SELECT * FROM records WHERE {found.condition}"  # noqa: S608 - under test
    plan = [detail for *_, detail in connection.execute(statement, found.parameters)]
    assert any(f"SEARCH records USING INDEX {index} " in step for step in plan), plan
    assert not any("SCAN records" in step for step in plan), plan
    sqlite.close()


@pytest.mark.parametrize("atom", [TEAM, MINE, Atom(NameIs("a"), holds=True), Atom(Unowned(), holds=True)])
def test_what_must_not_hold_is_looked_up_in_no_index(atom: Atom) -> None:
    found = compile_filter(clauses((PERMIT, [Atom(atom.fact, holds=False)])), SQLITE)
    assert (found.candidates, found.shares) == ((), ())
    assert compile_filter(clauses((PERMIT, [atom])), SQLITE).candidates or atom is TEAM


def test_thousands_of_clauses_are_one_statement(rows: Rows) -> None:
    many = clauses(*[(PERMIT if i % 2 else FORBID, [Atom(NameIs(f"n{i}"), holds=True)]) for i in range(5_000)])
    rows.replace([row("n4998"), row("n4999"), row("n5000")])
    found = compile_filter(many, rows.dialect)
    assert [verdict for verdict, _ in rows.judge(found)] == ["deny", "permit", "deny"]


def test_a_caller_with_thousands_of_values_binds_one_list(rows: Rows) -> None:
    values = tuple(f"team-{number}" for number in range(40_000))
    found = compile_filter(clauses((PERMIT, [Atom(OwnerShares("teams", values), holds=True)])), rows.dialect)
    assert len(found.parameters) == 2
    rows.replace([row("a", "ben", "", {"teams": ["x", "team-39999"]}), row("a", "ben", "", {"teams": ["team-40000"]})])
    assert [verdict for verdict, _ in rows.judge(found)] == ["permit", "deny"]
