"""The calls of tools that wait for an approval: each is used once, in whichever process, or ends by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.storage.database.database import Database, Overtaken, Step
from server.storage.database.migrate import bring_up_to_date, check_name

LIFETIME: Final = 24 * 3600
"""Seconds for which a call can be approved."""

MOST_WAITING: Final = 1000
"""Calls of one principal that wait for an approval; the oldest ones give way."""

SERIES: Final = "approvals"

_AT_ONCE: Final = 100
"""Rows that are over and go with one that comes."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits: a digest of what is to be done, and one of the tool as it was described then."""

    deed: str
    tool: str


class ApprovalTable:
    """The waiting calls in the table `name` of a database. Times are in seconds since 1970."""

    def __init__(self, database: Database, name: str) -> None:
        check_name(name)
        self.database = database
        self.name = name
        over = f'SELECT id FROM "{name}" WHERE until < ?1 LIMIT {_AT_ONCE}'  # noqa: S608 - a checked name
        self._forget = f'DELETE FROM "{name}" WHERE id IN ({over})'  # noqa: S608 - as above
        self._add = f'INSERT INTO "{name}" (id, owner, deed, tool, until) VALUES (?1, ?2, ?3, ?4, ?5)'  # noqa: S608 - as above
        newest_first = f'SELECT id FROM "{name}" WHERE owner = ?1 ORDER BY until DESC, id'  # noqa: S608 - as above
        old = f"{newest_first} LIMIT {_AT_ONCE} OFFSET {MOST_WAITING}"
        self._limit = f'DELETE FROM "{name}" WHERE id IN ({old})'  # noqa: S608 - as above
        self._find = f'SELECT deed, tool FROM "{name}" WHERE id = ?1 AND owner = ?2 AND until >= ?3'  # noqa: S608 - as above
        self._use = f'DELETE FROM "{name}" WHERE id = ?1 AND owner = ?2 AND until >= ?3 RETURNING id'  # noqa: S608 - as above

    async def prepare(self) -> None:
        """Make the table, or bring it up to date; raises DatabaseUnavailable and SchemaMismatch."""
        await bring_up_to_date(self.database, self.name, series=SERIES)

    async def add(self, identity: str, owner: str, call: Waiting, now: int) -> None:
        """Let a call wait; raises DatabaseUnavailable and NoRoom."""
        await self.database.write(
            Step(self._forget, (now,)),
            Step(self._add, (identity, owner, call.deed, call.tool, now + LIFETIME)),
            Step(self._limit, (owner,)),
        )

    async def find(self, identity: str, owner: str, now: int) -> Waiting | None:
        """Return the call of that owner if it still waits; raises DatabaseUnavailable and NoRoom."""
        rows = await self.database.read(self._find, identity, owner, now)
        return Waiting(*rows[0]) if rows else None

    async def use(self, identity: str, owner: str, now: int) -> bool:
        """Return whether the call still waited, which it never does again.

        Raises DatabaseUnavailable and NoRoom; after InDoubt it may not be made.
        """
        try:
            await self.database.write(Step(self._use, (identity, owner, now), Overtaken()))
        except Overtaken:
            return False
        return True
