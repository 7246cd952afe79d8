"""The seam between records and the database that keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from server.storage.database.dialect import Dialect

Row: TypeAlias = tuple[Any, ...]
Value: TypeAlias = str | int | None


class DatabaseUnavailable(Exception):
    """The database can't be used now, and nothing was changed; the message is for the operator's log."""


class InDoubt(DatabaseUnavailable):
    """The database went away when it was told to make a change, and nobody knows whether it has."""


class AlreadyThere(Exception):
    """There is a record of that id already, whoever's it is; nothing was changed."""


class ParentGone(Exception):
    """What the record would belong to is not there any more; nothing was changed."""


class Overtaken(Exception):
    """A record is not any more what it was known to be, or not there; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of a transaction, the values to bind, and what is raised where it returns no row.

    All that there is to a transaction is known before it begins, so that it never waits for anybody while others wait
    for it, and may be tried again.
    """

    statement: str
    values: tuple[Value, ...] = ()
    otherwise: Exception | None = None


class Database(Protocol):
    """One database. Statements are written with numbered parameters, `?1`, in every dialect; whatever comes from a
    request or the policy is bound, and never part of a statement. Belongs to the event loop that starts it.
    """

    @property
    def dialect(self) -> Dialect:
        """How this database spells a record filter."""
        ...

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`: which spelling of the migrations it takes."""
        ...

    async def start(self) -> None:
        """Open the database, and make its directory; raises DatabaseUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """The rows of a statement that changes nothing; sees every transaction that has ended."""
        ...

    async def write(self, *steps: Step) -> None:
        """Take all of these steps, in this order and in one transaction, or none of them.

        Raises what a step raises otherwise, AlreadyThere, ParentGone, DatabaseUnavailable, and InDoubt.
        """
        ...

    async def script(self, statements: str) -> None:
        """Several statements without parameters, in a transaction of their own; raises DatabaseUnavailable."""
        ...
