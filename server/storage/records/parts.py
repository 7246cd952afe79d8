"""What belongs to records but is too much to be read with each of them: numbered parts in a table beside theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from server.storage.database.database import Step, Value
from server.storage.records.record import Draft, Json, Record
from server.storage.records.table import RecordTable


class RecordParts:
    """The parts of records, each a body under a number from 1 on; the records' ids hold no `/`.

    They come in a transaction with a change of their record, never change, and go with it. They have no owner: whoever
    reads them shows the record, which the guarded store gives to those alone who may have it.
    """

    def __init__(self, records: RecordTable) -> None:
        self._records = records
        part = f'SELECT id, body FROM "{records.name}" WHERE id'  # noqa: S608 - a checked name
        self._find = f"{part} = ?1"
        self._upwards = f"{part} > ?1 AND id < ?2 ORDER BY id ASC LIMIT ?3"
        self._downwards = f"{part} > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"

    def adding(self, identity: str, number: int, body: Mapping[str, Any]) -> Step:
        """A further part of the record of that id; raises AlreadyThere, and ParentGone."""
        return self._records.inserting(Draft(_key(identity, number), body, parent=identity).owned_by(None))

    async def get(self, record: Record, number: int) -> Json | None:
        """That part of the record; None if there is none."""
        found = await self._read(self._find, _key(record.id, number))
        return found[0][1] if found else None

    async def page(
        self, record: Record, limit: int, *, after: int | None, newest_first: bool
    ) -> list[tuple[int, Json]]:
        """Up to `limit` parts with their numbers, those behind `after` in the order wanted."""
        low, high = f"{record.id}/", f"{record.id}0"
        if newest_first:
            return await self._read(self._downwards, low, high if after is None else _key(record.id, after), limit)
        return await self._read(self._upwards, low if after is None else _key(record.id, after), high, limit)

    async def _read(self, statement: str, *values: Value) -> list[tuple[int, Json]]:
        rows = await self._records.database.read(statement, *values)
        return [(int(identity.rpartition("/")[2]), json.loads(body)) for identity, body in rows]


def _key(identity: str, number: int) -> str:
    """Ids of one record's parts sort by their numbers; behind `/` comes `0`."""
    return f"{identity}/{number:09}"
