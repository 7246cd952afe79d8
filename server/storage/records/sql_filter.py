"""SQL for the policy's record filters, so that a list holds what a question about each record permits.

The expression is `CASE WHEN … THEN … ELSE 'deny' END` over the columns `id`, `owner_principal`, `owner_issuer`,
`access_attributes` (JSON text: attribute → list of values) and `origin`. Every value from the policy or the caller is a
bound parameter. Every comparison is true or false and never NULL, which under a negation would count as "no".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policy.vocabulary import Effect, Origin
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
from server.storage.database.dialect import Dialect
from server.storage.records.names import NAME_END


class RowVerdict(StrEnum):
    """The expression's value for a row; `ask` where only a question about that record decides."""

    PERMIT = "permit"
    DENY = "deny"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Shared:
    """Records whose owner held one of `count` values: the placeholders of an attribute and of a JSON list of values."""

    attribute: str
    values: str
    count: int


@dataclass(frozen=True, slots=True)
class SqlFilter:
    """A filter for the `WHERE` and, where `ask` is among `outcomes`, the `SELECT` of one statement.

    `verdict` yields a RowVerdict for a row. `condition` holds for every row that is permitted, for none that is denied
    and, of those with the verdict `ask`, for all that a question may permit. Where there are `candidates` or `shares`,
    each of those rows meets at least one of them: an index on `id`, the owner or `origin` answers a candidate, and the
    index of owner attributes a share. All of them refer to `parameters` by their numbers. `condition` refers to each of
    these, and `verdict` to the first `judging`.
    """

    verdict: str
    condition: str
    parameters: tuple[str, ...]
    outcomes: frozenset[RowVerdict]
    judging: int = 0
    candidates: tuple[str, ...] = ()
    shares: tuple[Shared, ...] = ()


def compile_filter(
    record_filter: RecordFilter, dialect: Dialect, first_parameter: int = 1, *, names: str | None = None
) -> SqlFilter:
    """Return the filter in SQL; its parameters are numbered from `first_parameter` on.

    A record's name is its `id`; or, where `names` is the (checked) name of a table, all the names in its `facet`, which
    are in that table too (`server.storage.records.names`): a rule about one of them applies to the record.
    """
    clauses = list(_reached(record_filter.clauses))
    branches, otherwise = _branches(clauses)
    parameters = _Parameters(dialect, first_parameter, names)
    outcomes = frozenset((otherwise, *(verdict for _, verdict in branches)))
    if not branches:
        condition = "1 = 0" if otherwise is RowVerdict.DENY else "1 = 1"
        return SqlFilter(f"'{otherwise}'", condition, (), outcomes)
    whens = [f" WHEN {_condition(where, parameters)} THEN '{verdict}'" for where, verdict in branches]
    verdict = f"CASE{''.join(whens)} ELSE '{otherwise}' END"
    condition = f"{verdict} <> '{RowVerdict.DENY}'"
    judging = len(parameters.values)
    facts = _indexed_facts(clauses)
    candidates, shares = _candidates(facts, parameters), _shares(facts, parameters)
    if facts:
        shared = (_test(fact, parameters) for fact in facts if isinstance(fact, OwnerShares))
        condition = f"({' OR '.join((*candidates, *shared))}) AND {condition}"
    return SqlFilter(verdict, condition, tuple(parameters.values), outcomes, judging, candidates, shares)


def _reached(clauses: Iterable[Clause]) -> Iterator[Clause]:
    """Yield the clauses up to the first one that applies to every row."""
    for clause in clauses:
        yield clause
        if not clause.where:
            return


Branch = tuple[tuple[Atom, ...], RowVerdict]


def _branches(clauses: Iterable[Clause]) -> tuple[list[Branch], RowVerdict]:
    """Return the tests in turn, each with its verdict, and the verdict where no test holds."""
    tests: list[tuple[tuple[Atom, ...], Effect, RowVerdict]] = []
    # After a clause that may apply to any row, every other effect needs a question.
    doubts: set[RowVerdict] = set()
    otherwise = RowVerdict.DENY
    for clause in clauses:
        known = tuple(atom for atom in clause.where if not isinstance(atom.fact, Undecided))
        decided = len(known) == len(clause.where)
        if known:
            verdict = _doubted(_VERDICTS[clause.effect], doubts) if decided else RowVerdict.ASK
            tests.append((known, clause.effect, verdict))
        elif decided:
            otherwise = _VERDICTS[clause.effect]
        else:
            doubts.add(_VERDICTS[clause.effect])
    return _needed(tests, _doubted(otherwise, doubts))


def _doubted(verdict: RowVerdict, doubts: set[RowVerdict]) -> RowVerdict:
    return verdict if doubts <= {verdict} else RowVerdict.ASK


def _needed(
    tests: list[tuple[tuple[Atom, ...], Effect, RowVerdict]], otherwise: RowVerdict
) -> tuple[list[Branch], RowVerdict]:
    """Return the tests on which the result depends, in reverse order."""
    branches: list[Branch] = []
    later = {otherwise}
    for known, effect, verdict in reversed(tests):
        # An undecided clause makes no difference where everything after it has the same effect.
        settled = _VERDICTS[effect] if later == {_VERDICTS[effect]} else verdict
        if later != {settled}:
            branches.append((known, settled))
            later.add(settled)
    return branches[::-1], otherwise


