"""`/v1/batches`: batches are made, shown, listed and cancelled; `server.api.batches.worker` works on them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.batches.batch import (
    UNDER_WAY,
    batch_id_for,
    batch_object,
    is_asked_again,
    moved,
    new_batch_id,
    new_body,
)
from server.api.batches.body import CREATE_BATCH, CreateBatch
from server.api.batches.held import HeldBatch
from server.api.batches.parts import BatchParts
from server.api.batches.queue import BatchQueue
from server.api.batches.worker import Batches
from server.api.files.store import FileStore
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT, address_of
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import ApiError, invalid
from server.http.json_body import read_body
from server.http.pagination import frame_of, list_query, missing_reference, page_of
from server.http.request_state import gate_of
from server.http.responses import json_response, list_response
from server.json_input.reader import Reader
from server.storage.database.database import AlreadyThere, Overtaken
from server.storage.records.body import Body
from server.storage.records.guarded import Contended, GuardedStore, NotFound
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable

_BATCH: Final = "batch"
_FILE: Final = type_of_record("openai_files")
_INPUT: Final = "input_file_id"

LONGEST_KEY: Final = 255
"""Characters of an idempotency key."""

_KEY: Final = "idempotency-key"

_TRIES: Final = 20
"""Attempts to cancel; the worker of the batch writes down what its lines come to at the same time."""


class BatchRoutes:
    """Makes batches of files that their callers may read, and shows each to the callers that the policy permits."""

    def __init__(
        self,
        records: GuardedStore,
        table: RecordTable,
        parts: BatchParts,
        files: FileStore,
        queue: BatchQueue,
        batches: Batches,
        reader: Reader,
    ) -> None:
        self._records = records
        self._table = table
        self._parts = parts
        self._files = files
        self._queue = queue
        self._batches = batches
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of batches."""
        every, one = "/v1/batches", "/v1/batches/{batch_id}"
        return [
            AskingRoute(every, self.page, methods=["GET"], asks=[(Action.READ, _BATCH)], name="batches.list"),
            AskingRoute(
                every,
                self.create,
                methods=["POST"],
                asks=[(Action.CREATE, _BATCH), (Action.CREATE, _FILE), (Action.READ, _FILE)],
                may_ask=[(Action.READ, _BATCH)],
                name="batches.create",
            ),
            AskingRoute(
                one,
                self.retrieve,
                methods=["GET"],
                asks=[(Action.READ, _BATCH)],
                name="batches.retrieve",
                paid_before=True,
            ),
            AskingRoute(
                f"{one}/cancel",
                self.cancel,
                methods=["POST"],
                asks=[(Action.UPDATE, _BATCH), (Action.READ, _BATCH)],
                name="batches.cancel",
                paid_before=True,
            ),
        ]

    async def create(self, request: Request) -> Response:
        """Make a batch, which is worked on later; one that the caller has made with the same idempotency key is the
        answer once more.
        """
        _, asked = await read_body(request, self._reader, CREATE_BATCH)
        gate, address, key = gate_of(request.scope), address_of(CURRENT.get()), _key_of(request)
        if key is None:
            return await self._made(gate, asked, new_batch_id(), address)
        identity = batch_id_for(key, gate.principal, address)
        # The id is the caller's alone, so that it may learn whether there is such a batch.
        if not await self._records.known([identity]):
            with suppress(AlreadyThere):  # another request with the key was faster
                return await self._made(gate, asked, identity, address)
        try:
            record = await self._records.get(gate, identity)
        except NotFound:
            raise _key_in_use() from None
        if not is_asked_again(record, asked):
            raise _key_in_use()
        return json_response(batch_object(record))

    async def _made(self, gate: Gate, asked: CreateBatch, identity: str, address: str) -> Response:
        creation = await self._records.permit_create(gate, made=[identity])
        caller = creation.permit.caller
        await self._queue.check_room(caller, address)
        # It makes files when it is over, and is asked about them again then.
        await self._files.records.permit_create(gate)
        try:
            file = await self._files.records.get(gate, asked.input_file_id, whole=False)
        except NotFound:
            raise missing_reference(_INPUT, asked.input_file_id) from None
        if file.facet != _BATCH:
            sentence = f"`{_INPUT}` must be a file whose purpose is `{_BATCH}`; that of this one is `{file.facet}`"
            raise invalid(sentence, _INPUT, "invalid_value")
        draft = Draft(identity, new_body(asked))
        room = self._parts.keeping_room(identity, creation.owner)
        entering = self._queue.entering(identity, caller, address)
        record = await self._records.create(creation, draft, [entering, *room])
        await self._batches.wake(identity)
        return json_response(batch_object(record))

    async def page(self, request: Request) -> Response:
        """Answer with a page of batches, newest first unless the query says otherwise."""
        page = await page_of(request, self._records, list_query(request))
        return await list_response(frame_of(page), map(batch_object, page.records))

    async def retrieve(self, request: Request) -> Response:
        """Answer with one batch."""
        record = await self._records.get(gate_of(request.scope), request.path_params["batch_id"])
        return json_response(batch_object(record))

    async def cancel(self, request: Request) -> Response:
        """Begin no more lines of a batch; a second time, too, and once all are answered."""
        gate, identity = gate_of(request.scope), request.path_params["batch_id"]
        # The answer has all that reading the batch has.
        await self._records.permit(gate, identity, Action.READ, whole=False)
        record = await self._records.permit(gate, identity, Action.UPDATE)
        for _ in range(_TRIES):
            if not _can_end(record):
                break
            body = Body.of(moved(record, "cancelling"))
            with suppress(Overtaken):
                await self._records.database.write(self._table.changing(record, body, record.facet, None))
                record = replace(record, body=body, version=record.version + 1)
                break
            found = await HeldBatch.found(self._records, identity)
            if found is None or found.ordering != record.ordering:
                raise NotFound(identity)
            record = found
        else:
            raise Contended
        await self._queue.wake(identity)
        await self._batches.wake(identity)
        return json_response(batch_object(record))


def _key_of(request: Request) -> str | None:
    """Return the idempotency key of a request; None where it has none."""
    keys = request.headers.getlist(_KEY)
    if not keys:
        return None
    if len(keys) > 1 or not 0 < len(keys[0]) <= LONGEST_KEY:
        sentence = f"`Idempotency-Key` must be one text of 1 to {LONGEST_KEY} characters; send another"
        raise invalid(sentence, None, "invalid_value")
    return keys[0]


def _key_in_use() -> ApiError:
    sentence = (
        "a batch that asks for something else, or that you may not read, has this `Idempotency-Key`; send another"
    )
    return ApiError(HTTPStatus.CONFLICT, sentence, code="idempotency_key_in_use", headers={"x-should-retry": "false"})


def _can_end(record: Record) -> bool:
    """Return whether lines of a batch may still be begun; raises the 400 for one that is over."""
    status = record.body["status"]
    if status not in (*UNDER_WAY, "cancelled"):
        sentence = f"the batch is over, its status is `{status}`; there is nothing to cancel"
        raise invalid(sentence, "batch_id", "batch_over")
    return status in ("validating", "in_progress")
