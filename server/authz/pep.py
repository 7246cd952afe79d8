"""The policy enforcement point: it gives permits, or raises."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, Route, UseLimit, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, Question
from server.authz.contract.record_filter import RecordFilter
from server.authz.decision_log.list_record import ListRecord, ListTally
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.record import Counted, line_of_limit, lines_of, lines_of_reads
from server.authz.decision_log.refusals import counted_limit, counted_list, counted_of
from server.authz.decision_log.shield_record import ShieldVerdict, line_of_shield
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from server.authz.permit import MINT, AccessDenied, ListPermit, Permit, RoutePermit, shields_of
from server.fairness.shares import NoRoom
from server.quota.admission import Limited

_SHIELDED: Final = "model"
"""The type of resources whose texts go through shields."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request that decisions are for: its id, and the caller as authenticated.

    `response_id` is that of the response that a request makes, where it makes one.
    """

    request_id: str
    principal: Principal | Anonymous
    response_id: str | None = None

    def named_in(self, line: str) -> str:
        """Return a line of the log with the id of the response."""
        return line if self.response_id is None else f'{line[:-1]},"response_id":"{self.response_id}"}}'


class Listing:
    """One list of stored records while it is put together: its `permit`, and a count of what is decided about it.

    The enforcement point writes the one line of the list when it ends.
    """

    def __init__(self, permit: ListPermit, ask: Callable[[Sequence[Question]], Awaitable[list[Answer]]]) -> None:
        self.permit = permit
        self.tally = ListTally()
        self.seconds = 0.0
        self._ask = ask

    def permitted_by_filter(self, count: int) -> None:
        """Count records that the filter permits."""
        self.tally.permitted += count

    async def readable(self, resources: Sequence[Resource]) -> list[Permit]:
        """Return a permit for each of the resources, which the filter leaves undecided, that the caller may read.

        Raises PolicyUnavailable.
        """
        began = time.perf_counter()
        caller, decision_id = self.permit.principal, self.permit.decision_id
        questions = [Question(caller, None, Action.READ, resource) for resource in resources]
        found: list[Permit] = []
        for asked in _batches(questions):
            found += _permitted(asked, await self._ask(asked), repeat(decision_id), self.tally)
        self.seconds += time.perf_counter() - began
        return found


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
        return _expected(permit)

    async def permit(
        self, context: RequestContext, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> Permit:
        """Return a permit to do `action` to `resource`; raises AccessDenied. A create makes the records with the ids
        `made`.

        The policy is not asked about ids that it can't know; they stand in the decision log.
        """
        _, permit = await self._permit(context, None, action, resource, made)
        return permit

    async def permit_route_and_access(
        self, context: RequestContext, route: Route, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> tuple[RoutePermit, Permit]:
        """Return permits to use the route and to do `action` to `resource`, asked in one question.

        AccessDenied is about the route where that is refused; else it carries the route's permit.
        """
        route_permit, permit = await self._permit(context, route, action, resource, made)
        return _expected(route_permit), permit

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
        permit = ListPermit(MINT, question.principal, action, kind, answer, decision_id)
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
        return _expected(route_permit), permits

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
        return _expected(route_permit), permits

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
            for asked in _batches(questions):
                answers = await self._pdp.ask_many(asked)
                if first is None:
                    first = answers[0]
                    decision_id = first.decision_id or decision_id
                found += _permitted(asked, answers, repeat(decision_id), tally)
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
        return (None if first is None else _route_permit(first, decision_id)), found

    async def _readable(
        self, context: RequestContext, route: Route | None, resources: Sequence[Resource]
    ) -> tuple[RoutePermit | None, list[Permit]]:
        route_permit: RoutePermit | None = None
        found: list[Permit] = []
        for asked in _batches(_reads(context.principal, resources, route)):
            answers, ids = await self._ask_together(context, asked)
            # The first question alone is about the route: a refusal of it ends the list.
            route_permit = _route_permit(answers[0], ids[0]) or route_permit
            found += _permitted(asked, answers, ids, ListTally())
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

    async def _permit(
        self, context: RequestContext, route: Route | None, action: Action, resource: Resource, made: Sequence[str]
    ) -> tuple[RoutePermit | None, Permit]:
        question = Question(context.principal, route, action, resource)
        route_permit, decision, decision_id = await self._decide(context, question, made)
        if decision is None:
            raise PolicyUnavailable(Failure.QUESTION, "a permit needs a question about a resource")
        return route_permit, Permit(MINT, question.principal, action, resource, decision, decision_id)

    async def _decide(
        self, context: RequestContext, question: Question, made: Sequence[str] = ()
    ) -> tuple[RoutePermit | None, Decision | None, str]:
        """Return the route's permit, the decision about the resource and the decision's id, each None if it was not
        asked.

        Returns once everything is permitted and logged.
        """
        began = time.perf_counter()
        try:
            answer = await self._pdp.ask(question)
        except PolicyUnavailable as failure:
            lines = lines_of(context.request_id, _new_id(), question, failure.reason, _since(began), made)
            await self._write(context, lines, counted_of(question, failure.reason))
            raise
        decision_id = answer.decision_id or _new_id()
        lines = lines_of(context.request_id, decision_id, question, answer, _since(began), made)
        await self._write(context, lines, counted_of(question, answer))
        permit = _route_permit(answer, decision_id)
        if answer.resource is not None and answer.resource.verdict is not Verdict.PERMIT:
            raise AccessDenied(answer.resource, decision_id, of_route=False, route_permit=permit)
        if answer.resource is not None and question.resource is not None and question.resource.type != _SHIELDED:
            _check_unshielded(answer.resource)
        return permit, answer.resource, decision_id

    async def _write(self, context: RequestContext, lines: Iterable[str], counted: Counted | None = None) -> None:
        """Log a decision, or count it where there are too many like it, unless `counted` is None."""
        try:
            await self._log.write(map(context.named_in, lines), counted)
        except PolicyUnavailable as failure:
            self._pdp.no_decision(failure)
            raise


def _batches(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Yield the questions in their order, as many together as one request to OPA takes."""
    for start in range(0, len(questions), MOST_TOGETHER):
        yield questions[start : start + MOST_TOGETHER]


