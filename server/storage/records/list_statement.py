"""SQL for lists: the newest or oldest permitted records of one table, in the order of an index.

A statement looks at a window: the next records in the list's order that may be permitted, at most as many as its limit
says. Indexes that have that order yield their positions, one for each alternative of a filter, so that neither the
number of records of others nor that of the caller's own counts; then each record of the window is judged. A list that
finds too few in a window goes on behind it, in another statement.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from server.storage.database.database import Value
from server.storage.database.dialect import POSTGRESQL, SQLITE, Dialect
from server.storage.records.body_columns import INLINE_LISTED, body_columns
from server.storage.records.sql_filter import RowVerdict, Shared, SqlFilter

if TYPE_CHECKING:
    from server.storage.records.record import Page

_AGE: Final = "ordering + 0"
"""The expression in the index of all records by age. A statement that orders by `ordering` itself can't use that index
to walk through all records in search of one owner's."""

_DIALECTS: Final = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
_BY_PARENT: Final = {
    # Where most records have one parent, SQLite expects the same of every other parent.
    "sqlite": ' INDEXED BY "{}_by_parent"',
    "postgresql": "",
}
_AMONG: Final = {
    "sqlite": "id IN (SELECT id FROM picked)",
    # An array, which PostgreSQL expects to be small, so that it fetches each row by its id.
    "postgresql": "id = ANY (ARRAY(SELECT id FROM picked))",
}
_LABELLED: Final = {
    "sqlite": "EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = {} AND label.value = {})",
    "postgresql": "(CAST(labels AS jsonb) ->> CAST({} AS text)) = CAST({} AS text)",
}
_FARTHEST: Final = {"DESC": "-9223372036854775808", "ASC": "9223372036854775807"}


def statement_of(
    kind: str, table: str, columns: str, permitted: SqlFilter, page: Page, window: int
) -> tuple[str, list[Value]]:
    """Return the statement for that kind of database, and the values to bind.

    It returns up to `page.limit` records of the next `window` ones: `columns`, the size of the body and a small body,
    the filter's verdict and the number of records in the window. The window's last record is always returned if the
    limit allows; with the verdict `deny` if it is not permitted. `table` and `columns` become part of the statement
    unquoted.
    """
    found = _Statement(kind, table, permitted, page, window)
    select = (
        f"WITH picked(place, id) AS MATERIALIZED ({found.picked()}) "  # noqa: S608 - a checked name
        f"SELECT {columns}, {body_columns(kind, INLINE_LISTED)}, outcome, "
        f"(SELECT count(*) FROM picked) FROM (SELECT {columns}, body, {found.outcome()} AS outcome "
        f'FROM "{table}" WHERE {_AMONG[kind]}) AS seen '
        f"WHERE outcome <> '{RowVerdict.DENY}' OR id = ({found.last()}) "
        f"ORDER BY ordering {found.direction}, id {found.direction} LIMIT {found.bound(page.limit)}"
    )
    return select, found.values


