"""The policy engine's answer for a whole list: clauses about a record, believed only to the letter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from policy.vocabulary import Effect, Principal
from server.authz.contract.answer import Malformed, exactly, read_reply, revision_of
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion

MOST_KNOWN: Final = 64
"""Answers that a process knows."""

LONGEST_KNOWN: Final = 32 * 1024
"""Bytes of an answer that it keeps; some two hundred clauses, which take a fifth of a megabyte."""


@dataclass(frozen=True, slots=True)
class NameIs:
    """The record is called so."""

    name: str


@dataclass(frozen=True, slots=True)
class NameStartsWith:
    """The record's name begins so."""

    prefix: str


@dataclass(frozen=True, slots=True)
class NameContains:
    """The record's name has this text in it."""

    text: str


@dataclass(frozen=True, slots=True)
class OwnerIs:
    """The record has an owner, and it is this principal."""

    id: str
    issuer: str


@dataclass(frozen=True, slots=True)
class OwnerShares:
    """The record has an owner, who held one of `values` of the attribute when it was made."""

    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unowned:
    """The record has no owner."""


@dataclass(frozen=True, slots=True)
class FromConfig:
    """The configuration defines the record."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Only a question about the record itself tells."""


Fact = NameIs | NameStartsWith | NameContains | OwnerIs | OwnerShares | Unowned | FromConfig | Undecided


@dataclass(frozen=True, slots=True)
class Atom:
    """A fact that must hold of the record, or must not."""

    fact: Fact
    holds: bool


@dataclass(frozen=True, slots=True)
class Clause:
    """It applies to a record for which all of `where` is so, and then it permits or forbids.

    `rule` is `access_policy[3]`, `guardrails`, or None where authentication isn't configured.
    """

    rule: str | None
    effect: Effect
    where: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """A filter of records: about each decides the first clause that applies to it, and where none does, deny.

    `decision_id` is the one in OPA's own decision log; None where that is off.
    """

    revision: str
    clauses: tuple[Clause, ...]
    decision_id: str | None = None


class KnownFilters:
    """Reads answers, and knows the last ones: OPA is asked each time, but equal answers are taken apart once.

    What an answer may say depends on its question, so that both have to be equal to the byte.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], RecordFilter] = {}

    def read(self, asked: bytes, body: bytes, question: ListQuestion) -> RecordFilter:
        """Return what `read_filter` does for the answer to `question`, which was sent as `asked`."""
        if len(body) > LONGEST_KNOWN:
            return read_filter(body, question)
        found = self._known.get((asked, body))
        if found is None:
            found = read_filter(body, question)
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[asked, body] = found
        return found


def read_filter(body: bytes, question: ListQuestion) -> RecordFilter:
    """Return the clauses in `body`; nothing is defaulted, converted or overlooked. Raises PolicyUnavailable."""
    try:
        reply = read_reply(body)
        result = exactly(reply.result, {"contract", "revision", "clauses"})
        return RecordFilter(revision_of(result), _clauses(result["clauses"], question), reply.decision_id)
    except Malformed as fault:
        raise PolicyUnavailable(Failure.MALFORMED, f"the answer breaks the contract: {fault}") from None


def _clauses(written: Any, question: ListQuestion) -> tuple[Clause, ...]:
    if type(written) is not list:
        raise Malformed("`clauses` is not a list")
    clauses = tuple(_clause(member, question) for member in written)
    _check_order(clauses, question)
    return clauses


def _clause(written: Any, question: ListQuestion) -> Clause:
    if type(written) is not dict or written.keys() != {"rule", "effect", "where"}:
        raise Malformed("a clause does not hold exactly its three members")
    rule, effect, where = written["rule"], written["effect"], written["where"]
    if rule is not None and type(rule) is not str:
        raise Malformed("`rule` of a clause is not a text")
    if type(effect) is not str or effect not in _EFFECTS:
        raise Malformed("`effect` of a clause is neither `permit` nor `forbid`")
    if type(where) is not list:
        raise Malformed("`where` of a clause is not a list")
    return Clause(rule, _EFFECTS[effect], tuple(_atom(member, question) for member in where))


def _check_order(clauses: tuple[Clause, ...], question: ListQuestion) -> None:
    """Check that guardrails come first, then one clause of no rule or the clauses of the rules in their order."""
    rules = [clause.rule for clause in clauses]
    if _GUARDRAIL in clauses[:1]:
        del rules[0]
    if None in rules:
        if len(rules) != 1 or clauses[-1] != _EVERYTHING or isinstance(question.principal, Principal):
            raise Malformed("a clause of no rule is not the only one, for nobody, that permits everything")
        return
    found = [_RULE.fullmatch(rule) for rule in rules if rule is not None]
    numbers = [int(match[1]) for match in found if match is not None]
    if len(numbers) != len(rules):
        raise Malformed("`rule` of a clause is not the place of a rule")
    if numbers != sorted(numbers):
        raise Malformed("the clauses are not in the order of the rules")


def _atom(written: Any, question: ListQuestion) -> Atom:
    if type(written) is not dict or type(written.get("fact")) is not str or type(written.get("holds")) is not bool:
        raise Malformed("a fact does not say which it is and whether it holds")
    operands = {name: value for name, value in written.items() if name not in {"fact", "holds"}}
    return Atom(_fact(written["fact"], operands, question), written["holds"])


def _fact(kind: str, operands: dict[str, Any], question: ListQuestion) -> Fact:
    principal = question.principal if isinstance(question.principal, Principal) else None
    match kind, operands:
        case "name_is", {"name": str(name), **rest} if not rest:
            return NameIs(name)
        case "name_starts_with", {"prefix": str(prefix), **rest} if not rest and prefix:
            return NameStartsWith(prefix)
        case "name_contains", {"text": str(text), **rest} if not rest and text:
            return NameContains(text)
        case "owner_is", {"id": str(identity), "issuer": str(issuer), **rest} if not rest:
            if principal is None or (principal.id, principal.issuer) != (identity, issuer):
                raise Malformed("an owner is looked for who is not the caller")
            return OwnerIs(identity, issuer)
        case "owner_shares", {"attribute": str(attribute), "values": list(values), **rest} if not rest:
            held = () if principal is None else principal.attributes.get(attribute, ())
            if not values or any(type(value) is not str for value in values) or {*values} != {*held}:
                raise Malformed("values are looked for that are not the caller's")
            return OwnerShares(attribute, tuple(values))
        case ("unowned" | "from_config" | "undecided") as plain, {**rest} if not rest:
            return _PLAIN[plain]
    raise Malformed("a fact of no known form")


_EFFECTS: Final = {str(effect): effect for effect in Effect}
_PLAIN: Final[dict[str, Fact]] = {"unowned": Unowned(), "from_config": FromConfig(), "undecided": Undecided()}
_RULE: Final = re.compile(r"[a-z_]+\[([0-9]{1,9})\]")
_GUARDRAIL: Final = Clause("guardrails", Effect.FORBID, (Atom(Undecided(), holds=True),))
_EVERYTHING: Final = Clause(None, Effect.PERMIT, ())
