"""Filters and rows for the tests of their SQL, and what the one says of the other in plain Python."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from policy.vocabulary import Effect
from server.authz.contract.record_filter import (
    Atom,
    Clause,
    Fact,
    FromConfig,
    NameContains,
    NameIs,
    NameStartsWith,
    OwnerIs,
    OwnerShares,
    RecordFilter,
    Undecided,
    Unowned,
)
from server.storage.records.sql_filter import RowVerdict, compile_filter
from tests.support.database_rows import Row, Rows

PERMIT, FORBID = Effect.PERMIT, Effect.FORBID
MINE = Atom(OwnerIs("ann", "https://a.example"), holds=True)
TEAM = Atom(OwnerShares("teams", ("ml", "infra")), holds=True)
UNKNOWN = Atom(Undecided(), holds=True)


def row(name: str = "a", owner: str | None = None, issuer: str | None = "", attributes: Any = None, **more: Any) -> Row:
    """A record as it is stored; without an owner its other owner columns are NULL too."""
    owned = {"owner_issuer": issuer, "access_attributes": json.dumps(attributes or {})} if owner is not None else {}
    columns = {
        "id": name,
        "origin": "created",
        "owner_principal": owner,
        "owner_issuer": None,
        "access_attributes": None,
    }
    return {**columns, **owned, **more}


ROWS = [
    row(),
    row("b"),
    row("a", "ann", "https://a.example"),
    row("b", "ann", "https://b.example", {"teams": ["ml"]}),
    row("ab", "ben", "https://a.example", {"teams": ["infra", "sales"], "roles": []}),
    row("B", "ben", "", {"teams": [], "roles": ["ml"]}),
    row("", "ANN", "https://a.example", {"Teams": ["ml"]}),
    row("a", None, origin="config"),
    row("x", "ann", "https://a.example", {"teams": ["ml", "infra"]}, origin="config"),
]
FACTS: list[Fact] = [
    *[NameIs("a"), NameIs("b"), NameStartsWith("a"), NameStartsWith("ab"), NameContains("b"), MINE.fact, TEAM.fact],
    *[OwnerShares("roles", ("ml",)), Unowned(), FromConfig(), Undecided()],
]


def clauses(*written: tuple[Effect, Iterable[Atom]]) -> RecordFilter:
    """A filter of rules in their order."""
    rules = [Clause(f"access_policy[{i}]", effect, tuple(where)) for i, (effect, where) in enumerate(written)]
    return RecordFilter("r1", tuple(rules))


def random_clauses(chance: random.Random) -> RecordFilter:
    """A few clauses of a few facts each."""
    atoms = [Atom(fact, holds) for fact in FACTS for holds in (True, False)]
    counts = [chance.choice([0, 1, 1, 1, 2, 2, 3]) for _ in range(chance.randrange(7))]
    return clauses(*[(chance.choice([PERMIT, FORBID]), chance.sample(atoms, count)) for count in counts])


def verdict_on(rows: Rows, one: Row, *written: tuple[Effect, Iterable[Atom]]) -> RowVerdict:
    """The verdict on a single row."""
    rows.replace([one])
    return rows.judge(compile_filter(clauses(*written), rows.dialect))[0][0]


def possible(record_filter: RecordFilter, one: Row) -> set[RowVerdict]:
    """What the clauses say in plain Python, for every way in which what is undecided may turn out."""
    count = sum(isinstance(atom.fact, Undecided) for clause in record_filter.clauses for atom in clause.where)
    return {first(record_filter, one, iter(facts)) for facts in itertools.product([True, False], repeat=count)}


def first(record_filter: RecordFilter, one: Row, undecided: Iterator[bool]) -> RowVerdict:
    """The first applicable clause decides."""
    for clause in record_filter.clauses:
        # Each undecided atom takes its value, whether or not an earlier atom fails.
        met = [holds(atom.fact, one, undecided) is atom.holds for atom in clause.where]
        if all(met):
            return RowVerdict.PERMIT if clause.effect is PERMIT else RowVerdict.DENY
    return RowVerdict.DENY


def holds(fact: Fact, one: Row, undecided: Iterator[bool]) -> bool:
    """What a fact says of a row, in plain Python."""
    match fact:
        case NameIs(name):
            return one["id"] == name
        case NameStartsWith(prefix):
            return one["id"].startswith(prefix)
        case NameContains(text):
            return text in one["id"]
        case OwnerIs(identity, issuer):
            return (one["owner_principal"], one["owner_issuer"]) == (identity, issuer)
        case OwnerShares(attribute, values):
            held = json.loads(one["access_attributes"] or "{}").get(attribute, [])
            return one["owner_principal"] is not None and bool({*held} & {*values})
        case Unowned():
            return one["owner_principal"] is None
        case FromConfig():
            return one["origin"] == "config"
        case Undecided():
            return next(undecided)
