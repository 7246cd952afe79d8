"""One list of stored records while it is put together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import repeat

from policy.vocabulary import Action, Resource
from server.authz.contract.answer import Answer
from server.authz.contract.question import Question
from server.authz.decision_log.list_record import ListTally
from server.authz.granting import permitted
from server.authz.pdp import MOST_TOGETHER
from server.authz.permit import ListPermit, Permit


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
        for asked in batches_of(questions):
            found += permitted(asked, await self._ask(asked), repeat(decision_id), self.tally)
        self.seconds += time.perf_counter() - began
        return found


def batches_of(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Yield the questions in their order, as many together as one request to OPA takes."""
    for start in range(0, len(questions), MOST_TOGETHER):
        yield questions[start : start + MOST_TOGETHER]
