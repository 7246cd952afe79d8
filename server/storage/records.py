"""Records in one table: what one is, and the statements that reach it. Nothing here asks the policy: `guarded` does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from policy.vocabulary import Origin, Principal
from server.storage.database import Database, Row, Value, Writing
from server.storage.record_filter import RowVerdict, SqlFilter
from server.storage.schema import check_name
from server.storage.selecting import statement_of

Json: TypeAlias = dict[str, Any]

_COLUMNS: Final = (
    "id, parent, ordering, created_at, owner_principal, owner_issuer, access_attributes, origin, facet, expires_at, "
    "version, body"
)
_MOST_AT_ONCE: Final = 500
_AT_A_TIME: Final = 256 * 1024
"""Characters of bodies that are read before others have their turn."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    `created_at` and `expires_at` are in seconds since 1970; `ordering` sorts by age, those of one second too. `parent`
    is the id of the record that it belongs to, and `facet` what lists of its kind can be narrowed by (the purpose of a
    file). `version` counts its changes.
    """

    id: str
    parent: str | None
    ordering: int
    created_at: int
    owner: Principal | None
    origin: Origin
    facet: str
    expires_at: int | None
    version: int
    body: Json


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to become a record: everything but its owner, which only a decision knows, and its age.

    `lifetime` is how many seconds it exists; None is for good.
    """

    id: str
    body: Mapping[str, Any]
    parent: str | None = None
    facet: str = ""
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: at most `limit` records after `after` or before `before`, of one parent, of one
    facet, newest first or oldest first. `matching` are members of the body's `metadata` that must be so.
    """

    limit: int
    after: Record | None = None
    before: Record | None = None
    newest_first: bool = True
    parent: str | None = None
    facet: str | None = None
    matching: tuple[tuple[str, str], ...] = ()

    @property
    def is_backwards(self) -> bool:
        """Whether it is the records next to `before` that are wanted."""
        return self.before is not None and self.after is None


_last_ordering = 0


def next_ordering() -> int:
    """Microseconds since 1970, each greater than the last of this process."""
    global _last_ordering
    _last_ordering = max(_last_ordering + 1, time.time_ns() // 1000)
    return _last_ordering


@dataclass(frozen=True, slots=True)
class Stored:
    """A row as it was found: what a question about it needs, and the record once the answer is yes.

    What the record holds is read no earlier: how long that takes would tell a stranger that it is there.
    """

    row: Row

    @property
    def id(self) -> str:
        """The record's id."""
        identity: str = self.row[0]
        return identity

    @property
    def parent(self) -> str | None:
        """The id of the record that it belongs to."""
        parent: str | None = self.row[1]
        return parent

    @property
    def owner(self) -> Principal | None:
        """Whose it is."""
        return _owner(*self.row[4:7])

    @property
    def origin(self) -> Origin:
        """Where it comes from."""
        return Origin(self.row[7])

    @property
    def facet(self) -> str:
        """What lists of its kind can be narrowed by."""
        facet: str = self.row[8]
        return facet

    @property
    def expires_at(self) -> int | None:
        """When its time is over."""
        expires_at: int | None = self.row[9]
        return expires_at

    @property
    def record(self) -> Record:
        """All of it."""
        return _record(self.row)