class _Parameters:
    """The values to bind, each once; a value's number is its position, counted from `first`."""

    def __init__(self, dialect: Dialect, first: int, names: str | None) -> None:
        self.dialect = dialect
        self.values: dict[str, int] = {}
        self.names = names
        self._first = first

    def text(self, value: str) -> str:
        """Return the placeholder of a text."""
        return self.dialect.parameter.format(self.values.setdefault(value, self._first + len(self.values)))

    def texts(self, values: Iterable[str]) -> str:
        """Return the placeholder of a list of texts, bound as one JSON parameter."""
        return self.text(json.dumps(list(values), ensure_ascii=False))

    def among_names(self, text: str, end: str) -> str:
        """Return an expression: a name of the record begins with the text, followed by `end`."""
        # No name contains the separator, so that a text with one begins no name.
        return "1 = 0" if NAME_END in text else self.dialect.holds.format("facet", self.text(NAME_END + text + end))

    def in_names(self, text: str) -> str:
        """Return an expression: a name of the record has the text in it."""
        return "1 = 0" if NAME_END in text else self.dialect.holds.format("facet", self.text(text))


def _condition(where: Iterable[Atom], parameters: _Parameters) -> str:
    tests = [(_test(atom.fact, parameters), atom.holds) for atom in where]
    return " AND ".join(test if holds else f"NOT {test}" for test, holds in tests)


def _test(fact: Fact, parameters: _Parameters) -> str:
    """Return an expression that is true or false for every row, in parentheses."""
    same = parameters.dialect.same
    match fact:
        case NameIs() | NameStartsWith() | NameContains():
            return f"({_test_of_name(fact, parameters)})"
        case OwnerIs(identity, issuer):
            principal = same.format("owner_principal", parameters.text(identity))
            return f"({principal} AND {same.format('owner_issuer', parameters.text(issuer))})"
        case OwnerShares(attribute, values):
            shared = parameters.dialect.shared.format(parameters.text(attribute), parameters.texts(values))
            return f"(owner_principal IS NOT NULL AND {shared})"
        case Unowned():
            return "(owner_principal IS NULL)"
        case FromConfig():
            return f"({same.format('origin', parameters.text(Origin.CONFIG.value))})"
        case Undecided():
            raise ValueError("what is undecided is no test of a row")


def _test_of_name(fact: NameIs | NameStartsWith | NameContains, parameters: _Parameters) -> str:
    same, is_called = parameters.dialect.same, parameters.names is not None
    match fact:
        case NameIs(name):
            return parameters.among_names(name, NAME_END) if is_called else same.format("id", parameters.text(name))
        case NameStartsWith(prefix):
            if is_called:
                return parameters.among_names(prefix, "")
            text = parameters.text(prefix)
            return same.format(f"substr(id, 1, length({text}))", text)
        case NameContains(text):
            return (
                parameters.in_names(text) if is_called else parameters.dialect.holds.format("id", parameters.text(text))
            )


def _indexed_facts(clauses: Iterable[Clause]) -> tuple[Fact, ...]:
    """Return facts that indexes answer, one of which holds for every row that a permit may reach; () if unknown."""
    facts = [_indexed(clause) for clause in clauses if clause.effect is Effect.PERMIT]
    return () if None in facts else tuple(fact for fact in dict.fromkeys(facts) if fact is not None)


def _candidates(facts: Iterable[Fact], parameters: _Parameters) -> tuple[str, ...]:
    """Return conditions on indexed columns, one of which holds where one of these facts does, except shares."""
    names = [fact.name for fact in facts if isinstance(fact, NameIs)]
    terms = [_called(names, parameters)] if names else []
    for fact in facts:
        match fact:
            case OwnerIs(identity, issuer):
                owner, vouching = parameters.text(identity), parameters.text(issuer)
                terms.append(f"(owner_principal = {owner} AND owner_issuer = {vouching})")
            case Unowned():
                # Without an owner there is no issuer either; with this test, the index has these rows by age.
                terms.append("(owner_principal IS NULL AND owner_issuer IS NULL)")
            case FromConfig():
                # Not bound: PostgreSQL must recognize that the partial index covers these rows.
                terms.append(f"origin = '{Origin.CONFIG.value}'")
    return tuple(terms)


def _shares(facts: Iterable[Fact], parameters: _Parameters) -> tuple[Shared, ...]:
    """Return the shares among these facts."""
    shares = [fact for fact in facts if isinstance(fact, OwnerShares)]
    return tuple(
        Shared(parameters.text(share.attribute), parameters.texts(share.values), len(share.values)) for share in shares
    )


def _called(names: Iterable[str], parameters: _Parameters) -> str:
    called = f"id IN {parameters.dialect.elements.format(parameters.texts(names))}"
    if parameters.names is None:
        return called
    return f'id IN (SELECT parent FROM "{parameters.names}" WHERE {called})'  # noqa: S608 - a checked name


def _indexed(clause: Clause) -> Fact | None:
    """Return the fact of a clause that leaves the fewest rows, among those that an index answers."""
    facts = {type(atom.fact): atom.fact for atom in clause.where if atom.holds}
    return next((facts[kind] for kind in _BY_ROWS if kind in facts), None)


_BY_ROWS: Final = (NameIs, OwnerIs, FromConfig, OwnerShares, Unowned)
"""The facts that an index answers; the first ones leave the fewest rows."""

_VERDICTS: Final = {Effect.PERMIT: RowVerdict.PERMIT, Effect.FORBID: RowVerdict.DENY}