class _Statement:
    """The parts of one statement; each adds the values that it refers to."""

    def __init__(self, kind: str, table: str, permitted: SqlFilter, page: Page, window: int) -> None:
        self.values: list[Value] = [*permitted.parameters]
        self.direction = "DESC" if page.newest_first is not page.is_backwards else "ASC"
        self._kind = kind
        self._dialect: Dialect = _DIALECTS[kind]
        self._table = table
        self._permitted = permitted
        self._page = page
        if page.parent is not None:
            # PostgreSQL refuses a parameter that nothing refers to.
            del self.values[permitted.judging :]
        self._between = [
            (sign, self.bound(cursor.ordering), self.bound(cursor.id))
            for cursor, sign in ((page.after, "<>"[not page.newest_first]), (page.before, "<>"[page.newest_first]))
            if cursor is not None
        ]
        self._window = self.bound(window)

    def bound(self, value: Value) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"?{len(self.values)}"

    def picked(self) -> str:
        """Return the statement for the positions of the window."""
        permitted, page = self._permitted, self._page
        if page.parent is not None:
            return self._positions("ordering", f"parent = {self.bound(page.parent)}", _BY_PARENT[self._kind])
        parts = [self._positions("ordering", candidate) for candidate in permitted.candidates]
        parts += [self._shared(share) for share in permitted.shares]
        if len(parts) < 2:
            return parts[0] if parts else self._positions(_AGE)
        every = " UNION ".join(f"SELECT place, id FROM ({part}) AS part{index}" for index, part in enumerate(parts))  # noqa: S608 - a checked name
        return f"SELECT place, id FROM ({every}) AS every {self._ordered('place', 'id')}"  # noqa: S608 - as above

    def outcome(self) -> str:
        """Return the expression for the verdict on a record, `deny` where it is not of the requested ones."""
        page, bound = self._page, self.bound
        where = [f"COALESCE(expires_at > {bound(int(time.time()))}, TRUE)"]
        if page.facet is not None:
            where.append(f"facet = {bound(page.facet)}")
        where += [_LABELLED[self._kind].format(bound(name), bound(value)) for name, value in page.matching]
        return f"CASE WHEN {_all(*where)} THEN {self._permitted.verdict} ELSE '{RowVerdict.DENY}' END"

    def last(self) -> str:
        """Return the statement for the id of the window's last record."""
        back = "ASC" if self.direction == "DESC" else "DESC"
        return f"SELECT id FROM picked ORDER BY place {back}, id {back} LIMIT 1"  # noqa: S608 - no user's text

    def _positions(self, age: str, condition: str = "TRUE", index: str = "") -> str:
        where = _all(condition, *self._after(age, "id"))
        source = f'"{self._table}"{index.format(self._table)}'
        return f"SELECT {age} AS place, id FROM {source} WHERE {where} {self._ordered(age, 'id')}"  # noqa: S608 - a checked name

    def _shared(self, share: Shared) -> str:
        """Return the positions of records whose owners held one of the values: of each value the next ones."""
        shares, name = f'"{self._table}$shares"', self._dialect.abridged.format(share.attribute)
        # With the value of every record whose owner held too many.
        held = f"{self._dialect.values.format(share.values)} UNION SELECT ''"
        where = _all(f"attribute = {name} AND value = held", *self._after("ordering", "record"))
        ordered = self._ordered("ordering", "record")
        if self._kind == "postgresql":
            each = f"SELECT ordering, record FROM {shares} WHERE {where} {ordered}"  # noqa: S608 - as above
            source = f"({held}) AS given CROSS JOIN LATERAL ({each}) AS one"
        else:
            # SQLite has no LATERAL: the last one that is needed limits a range of the index.
            end = f"SELECT ordering FROM {shares} AS ends WHERE {where} {ordered.removesuffix(self._window)}1"  # noqa: S608 - as above
            reach = f"COALESCE(({end} OFFSET {self._window} - 1), {_FARTHEST[self.direction]})"
            sign = ">=" if self.direction == "DESC" else "<="
            source = f"({held}) AS given CROSS JOIN {shares} AS one WHERE {where} AND ordering {sign} {reach}"
        return f"SELECT DISTINCT ordering AS place, record AS id FROM {source} {self._ordered('place', 'id')}"  # noqa: S608 - as above

    def _after(self, age: str, identity: str) -> list[str]:
        """Return the conditions for positions between the cursors."""
        where = []
        for sign, ordering, last in self._between:
            # SQLite finds the place of the second condition in an index of the age's expression, but not of the first.
            where += [f"({age}, {identity}) {sign} ({ordering}, {last})", f"{age} {sign}= {ordering}"]
        return where

    def _ordered(self, age: str, identity: str) -> str:
        return f"ORDER BY {age} {self.direction}, {identity} {self.direction} LIMIT {self._window}"


def _all(*conditions: str) -> str:
    return " AND ".join(f"({condition})" for condition in conditions)
