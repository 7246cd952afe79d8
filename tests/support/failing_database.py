"""A database of which one call fails: before it is made, or when it is made and nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from server.fairness.caller import CURRENT, SERVER
from server.storage.database.database import DatabaseUnavailable, Step
from tests.support.databases import class_of

MOMENTS = ["before", "after"]

_REFUSED = Step('SELECT 1 FROM "the test says so"')


_OF_THE_SERVER = {
    "ingestion of a file",
    "look at a dependency",
    "look for stored events",
    "purge of vector stores",
    "queue of ingestion",
    "response in the background",
    "responses in the background",
    "usage",
}
"""Tasks that work for callers now and then, whatever is asked for at the same time."""


class FailingDatabase:
    """Fails the call of that number; `calls` says how many there were.

    Where `tables` are named, what is about others alone is no call, and neither is what the server does by itself.
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

    def _is_about(self, *statements: str) -> bool:
        """Return whether a call counts."""
        task = asyncio.current_task()
        if CURRENT.get() == SERVER or (task is not None and task.get_name() in _OF_THE_SERVER):
            return False
        return not self._tables or any(table in statement for statement in statements for table in self._tables)

    def put_in(self, patch: pytest.MonkeyPatch, database: str) -> None:
        """Have all databases fail so that are of the kind of this one."""
        failing, kind = self, class_of(database)
        read, write = kind.read, kind.write

        async def failing_read(self: Any, statement: str, *values: Any) -> Any:
            if not failing._is_about(statement):
                return await read(self, statement, *values)
            failing.reach("before")
            found = await read(self, statement, *values)
            failing.reach("after")
            return found

        async def failing_write(self: Any, *steps: Step) -> None:
            if not failing._is_about(*(step.statement for step in steps)):
                await write(self, *steps)  # of usage, behind the request, or of the server's own work
                return
            failing.reach("before")
            await write(self, *failing.cut(steps))
            failing.reach("after")

        patch.setattr(kind, "read", failing_read)
        patch.setattr(kind, "write", failing_write)
