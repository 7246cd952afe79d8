"""The policy enforcement point: a `Permit`, or an exception."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, Route, UseLimit, Verdict
from server.authz.answer import Answer
from server.authz.decision_log import DecisionLog
from server.authz.decision_record import line_of_list, lines_of
from server.authz.errors import AccessDenied, Failure, PolicyUnavailable
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from server.authz.permit import MINT, ListPermit, Permit
from server.authz.question import ListQuestion, Question


@dataclass(slots=True)
class RequestContext:
    """The request that decisions are for: its id, and the caller as authenticated.

    `limit` is the limit of the quota that the policy has named for it (its place in `server.quota.limits`), once it has
    permitted the route; None where it names none.
    """

    request_id: str
    principal: Principal | Anonymous
    limit: int | None = None


class PolicyEnforcementPoint:
    """Asks about everything that a request wants, and writes down every decision before anyone acts on it.

    Every method raises PolicyUnavailable where no decision can be had or none can be logged. A decision's id is that of
    OPA's own decision log where that is on; what was asked together carries one id.
    """

    def __init__(self, pdp: PolicyDecisionPoint, log: DecisionLog) -> None:
        self._pdp = pdp
        self._log = log

    async def check_route(self, context: RequestContext, route: Route) -> None:
        """Return if the caller may use this route, else raise AccessDenied."""
        await self._decide(context, Question(context.principal, route=route))

    async def permit(self, context: RequestContext, action: Action, resource: Resource) -> Permit:
        """Leave to do `action` to `resource`, or AccessDenied."""
        return await self._permit(context, Question(context.principal, action=action, resource=resource))

    async def permit_route_and_access(
        self, context: RequestContext, route: Route, action: Action, resource: Resource
    ) -> Permit:
        """Both in one question; a refusal of the route comes before one of the resource."""
        return await self._permit(context, Question(context.principal, route, action, resource))

    async def permit_list(self, context: RequestContext, action: Action, kind: str) -> ListPermit:
        """Leave to do `action` to those stored records of the type `kind` that the filter in it permits."""
        question = ListQuestion(context.principal, action, kind)
        began = time.perf_counter()
        try:
            answer = await self._pdp.filter(question)
        except PolicyUnavailable as failure:
            await self._write([line_of_list(context.request_id, _new_id(), question, failure.reason, _since(began))])
            raise
        decision_id = answer.decision_id or _new_id()
        await self._write([line_of_list(context.request_id, decision_id, question, answer, _since(began))])
        return ListPermit(MINT, question.principal, action, kind, answer, decision_id)

    async def readable(
        self, context: RequestContext, resources: Sequence[Resource], route: Route | None = None
    ) -> list[Permit]:
        """Leave to read each of `resources` that the caller may read, in the same order; one decision for each.

        With a `route` that is asked about too, before them and together with the first of them; AccessDenied if the
        caller may not use it.
        """
        questions = [Question(context.principal, None, Action.READ, resource) for resource in resources]
        if route is not None:
            questions.insert(0, Question(context.principal, route))
        found: list[Permit] = []
        for first in range(0, len(questions), MOST_TOGETHER):
            found += await self._readable(context, questions[first : first + MOST_TOGETHER])
        return found

    async def _readable(self, context: RequestContext, questions: Sequence[Question]) -> list[Permit]:
        began = time.perf_counter()

        def lines(decision_id: str, answers: Iterable[Answer | str]) -> Iterator[str]:
            milliseconds = _since(began)
            for question, answer in zip(questions, answers, strict=False):
                yield from lines_of(context.request_id, decision_id, question, answer, milliseconds)

        try:
            answers = await self._pdp.ask_many(questions)
        except PolicyUnavailable as failure:
            await self._write(lines(_new_id(), repeat(failure.reason)))
            raise
        decision_id = answers[0].decision_id or _new_id()
        await self._write(lines(decision_id, answers))
        route = answers[0].route
        if route is not None and route.verdict is not Verdict.PERMIT:
            raise AccessDenied(route, decision_id, questions[0], of_route=True)
        _take_duties(context, route)
        return [
            Permit(MINT, context.principal, Action.READ, question.resource, answer.resource, decision_id)
            for question, answer in zip(questions, answers, strict=True)
            if question.resource is not None
            and answer.resource is not None
            and answer.resource.verdict is Verdict.PERMIT
        ]

    async def _permit(self, context: RequestContext, question: Question) -> Permit:
        decision, decision_id = await self._decide(context, question)
        action, resource = question.action, question.resource
        if decision is None or action is None or resource is None:
            raise PolicyUnavailable(Failure.QUESTION, "a permit needs a question about a resource")
        return Permit(MINT, question.principal, action, resource, decision, decision_id)

    async def _decide(self, context: RequestContext, question: Question) -> tuple[Decision | None, str]:
        """The decision about the resource, if there is one, once everything asked for is permitted and logged."""
        began = time.perf_counter()
        try:
            answer = await self._pdp.ask(question)
        except PolicyUnavailable as failure:
            await self._write(lines_of(context.request_id, _new_id(), question, failure.reason, _since(began)))
            raise
        decision_id = answer.decision_id or _new_id()
        await self._write(lines_of(context.request_id, decision_id, question, answer, _since(began)))
        _take_duties(context, answer.route)
        for decision in (answer.route, answer.resource):
            if decision is not None and decision.verdict is not Verdict.PERMIT:
                raise AccessDenied(decision, decision_id, question, of_route=decision is answer.route)
        return answer.resource, decision_id

    async def _write(self, lines: Iterable[str]) -> None:
        try:
            await self._log.write(lines)
        except PolicyUnavailable as failure:
            self._pdp.no_decision(failure)
            raise


def _take_duties(context: RequestContext, route: Decision | None) -> None:
    if route is not None and route.obligations:
        context.limit = next((duty.index for duty in route.obligations if isinstance(duty, UseLimit)), None)


def _new_id() -> str:
    return os.urandom(16).hex()


def _since(began: float) -> float:
    """Milliseconds since that reading of the clock."""
    return (time.perf_counter() - began) * 1_000
