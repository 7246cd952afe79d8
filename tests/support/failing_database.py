"""A database of which one call fails: before it is made, or when it is made and nobody is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from server.storage.database.database import DatabaseUnavailable, Step
from tests.support.databases import class_of

MOMENTS = ["before", "after"]

_REFUSED = Step('SELECT 1 FROM "the test says so"')


class FailingDatabase:
    """Fails the call of that number; `calls` says how many there were.

    Where `tables` are named, what is about others alone is no call.
    """

    def __init__(self, number: int, moment: str, *tables: str) -> None:
        self.calls = 0
        self._tables = tables
        self._number = number
        self._moment = moment

    def reach(self, moment: str) -> None:
        """Raise DatabaseUnavailable if the time has come."""
        if moment == self._moment:
            self.calls += 1
            if self.calls == self._number:
                raise DatabaseUnavailable("the test says so")

    def cut(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps, up to the one at which the database fails."""
        for index in range(len(steps)):
            for moment, end in (("before", index), ("after", index + 1)):
                if moment == self._moment:
                    self.calls += 1
                    if self.calls == self._number:
                        return [*steps[:end], _REFUSED]
        return steps

    def put_in(self, patch: pytest.MonkeyPatch, database: str) -> None:
        """Have all databases fail so that are of the kind of this one."""
        failing, kind = self, class_of(database)
        read, write = kind.read, kind.write

        async def failing_read(self: Any, statement: str, *values: Any) -> Any:
            if failing._tables and not any(table in statement for table in failing._tables):
                return await read(self, statement, *values)
            failing.reach("before")
            found = await read(self, statement, *values)
            failing.reach("after")
            return found

        async def failing_write(self: Any, *steps: Step) -> None:
            if failing._tables and not any(table in step.statement for step in steps for table in failing._tables):
                await write(self, *steps)  # of usage, behind the request
                return
            failing.reach("before")
            await write(self, *failing.cut(steps))
            failing.reach("after")

        patch.setattr(kind, "read", failing_read)
        patch.setattr(kind, "write", failing_write)