def _reads(caller: Principal | Anonymous, resources: Sequence[Resource], route: Route | None) -> list[Question]:
    """Return a question about each resource, behind one about the route where that is asked about."""
    questions = [Question(caller, None, Action.READ, resource) for resource in resources]
    return questions if route is None else [Question(caller, route), *questions]


def _permitted(
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
            found.append(Permit(MINT, question.principal, Action.READ, resource, decision, decision_id))
    return found


def _route_permit(answer: Answer, decision_id: str) -> RoutePermit | None:
    """Return the permit of the route that the answer is about, or None if it is about none; raises AccessDenied."""
    route = answer.route
    if route is None:
        return None
    if answer.refuses_route:
        raise AccessDenied(route, decision_id, of_route=True)
    limit = next((duty.index for duty in route.obligations if isinstance(duty, UseLimit)), None)
    return RoutePermit(MINT, limit, decision_id, answer.revision, shields_of(route))


def _expected(permit: RoutePermit | None) -> RoutePermit:
    """Return the permit of a route that was asked about."""
    if permit is None:
        raise PolicyUnavailable(Failure.QUESTION, "a permit needs a question about a route")
    return permit


def _check_unshielded(decision: Decision) -> None:
    """Raise PolicyUnavailable for shields with a permit that nothing would discharge them of."""
    if shields_of(decision):
        raise PolicyUnavailable(Failure.MALFORMED, "shields are required for something that is no model")


def _new_id() -> str:
    return os.urandom(16).hex()


def _since(began: float) -> float:
    """Milliseconds since `began`, a time of `perf_counter`."""
    return (time.perf_counter() - began) * 1_000
