"""Permits from answers of the policy, which the enforcement point and its lists make here and nothing else does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, UseLimit, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, Question
from server.authz.contract.record_filter import RecordFilter
from server.authz.decision_log.list_record import ListTally
from server.authz.permit import MINT, AccessDenied, ListPermit, Permit, RoutePermit, shields_of


def permit_of(
    principal: Principal | Anonymous, action: Action, resource: Resource, decision: Decision, decision_id: str
) -> Permit:
    """Return the permit of a decision that permits `action` to `resource`."""
    return Permit(MINT, principal, action, resource, decision, decision_id)


def list_permit(question: ListQuestion, answer: RecordFilter, decision_id: str) -> ListPermit:
    """Return the permit for the stored records that the filter permits."""
    return ListPermit(MINT, question.principal, question.action, question.type, answer, decision_id)


def permitted(
    questions: Sequence[Question], answers: Sequence[Answer], ids: Iterable[str], tally: ListTally
) -> list[Permit]:
    """Return a permit for each resource that may be read; every decision about one is counted in `tally`."""
    found = []
    for (question, answer), decision_id in zip(zip(questions, answers, strict=True), ids, strict=False):
        resource, decision = question.resource, answer.resource
        if resource is None or decision is None:
            continue
        tally.add(decision)
        if decision.verdict is Verdict.PERMIT:
            found.append(permit_of(question.principal, Action.READ, resource, decision, decision_id))
    return found


def route_permit_of(answer: Answer, decision_id: str) -> RoutePermit | None:
    """Return the permit of the route that the answer is about, or None if it is about none; raises AccessDenied."""
    route = answer.route
    if route is None:
        return None
    if answer.refuses_route:
        raise AccessDenied(route, decision_id, of_route=True)
    limit = next((duty.index for duty in route.obligations if isinstance(duty, UseLimit)), None)
    return RoutePermit(MINT, limit, decision_id, answer.revision, shields_of(route))


def expected(permit: RoutePermit | None) -> RoutePermit:
    """Return the permit of a route that was asked about."""
    if permit is None:
        raise PolicyUnavailable(Failure.QUESTION, "a permit needs a question about a route")
    return permit


def check_unshielded(decision: Decision) -> None:
    """Raise PolicyUnavailable for shields with a permit that nothing would discharge them of."""
    if shields_of(decision):
        raise PolicyUnavailable(Failure.MALFORMED, "shields are required for something that is no model")