class Records:
    """The table `name` of a database; `server.storage.schema.check_name` says which names there are."""

    def __init__(self, database: Database, name: str) -> None:
        check_name(name)
        self.database = database
        self.name = name
        self._select = f'SELECT {_COLUMNS} FROM "{name}" WHERE id'  # noqa: S608 - a checked name
        places = ", ".join(f"?{number}" for number in range(1, 14))
        self._any = f'SELECT 1 FROM "{name}" LIMIT 1'  # noqa: S608 - likewise
        self._insert = f'INSERT INTO "{name}" ({_COLUMNS}, labels) VALUES ({places})'  # noqa: S608 - likewise
        self._change = (
            f'UPDATE "{name}" SET body = ?2, labels = ?3, facet = ?4, expires_at = ?5, version = version + 1 '  # noqa: S608 - likewise
            "WHERE id = ?1 AND ordering = ?7 AND version = ?6 RETURNING version"
        )
        self._remove = f'DELETE FROM "{name}" WHERE id = ?1 RETURNING id'  # noqa: S608 - likewise
        self._remove_this = f'DELETE FROM "{name}" WHERE id = ?1 AND ordering = ?2 RETURNING id'  # noqa: S608 - likewise
        self._remove_expired = f'DELETE FROM "{name}" WHERE id = ?1 AND expires_at <= ?2 RETURNING id'  # noqa: S608 - likewise
        self._expired = f'SELECT id FROM "{name}" WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2'  # noqa: S608 - likewise

    async def is_empty(self) -> bool:
        """Whether there is no record at all."""
        return not await self.database.read(self._any)

    async def find(self, identity: str) -> Stored | None:
        """The row of that id."""
        return next(iter(await self.find_all([identity])), None)

    async def find_all(self, identities: Sequence[str]) -> list[Stored]:
        """The rows of those ids that there are, in no order; a record whose time is over is none."""
        # PostgreSQL knows no NUL, so no record is called so anywhere.
        wanted = [identity for identity in dict.fromkeys(identities) if "\0" not in identity]
        found = []
        for first in range(0, len(wanted), _MOST_AT_ONCE):
            some = wanted[first : first + _MOST_AT_ONCE]
            places = ", ".join(f"?{number}" for number in range(1, len(some) + 1))
            found += [Stored(row) for row in await self.database.read(f"{self._select} IN ({places})", *some)]
        now = int(time.time())
        return [row for row in found if row.expires_at is None or row.expires_at > now]

    async def insert(self, transaction: Writing, draft: Draft, owner: Principal | None) -> Record:
        """The new record; raises AlreadyThere, and ParentGone."""
        ordering = next_ordering()
        created_at = ordering // 1_000_000
        record = Record(
            draft.id,
            draft.parent,
            ordering,
            created_at,
            owner,
            Origin.CREATED,
            draft.facet,
            None if draft.lifetime is None else created_at + draft.lifetime,
            1,
            dict(draft.body),
        )
        await transaction.run(self._insert, *_values(record))
        return record

    async def change(
        self, transaction: Writing, record: Record, body: Json, facet: str, expires_at: int | None
    ) -> int | None:
        """The new version; None if the record has changed or gone since it was read."""
        rows = await transaction.run(
            self._change, record.id, _encoded(body), _labels(body), facet, expires_at, record.version, record.ordering
        )
        return int(rows[0][0]) if rows else None

    async def remove(self, transaction: Writing, identity: str) -> bool:
        """Whether there was such a record; what belonged to it has gone with it."""
        return bool(await transaction.run(self._remove, identity))

    async def remove_this(self, transaction: Writing, record: Record) -> bool:
        """The same for this very record, and not for another one that has got its id since."""
        return bool(await transaction.run(self._remove_this, record.id, record.ordering))

    async def remove_expired(self, transaction: Writing, identity: str, now: int) -> bool:
        """Whether there was such a record whose time was over; what belonged to it has gone with it."""
        return bool(await transaction.run(self._remove_expired, identity, now))

    async def expired(self, now: int, limit: int) -> list[str]:
        """The ids of records whose time is over."""
        return [row[0] for row in await self.database.read(self._expired, now, limit)]

    async def page(self, permitted: SqlFilter, page: Page) -> list[tuple[Record, RowVerdict]]:
        """Up to `page.limit` records that are permitted or need a question of their own, in the page's order."""
        statement, values = statement_of(self.database.kind, self.name, _COLUMNS, permitted, page)
        found, size = [], 0
        for row in await self.database.read(statement, *values):
            found.append((_record(row[:-1]), RowVerdict(row[-1])))
            size += len(row[-2])
            if size > _AT_A_TIME:
                size = 0
                await asyncio.sleep(0)
        return found[::-1] if page.is_backwards else found


def _values(record: Record) -> tuple[Value, ...]:
    owner = record.owner
    attributes = {} if owner is None else {name: list(values) for name, values in owner.attributes.items()}
    return (
        record.id,
        record.parent,
        record.ordering,
        record.created_at,
        None if owner is None else owner.id,
        None if owner is None else owner.issuer,
        _encoded(attributes),
        record.origin.value,
        record.facet,
        record.expires_at,
        record.version,
        _encoded(record.body),
        _labels(record.body),
    )


def _record(row: Row) -> Record:
    identity, parent, ordering, created_at, owner, issuer, attributes, origin, facet, expires_at, version, body = row
    return Record(
        identity,
        parent,
        ordering,
        created_at,
        _owner(owner, issuer, attributes),
        Origin(origin),
        facet,
        expires_at,
        version,
        json.loads(body),
    )


def _owner(identity: str | None, issuer: str, attributes: str) -> Principal | None:
    if identity is None:
        return None
    return Principal(identity, issuer, {name: tuple(values) for name, values in json.loads(attributes).items()})


def _labels(body: Mapping[str, Any]) -> str:
    """What lists can be narrowed by, on its own: a body may be megabytes that nobody wants to look through."""
    return _encoded(body.get("metadata") or {})


def _encoded(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
