"""The journal of a batch: what is stored together, and what of it is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from server.api.batches.batch import new_body
from server.api.batches.body import CreateBatch
from server.api.batches.held import HeldBatch
from server.api.batches.journal import Journal
from server.api.batches.parts import BatchParts
from server.api.batches.queue import Progress
from server.api.batches.results import REASONS, Result, unanswered
from server.quota.storage_limit import StorageExceeded, StorageLimit, Stored
from server.storage.records.record import Draft

LIMIT = StorageLimit(None, 10_000, "max_records", "max_bytes")


class Held:
    """Keeps how many results were stored, and with which limit; there is room for small ones alone."""

    def __init__(self) -> None:
        self.progress = Progress(open=(0,))
        self.record = Draft("batch_1", new_body(CreateBatch("/v1/embeddings", "file-1", {}, None))).owned_by(None)
        self.stored: list[tuple[int, int | None]] = []

    async def write(self, progress: Progress, _change: Any, _steps: Any, limit: StorageLimit | None, size: int) -> None:
        """Store them."""
        if limit is not None and size > 1000:
            raise StorageExceeded(limit, Stored(0, 10_000), of_bytes=True)
        self.progress = progress
        self.stored.append((size, None if limit is None else limit.bytes))


class Parts:
    """Makes no steps."""

    def output(self, *_given: Any) -> None:
        """Return no step."""

    error = output


def journal_of(held: Held) -> Journal:
    return Journal(cast(HeldBatch, held), cast(BatchParts, Parts()), LIMIT)


def result(place: int, size: int = 3, *, is_error: bool = False) -> Result:
    return Result(place, f"line-{place}", is_error=is_error, text=b"x" * size)


def test_an_answer_leaves_room_for_errors_of_the_lines_beside_it() -> None:
    held, names = Held(), {1: "a", 2: "b" * 500}
    assert asyncio.run(journal_of(held).write([result(0)], names, (), 9)) == 1
    room = sum(max(len(unanswered(0, name, code).text) for code in REASONS) for name in names.values())
    assert held.stored == [(3, 10_000 - room)]


def test_a_short_error_is_in_the_place_of_an_answer_without_room() -> None:
    held = Held()
    assert asyncio.run(journal_of(held).write([result(0, 2000)], {}, (), 9)) == 1
    [(size, limit)] = held.stored
    assert (size, limit) == (len(unanswered(0, "line-0", "insufficient_quota").text), None)


def test_what_is_left_for_another_write_is_under_way_only_if_it_was_begun() -> None:
    held = Held()
    held.progress = replace(held.progress, again=((3, True, 2),))
    # The first two have room together, and the others were never begun.
    results = [result(0), *(result(place, 600, is_error=True) for place in (3, 4, 5))]
    assert asyncio.run(journal_of(held).write(results, {8: "h"}, ((7, True, 1),), 9)) == 2
    assert (held.progress.open, held.progress.again) == ((8,), ((4, False, 0), (5, False, 0), (7, True, 1)))

    held.progress = replace(held.progress, open=(0, 4, 8), again=((3, True, 2), (5, True, 0)))
    results = [result(place, 600) for place in (0, 3, 4, 5)]
    assert asyncio.run(journal_of(held).write(results, {8: "h"}, (), 9)) == 1
    assert (held.progress.open, held.progress.again) == ((4, 8), ((3, True, 2), (5, True, 0)))


def test_a_result_that_comes_during_a_write_is_left_for_the_next() -> None:
    results = [result(0)]

    class Busy(Held):
        async def write(self, *given: Any) -> None:
            results.append(result(1))
            await super().write(*given)

    assert asyncio.run(journal_of(Busy()).write(results, {}, (), 9)) == 1
    assert len(results) == 2
