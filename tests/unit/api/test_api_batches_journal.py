"""The journal of a batch while its database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from server.api.batches import journal as journal_module
from server.api.batches.batch import new_body
from server.api.batches.body import CreateBatch
from server.api.batches.held import HeldBatch
from server.api.batches.journal import Journal
from server.api.batches.parts import BatchParts, Line
from server.api.batches.queue import Progress
from server.api.batches.results import Result
from server.fairness.shares import NoRoom
from server.quota.storage_limit import StorageExceeded, StorageLimit, Stored
from server.storage.database.database import DatabaseUnavailable
from server.storage.records.record import Draft, Record

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
    """The lists of lines, in a database that is away for the first of some questions."""

    def __init__(self, *faults: Exception) -> None:
        self._faults = [*faults]

    async def line(self, _record: Record, place: int) -> Line:
        """Return a line."""
        if self._faults:
            raise self._faults.pop(0)
        return Line(f"line-{place}", 0, 2, streams=False)

    def output(self, *_given: Any) -> None:
        """Return no step."""

    error = output


def stored(results: Sequence[Result], begun: Sequence[int], *faults: Exception) -> list[tuple[int, int | None]]:
    held = Held()
    journal = Journal(cast(HeldBatch, held), cast(BatchParts, Parts(*faults)), LIMIT)
    assert asyncio.run(journal.write(results, begun, (), 9)) == len(results)
    return held.stored


@pytest.mark.parametrize("fault", [DatabaseUnavailable("away"), NoRoom("reads", of_caller=False)])
def test_an_answer_is_stored_once_the_lines_beside_it_are_known(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0)
    [(size, limit)] = stored([Result(0, is_error=False, text=b"{}\n")], [1, 2], fault, fault)
    assert size == 3
    assert limit is not None
    assert 9_000 < limit < 10_000


def test_the_short_error_in_place_of_an_answer_is_stored_once_its_line_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0)
    [(size, limit)] = stored([Result(0, is_error=False, text=b"x" * 2000)], [], DatabaseUnavailable("away"))
    assert 100 < size < 1000
    assert limit is None
