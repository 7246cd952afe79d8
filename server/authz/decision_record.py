"""What one line of the decision log holds: never a token, a prompt or a body."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from policy.vocabulary import Anonymous, Decision, Principal, Resource
from server.authz.answer import Answer
from server.authz.clauses import RecordFilter
from server.authz.question import ListQuestion, Question


def lines_of(
    request_id: str, decision_id: str, question: Question, answer: Answer | str, milliseconds: float
) -> Iterator[str]:
    """One JSON object for each part of the question; `answer` is the reason as a text where there is no answer.

    Both parts of one question carry its `decision_id`. Times are UTC, RFC 3339, to the millisecond. Everything but
    printable ASCII is escaped, so that no value can end a line or move a terminal's cursor. Built piece by piece, since
    it is done for every decision: `json.dumps` takes three times as long.
    """
    head = _head(request_id, decision_id, question.principal, None if isinstance(answer, str) else answer.revision)
    route, action, resource = question.route, question.action, question.resource
    if route is not None:
        outcome = _outcome(answer if isinstance(answer, str) else answer.route)
        asked = _text(f"{route.method} {route.path}")
        yield f'{head},"route":{asked},{outcome},"milliseconds":{milliseconds:.3f}}}'
    if action is not None and resource is not None:
        outcome = _outcome(answer if isinstance(answer, str) else answer.resource)
        asked = f'"action":{_text(action)},"resource":{_text(subject(resource))}'
        yield f'{head},{asked},{outcome},"milliseconds":{milliseconds:.3f}}}'


def line_of_list(
    request_id: str, decision_id: str, question: ListQuestion, answer: RecordFilter | str, milliseconds: float
) -> str:
    """One JSON object for a list question, like those of `lines_of`, with the effect `filter`."""
    head = _head(request_id, decision_id, question.principal, None if isinstance(answer, str) else answer.revision)
    asked = f'"action":{_text(question.action)},"resource":{_text(f"{question.type}::*")}'
    outcome = _outcome(answer) if isinstance(answer, str) else _outcome_of_list(answer)
    return f'{head},{asked},{outcome},"milliseconds":{milliseconds:.3f}}}'


def subject(resource: Resource) -> str:
    """`type::name`, with the canonical name; nothing after the colons for what is yet to be named."""
    return f"{resource.type}::{resource.names[0] if resource.names else ''}"


def _head(request_id: str, decision_id: str, caller: Principal | Anonymous, revision: str | None) -> str:
    principal = caller if isinstance(caller, Principal) else None
    identity = "null" if principal is None else _text(principal.id)
    issuer = "null" if principal is None else _text(principal.issuer)
    return (
        f'{{"time":"{_now()}","request_id":{_text(request_id)},"decision_id":{_text(decision_id)},'
        f'"revision":{_text(revision)},"principal":{identity},"issuer":{issuer}'
    )


def _outcome_of_list(answer: RecordFilter) -> str:
    """No rule has decided yet: how many clauses are going to, for each record by itself."""
    return _said("filter", None, None, None, f"clauses that decide each record: {len(answer.clauses)}")


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


def _now() -> str:
    second, fraction = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(second)}.{fraction // 1_000_000:03d}Z"


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
