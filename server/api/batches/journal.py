"""The journal of a batch: which lines were begun, and what they have come to, in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from server.api.batches.batch import counted
from server.api.batches.held import HeldBatch
from server.api.batches.parts import BatchParts
from server.api.batches.queue import LineAgain, Progress
from server.api.batches.results import FULL, Result, error_size, unanswered
from server.api.batches.usage import sum_of
from server.quota.storage_limit import StorageExceeded, StorageLimit
from server.storage.database.database import Step

MOST_WRITTEN: Final = 4 * 1024 * 1024
"""Bytes of results that are stored together, unless one alone has more."""


class Journal:
    """Writes down the lines of the batch that this process holds.

    `limit` is that of what the owner may keep. A result for which there is no room becomes a short error. That is
    stored all the same for a line that was begun, since its owner may have paid for it, and for no other.
    """

    def __init__(self, held: HeldBatch, parts: BatchParts, limit: StorageLimit | None) -> None:
        self._held = held
        self._parts = parts
        self._limit = limit
        self._missed = 0

    async def is_full(self, names: Iterable[str], results: Sequence[Result]) -> bool:
        """Return whether the owner has no room for what lines come to.

        There must be room for the results, which are not written down yet, for short errors of the lines with these
        names, which are to be begun or under way, and for an answer as large as one that found no room before.
        """
        if self._limit is None:
            return False
        size = max(sum(map(error_size, names)), self._missed) + sum(len(result.text) for result in results)
        try:
            await self._held.check_room(self._limit, size)
        except StorageExceeded:
            return True
        return False

    async def write(
        self, results: Sequence[Result], begun: Mapping[int, str], again: Sequence[LineAgain], following: int
    ) -> int:
        """Write down the first of the results, and return how many.

        From then on the lines at the places `begun`, which have these names, may be spent on, those of `again` are to
        be begun once more, and `following` is the place of the first that was never begun. Of the lines of the other
        results, those that were begun before may have been spent on, and the others are to be begun. Raises LeaseLost,
        and StorageExceeded where there is no room for the first result, of a line that was never begun.
        """
        before, some = self._held.progress, _fitting(results)
        while True:
            rest = results[len(some) :]
            spent_on = {**begun, **{each.place: each.custom_id for each in rest if each.place in before.open}}
            progress = replace(
                self._held.progress,
                tries=0,
                next=following,
                open=tuple(sorted(spent_on)),
                again=tuple(sorted([*again, *_never_begun(rest, before)])),
            )
            try:
                await self._store(some, progress, self._limit_beside(spent_on.values()))
            except StorageExceeded:
                if len(some) > 1:
                    some = some[: len(some) // 2]
                    continue
                if some[0].place not in before.open:
                    raise
                self._missed = max(self._missed, len(some[0].text))
                short = unanswered(some[0].place, some[0].custom_id, FULL)._replace(usage=some[0].usage)
                await self._store([short], progress, None)
            return len(some)

    def _limit_beside(self, names: Iterable[str]) -> StorageLimit | None:
        """Return the limit that leaves room for short errors of the lines with these names, which may need them."""
        if self._limit is None or self._limit.bytes is None:
            return self._limit
        return replace(self._limit, bytes=max(0, self._limit.bytes - sum(map(error_size, names))))

    async def _store(self, results: Sequence[Result], progress: Progress, limit: StorageLimit | None) -> None:
        record, steps = self._held.record, list[Step]()
        good, bad = (b"".join(each.text for each in results if each.is_error is wrong) for wrong in (False, True))
        if good:
            progress = replace(progress, outputs=progress.outputs + 1)
            steps.append(self._parts.output(record, progress.outputs, good))
        if bad:
            progress = replace(progress, errors=progress.errors + 1)
            steps.append(self._parts.error(record, progress.errors, bad))
        failed, usage = sum(result.is_error for result in results), sum_of(result.usage for result in results)
        await self._held.write(
            progress,
            (lambda batch: counted(batch, len(results) - failed, failed, usage)) if results else None,
            steps,
            limit if results else None,
            len(good) + len(bad),
        )


def _never_begun(results: Sequence[Result], before: Progress) -> list[LineAgain]:
    """Return what is to be stored of these lines, as far as none of them is noted as begun `before`."""
    places = [result.place for result in results if result.place not in before.open]
    known = {line[0]: line for line in before.again} if places else {}
    return [known.get(place, (place, False, 0)) for place in places]


def _fitting(results: Sequence[Result]) -> list[Result]:
    """Return the first of the results, as far as they are stored together; others may be added at the same time."""
    size = 0
    for count, result in enumerate(results):
        size += len(result.text)
        if count and size > MOST_WRITTEN:
            return [*results[:count]]
    return [*results]
