"""The lines of the decision log: never a token, a prompt or a body in them.

`docs/operate/decision-log.schema.json` describes every kind of line, and a test compares the lines of real requests
with it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, Route, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.question import Question
from server.authz.contract.record_filter import RecordFilter
from server.authz.decision_log.limits import MOST_TEXT
from server.quota.admission import Limited

MOST_RULES: Final = 16
"""Rules that the line of a list names; the other decisions of the list are counted alone."""


class LineKind(StrEnum):
    """The kinds of lines that are written."""

    ROUTE = "route"
    RESOURCE = "resource"
    RESOURCES = "resources"
    LIST = "list"
    QUOTA = "quota"
    SHIELD = "shield"
    REFUSALS = "refusals"
    PROBES = "probes"


@dataclass(slots=True)
class ListTally:
    """The members of one list that were looked at: how many were permitted and denied, and by which rules.

    Members that a filter permits have no rule here.
    """

    permitted: int = 0
    denied: int = 0
    rules: Counter[tuple[str | None, str | None, Verdict]] = field(default_factory=Counter)

    def add(self, decision: Decision) -> None:
        """Count one more decision."""
        if decision.verdict is Verdict.PERMIT:
            self.permitted += 1
        else:
            self.denied += 1
        self.rules[decision.rule, decision.source, decision.verdict] += 1


def lines_of(
    request_id: str,
    decision_id: str,
    question: Question,
    answer: Answer | str,
    milliseconds: float,
    made: Sequence[str] = (),
) -> Iterator[str]:
    """Yield one JSON object for each part of the question; `answer` is the reason as a text where there is no answer.

    Where the route is refused there is no line about the resource: a permit in it would look like a use. Both parts of
    one question carry its `decision_id`. `made` are the ids of the records that a create is about. Times are UTC, RFC
    3339, to the millisecond. Everything but printable ASCII is escaped, so that no value can end a line or move a
    terminal's cursor. Built piece by piece, since it is done for every decision: `json.dumps` takes
    three times as long.
    """
    revision = None if isinstance(answer, str) else answer.revision
    route, action, resource = question.route, question.action, question.resource
    if route is not None:
        head = _head(LineKind.ROUTE, request_id, decision_id, question.principal, revision)
        outcome = _outcome(answer if isinstance(answer, str) else answer.route)
        yield f'{head},"route":{_of_route(route)},{outcome},"milliseconds":{milliseconds:.3f}}}'
    if action is not None and resource is not None and (isinstance(answer, str) or not answer.refuses_route):
        head = _head(LineKind.RESOURCE, request_id, decision_id, question.principal, revision)
        outcome = _outcome(answer if isinstance(answer, str) else answer.resource)
        asked = f'"action":{_text(action)},"resource":{_text(_cut(subject(resource, made)))}'
        several = f',"made":[{",".join(map(_text, made))}]' if len(made) > 1 else ""
        yield f'{head},{asked}{several},{outcome},"milliseconds":{milliseconds:.3f}}}'


def lines_of_reads(
    request_id: str,
    ids: Sequence[str],
    questions: Sequence[Question],
    answers: Sequence[Answer] | str,
    milliseconds: float,
) -> Iterator[str]:
    """Yield lines like those of `lines_of`, for questions of one caller about resources that are read together; the
    first may have a route.

    `ids` are those of their decisions. Resources with the same id and outcome share a line that names each of them.
    `answers` may be fewer than the questions.
    """
    listed: Sequence[Answer | str] = [answers] * len(questions) if isinstance(answers, str) else answers
    together: dict[tuple[str, str | None, str], list[Resource]] = {}
    for decision_id, question, answer in zip(ids, questions, listed, strict=False):
        if question.route is not None or question.resource is None:
            yield from lines_of(request_id, decision_id, question, answer, milliseconds)
        else:
            revision, outcome = (None, answer) if isinstance(answer, str) else (answer.revision, answer.resource)
            together.setdefault((decision_id, revision, _outcome(outcome)), []).append(question.resource)
    for (decision_id, revision, said), resources in together.items():
        names = ",".join(_text(_cut(subject(resource))) for resource in resources)
        kind, asked = LineKind.RESOURCES, f'"resources":[{names}]'
        if len(resources) == 1:
            kind, asked = LineKind.RESOURCE, f'"resource":{names}'
        head = _head(kind, request_id, decision_id, questions[0].principal, revision)
        yield f'{head},"action":"{Action.READ}",{asked},{said},"milliseconds":{milliseconds:.3f}}}'


@dataclass(frozen=True, slots=True)
class Counted:
    """What decisions have in common that are counted together.

    `asked` is the route, or the action and the type; `caller` the id and the issuer of a principal.

    They are refusals, unless their effect is `permit`: then they are answers to probes.
    """

    effect: str
    asked: Route | tuple[str, str]
    revision: str | None
    rule: str | None = None
    source: str | None = None
    caller: tuple[str, str] | None = None
    limit: str | None = None

    def line(self, since: str, count: int) -> str:
        """Return one JSON object for `count` such decisions since that time."""
        kind = LineKind.PROBES if self.effect == Verdict.PERMIT else LineKind.REFUSALS
        identity, issuer = self.caller or (None, None)
        limit = "" if self.limit is None else f',"limit":{_text(self.limit)}'
        return (
            f'{{"time":"{now()}","kind":"{kind}","since":"{since}","revision":{_text(self.revision)},'
            f'"principal":{_text(identity)},"issuer":{_text(issuer)},{_of_counted(self.asked)},'
            f'"effect":{_text(self.effect)},"rule":{_text(self.rule)},"source":{_text(self.source)}{limit},'
            f'"count":{count}}}'
        )


@dataclass(frozen=True, slots=True)
class ListRecord:
    """One list: the request, the caller, and the action on the members of which type."""

    request_id: str
    decision_id: str
    principal: Principal | Anonymous
    action: str
    type: str

    def line(
        self, revision: str | None, outcome: RecordFilter | str | None, tally: ListTally, milliseconds: float
    ) -> str:
        """Return one JSON object, like those of `lines_of`, with the effect `filter` and the counts of `tally`.

        `outcome` is the filter of stored records, None where each member was asked about, and the reason as a text
        where an answer is missing.
        """
        head = _head(LineKind.LIST, self.request_id, self.decision_id, self.principal, revision)
        asked = f'"action":{_text(self.action)},"resource":{_text(f"{self.type}::*")}'
        said = _outcome(outcome) if isinstance(outcome, str) else _filtered(outcome)
        return f'{head},{asked},{said},{_counts(tally)},"milliseconds":{milliseconds:.3f}}}'


def line_of_limit(
    request_id: str,
    decision_id: str | None,
    revision: str | None,
    principal: Principal | Anonymous,
    route: Route,
    limited: Limited,
) -> str:
    """Return one JSON object for a request that a limit stops; `decision_id` and `revision` are those of its route, if
    any.
    """
    head = _head(LineKind.QUOTA, request_id, decision_id, principal, revision)
    effect = "unavailable" if limited.unavailable else "limited"
    said = _said(effect, None, None, None, limited.reason)
    numbers = f'"limit":{_text(limited.limit)},"most":{_number(limited.most)},"used":{_number(limited.used)}'
    return f'{head},"route":{_of_route(route)},{said},{numbers}}}'


_OUTCOMES: Final = {
    "told": "the shield has flagged the text, and only tells so",
    "unchecked": "the shield has failed, and lets texts pass then",
}


@dataclass(frozen=True, slots=True)
class ShieldVerdict:
    """What a shield has said of `characters` of a request's texts: `flagged`, `masked`, `passed`, `told`
    for what it flags where it only tells so, or `unchecked` where it has failed. `codes` are those of the categories
    that it has found, and `direction` is `input` or `output`.
    """

    shield: str
    direction: str
    outcome: str
    codes: Sequence[str]
    characters: int


def line_of_shield(
    request_id: str,
    decision_id: str | None,
    revision: str | None,
    principal: Principal | Anonymous,
    said: ShieldVerdict,
) -> str:
    """Return one JSON object for the verdict of a shield; `decision_id` and `revision` are those of its route."""
    head = _head(LineKind.SHIELD, request_id, decision_id, principal, revision)
    stopped = said.outcome == "flagged"
    outcome = _said(
        "deny" if stopped else "permit",
        None,
        None,
        None,
        _OUTCOMES.get(said.outcome, f"the shield has {said.outcome} the text"),
    )
    codes = ",".join(_text(_cut(code)) for code in said.codes[:MOST_RULES])
    return (
        f'{head},"shield":{_text(said.shield)},"direction":{_text(said.direction)},{outcome},'
        f'"outcome":{_text(said.outcome)},"codes":[{codes}],"characters":{said.characters}}}'
    )


def subject(resource: Resource, made: Sequence[str] = ()) -> str:
    """`type::name`, with the canonical name or the one id that is made; nothing after the colons for several."""
    name = resource.names[0] if resource.names else made[0] if len(made) == 1 else ""
    return f"{resource.type}::{name}"


def _head(
    kind: LineKind, request_id: str, decision_id: str | None, caller: Principal | Anonymous, revision: str | None
) -> str:
    principal = caller if isinstance(caller, Principal) else None
    identity = "null" if principal is None else _text(principal.id)
    issuer = "null" if principal is None else _text(principal.issuer)
    return (
        f'{{"time":"{now()}","kind":"{kind}","request_id":{_text(request_id)},"decision_id":{_text(decision_id)},'
        f'"revision":{_text(revision)},"principal":{identity},"issuer":{issuer}'
    )


def _of_route(route: Route) -> str:
    return _text(_cut(f"{route.method} {route.path}"))


def _of_counted(asked: Route | tuple[str, str]) -> str:
    if isinstance(asked, Route):
        return f'"route":{_of_route(asked)}'
    action, kind = asked
    return f'"action":{_text(action)},"resource":{_text(f"{kind}::*")}'


def _cut(text: str) -> str:
    """Return the text, or of a long one its beginning and its length: callers choose paths and names."""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}...({len(text)} characters)"


def _filtered(answer: RecordFilter | None) -> str:
    """Return what a line says of a list: the clauses of a filter decide each record, and no rule the whole."""
    if answer is None:
        return _said("filter", None, None, None, "each member is decided by itself")
    return _said("filter", None, None, None, f"clauses that decide each record: {len(answer.clauses)}")


def _counts(tally: ListTally) -> str:
    """Return the number of members that were looked at, and the rules that decided most of them."""
    named = tally.rules.most_common(MOST_RULES)
    others = tally.permitted + tally.denied - sum(count for _, count in named)
    rules = ",".join(
        f'{{"rule":{_text(rule)},"source":{_text(source)},"effect":"{verdict}","count":{count}}}'
        for (rule, source, verdict), count in named
    )
    return f'"permitted":{tally.permitted},"denied":{tally.denied},"by_rule":[{rules}],"by_other_rules":{others}'


def _outcome(decision: Decision | str | None) -> str:
    if isinstance(decision, Decision):
        return _said(decision.verdict, decision.rule, decision.source, decision.description, decision.reason)
    return _said("unavailable", None, None, None, decision)


@lru_cache(maxsize=512)
def _said(effect: str, rule: str | None, source: str | None, description: str | None, reason: str | None) -> str:
    """Kept, because a policy has few rules and they say the same again and again."""
    return (
        f'"effect":{_text(effect)},"rule":{_text(rule)},"source":{_text(source)},'
        f'"description":{_text(description)},"reason":{_text(reason)}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring_ascii(value)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def now() -> str:
    """Return the time in UTC, RFC 3339, to the millisecond."""
    second, fraction = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(second)}.{fraction // 1_000_000:03d}Z"


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
