"""The seam between records and the database that keeps them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

from server.storage.record_filter import Dialect

Row: TypeAlias = tuple[Any, ...]
Value: TypeAlias = str | int | None


class DatabaseUnavailable(Exception):
    """The database can't be used now, and nothing was changed; the message is for the operator's log."""


class AlreadyThere(Exception):
    """There is a record of that id already, whoever's it is; nothing was changed."""


class ParentGone(Exception):
    """What the record would belong to is not there any more; nothing was changed."""


class Writing(Protocol):
    """One transaction: all of its statements take effect, or none."""

    async def run(self, statement: str, *values: Value) -> list[Row]:
        """The rows that the statement returns; raises AlreadyThere, ParentGone and DatabaseUnavailable."""
        ...


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

    def writing(self) -> AbstractAsyncContextManager[Writing]:
        """A transaction; leaving it by an exception takes everything in it back. Raises DatabaseUnavailable."""
        ...

    async def script(self, statements: str) -> None:
        """Several statements without parameters, in a transaction of their own; raises DatabaseUnavailable."""
        ...
