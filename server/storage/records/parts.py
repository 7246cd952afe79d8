"""Parts of records that are too large to be read with each record: numbered rows in a table beside theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from policy.vocabulary import Principal
from server.storage.database.database import Step, Value
from server.storage.records.record import Draft, Json, Record
from server.storage.records.table import RecordTable
from server.storage.records.usage import owner_key


class RecordParts:
    """The parts of records, each a body under a number from 1 on; the records' ids hold no `/`.

    They are created in a transaction with a change of their record, never change, and are deleted with it. They have no
    owner: a caller gets them only after the guarded store has permitted the record.
    """

    def __init__(self, records: RecordTable) -> None:
        self.records = records
        part = f'SELECT id, body FROM "{records.name}" WHERE id'  # noqa: S608 - a checked name
        self._find = f"{part} = ?1"
        self._upwards = f"{part} > ?1 AND id < ?2 ORDER BY id ASC LIMIT ?3"
        self._downwards = f"{part} > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"

    def adding(self, identity: str, number: int, body: Mapping[str, Any], payer: Principal | None) -> Step:
        """Return the step that adds a part to the record, which counts with `payer`; it raises AlreadyThere, and
        ParentGone.
        """
        part = Draft(_key(identity, number), body, parent=identity, facet=owner_key(payer))
        return self.records.inserting(part.owned_by(None))

    async def get(self, record: Record, number: int) -> Json | None:
        """Return that part of the record; None if there is none."""
        found = await self._read(self._find, _key(record.id, number))
        return found[0][1] if found else None

    async def page(
        self, record: Record, limit: int, *, after: int | None, newest_first: bool
    ) -> list[tuple[int, Json]]:
        """Return up to `limit` parts with their numbers, those after `after` in the order requested."""
        low, high = f"{record.id}/", f"{record.id}0"
        if newest_first:
            return await self._read(self._downwards, low, high if after is None else _key(record.id, after), limit)
        return await self._read(self._upwards, low if after is None else _key(record.id, after), high, limit)

    async def _read(self, statement: str, *values: Value) -> list[tuple[int, Json]]:
        rows = await self.records.database.read(statement, *values)
        return [(int(identity.rpartition("/")[2]), json.loads(body)) for identity, body in rows]


def _key(identity: str, number: int) -> str:
    """Return the id of a part; ids of one record's parts sort by number, between `/` and `0`."""
    return f"{identity}/{number:09}"
