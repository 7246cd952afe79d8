"""The table of records: rows and the statements for them, without access checks, which `guarded` makes."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from policy.vocabulary import Origin, Principal
from server.fairness.places import Steps
from server.storage.database.database import Database, Overtaken, Row, Step, Value
from server.storage.database.migrate import check_name
from server.storage.records.body import Body, encoded
from server.storage.records.body_columns import INLINE, INLINE_LISTED, body_columns
from server.storage.records.list_statement import statement_of
from server.storage.records.record import Page, Position, Record
from server.storage.records.sql_filter import RowVerdict, SqlFilter

_HEAD: Final = (
    "id, parent, ordering, created_at, owner_principal, owner_issuer, access_attributes, origin, facet, expires_at, "
    "version"
)
_COLUMNS: Final = f"{_HEAD}, body"
_MOST_AT_ONCE: Final = 500
_AMONG: Final = {
    "sqlite": "id IN (SELECT value FROM json_each({}))",
    # An array, which PostgreSQL expects to be small, so that it fetches each row by its id.
    "postgresql": "id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({} AS jsonb))))",
}


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row as read: the columns that a question needs, and the record, whose body may be left in the database.

    The time to read or to parse a body would reveal to a caller without access that the record exists.
    """

    row: Row

    @property
    def owner(self) -> Principal | None:
        """The record's owner."""
        return _owner(*self.row[4:7])

    @property
    def ordering(self) -> int:
        """The record's place by age, which no other record with its id has."""
        ordering: int = self.row[2]
        return ordering

    @property
    def size(self) -> int:
        """Bytes of the record's body."""
        size: int = self.row[11]
        return size

    @property
    def id(self) -> str:
        """The record's id."""
        identity: str = self.row[0]
        return identity

    @property
    def parent(self) -> str | None:
        """The id of the record's parent."""
        parent: str | None = self.row[1]
        return parent

    @property
    def origin(self) -> Origin:
        """The record's origin."""
        return Origin(self.row[7])

    @property
    def facet(self) -> str:
        """The value that lists of its kind can be narrowed by."""
        facet: str = self.row[8]
        return facet

    @property
    def record(self) -> Record:
        """The whole record."""
        return _record(self.row)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a list: the records in it that are permitted or need a question.

    `passed` is the number of records that were looked at, and `end` the position of the last one, behind which the list
    goes on; None if it doesn't.
    """

    rows: tuple[tuple[StoredRecord, RowVerdict], ...]
    passed: int
    end: Position | None


class RecordTable:
    """The table `name` of a database; `server.storage.database.migrate.check_name` defines valid names."""

    def __init__(self, database: Database, name: str) -> None:
        check_name(name)
        self.database = database
        self.name = name
        listed, one, whole = (f"{_HEAD}, {body_columns(database.kind, most)}" for most in (INLINE_LISTED, INLINE, None))
        self._find_all = f'SELECT {listed} FROM "{name}" WHERE id'  # noqa: S608 - a checked name
        self._find = f'SELECT {one} FROM "{name}" WHERE id = ?1'  # noqa: S608 - as above
        self._whole = f'SELECT {whole} FROM "{name}" WHERE id'  # noqa: S608 - as above
        places = ", ".join(f"?{number}" for number in range(1, 14))
        self._any = f'SELECT 1 FROM "{name}" LIMIT 1'  # noqa: S608 - as above
        self._insert = f'INSERT INTO "{name}" ({_COLUMNS}, labels) VALUES ({places})'  # noqa: S608 - as above
        self._change = (
            f'UPDATE "{name}" SET body = ?2, labels = COALESCE(?3, labels), facet = ?4, expires_at = ?5, '  # noqa: S608 - as above
            "version = version + 1 WHERE id = ?1 AND ordering = ?7 AND version = ?6 RETURNING version"
        )
        self._remove = f'DELETE FROM "{name}" WHERE id = ?1 RETURNING id'  # noqa: S608 - as above
        self._remove_this = f'DELETE FROM "{name}" WHERE id = ?1 AND ordering = ?2 RETURNING id'  # noqa: S608 - as above
        self._remove_expired = f'DELETE FROM "{name}" WHERE id = ?1 AND expires_at <= ?2 RETURNING id'  # noqa: S608 - as above
        self._expired = f'SELECT id FROM "{name}" WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2'  # noqa: S608 - as above

    async def is_empty(self) -> bool:
        """Return whether the table has no record."""
        return not await self.database.read(self._any)

    async def find(self, identity: str) -> StoredRecord | None:
        """Return the row of that id; a body of more than `INLINE` bytes is left in the database."""
        if not _is_possible(identity):
            return None
        rows = await self.database.read(self._find, identity)
        return StoredRecord(rows[0]) if rows and _lasts(rows[0]) else None

    async def find_all(self, identities: Sequence[str]) -> list[StoredRecord]:
        """Return the rows of those ids that exist, in no order; an expired record counts as missing.

        Bodies of more than `INLINE_LISTED` bytes are left in the database.
        """
        return await self._all(self._find_all, identities, self.database.read)

    async def among(self, permitted: SqlFilter, identities: Sequence[str]) -> list[tuple[StoredRecord, RowVerdict]]:
        """Return the rows of these ids that are permitted or need a question, in no order, without their bodies."""
        ids = json.dumps([*filter(_is_possible, identities)])
        if permitted.outcomes == {RowVerdict.DENY}:
            return []
        values: list[Value] = [*permitted.parameters[: permitted.judging], ids, int(time.time())]
        given, now = (f"?{permitted.judging + place}" for place in (1, 2))
        statement = (
            f"SELECT {_HEAD}, 0, NULL, outcome FROM "  # noqa: S608 - a checked name
            f'(SELECT {_HEAD}, {permitted.verdict} AS outcome FROM "{self.name}" '
            f"WHERE {_AMONG[self.database.kind].format(given)} AND COALESCE(expires_at > {now}, TRUE)) AS seen "
            f"WHERE outcome <> '{RowVerdict.DENY}'"
        )
        rows = await self.database.scan(statement, *values)
        return [(StoredRecord(row[:-1]), RowVerdict(row[-1])) for row in rows]

    async def whole(self, records: Sequence[Record]) -> list[Record]:
        """Return these records with their bodies, in their order, in their present versions.

        One that is gone is left out, also where a new record has its id: the decision was about the former one.
        """
        missing = [record.id for record in records if not record.body.is_here]
        # Those of a page are megabytes, which other callers' short statements would wait for.
        find = self.database.scan if len(missing) > 1 else self.database.read
        found, steps = dict[tuple[str, int], Record](), Steps()
        for stored in await self._all(self._whole, missing, find):
            found[stored.id, stored.ordering] = stored.record
            await steps.rest()
        read = (record if record.body.is_here else found.get((record.id, record.ordering)) for record in records)
        return [record for record in read if record is not None]

    async def chosen(self, condition: str, *values: Value, limit: int) -> list[StoredRecord]:
        """Return up to `limit` rows with their bodies that meet a condition, oldest first, expired records too.

        The condition becomes part of the statement unquoted; it refers to `values` by their numbers.
        """
        where = f"{condition} ORDER BY ordering, id LIMIT ?{len(values) + 1}"
        select = f"{self._whole.removesuffix(' WHERE id')} WHERE {where}"
        return [StoredRecord(row) for row in await self.database.read(select, *values, limit)]

    async def _all(
        self, select: str, identities: Sequence[str], find: Callable[..., Awaitable[list[Row]]]
    ) -> list[StoredRecord]:
        wanted = [*filter(_is_possible, dict.fromkeys(identities))]
        found: list[Row] = []
        for first in range(0, len(wanted), _MOST_AT_ONCE):
            some = wanted[first : first + _MOST_AT_ONCE]
            places = ", ".join(f"?{number}" for number in range(1, len(some) + 1))
            found += await find(f"{select} IN ({places})", *some)
        return [StoredRecord(row) for row in found if _lasts(row)]

    def inserting(self, record: Record) -> Step:
        """Return the step that inserts the record; it raises AlreadyThere, and ParentGone."""
        return Step(self._insert, _values(record))

    def changing(self, record: Record, body: Mapping[str, Any], facet: str, expires_at: int | None) -> Step:
        """Return the step that stores the next version; it raises Overtaken if the record has changed since it was
        read.
        """
        stored = Body.of(body)
        values = (record.id, stored.text.decode(), stored.labels, facet, expires_at, record.version, record.ordering)
        return Step(self._change, values, Overtaken())

    def removing(self, identity: str, *, otherwise: Exception | None = None) -> Step:
        """Return the step that deletes the record and its parts; it raises `otherwise` if there is none."""
        return Step(self._remove, (identity,), otherwise)

    def removing_this(self, record: Record) -> Step:
        """Return the step that deletes this record, not a later one with its id; it raises Overtaken."""
        return Step(self._remove_this, (record.id, record.ordering), Overtaken())

    def removing_expired(self, identity: str, now: int) -> Step:
        """Return the step that deletes an expired record; it raises Overtaken if there is none."""
        return Step(self._remove_expired, (identity, now), Overtaken())

    async def expired(self, now: int, limit: int) -> list[str]:
        """Return the ids of expired records."""
        return [row[0] for row in await self.database.read(self._expired, now, limit)]

    async def page(self, permitted: SqlFilter, page: Page, window: int) -> Window:
        """Return up to `page.limit` of the next `window` records that may be permitted, in the page's order.

        Bodies of more than `INLINE_LISTED` bytes are left in the database.
        """
        possible = page.facet is None or _is_possible(page.facet)
        if not possible or permitted.outcomes == {RowVerdict.DENY}:
            return Window((), 0, None)
        statement, values = statement_of(self.database.kind, self.name, _HEAD, permitted, page, window)
        rows = await self.database.scan(statement, *values)
        looked: int = rows[-1][-1] if rows else 0
        # A window that isn't full is the last one, unless the limit has left out some of it.
        is_cut = len(rows) == page.limit
        end = Position(rows[-1][2], rows[-1][0]) if is_cut or (rows and looked == window) else None
        judged = [(StoredRecord(row[:-2]), RowVerdict(row[-2])) for row in rows]
        found = [(stored, verdict) for stored, verdict in judged if verdict is not RowVerdict.DENY]
        return Window(tuple(found[::-1] if page.is_backwards else found), len(rows) if is_cut else looked, end)


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
        encoded(attributes),
        record.origin.value,
        record.facet,
        record.expires_at,
        record.version,
        record.body.text.decode(),
        record.body.labels or "{}",
    )


def _is_possible(identity: str) -> bool:
    """Return whether an id can exist: PostgreSQL's texts can't hold NUL, so that none is stored anywhere."""
    return "\0" not in identity


def _lasts(row: Row) -> bool:
    """Return whether the row's record has not expired."""
    expires_at: int | None = row[9]
    return expires_at is None or expires_at > int(time.time())


def _record(row: Row) -> Record:
    identity, parent, ordering, created_at, _, _, _, origin, facet, expires_at, version, size, text = row
    return Record(
        identity,
        parent,
        ordering,
        created_at,
        _owner(*row[4:7]),
        Origin(origin),
        facet,
        expires_at,
        version,
        Body(text, size),
    )


@lru_cache(maxsize=64)
def _owner(identity: str | None, issuer: str, attributes: str) -> Principal | None:
    """Return the owner that the columns describe; lists ask for the same owners again and again."""
    if identity is None:
        return None
    return Principal(identity, issuer, {name: tuple(values) for name, values in json.loads(attributes).items()})


def size_of(body: Mapping[str, Any]) -> int:
    """Return the bytes that the body takes where it is stored."""
    return Body.of(body).size
