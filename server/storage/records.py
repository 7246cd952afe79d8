"""Records in one table: what one is, and the statements that reach it. Nothing here asks the policy: `guarded` does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from policy.vocabulary import Origin, Principal
from server.storage.database import Database, Row, Value, Writing
from server.storage.record_filter import RowVerdict, SqlFilter

Json: TypeAlias = dict[str, Any]

_COLUMNS: Final = (
    "id, parent, ordering, created_at, owner_principal, owner_issuer, access_attributes, origin, facet, expires_at, "
    "version, body"
)


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
    """What is to become a record: everything but its owner, which only a decision knows."""

    id: str
    body: Mapping[str, Any]
    parent: str | None = None
    facet: str = ""
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: at most `limit` records after `after`, of one parent, of one facet, newest first
    or oldest first. `matching` are members of the body's `metadata` that must be so.
    """

    limit: int
    after: Record | None = None
    before: Record | None = None
    newest_first: bool = True
    parent: str | None = None
    facet: str | None = None
    matching: tuple[tuple[str, str], ...] = ()


_last_ordering = 0


def next_ordering() -> int:
    """Microseconds since 1970, each greater than the last of this process."""
    global _last_ordering
    _last_ordering = max(_last_ordering + 1, time.time_ns() // 1000)
    return _last_ordering


class Records:
    """The table `name` of a database; the name comes from the configuration's shapes and is letters and digits."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name
        self._find = f"SELECT {_COLUMNS} FROM {name} WHERE id = ?1"  # noqa: S608 - a checked name
        self._insert = f"INSERT INTO {name} ({_COLUMNS}) VALUES ({', '.join(f'?{n}' for n in range(1, 13))})"  # noqa: S608
        self._change = (
            f"UPDATE {name} SET body = ?2, facet = ?3, expires_at = ?4, version = version + 1 "  # noqa: S608
            "WHERE id = ?1 AND version = ?5 RETURNING version"
        )
        self._remove = f"DELETE FROM {name} WHERE id = ?1 RETURNING id"  # noqa: S608
        self._expired = f"SELECT id FROM {name} WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2"  # noqa: S608

    async def find(self, identity: str) -> Record | None:
        """The record of that id."""
        rows = await self.database.read(self._find, identity)
        return _record(rows[0]) if rows else None

    async def insert(self, transaction: Writing, draft: Draft, owner: Principal | None) -> Record:
        """The new record; raises AlreadyThere, and ParentGone."""
        ordering = next_ordering()
        record = Record(
            draft.id,
            draft.parent,
            ordering,
            ordering // 1_000_000,
            owner,
            Origin.CREATED,
            draft.facet,
            draft.expires_at,
            1,
            dict(draft.body),
        )
        await transaction.run(self._insert, *_values(record))
        return record

    async def change(
        self, transaction: Writing, record: Record, body: Json, facet: str, expires_at: int | None
    ) -> int | None:
        """The new version; None if the record has changed or gone since it was read."""
        rows = await transaction.run(self._change, record.id, _encoded(body), facet, expires_at, record.version)
        return int(rows[0][0]) if rows else None

    async def remove(self, transaction: Writing, identity: str) -> bool:
        """Whether there was such a record; what belonged to it has gone with it."""
        return bool(await transaction.run(self._remove, identity))

    async def expired(self, now: int, limit: int) -> list[str]:
        """The ids of records whose time is over."""
        return [row[0] for row in await self.database.read(self._expired, now, limit)]

    async def page(self, permitted: SqlFilter, page: Page) -> list[tuple[Record, RowVerdict]]:
        """Up to `page.limit` records that are permitted or need a question of their own, in the page's order."""
        values: list[Value] = [*permitted.parameters]
        where = [f"({permitted.condition})"]

        def bound(value: Value) -> str:
            values.append(value)
            return f"?{len(values)}"

        if page.parent is not None:
            where.append(f"parent = {bound(page.parent)}")
        if page.facet is not None:
            where.append(f"facet = {bound(page.facet)}")
        where += [self._matching(bound(name), bound(value)) for name, value in page.matching]
        forwards = not page.newest_first
        for cursor, follows in ((page.after, forwards), (page.before, not forwards)):
            if cursor is not None:
                sign = ">" if follows else "<"
                where.append(f"(ordering, id) {sign} ({bound(cursor.ordering)}, {bound(cursor.id)})")
        # From the far end where only `before` is given: the records next to the cursor are wanted.
        backwards = page.before is not None and page.after is None
        direction = "ASC" if forwards is not backwards else "DESC"
        statement = (
            f"SELECT {_COLUMNS}, {permitted.verdict} FROM {self.name} WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY ordering {direction}, id {direction} LIMIT {bound(page.limit)}"
        )
        rows = await self.database.read(statement, *values)
        found = [(_record(row[:-1]), RowVerdict(row[-1])) for row in rows]
        return found[::-1] if backwards else found

    def _matching(self, name: str, value: str) -> str:
        if self.database.kind == "sqlite":
            # A path could not hold every name that a key of metadata may have.
            member = f"member.key = {name} AND member.value = {value}"
            return f"EXISTS (SELECT 1 FROM json_each(body, '$.metadata') AS member WHERE {member})"  # noqa: S608
        return f"(CAST(body AS json) -> 'metadata' ->> CAST({name} AS text)) = CAST({value} AS text)"


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
    )


def _record(row: Row) -> Record:
    identity, parent, ordering, created_at, owner, issuer, attributes, origin, facet, expires_at, version, body = row
    named = {name: tuple(values) for name, values in json.loads(attributes).items()}
    return Record(
        identity,
        parent,
        ordering,
        created_at,
        None if owner is None else Principal(owner, issuer, named),
        Origin(origin),
        facet,
        expires_at,
        version,
        json.loads(body),
    )


def _encoded(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
