"""Notes of files that go, kept elsewhere, so that what was made of a file goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from server.fairness.shares import NoRoom
from server.storage.database.database import Database, DatabaseUnavailable, Step


class FileDeletions:
    """Notes files that go in a database: in the transaction in which they go where it is theirs, else right after.

    `wake` is called once that is done.
    """

    def __init__(self, database: Database, steps: Callable[[str], Sequence[Step]], wake: Callable[[], None]) -> None:
        self._database = database
        self._steps = steps
        self._wake = wake

    def beside(self, file_id: str, database: Database) -> Sequence[Step]:
        """Return the steps for the transaction in which the file goes, which is one of that database."""
        return self._steps(file_id) if database is self._database else ()

    async def after(self, file_id: str, database: Database) -> None:
        """Note a file that has gone, where that wasn't done in its transaction; what fails is found by a later scan."""
        if database is not self._database:
            with suppress(DatabaseUnavailable, NoRoom):
                await self._database.write(*self._steps(file_id))
        self._wake()
