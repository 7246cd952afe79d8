"""The policy enforcement point: it gives permits, or raises."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from typing import Final

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, Route, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, NextQuestion, Question
from server.authz.contract.record_filter import RecordFilter
from server.authz.decision_log.list_record import ListRecord, ListTally
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.record import Counted, line_of_limit, lines_of, lines_of_reads
from server.authz.decision_log.refusals import counted_limit, counted_list, counted_of
from server.authz.decision_log.shield_record import ShieldVerdict, line_of_shield
from server.authz.granting import check_unshielded, expected, list_permit, permit_of, permitted, route_permit_of
from server.authz.listing import Listing, batches_of
from server.authz.pdp import PolicyDecisionPoint
from server.authz.permit import AccessDenied, Permit, RoutePermit
from server.authz.request_context import RequestContext
from server.fairness.shares import NoRoom
from server.quota.admission import Limited

_SHIELDED: Final = "model"
"""The type of resources whose texts go through shields."""


class PolicyEnforcementPoint:
    """Asks the policy about a request's route and resources, and logs every decision before it returns.

    Every method raises PolicyUnavailable where there is no decision or it can't be logged. A decision's id is that of
    OPA's own decision log where that is on. What was asked together has one id.
    """

    def __init__(self, pdp: PolicyDecisionPoint, log: DecisionLog) -> None:
        self._pdp = pdp
        self._log = log

    async def check_route(self, context: RequestContext, route: Route) -> RoutePermit:
        """Return a permit to use the route; raises AccessDenied."""
        permit, _, _ = await self._decide(context, Question(context.principal, route=route))
        return expected(permit)

    async def permit(
        self,
        context: RequestContext,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> Permit:
        """Return a permit to do `action` to `resource`; raises AccessDenied. A create makes the records with the ids
        `made`.

        The policy is not asked about ids that it can't know; they stand in the decision log. The question `following`
        may go along; neither is it logged then, nor does it permit anything.
        """
        question = Question(context.principal, None, action, resource)
        _, decision, decision_id = await self._decide(context, question, made, following)
        return _permit(question, decision, decision_id)

    async def permit_next(self, context: RequestContext, following: NextQuestion, made: Sequence[str] = ()) -> Permit:
        """Return what `permit` does, for a question that may have gone along with the last one."""
        question = following.question
        if question.principal is not context.principal:
            raise PolicyUnavailable(Failure.QUESTION, "the caller is another than was asked about")
        _, decision, decision_id = await self._decide(context, question, made, following)
        return _permit(question, decision, decision_id)

    async def permit_route_and_access(
        self,
        context: RequestContext,
        route: Route,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> tuple[RoutePermit, Permit]:
        """Return permits to use the route and to do `action` to `resource`, asked in one question; `following` may go
        along, as in `permit`.

        AccessDenied is about the route where that is refused; else it carries the route's permit.
        """
        question = Question(context.principal, route, action, resource)
        route_permit, decision, decision_id = await self._decide(context, question, made, following)
        return expected(route_permit), _permit(question, decision, decision_id)

    @asynccontextmanager
    async def listing(
        self, context: RequestContext, action: Action, kind: str, types: tuple[str, ...] = ()
    ) -> AsyncIterator[Listing]:
        """Yield a permit to do `action` to those stored records of the type `kind` that its filter permits.

        `types` holds every name of a type that has several.
        The list is logged in one line when the context ends; nothing of it may be given out before that.
        """
        question = ListQuestion(context.principal, action, kind, types)
        began = time.perf_counter()
        try:
            answer = await self._pdp.filter(question)
        except PolicyUnavailable as failure:
            record = ListRecord(context.request_id, _new_id(), context.principal, action, kind)
            counted = counted_list(context.principal, action, kind)
            await self._write(context, [record.line(None, failure.reason, ListTally(), _since(began))], counted)
            raise
        decision_id = answer.decision_id or _new_id()
        record = ListRecord(context.request_id, decision_id, context.principal, action, kind)
        permit = list_permit(question, answer, decision_id)
        listing = Listing(permit, self._pdp.ask_many)
        listing.seconds = time.perf_counter() - began

        def line(outcome: RecordFilter | str) -> str:
            return record.line(answer.revision, outcome, listing.tally, listing.seconds * 1_000)

        try:
            yield listing
        except BaseException as fault:
            # Nothing is given out, so that a log which fails as well changes nothing.
            with suppress(PolicyUnavailable, NoRoom):
                await self._write(context, [line(fault.reason if isinstance(fault, PolicyUnavailable) else answer)])
            raise
        await self._write(context, [line(answer)])

    async def readable(self, context: RequestContext, resources: Sequence[Resource]) -> list[Permit]:
        """Return a permit for each of `resources` that the caller may read, in their order; one decision for each."""
        _, permits = await self._readable(context, None, resources)
        return permits

    async def permit_route_and_readable(
        self, context: RequestContext, route: Route, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """Return what `readable` returns, and a permit to use the route, which is asked about with the first of the
        resources.

        Raises AccessDenied if the caller may not use the route.
        """
        route_permit, permits = await self._readable(context, route, resources)
        return expected(route_permit), permits

    async def listed(self, context: RequestContext, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """Return what `readable` returns, for all resources of the type `kind` that there are; logged as one list."""
        _, permits = await self._listed(context, None, kind, resources)
        return permits

    async def permit_route_and_listed(
        self, context: RequestContext, route: Route, kind: str, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """Return what `listed` returns, and a permit to use the route; raises AccessDenied if the caller may not use
        it.
        """
        route_permit, permits = await self._listed(context, route, kind, resources)
        return expected(route_permit), permits

    async def stopped(
        self, context: RequestContext, route: Route, permit: RoutePermit | None, limited: Limited
    ) -> None:
        """Log that a limit stops the request; `permit` is that of its route, if the policy was asked before."""
        decision_id, revision = (None, None) if permit is None else (permit.decision_id, permit.revision)
        line = line_of_limit(context.request_id, decision_id, revision, context.principal, route, limited)
        await self._write(context, [line], counted_limit(context.principal, route, revision, limited))

    async def shielded(self, context: RequestContext, permit: RoutePermit | None, verdict: ShieldVerdict) -> None:
        """Log what a shield has said of the texts of a request; `permit` is that of its route."""
        decision_id, revision = (None, None) if permit is None else (permit.decision_id, permit.revision)
        line = line_of_shield(context.request_id, decision_id, revision, context.principal, verdict)
        await self._write(context, [line])

    async def _listed(
        self, context: RequestContext, route: Route | None, kind: str, resources: Sequence[Resource]
    ) -> tuple[RoutePermit | None, list[Permit]]:
        questions, tally = _reads(context.principal, resources, route), ListTally()
        began, decision_id, found, lines = time.perf_counter(), _new_id(), list[Permit](), list[str]()
        first: Answer | None = None
        fault: PolicyUnavailable | None = None
        try:
            for asked in batches_of(questions):
                answers = await self._pdp.ask_many(asked)
                if first is None:
                    first = answers[0]
                    decision_id = first.decision_id or decision_id
                found += permitted(asked, answers, repeat(decision_id), tally)
        except PolicyUnavailable as failure:
            fault = failure
        milliseconds, missing = _since(began), None if fault is None else fault.reason
        if route is not None:
            lines += lines_of(context.request_id, decision_id, questions[0], first or missing or "", milliseconds)
        if resources and (first is None or not first.refuses_route):
            record = ListRecord(context.request_id, decision_id, context.principal, Action.READ, kind)
            lines.append(record.line(None if first is None else first.revision, missing, tally, milliseconds))
        if lines:
            ended = first is None or first.refuses_route
            await self._write(context, lines, counted_of(questions[0], first or missing or "") if ended else None)
        if fault is not None:
            raise fault
        return (None if first is None else route_permit_of(first, decision_id)), found

    async def _readable(
        self, context: RequestContext, route: Route | None, resources: Sequence[Resource]
    ) -> tuple[RoutePermit | None, list[Permit]]:
        route_permit: RoutePermit | None = None
        found: list[Permit] = []
        for asked in batches_of(_reads(context.principal, resources, route)):
            answers, ids = await self._ask_together(context, asked)
            # The first question alone is about the route: a refusal of it ends the list.
            route_permit = route_permit_of(answers[0], ids[0]) or route_permit
            found += permitted(asked, answers, ids, ListTally())
        return route_permit, found

    async def _ask_together(
        self, context: RequestContext, questions: Sequence[Question]
    ) -> tuple[list[Answer], list[str]]:
        """Return the answers to the questions, in their order, and the ids of their decisions, once all of them are
        logged.

        They have one id, unless OPA logs: then each has that of its exchange.
        """
        began = time.perf_counter()

        async def write(ids: Sequence[str], answers: Sequence[Answer] | str) -> None:
            lines = lines_of_reads(context.request_id, ids, questions, answers, _since(began))
            first = answers if isinstance(answers, str) else answers[0]
            ended = isinstance(first, str) or first.refuses_route
            await self._write(context, lines, counted_of(questions[0], first) if ended else None)

        try:
            answers = await self._pdp.ask_many(questions)
        except PolicyUnavailable as failure:
            await write([_new_id()] * len(questions), failure.reason)
            raise
        shared = _new_id()
        ids = [answer.decision_id or shared for answer in answers]
        # Where the route is refused, nothing else is given out or logged.
        await write(ids, answers[:1] if answers[0].refuses_route else answers)
        return answers, ids

    async def _decide(
        self,
        context: RequestContext,
        question: Question,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> tuple[RoutePermit | None, Decision | None, str]:
        """Return the route's permit, the decision about the resource and the decision's id, each None if it was not
        asked.

        Returns once everything is permitted and logged. Where `following` has this question, it is the one that may
        have gone along with another.
        """
        began = time.perf_counter()
        try:
            if following is not None and following.question is question:
                answer = await self._pdp.ask_next(following)
                began -= following.seconds
            else:
                answer = await self._pdp.ask(question, following)
        except PolicyUnavailable as failure:
            lines = lines_of(context.request_id, _new_id(), question, failure.reason, _since(began), made)
            await self._write(context, lines, counted_of(question, failure.reason))
            raise
        decision_id = answer.decision_id or _new_id()
        lines = lines_of(context.request_id, decision_id, question, answer, _since(began), made)
        await self._write(context, lines, counted_of(question, answer))
        permit = route_permit_of(answer, decision_id)
        if answer.resource is not None and answer.resource.verdict is not Verdict.PERMIT:
            raise AccessDenied(answer.resource, decision_id, of_route=False, route_permit=permit)
        if answer.resource is not None and question.resource is not None and question.resource.type != _SHIELDED:
            check_unshielded(answer.resource)
        return permit, answer.resource, decision_id

    async def _write(self, context: RequestContext, lines: Iterable[str], counted: Counted | None = None) -> None:
        """Log a decision, or count it where there are too many like it, unless `counted` is None."""
        try:
            await self._log.write(map(context.named_in, lines), counted)
        except PolicyUnavailable as failure:
            self._pdp.no_decision(failure)
            raise


def _permit(question: Question, decision: Decision | None, decision_id: str) -> Permit:
    """Return the permit of a decision that permits what the question asks about a resource."""
    if question.action is None or question.resource is None or decision is None:
        raise PolicyUnavailable(Failure.QUESTION, "a permit needs a question about a resource")
    return permit_of(question.principal, question.action, question.resource, decision, decision_id)


def _reads(caller: Principal | Anonymous, resources: Sequence[Resource], route: Route | None) -> list[Question]:
    """Return a question about each resource, behind one about the route where that is asked about."""
    questions = [Question(caller, None, Action.READ, resource) for resource in resources]
    return questions if route is None else [Question(caller, route), *questions]


def _new_id() -> str:
    return os.urandom(16).hex()


def _since(began: float) -> float:
    """Milliseconds since `began`, a time of `perf_counter`."""
    return (time.perf_counter() - began) * 1_000
