"""A database of which one call fails: before it is made, or when it is made and nobody is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.storage.database import DatabaseUnavailable
from server.storage.postgres import PostgresDatabase
from server.storage.sqlite import SqliteDatabase

MOMENTS = ["before", "after"]


class FailingDatabase:
    """Fails the call of that number; `calls` says how many there were."""

    def __init__(self, number: int, moment: str) -> None:
        self.calls = 0
        self._number = number
        self._moment = moment

    def reach(self, moment: str) -> None:
        """Raise DatabaseUnavailable if the time has come."""
        if moment == self._moment:
            self.calls += 1
            if self.calls == self._number:
                raise DatabaseUnavailable("the test says so")

    def put_in(self, patch: pytest.MonkeyPatch, *, postgres: bool) -> None:
        """Have all databases of that kind fail so."""
        failing, kind = self, PostgresDatabase if postgres else SqliteDatabase
        read, writing = kind.read, kind.writing

        async def failing_read(self: Any, statement: str, *values: Any) -> Any:
            failing.reach("before")
            found = await read(self, statement, *values)
            failing.reach("after")
            return found

        @asynccontextmanager
        async def failing_writing(self: Any) -> AsyncIterator[Any]:
            failing.reach("before")
            async with writing(self) as transaction:
                yield _Transaction(transaction, failing)
            failing.reach("after")

        patch.setattr(kind, "read", failing_read)
        patch.setattr(kind, "writing", failing_writing)


class _Transaction:
    def __init__(self, transaction: Any, failing: FailingDatabase) -> None:
        self._transaction = transaction
        self._failing = failing

    async def run(self, statement: str, *values: Any) -> Any:
        self._failing.reach("before")
        found = await self._transaction.run(statement, *values)
        self._failing.reach("after")
        return found
