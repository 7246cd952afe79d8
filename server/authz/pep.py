"""The policy enforcement point: a `Permit`, or an exception."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, repeat

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, Route, UseLimit, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, Question
from server.authz.contract.record_filter import RecordFilter
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.record import Limited, ListRecord, ListTally, line_of_limit, lines_of
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from server.authz.permit import MINT, AccessDenied, ListPermit, Permit


@dataclass(slots=True)
class RequestContext:
    """The request that decisions are for: its id, and the caller as authenticated.

    `limit` is the limit of the quota that the policy has named for it (its place in `server.quota.limits`), once it has
    permitted the route; None where it names none. `decision_id` and `revision` are those of that permit.
    """

    request_id: str
    principal: Principal | Anonymous
    limit: int | None = None
    decision_id: str | None = None
    revision: str | None = None


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
        """Leave to read each of the resources, which the filter leaves undecided, that the caller may read.

        Raises PolicyUnavailable.
        """
        began = time.perf_counter()
        caller, decision_id = self.permit.principal, self.permit.decision_id
        questions = [Question(caller, None, Action.READ, resource) for resource in resources]
        found: list[Permit] = []
        for first in range(0, len(questions), MOST_TOGETHER):
            asked = questions[first : first + MOST_TOGETHER]
            found += _permitted(asked, await self._ask(asked), decision_id, self.tally)
        self.seconds += time.perf_counter() - began
        return found


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

    async def permit(
        self, context: RequestContext, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> Permit:
        """Leave to do `action` to `resource`, or AccessDenied; `made` are the ids of the records that a create makes.

        The policy is not asked about ids that it can't know; they stand in the decision log.
        """
        return await self._permit(context, Question(context.principal, action=action, resource=resource), made)

    async def permit_route_and_access(
        self, context: RequestContext, route: Route, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> Permit:
        """Both in one question; a refusal of the route comes before one of the resource."""
        return await self._permit(context, Question(context.principal, route, action, resource), made)

    @asynccontextmanager
    async def listing(
        self, context: RequestContext, action: Action, kind: str, types: tuple[str, ...] = ()
    ) -> AsyncIterator[Listing]:
        """Leave to do `action` to those stored records of the type `kind` that its filter permits.

        `types` holds every name of a type that has several.
        The list is logged in one line when the context ends; nothing of it may be given out before that.
        """
        question = ListQuestion(context.principal, action, kind, types)
        began = time.perf_counter()
        try:
            answer = await self._pdp.filter(question)
        except PolicyUnavailable as failure:
            record = ListRecord(context.request_id, _new_id(), context.principal, action, kind)
            await self._write([record.line(None, failure.reason, ListTally(), _since(began))])
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
            with suppress(PolicyUnavailable):
                await self._write([line(fault.reason if isinstance(fault, PolicyUnavailable) else answer)])
            raise
        await self._write([line(answer)])

    async def readable(
        self, context: RequestContext, resources: Sequence[Resource], route: Route | None = None
    ) -> list[Permit]:
        """Leave to read each of `resources` that the caller may read, in the same order; one decision for each.

        With a `route` that is asked about too, before them and together with the first of them; AccessDenied if the
        caller may not use it.
        """
        questions = _reads(context.principal, resources, route)
        found: list[Permit] = []
        for first in range(0, len(questions), MOST_TOGETHER):
            found += await self._readable(context, questions[first : first + MOST_TOGETHER])
        return found

    async def listed(
        self, context: RequestContext, kind: str, resources: Sequence[Resource], route: Route | None = None
    ) -> list[Permit]:
        """The same for all resources of the type `kind` that there are, logged as one list."""
        questions, tally = _reads(context.principal, resources, route), ListTally()
        began, decision_id, found, lines = time.perf_counter(), _new_id(), list[Permit](), list[str]()
        first: Answer | None = None
        fault: PolicyUnavailable | None = None
        try:
            for start in range(0, len(questions), MOST_TOGETHER):
                asked = questions[start : start + MOST_TOGETHER]
                answers = await self._pdp.ask_many(asked)
                if first is None:
                    first = answers[0]
                    decision_id = first.decision_id or decision_id
                found += _permitted(asked, answers, decision_id, tally)
        except PolicyUnavailable as failure:
            fault = failure
        milliseconds, missing = _since(began), None if fault is None else fault.reason
        if route is not None:
            lines += lines_of(context.request_id, decision_id, questions[0], first or missing or "", milliseconds)
        if resources and (first is None or not first.refuses_route):
            record = ListRecord(context.request_id, decision_id, context.principal, Action.READ, kind)
            lines.append(record.line(None if first is None else first.revision, missing, tally, milliseconds))
        if lines:
            await self._write(lines)
        if fault is not None:
            raise fault
        if first is not None:
            _enter(context, questions[0], first, decision_id)
        return found

    async def stopped(self, context: RequestContext, route: Route, limited: Limited) -> None:
        """Write down that a limit stops the request."""
        decision_id, revision = context.decision_id, context.revision
        line = line_of_limit(context.request_id, decision_id, revision, context.principal, route, limited)
        await self._write([line])

    async def _readable(self, context: RequestContext, questions: Sequence[Question]) -> list[Permit]:
        began = time.perf_counter()

        async def write(decision_id: str, answers: Iterable[Answer | str]) -> None:
            milliseconds = _since(began)
            pairs = zip(questions, answers, strict=False)
            lines = (lines_of(context.request_id, decision_id, *pair, milliseconds) for pair in pairs)
            await self._write(chain.from_iterable(lines))

        try:
            answers = await self._pdp.ask_many(questions)
        except PolicyUnavailable as failure:
            await write(_new_id(), repeat(failure.reason))
            raise
        decision_id = answers[0].decision_id or _new_id()
        # Where the route is refused, nothing else is given out or written down.
        await write(decision_id, answers[:1] if answers[0].refuses_route else answers)
        _enter(context, questions[0], answers[0], decision_id)
        return _permitted(questions, answers, decision_id, ListTally())

    async def _permit(self, context: RequestContext, question: Question, made: Sequence[str]) -> Permit:
        decision, decision_id = await self._decide(context, question, made)
        action, resource = question.action, question.resource
        if decision is None or action is None or resource is None:
            raise PolicyUnavailable(Failure.QUESTION, "a permit needs a question about a resource")
        return Permit(MINT, question.principal, action, resource, decision, decision_id)

    async def _decide(
        self, context: RequestContext, question: Question, made: Sequence[str] = ()
    ) -> tuple[Decision | None, str]:
        """The decision about the resource, if there is one, once everything asked for is permitted and logged."""
        began = time.perf_counter()
        try:
            answer = await self._pdp.ask(question)
        except PolicyUnavailable as failure:
            lines = lines_of(context.request_id, _new_id(), question, failure.reason, _since(began), made)
            await self._write(lines)
            raise
        decision_id = answer.decision_id or _new_id()
        await self._write(lines_of(context.request_id, decision_id, question, answer, _since(began), made))
        _enter(context, question, answer, decision_id)
        if answer.resource is not None and answer.resource.verdict is not Verdict.PERMIT:
            raise AccessDenied(answer.resource, decision_id, question, of_route=False)
        return answer.resource, decision_id

    async def _write(self, lines: Iterable[str]) -> None:
        try:
            await self._log.write(lines)
        except PolicyUnavailable as failure:
            self._pdp.no_decision(failure)
            raise


def _reads(caller: Principal | Anonymous, resources: Sequence[Resource], route: Route | None) -> list[Question]:
    """A question about each resource, behind one about the route where that is asked about."""
    questions = [Question(caller, None, Action.READ, resource) for resource in resources]
    return questions if route is None else [Question(caller, route), *questions]


def _permitted(
    questions: Sequence[Question], answers: Sequence[Answer], decision_id: str, tally: ListTally
) -> list[Permit]:
    """A permit for each resource that may be read; every decision about one is counted in `tally`."""
    found = []
    for question, answer in zip(questions, answers, strict=True):
        resource, decision = question.resource, answer.resource
        if resource is None or decision is None:
            continue
        tally.add(decision)
        if decision.verdict is Verdict.PERMIT:
            found.append(Permit(MINT, question.principal, Action.READ, resource, decision, decision_id))
    return found


def _enter(context: RequestContext, question: Question, answer: Answer, decision_id: str) -> None:
    """Note what the permit of a route brings, if the question is about one; raises AccessDenied if it is refused."""
    route = answer.route
    if route is None:
        return
    if answer.refuses_route:
        raise AccessDenied(route, decision_id, question, of_route=True)
    context.decision_id, context.revision = decision_id, answer.revision
    if route.obligations:
        context.limit = next((duty.index for duty in route.obligations if isinstance(duty, UseLimit)), None)


def _new_id() -> str:
    return os.urandom(16).hex()


def _since(began: float) -> float:
    """Milliseconds since that reading of the clock."""
    return (time.perf_counter() - began) * 1_000
