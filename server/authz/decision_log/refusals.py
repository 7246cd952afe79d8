"""Counting of refusals that one caller causes by the thousand, so that it can't fill the decision log with them.

The first ones of a caller in a window of time have a line each, as every decision has. Further ones are counted, and
the counts are written when the window ends and when the server does. That counting begins is written at once, so that
even a killed server leaves a trace of what it could not count to the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Final

from policy.vocabulary import Anonymous, Principal, Route, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.errors import PolicyUnavailable
from server.authz.contract.question import Question
from server.authz.decision_log.limits import CLOSE_SECONDS, MOST_COUNTS, WHOLE_ALL, WHOLE_EACH, WINDOW_SECONDS
from server.authz.decision_log.pieces import now
from server.authz.decision_log.record import Counted
from server.background.tasks import BackgroundTasks
from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import NoRoom
from server.quota.admission import FREE, Limited

_OTHERS: Final = Route("*", "/*")
"""Stands for all routes and types that are not counted apart."""

_log: Final = logging.getLogger("ostiary.decision_log")


def counted_of(question: Question, answer: Answer | str) -> Counted | None:
    """Return what the answer may be counted as; None for one that has a line in any case.

    Counted are refusals, and permits of probes, of callers without a token: those of a principal name it, and permits
    are uses. `answer` is a text where there is none.
    """
    if isinstance(question.principal, Principal):
        return None
    asked = _asked(question)
    if isinstance(answer, str):
        return Counted("unavailable", asked, None)
    decision = answer.route if answer.refuses_route or question.resource is None else answer.resource
    is_probe = question.resource is None and question.route is not None and question.route.path in FREE
    if decision is None or (decision.verdict is Verdict.PERMIT and not is_probe):
        return None
    return Counted(decision.verdict, asked, answer.revision, decision.rule, decision.source)


def counted_list(principal: Principal | Anonymous, action: str, kind: str) -> Counted | None:
    """Return what a list without an answer may be counted as; None for that of a principal."""
    return None if isinstance(principal, Principal) else Counted("unavailable", (action, kind), None)


def counted_limit(principal: Principal | Anonymous, route: Route, revision: str | None, limited: Limited) -> Counted:
    """Return what a request that a limit stops is counted as, for every sender."""
    effect = "unavailable" if limited.unavailable else "limited"
    caller = (principal.id, principal.issuer) if isinstance(principal, Principal) else None
    return Counted(effect, route, revision, caller=caller, limit=limited.limit)


class Refusals:
    """The counts of one process; `write` appends lines to the log. Belongs to one event loop."""

    def __init__(self, write: Callable[[Iterable[str]], Awaitable[None]]) -> None:
        self._write = write
        self._whole: Counter[tuple[Caller, str]] = Counter()
        self._all_whole = 0
        self._counts: dict[Counted, int] = {}
        self._since = ""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = BackgroundTasks()

    def is_whole(self, counted: Counted) -> bool:
        """Return whether the decision has a line of its own, and note that it has."""
        if self._timer is None:
            self._open()
        key = (CURRENT.get(), counted.effect)
        if self._all_whole >= WHOLE_ALL or self._whole[key] >= WHOLE_EACH:
            return False
        self._all_whole += 1
        self._whole[key] += 1
        return True

    async def count(self, counted: Counted) -> None:
        """Count a decision; the first of its kind is written at once. Raises what `write` does."""
        if counted not in self._counts and len(self._counts) >= MOST_COUNTS:
            counted = Counted(counted.effect, _OTHERS, counted.revision)
        if counted in self._counts:
            self._counts[counted] += 1
            return
        self._counts[counted] = 0
        try:
            await self._write([counted.line(now(), 1)])
        except BaseException:
            if not self._counts.get(counted, 1):
                del self._counts[counted]
            raise

    async def close(self) -> None:
        """Write the counts; the server's log tells how many refusals could not be written."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._write_counts()
        except (PolicyUnavailable, NoRoom, TimeoutError):
            _log.error("%d refusals that were counted are not in the decision log", sum(self._counts.values()))

    def _open(self) -> None:
        """Begin a window; what its end writes is the server's own work, and no caller's."""
        if not self._counts:
            self._since = now()
        self._timer = asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._end, context=Context())

    def _end(self) -> None:
        self._timer = None
        self._tasks.start("refusals", self._finish())

    async def _finish(self) -> None:
        try:
            await self._write_counts()
        except (PolicyUnavailable, NoRoom):
            # Kept, and written with those of the next window.
            if self._timer is None:
                self._open()

    async def _write_counts(self) -> None:
        counts, since = self._counts, self._since
        self._counts, self._whole, self._all_whole = {}, Counter(), 0
        lines = [counted.line(since, count) for counted, count in counts.items() if count]
        try:
            if lines:
                await self._write(lines)
        except BaseException:
            self._since = since
            for counted, count in counts.items():
                self._counts[counted] = self._counts.get(counted, 0) + count
            raise


def _asked(question: Question) -> Route | tuple[str, str]:
    if question.route is not None:
        return question.route
    kind = "" if question.resource is None else question.resource.type
    return str(question.action), kind
