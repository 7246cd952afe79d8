"""The interface between records and their database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from server.storage.database.dialect import Dialect

Row: TypeAlias = tuple[Any, ...]
Value: TypeAlias = str | int | None


class DatabaseUnavailable(Exception):
    """Raised if the database can't be used now; nothing was changed. The message is for the operator's log."""


class InDoubt(DatabaseUnavailable):
    """Raised if the connection was lost at the commit, so that the change may or may not have been made."""


class Overlong(Exception):
    """Raised if the statement of a list has run for as long as one may."""

    def __init__(self) -> None:
        super().__init__("the database takes too long for this list; ask for fewer with `limit`, or try again later")


class AlreadyThere(Exception):
    """Raised if a record with that id exists, under any owner; nothing was changed."""


class ParentGone(Exception):
    """Raised if the record's parent no longer exists; nothing was changed."""


class Overtaken(Exception):
    """Raised if a record has changed or gone since it was read; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of a transaction, the values to bind, and the exception for a statement that returns no row.

    A transaction is known completely before it begins, so that it never waits while others wait for it, and can be
    retried.
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
        """The database's spelling of a record filter."""
        ...

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`: the spelling of its migrations."""
        ...

    async def start(self) -> None:
        """Open the database, and create its directory; raise DatabaseUnavailable."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a short statement that changes nothing; it reads every committed transaction.

        Raises NoRoom, and DatabaseUnavailable.
        """
        ...

    async def scan(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a statement of a list, which may look at many rows.

        It has connections of its own, so that no `read` waits for it, and callers take turns. It ends if its task is
        cancelled. Raises NoRoom, Overlong after a limit of time, and DatabaseUnavailable.
        """
        ...

    async def write(self, *steps: Step) -> None:
        """Run all steps, in this order and in one transaction, or none of them.

        Raises the exceptions of the steps, AlreadyThere, ParentGone, NoRoom, DatabaseUnavailable, and InDoubt.
        """
        ...

    async def script(self, statements: str) -> None:
        """Run several statements without parameters, in a transaction of their own; raise DatabaseUnavailable."""
        ...
