"""The check of the input file of a batch, before any of its lines is begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.api.batches.batch import moved
from server.api.batches.held import HeldBatch
from server.api.batches.input_file import InputFile
from server.api.batches.parts import LINES_OF_A_PART, BatchParts, Line
from server.api.batches.validation import CheckedLine, check_lines
from server.json_input.reader import Reader
from server.quota.storage_limit import StorageLimit


class Checking:
    """Lists the lines of the batch that this process holds, as they are found to be right.

    The list counts with the owner, who may keep what `limit` says.
    """

    def __init__(self, held: HeldBatch, parts: BatchParts, reader: Reader, limit: StorageLimit | None) -> None:
        self._held = held
        self._parts = parts
        self._reader = reader
        self._limit = limit
        self._lines: list[Line] = []
        self._total = 0

    async def check(self, file: InputFile, size: int) -> None:
        """Have the lines of a file of that size run next; raises InvalidInput, NoRoom, BlobsUnavailable, LeaseLost, and
        StorageExceeded where the owner has no room for the list.

        What another process has listed before is forgotten.
        """
        await self._begin_anew()
        endpoint = self._held.record.body["endpoint"]
        model = await check_lines(self._reader, file.pieces(), size, endpoint, self._keep)
        while self._lines:
            await self._store()
        named = {} if model is None else {"model": model}
        await self._held.write(
            self._held.progress,
            lambda record: moved(
                record,
                # It may have been cancelled while it was checked.
                "in_progress" if record.body["status"] == "validating" else record.body["status"],
                counts=[self._total, 0, 0],
                **named,
            ),
        )

    async def _begin_anew(self) -> None:
        held = self._held
        while held.progress.indexed:
            number = held.progress.indexed
            removing = [self._parts.parts.removing(held.record.id, number)]
            await held.write(replace(held.progress, indexed=number - 1), steps=removing)

    async def _keep(self, lines: Sequence[CheckedLine]) -> None:
        self._lines += [Line(line.custom_id, line.start, line.end, line.streams) for line in lines]
        while len(self._lines) >= LINES_OF_A_PART:
            await self._store()

    async def _store(self) -> None:
        some, self._lines = self._lines[:LINES_OF_A_PART], self._lines[LINES_OF_A_PART:]
        progress = self._held.progress
        number = progress.indexed + 1
        listing = self._parts.listing(self._held.record, number, some)
        await self._held.write(replace(progress, indexed=number, tries=0), None, [listing], self._limit, 1)
        self._total += len(some)
