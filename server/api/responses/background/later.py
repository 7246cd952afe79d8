"""Changes of responses that are answered in the background: each is a single transaction.

A response waits, is answered, and ends once. Its worker, its caller and another process may end it, and the first one
counts: all of them have to change the same two records in the versions that they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from json import loads
from typing import Final

from server.api.conversations.items import Items
from server.api.responses.background.kept_events import Batch, KeptEvents
from server.api.responses.background.queue import Lease, ResponseQueue
from server.api.responses.background.readers import Readers
from server.api.responses.item_list import ItemList
from server.api.responses.state import interrupted
from server.api.responses.store import (
    ASKED,
    INPUT,
    OUTPUT,
    PASSED,
    Filling,
    Responses,
    body_of,
    fill_alone,
    filling_told,
    members_of,
    output_of,
    take_back,
)
from server.background.ends import to_its_end
from server.fairness.caller import CURRENT, address_of
from server.fairness.shares import NoRoom
from server.fairness.threads import in_thread
from server.inference.answers.model_name import QUICK
from server.json_input.strict import Json
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database.database import DatabaseUnavailable, InDoubt, Step
from server.storage.records.body import Body
from server.storage.records.guarded import Creation
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable

EXTRA: Final = 1
"""Bytes that a transaction adds at least, where it is limited."""


class LaterResponses:
    """The changes of such responses, of which `readers` are told; conversations are filled with `items`."""

    def __init__(
        self, table: RecordTable, responses: Responses, queue: ResponseQueue, events: KeptEvents, items: Items
    ) -> None:
        self.queue = queue
        self.events = events
        self.readers = Readers(queue, events)
        self.responses = responses
        self._table = table
        self._items = items

    async def enter(
        self,
        creation: Creation,
        shown: Json,
        items: ItemList,
        asked: bytes,
        told: Sequence[Json] | None,
    ) -> Record:
        """Store a response that waits, with the items that it answers and the request; `told` are its first events.

        Raises StorageExceeded.
        """
        identity, payer, caller = shown["id"], creation.owner, creation.permit.caller
        parts, batch = self.responses.parts, None if told is None else Batch.of_events(told)
        steps = [
            parts.adding(identity, INPUT, Body(items.encoded()), payer),
            parts.adding(identity, ASKED, Body(asked), payer),
        ]
        number, stored = None, 0
        if batch is not None:
            steps.append(self.events.adding(identity, batch, payer))
            number, stored = batch.last + 1, batch.events.size
        address = address_of(CURRENT.get())
        steps.append(self.queue.entering(identity, caller, address, number=number, stored=stored))
        return await self.responses.records.create(
            creation, Draft(identity, body_of(shown), facet=shown["model"]), steps
        )

    async def find(self, identity: str) -> Record | None:
        """Return a response that is there, for work that no caller asks for now."""
        found = await self.responses.records.known([identity])
        whole = await self.responses.records.whole([*found.values()], held=True)
        return whole[0] if whole else None

    async def request(self, record: Record) -> tuple[bytes, ItemList]:
        """Return the request for a response that is not over, and the items that it answers."""
        asked = await self.responses.parts.get(record, ASKED)
        return b"" if asked is None else asked.text, await self.responses.input_of(record)

    async def begin(self, lease: Lease, record: Record) -> tuple[Lease, Record]:
        """Note that providers and tools may be asked from now on, and show it; raises Overtaken."""
        body = body_of({**members_of(record), "status": "in_progress"})
        renewing, renewed = self.queue.renewing(replace(lease, has_begun=True))
        changing = self._table.changing(record, body, record.facet, None)
        await self._table.database.write(changing, renewing)
        return renewed, replace(record, body=body, version=record.version + 1)

    async def add_events(self, lease: Lease, record: Record, batch: Batch, limit: StorageLimit | None) -> Lease:
        """Store events before they go out; raises Overtaken, ParentGone and StorageExceeded."""
        told = replace(lease, number=batch.last + 1, stored=lease.stored + batch.events.size)
        renewing, renewed = self.queue.renewing(told)
        records = self.responses.records
        adding = self.events.adding(record.id, batch, record.owner)
        steps = [records.holding(record.id), renewing, adding]
        await records.write(limit, record.owner, Stored(0, batch.events.size), *steps)
        self.readers.tell(record.id, renewed.number)
        return renewed

    async def pass_on(self, lease: Lease, record: Record, output: ItemList, limit: StorageLimit | None) -> Lease:
        """Store the items of a response without events as they are between two answers of its model.

        Raises Overtaken, ParentGone and StorageExceeded.
        """
        renewing, renewed = self.queue.renewing(lease)
        records, parts = self.responses.records, self.responses.parts
        steps = [
            records.holding(record.id),
            renewing,
            parts.removing(record.id, PASSED),
            parts.adding(record.id, PASSED, Body(output.encoded()), record.owner),
        ]
        await records.write(limit, record.owner, Stored(0, EXTRA + output.size), *steps)
        return renewed

    async def finish(
        self,
        lease: Lease,
        record: Record,
        shown: Json,
        events: Sequence[Json],
        filling: Filling | None,
        limit: StorageLimit | None,
    ) -> None:
        """Store the end of a response, and fill its conversation: all or nothing.

        Raises Overtaken, StorageExceeded, the 404 of a conversation that is gone, and the 400 of one that is full.
        """
        steps, size = await self._end(lease, record, shown, output_of(shown), events)
        records = self.responses.records
        if filling is None:
            await records.write(limit, record.owner, Stored(0, size), *steps)
        elif self.responses.together:
            # The conversation is held before anything else is locked, as in all that fills one.
            holding, *filled = self._items.filling(filling.creation, filling.conversation, filling.items.pairs)
            with filling_told(filling.conversation):
                await records.write(limit, record.owner, Stored(0, size), holding, *steps, *filled)
        else:
            await to_its_end(self._finish_apart(record, filling, limit, size, steps))
        self._told_of(lease, events)

    async def _finish_apart(
        self, record: Record, filling: Filling, limit: StorageLimit | None, size: int, steps: Sequence[Step]
    ) -> None:
        """Do what `finish` does where responses and conversations are in two databases, in which there is no common
        transaction: no response is told as complete before its conversation is filled.
        """
        await fill_alone(self._items, filling)
        try:
            await self.responses.records.write(limit, record.owner, Stored(0, size), *steps)
        except Exception as fault:
            # It was cancelled or deleted, for example, so what was filled is taken back.
            if not (isinstance(fault, InDoubt) and await self._is_complete(record)):
                await take_back(self._items, filling)
            raise

    async def _is_complete(self, record: Record) -> bool:
        """Return whether a response is stored as complete, or may be."""
        try:
            found = await self.find(record.id)
        except (DatabaseUnavailable, NoRoom):
            return True
        return found is not None and bool(members_of(found)["status"] == "completed")

    async def conclude(
        self, lease: Lease, record: Record, status: str, error: Json | None, usage: Json | None = None
    ) -> None:
        """End a response for another reason than its answer, with its output as far as that is stored, and what it has
        cost as far as that is known. Raises Overtaken.
        """
        output = await (self.events.output(record.id) if lease.is_streamed else self._passed(record))
        shown = {**members_of(record), "status": status, "error": error, "output": output, "usage": usage}
        kind = "response.failed" if status == "failed" else "response.incomplete"
        events = [{"type": kind, "sequence_number": lease.number, "response": shown}]
        steps, _ = await self._end(lease, record, shown, output_of(shown), events)
        await self._table.database.write(*steps)
        self._told_of(lease, events)

    async def _passed(self, record: Record) -> list[Json]:
        """Return the items that were stored between answers; those under way are interrupted."""
        part = await self.responses.parts.get(record, PASSED)
        items = ItemList() if part is None else ItemList.decoded(part.text)
        plain = [loads(bytes(text)) for text in items.plain()]
        every = [{"id": identity, **item} for identity, item in zip(items.ids, plain, strict=True)]
        return [interrupted(item) if item.get("status") == "in_progress" else item for item in every]

    async def _end(
        self, lease: Lease, record: Record, shown: Json, output: ItemList, events: Sequence[Json]
    ) -> tuple[list[Step], int]:
        """Return the steps that end a response, and the bytes that they add at least."""
        identity, parts = record.id, self.responses.parts
        steps = [self._table.changing(record, body_of(shown), shown["model"], None)]
        size = EXTRA + output.size
        if lease.is_streamed:
            batch = await in_thread(Batch.of_events, events) if output.size > QUICK else Batch.of_events(events)
            lease = replace(lease, number=batch.last + 1, stored=lease.stored + batch.events.size)
            steps += [*self.queue.ending(lease), self.events.adding(identity, batch, record.owner)]
            size += batch.events.size
        else:
            steps += self.queue.ending(lease)
        steps += [
            parts.removing(identity, ASKED),
            parts.removing(identity, PASSED),
            parts.adding(identity, OUTPUT, Body(output.encoded()), record.owner),
        ]
        return steps, size

    def _told_of(self, lease: Lease, events: Sequence[Json]) -> None:
        if lease.is_streamed:
            self.readers.tell(lease.response, events[-1]["sequence_number"] + 1)
