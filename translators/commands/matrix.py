"""The decision table: every caller that a policy distinguishes against every pattern that it names, decided by OPA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.rules import PolicySet, SharesWithOwner
from policy.vocabulary import RECORD_PREFIX, Action, Origin
from translators.commands.callers import Caller, Callers, callers
from translators.commands.columns import Column, columns
from translators.commands.loading import Loaded
from translators.commands.questions import Question, UnclearQuestion, question
from translators.commands.testing import BATCH
from translators.opa_session import OpaSession

MOST_DECISIONS: Final = 50_000
"""Largest table, in questions to OPA."""


@dataclass(frozen=True, slots=True)
class Cell:
    """OPA's decisions about one caller and one column, for each relation of the caller to the resource.

    The one relation of a route, and of a create, has no name.
    """

    decisions: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def permitted(self) -> tuple[str, ...]:
        """The relations under which the caller is permitted."""
        return tuple(relation for relation, decision in self.decisions if decision["effect"] == "permit")

    @property
    def text(self) -> str:
        """`yes`, `no`, or the relations under which the caller is permitted."""
        permitted = self.permitted
        if len(permitted) in (0, len(self.decisions)):
            return "yes" if permitted else "no"
        return ", ".join(permitted)


@dataclass(frozen=True, slots=True)
class Row:
    """One caller with a cell for each column."""

    caller: Caller
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The whole table; `left_out` says what it doesn't show, and why."""

    revision: str
    authentication: bool
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the table for machines: one entry for each decision."""
        return {
            "revision": self.revision,
            "authentication": "configured" if self.authentication else "off",
            "callers": [row.caller.label for row in self.rows],
            "decisions": [
                _entry(row.caller, column, relation, decision)
                for row in self.rows
                for column, cell in zip(self.columns, row.cells, strict=True)
                for relation, decision in cell.decisions
            ],
            "left_out": list(self.left_out),
        }


def matrix(loaded: Loaded, issuer: str | None = None) -> Matrix:
    """Decide every cell, of the callers of one `issuer` or of all.

    Raises UnclearQuestion for a policy that is too large or an unknown issuer, OpaNotFound or OpaFailed.
    """
    known = callers(loaded.policies, loaded.known.meaning(issuer).issuer)
    made, left_out = columns(loaded.policies)
    asker = _Asker(loaded, made, known)
    pairs = known.pairs
    if asker.size(len(known.alone) + len(pairs)) > MOST_DECISIONS and pairs:
        left_out.append("callers with two attributes at once: there are too many of them")
        pairs = ()
    if (size := asker.size(len(known.alone))) > MOST_DECISIONS:
        message = f"the table would show {size:,} decisions, and {MOST_DECISIONS:,} are the most"
        raise UnclearQuestion(message, "ask `ostiary policy decide` instead")
    cells = asker.cells([*known.alone, *(caller for caller, _ in pairs)])
    shown = [*known.alone, *(caller for caller, parts in pairs if not _adds_up(cells, caller, parts))]
    rows = tuple(Row(caller, cells[caller]) for caller in shown)
    return Matrix(loaded.bundle.revision, loaded.policies.authentication, made, rows, tuple(left_out))


class _Asker:
    """Puts the questions of the table to OPA."""

    def __init__(self, loaded: Loaded, asked: Sequence[Column], known: Callers) -> None:
        self._loaded = loaded
        self._columns = asked
        self._known = known
        self._shared = tuple(dict.fromkeys(_shared_attributes(loaded.policies)))

    def size(self, number: int) -> int:
        """Return the most questions that this number of callers makes."""
        somebody = self._known.alone[-1]
        return number * sum(1 for column in self._columns for _ in self._questions(somebody, column))

    def cells(self, everyone: Sequence[Caller]) -> dict[Caller, tuple[Cell, ...]]:
        """Return the row of each caller."""
        asked = [
            (caller, number, relation, form)
            for caller in everyone
            for number, column in enumerate(self._columns)
            for relation, form in self._questions(caller, column)
        ]
        rows: dict[Caller, list[list[tuple[str, dict[str, Any]]]]] = {
            caller: [[] for _ in self._columns] for caller in everyone
        }
        with OpaSession(self._loaded.bundle) as opa:
            for start in range(0, len(asked), BATCH):
                part = asked[start : start + BATCH]
                answers = opa.ask([form for *_, form in part])
                for (caller, number, relation, _), answer in zip(part, answers, strict=True):
                    rows[caller][number].append((relation, answer[self._columns[number].about]))
        return {caller: tuple(Cell(tuple(cell)) for cell in row) for caller, row in rows.items()}

    def _questions(self, caller: Caller, column: Column) -> Iterator[tuple[str, Question]]:
        if column.about == "route":
            yield "", question({"principal": caller.principal(), "route": column.form}, self._loaded.known)
            return
        for relation, principal, owner, origin in self._relations(caller, column):
            resource = {**column.form, "owner": owner, "origin": origin.value}
            asked = {"principal": principal, "action": column.verb, "resource": resource}
            yield relation, question(asked, self._loaded.known)

    def _relations(
        self, caller: Caller, column: Column
    ) -> Iterator[tuple[str, Question | None, Question | None, Origin]]:
        """Yield each way in which the caller may stand to the resource, with the principal and the owner that make it
        so.
        """
        myself = caller.principal()
        if column.verb == Action.CREATE:
            yield "", myself, None, Origin.CREATED
            return
        if not column.asked.startswith(RECORD_PREFIX):
            yield "config", myself, None, Origin.CONFIG
        if myself is not None:
            yield "own", myself, myself, Origin.CREATED
            for attribute in self._shared:
                held = (attribute, self._known.shared_value)
                yield (
                    f"same {attribute}",
                    caller.principal([held]),
                    self._stranger(caller, {attribute: [held[1]]}),
                    Origin.CREATED,
                )
        yield "others'", myself, self._stranger(caller, {}), Origin.CREATED
        yield "unowned", myself, None, Origin.CREATED

    def _stranger(self, caller: Caller, attributes: dict[str, list[str]]) -> Question:
        return {"id": self._known.unnamed_id, "issuer": caller.issuer, "attributes": attributes}


def _adds_up(cells: dict[Caller, tuple[Cell, ...]], caller: Caller, parts: tuple[Caller, Caller]) -> bool:
    """Return whether a caller with two attributes may do just what callers with one of them may."""
    return all(
        set(both.permitted) == {*one.permitted, *other.permitted}
        for both, one, other in zip(cells[caller], cells[parts[0]], cells[parts[1]], strict=True)
    )


def _shared_attributes(policies: PolicySet) -> Iterator[str]:
    for rule in policies.access:
        for condition in rule.conditions.conditions if rule.conditions else ():
            if isinstance(condition, SharesWithOwner):
                yield condition.attribute


def _entry(caller: Caller, column: Column, relation: str, decision: dict[str, Any]) -> dict[str, Any]:
    return {
        "caller": caller.label,
        "about": column.about,
        "verb": column.verb,
        "pattern": column.pattern,
        "asked": column.asked,
        "owner": relation or None,
        "decision": decision["effect"],
        "rule": decision["rule"],
        "source": decision["source"],
    }
