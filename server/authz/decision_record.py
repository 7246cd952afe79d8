"""What one line of the decision log holds: never a token, a prompt or a body."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from policy.vocabulary import Decision, Principal, Resource
from server.authz.answer import Answer
from server.authz.question import Question

Record = dict[str, str | float | None]


def records_of(
    request_id: str, decision_id: str, question: Question, answer: Answer | str, milliseconds: float
) -> Iterator[Record]:
    """One record for each part of the question; `answer` is the reason as a text where no answer could be had.

    Both parts of one question carry its `decision_id`. Times are UTC, RFC 3339, to the millisecond.
    """
    principal = question.principal if isinstance(question.principal, Principal) else None
    head: Record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request_id": request_id,
        "decision_id": decision_id,
        "revision": None if isinstance(answer, str) else answer.revision,
        "principal": None if principal is None else principal.id,
        "issuer": None if principal is None else principal.issuer,
    }
    spent = round(milliseconds, 3)
    if question.route is not None:
        asked: Record = {"route": f"{question.route.method} {question.route.path}"}
        yield head | asked | _outcome(answer if isinstance(answer, str) else answer.route, spent)
    if question.action is not None and question.resource is not None:
        asked = {"action": question.action, "resource": subject(question.resource)}
        yield head | asked | _outcome(answer if isinstance(answer, str) else answer.resource, spent)


def subject(resource: Resource) -> str:
    """`type::name`, with the canonical name; nothing after the colons for what is yet to be named."""
    return f"{resource.type}::{resource.names[0] if resource.names else ''}"


def _outcome(decision: Decision | str | None, milliseconds: float) -> Record:
    if isinstance(decision, Decision):
        return {
            "effect": decision.verdict,
            "rule": decision.rule,
            "source": decision.source,
            "description": decision.description,
            "reason": decision.reason,
            "milliseconds": milliseconds,
        }
    return {
        "effect": "unavailable",
        "rule": None,
        "source": None,
        "description": None,
        "reason": decision,
        "milliseconds": milliseconds,
    }
