"""The work on one response in the background, done as the caller who asked for it.

Everything is asked of the policy again: what was permitted when the response was asked for may have been forbidden
since. Once a provider or a tool may have been asked, nothing of the work is done a second time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from policy.vocabulary import Anonymous, Principal
from server.api.responses.answering import RespondingChat
from server.api.responses.background.callers import Callers
from server.api.responses.background.gathered import GatheringChat
from server.api.responses.background.held import HeldResponse
from server.api.responses.background.kept_request import request_of
from server.api.responses.background.later import LaterResponses
from server.api.responses.chunks import read_joined
from server.api.responses.context import Contexts
from server.api.responses.making import Course, Making
from server.api.responses.response_stream import failed
from server.api.responses.server_tools.tool import Opening
from server.api.responses.state import State
from server.api.responses.store import Filling, digits_of, members_of
from server.authz.contract.errors import PolicyUnavailable
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.http.deferred import DeferredRequests, log_limit
from server.http.deferred import request_of as deferred_request
from server.http.error_table import error_of
from server.http.errors import ApiError, provider_error
from server.http.held_lease import LeaseLost
from server.inference.provider import DONE, ChatRequest, ProviderFailed
from server.json_input.strict import Json
from server.quota.counters import CountersUnavailable
from server.storage.blobs.store import BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable, Overtaken, ParentGone
from server.storage.records.guarded import Contended
from server.storage.records.record import Record
from server.storage.records.waiting import asker_of

MOST_TAKEN: Final = 10
"""Times that processes take the work on one response before it fails, where none of them asks a provider."""

LONGEST_PAUSE: Final = 30
"""Seconds until the work is taken again, at most; at first it is two, and each time twice as long."""

PATH: Final = "/v1/responses"

_INTERRUPTED: Final = "the server was stopped while it answered, and the response is interrupted; ask for another one"
_AGAIN_AND_AGAIN: Final = "the server was stopped again and again before it could answer; ask for another response"

_PASSING: Final = (
    PolicyUnavailable,
    CountersUnavailable,
    DatabaseUnavailable,
    BlobsUnavailable,
    NoRoom,
    Contended,
)
"""What ends by itself, and which no caller is to blame for."""

_log: Final = logging.getLogger("ostiary.api")


class ResponseWork:
    """Answers responses of `later` for their callers, whose requests are at most `longest` seconds old.

    `count` is told how each response has ended.
    """

    def __init__(
        self,
        later: LaterResponses,
        making: Making,
        contexts: Contexts,
        callers: Callers,
        deferred: DeferredRequests,
        longest: int,
        count: Callable[[str], None],
    ) -> None:
        self._later = later
        self._making = making
        self._contexts = contexts
        self._callers = callers
        self._deferred = deferred
        self._longest = longest
        self._count = count

    async def do(self, held: HeldResponse) -> None:
        """Answer a response, or end it for the reason that it can't be answered.

        Raises DatabaseUnavailable and NoRoom where the work is left to the process that takes it next.
        """
        work, record = held.lease.work, held.record
        CURRENT.set(self._deferred.caller(*asker_of(work)))
        try:
            with self._later.readers.answering(record.id):
                if held.lease.has_begun:
                    await self._fail(held, "server_error", _INTERRUPTED)
                elif held.lease.tries > MOST_TAKEN:
                    await self._fail(held, "server_error", _AGAIN_AND_AGAIN)
                elif (left := work.created_at + self._longest - time.time()) <= 0:
                    await self._fail(held, "server_error", self._too_old())
                else:
                    await self._try(held, left)
        except (LeaseLost, Overtaken, ParentGone):
            # It was cancelled or deleted, or another process has taken it.
            gone = await self._later.queue.find(record.id)
            self._later.readers.tell(record.id, 0 if gone is None else gone.number, is_gone=gone is None)
        except asyncio.CancelledError:
            await asyncio.shield(self._stop(held))
            raise

    async def _try(self, held: HeldResponse, left: float) -> None:
        work = held.lease.work
        caller, (_, address) = await self._callers.newest(work), asker_of(work)
        gate = self._deferred.gate(caller, "POST", PATH, address=address, is_paid=True)
        held.look = partial(self._look, work, gate)
        try:
            async with held.renewed():
                try:
                    async with asyncio.timeout(left) as limit:
                        await self._answer(held, gate)
                except TimeoutError:
                    if not limit.expired():
                        raise
                    await self._fail(held, "server_error", self._too_old())
        except (LeaseLost, Overtaken, ParentGone):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the caller reads of it, and others go on
            await self._end(held, gate, fault)

    async def _answer(self, held: HeldResponse, gate: Gate) -> None:
        record = held.record
        gate.about(record.id)
        asked, items = await self._later.request(record)
        body = request_of(asked)
        permitted = gate.principal
        self._later.responses.records.expect_create(gate)
        model = await self._making.turns.model(gate, body.model)
        await self._later.responses.records.permit_create(gate, made=[record.id])
        request = deferred_request(gate, "POST", PATH)
        context = await self._contexts.again(gate, body, record.id, items)
        state = State(
            head=members_of(record),
            item_id=(digits_of(record.id), len(body.items)),
            names=body.names,
            status="queued" if held.lease.is_streamed else "in_progress",
            number=held.lease.number,
            shows_results="file_search_call.results" in body.include,
        )
        course = Course(
            state,
            partial(self._keep, held, gate, context.filling),
            items.size,
            through=lambda model: GatheringChat(
                model, partial(self._asking, held, gate, body.model, permitted), lambda: held.is_full
            ),
            read=read_joined,
            passing=None if held.lease.is_streamed else partial(held.pass_on, gate),
        )
        responding, chat = await self._making.responding(
            request, Opening(gate, record.id, body, context), model, course
        )
        try:
            await held.begin()
            if responding.calls_first:
                await held.asking()
        except BaseException:
            await responding.aclose()
            raise
        if held.lease.is_streamed:
            await self._stream(held, gate, responding, chat)
        else:
            await responding.complete(chat)

    async def _look(self, work: Record, gate: Gate) -> None:
        """Have tools be asked for as the caller is now, where it has shown itself otherwise since."""
        caller = await self._callers.newest(work)
        if caller is not None and caller != gate.principal:
            gate.act_as(caller)

    async def _asking(self, held: HeldResponse, gate: Gate, model: str, permitted: Principal | Anonymous) -> None:
        """Note that a model is asked now; raises the refusal if the caller may not ask it again, or has become another
        since it was `permitted`.
        """
        if held.has_asked or gate.principal != permitted:
            caller = await self._callers.newest(held.lease.work)
            gate.act_as(gate.principal if caller is None else caller)
            await self._making.turns.model(gate, model)
        await held.asking()

    async def _stream(self, held: HeldResponse, gate: Gate, responding: RespondingChat, chat: ChatRequest) -> None:
        limit = gate.storage_limit_of(held.record.owner)
        stream = await responding.stream(chat)
        try:
            async for piece in stream:
                # The last one was stored with the end, before it was given out.
                if not piece.startswith(b":") and not piece.endswith(DONE):
                    await held.add(piece, limit)
        finally:
            await stream.aclose()
        if held.fault is not None:
            raise held.fault

    async def _keep(
        self, held: HeldResponse, gate: Gate, filling: Filling | None, state: State, events: Sequence[Json]
    ) -> None:
        await held.finish(gate, filling, state, events)
        self._count(state.status)

    async def _end(self, held: HeldResponse, gate: Gate, fault: Exception) -> None:
        """End the response for what has happened, or let another attempt be made; raises Overtaken."""
        await log_limit(gate, fault)
        if isinstance(fault, _PASSING) and not held.has_asked and held.lease.tries < MOST_TAKEN:
            _log.info("a response in the background waits: %s", fault)
            await held.pause(min(LONGEST_PAUSE, 2**held.lease.tries))
            return
        if isinstance(fault, ProviderFailed):
            error = provider_error(fault)
        else:
            error = fault if isinstance(fault, ApiError) else error_of(fault, gate.request_id)
        await self._fail(held, *failed(error))

    async def _fail(self, held: HeldResponse, code: str, sentence: str) -> None:
        await held.conclude("failed", {"code": code, "message": sentence})
        self._count("failed")

    async def _stop(self, held: HeldResponse) -> None:
        """Leave the work to another process when this one ends, or end what can't be done again."""
        with suppress(DatabaseUnavailable, NoRoom, Overtaken, ParentGone):
            if held.is_done:
                return
            if held.has_asked:
                await self._fail(held, "server_error", _INTERRUPTED)
            else:
                await held.pause(0)

    def _too_old(self) -> str:
        return f"the request is older than the {self._longest} s for which the server acts for its caller; ask again"
