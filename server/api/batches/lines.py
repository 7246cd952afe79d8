"""One line of a batch: a request of the batch's owner, which passes all that a request from outside passes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from json import loads
from typing import Final

from starlette.types import ASGIApp

from server.api.batches.acting_callers import ActingCaller
from server.api.batches.parts import Line
from server.api.batches.results import INTERRUPTED, Result, answered, refused, unanswered
from server.api.batches.usage import NOTHING, usage_of
from server.authz.contract.errors import PolicyUnavailable
from server.background.faults import log_fault
from server.fairness.shares import FairShares, NoRoom, Share, Turn
from server.fairness.threads import in_thread
from server.http.acting import Acting
from server.http.acting_request import ActingRequest
from server.http.errors import ApiError, internal, invalid
from server.http.request_state import new_request_id
from server.quota.admission import TooManyAtOnce
from server.quota.counters import CountersUnavailable
from server.storage.blobs.store import BlobMissing, BlobsFull, BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable, InDoubt
from server.storage.records.guarded import Contended

LINES: Final = Share("lines of batches", 32, 16, waiting=1024, waiting_each=64, seconds=1.0)
"""Lines of batches that one process has under way."""

FIRST_LINES: Final = Share("first lines of callers while others have all of these", 256, 1, 0, 0, seconds=1.0)
"""Lines beyond `LINES`, of up to `HEAVY` bytes: a provider may take an hour for each line of other callers."""

LARGE_FIRST_LINES: Final = Share("first lines of more than 64 KB", 16, 1, 0, 0, seconds=1.0)
"""The same for larger lines."""

MOST_TRIES: Final = 5
"""Requests for one line where its provider is busy or paused."""

LONGEST_PAUSE: Final = 30.0
"""Seconds until a line is begun again, at most; at first it is one, and each time twice as long."""

MOST_RESULT: Final = 8 * 1024 * 1024
"""Bytes of the answer to one line."""

HEAVY: Final = 64 * 1024
"""Bytes of an answer that is read and written beside the event loop, and that keeps its turn until it is stored."""

_BUSY: Final = (429, 503)
_PASSING: Final = (
    PolicyUnavailable,
    CountersUnavailable,
    DatabaseUnavailable,
    BlobsUnavailable,
    NoRoom,
    Contended,
    TooManyAtOnce,
)
_LASTING: Final = (BlobMissing, BlobsFull, InDoubt)

_log: Final = logging.getLogger("ostiary.api")


@dataclass(slots=True)
class Again:
    """A line that is begun once more from the time `at` on; no request is taken if it `is_paid`.

    It `lacks_quota` where it waits for the next period of its owner's quota, as other lines need not.
    `tries` counts the requests that its provider was asked to answer, and `faults` those that did not come so far,
    since this process began with the batch.
    """

    is_paid: bool
    at: float = 0.0
    tries: int = 0
    faults: int = 0
    lacks_quota: bool = False


@dataclass(slots=True)
class Outcome:
    """What a request for a line has come to: a result, or another attempt.

    Until `hold` no line of the batch can be answered.
    """

    result: Result | None = None
    again: Again | None = None
    hold: float = 0.0


@dataclass(slots=True)
class RunningLine:
    """A line under way, whose body is `text`; `turn` is its part of `LINES`."""

    place: int
    line: Line
    text: bytes
    turn: Turn
    again: Again
    request: ActingRequest | None = None
    task: asyncio.Task[Outcome] | None = field(default=None)

    async def run(self, app: ASGIApp, endpoint: str, caller: ActingCaller) -> Outcome:
        """Return what one request comes to; a cancelled one may have been spent on."""
        text, self.text = self.text, b""
        if self.line.streams:
            error = invalid("a line of a batch is not streamed; leave out `stream`", "stream", "unsupported_value")
            return Outcome(refused(self.place, self.line.custom_id, error, new_request_id()))
        acting = caller.acting(is_paid=self.again.is_paid)
        self.request = request = ActingRequest(endpoint, text, acting)
        try:
            await request.run(app)
        except Exception as fault:  # noqa: BLE001 - one line's fault is its own, and others go on
            if not request.status:
                return self.failed(fault)
        if len(request.body) > HEAVY:
            with suppress(NoRoom):  # then it is written here: what was answered is told
                return await in_thread(self._outcome, request, acting)
        return self._outcome(request, acting)

    def failed(self, fault: BaseException) -> Outcome:
        """Return what the line comes to whose request has ended by a fault of the server."""
        request_id = new_request_id()
        log_fault(_log, f"{request_id}: a line of a batch could not be answered", fault)
        return Outcome(refused(self.place, self.line.custom_id, internal(request_id), request_id))

    def left_off(self) -> Outcome:
        """Return what the line comes to whose request was cancelled since the server stops."""
        request = self.request
        if request is not None and request.spending.is_possible:
            return Outcome(unanswered(self.place, self.line.custom_id, INTERRUPTED))
        return Outcome(again=Again(self.again.is_paid or _is_paid(request), tries=self.again.tries))

    def _outcome(self, request: ActingRequest, acting: Acting) -> Outcome:
        """Return the result, or another attempt where nothing was spent and waiting may help."""
        result = self._result(request)
        if request.status not in _BUSY or request.spending.is_possible:
            return Outcome(result)
        again, now = Again(self.again.is_paid or _is_paid(request), tries=self.again.tries), time.time()
        charge = acting.charge
        if charge is not None and charge.exceeded is not None:
            if charge.never_fits:
                return Outcome(result)
            exceeded, again.at, again.lacks_quota = charge.exceeded, now + charge.exceeded.resets_in, True
            is_used_up = exceeded.requests_left == 0 or exceeded.tokens_left == 0
            return Outcome(again=again, hold=again.at if is_used_up else 0.0)
        passing = not acting.has_entered or (
            isinstance(acting.fault, _PASSING) and not isinstance(acting.fault, _LASTING)
        )
        if passing:
            again.faults = self.again.faults + 1
            again.at = now + _pause_after(again.faults)
            return Outcome(again=again, hold=again.at)
        again.tries += 1
        again.at = now + _pause_after(again.tries)
        if again.tries >= MOST_TRIES or _code(request.body) == "insufficient_quota":
            return Outcome(result)
        return Outcome(again=again)

    def _result(self, request: ActingRequest) -> Result:
        """Return the answer, or an error in its place where it is too large to be kept; with its tokens, both."""
        usage = usage_of(request.body) if request.status < HTTPStatus.BAD_REQUEST else NOTHING
        if len(request.body) > MOST_RESULT:
            sentence = f"the answer has more than {MOST_RESULT} bytes, which no batch keeps; ask for less in one line"
            error = ApiError(HTTPStatus.BAD_GATEWAY, sentence, code="answer_too_large")
            return refused(self.place, self.line.custom_id, error, request.request_id)._replace(usage=usage)
        found = answered(self.place, self.line.custom_id, request.status, request.request_id, request.body)
        return found._replace(usage=usage)


class LineTurns:
    """The turns of lines: one batch may have `at_once`, and another caller as many beside it.

    A caller has at most `most` of them; None is no further limit. One that has none gets a first one though others have
    them all.
    """

    def __init__(self, at_once: int, most: int | None) -> None:
        each = max(LINES.each, at_once)
        capacity = max(LINES.capacity, 2 * at_once)
        self._shares = FairShares(replace(LINES, capacity=capacity, each=each if most is None else min(each, most)))
        self._first = FairShares(FIRST_LINES)
        self._large_first = FairShares(LARGE_FIRST_LINES)

    @property
    def used(self) -> int:
        """The number of lines that are under way."""
        return self._shares.used + self._first.used + self._large_first.used

    def take_now(self) -> Turn | None:
        """Return a turn if there is one."""
        return self._shares.take_now()

    def has_one(self) -> bool:
        """Return whether there is a turn now."""
        turn = self.take_now()
        if turn is not None:
            turn.end()
        return turn is not None

    async def take(self, size: int) -> Turn:
        """Return a turn for a line of so many bytes of a batch that has none under way; raises NoRoom after a while."""
        turn = self._shares.take_now()
        first, large = self._first, self._large_first
        if turn is None and not (self._shares.held() or first.held() or large.held()):
            turn = (first if size <= HEAVY else large).take_now()
        return turn or await self._shares.take()


def _pause_after(attempts: int) -> float:
    """Return the seconds until a line is begun again after so many attempts, one at least."""
    return min(LONGEST_PAUSE, 2.0 ** min(attempts - 1, 10))


def _is_paid(request: ActingRequest | None) -> bool:
    charge = None if request is None else request.acting.charge
    return charge is not None and charge.is_paid


def _code(body: bytes) -> str | None:
    try:
        code: str | None = loads(body)["error"]["code"]
    except (ValueError, TypeError, KeyError):
        return None
    return code
