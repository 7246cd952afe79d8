"""The journal of a batch: which lines were begun, and what they have come to, in the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from server.api.batches.batch import counted
from server.api.batches.held import HeldBatch
from server.api.batches.parts import BatchParts
from server.api.batches.queue import Progress
from server.api.batches.results import Result, refused
from server.http.error_table import error_of
from server.http.errors import ApiError
from server.http.request_state import new_request_id
from server.quota.storage_limit import StorageExceeded, StorageLimit
from server.storage.database.database import Step

MOST_WRITTEN: Final = 4 * 1024 * 1024
"""Bytes of results that are stored together, unless one alone has more."""


class Journal:
    """Writes down the lines of the batch that this process holds.

    `limit` is that of what the owner may keep; a result for which there is no room becomes an error.
    """

    def __init__(self, held: HeldBatch, parts: BatchParts, limit: StorageLimit | None) -> None:
        self._held = held
        self._parts = parts
        self._limit = limit

    async def full(self) -> ApiError | None:
        """Return the error of further lines where the owner has no room for what they come to; else None.

        Where a result found no room, the error in its place soon takes what is left.
        """
        try:
            await self._held.check_room(self._limit)
        except StorageExceeded as full:
            return error_of(full, "")
        return None

    async def write(
        self, results: Sequence[Result], begun: Collection[int], again: Sequence[tuple[int, bool, int]], following: int
    ) -> int:
        """Write down the first of the results, and return how many.

        From then on the lines at the places `begun` may be spent on, as those of the other results may have been, those
        of `again` are to be begun once more, and `following` is the place of the first that was never begun. Raises
        LeaseLost.
        """
        some = _fitting(results)
        while True:
            unwritten = {result.place for result in results[len(some) :]}
            progress = replace(
                self._held.progress,
                tries=0,
                next=following,
                open=tuple(sorted({*begun, *unwritten})),
                again=tuple(again),
            )
            try:
                await self._store(some, progress, self._limit)
            except StorageExceeded as full:
                if len(some) > 1:
                    some = some[: len(some) // 2]
                    continue
                # That there was no room is always told.
                await self._store([await self._refused(some[0], full)], progress, None)
            return len(some)

    async def _refused(self, result: Result, full: StorageExceeded) -> Result:
        line = await self._parts.line(self._held.record, result.place)
        return refused(result.place, line.custom_id, error_of(full, ""), new_request_id())

    async def _store(self, results: Sequence[Result], progress: Progress, limit: StorageLimit | None) -> None:
        record, steps = self._held.record, list[Step]()
        good, bad = (b"".join(each.text for each in results if each.is_error is wrong) for wrong in (False, True))
        if good:
            progress = replace(progress, outputs=progress.outputs + 1)
            steps.append(self._parts.output(record, progress.outputs, good))
        if bad:
            progress = replace(progress, errors=progress.errors + 1)
            steps.append(self._parts.error(record, progress.errors, bad))
        failed = sum(result.is_error for result in results)
        await self._held.write(
            progress,
            (lambda batch: counted(batch, len(results) - failed, failed)) if results else None,
            steps,
            limit if good else None,
            len(good) + len(bad),
        )


def _fitting(results: Sequence[Result]) -> list[Result]:
    """Return the first of the results, as far as they are stored together; others may be added at the same time."""
    size = 0
    for count, result in enumerate(results):
        size += len(result.text)
        if count and size > MOST_WRITTEN:
            return [*results[:count]]
    return [*results]
