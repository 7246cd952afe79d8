"""SQL for lists: the newest or oldest permitted records of one table, in the order of an index.

The cost of a list must depend on its page only, however many records of others there are. For "mine or unowned, newest
first" a database would sort all of mine, or walk through everyone's. So each alternative of a filter is a subquery with
its own order and limit, and the page is taken from their results.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from server.storage.database.database import Value
from server.storage.records.sql_filter import SqlFilter

if TYPE_CHECKING:
    from server.storage.records.record import Page

_AGE: Final = "ordering + 0"
"""The expression in the index of all records by age. A statement that orders by `ordering` itself can't use that index
to walk through all records in search of one owner's."""

_BY_PARENT: Final = {
    # Where most records have one parent, SQLite expects the same of every other parent.
    "sqlite": ' INDEXED BY "{}_by_parent"',
    "postgresql": "",
}
_AMONG: Final = {
    "sqlite": "id IN ({})",
    # An array, which PostgreSQL expects to be small, so that it fetches each row by its id.
    "postgresql": "id = ANY (ARRAY({}))",
}
_LABELLED: Final = {
    "sqlite": "EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = {} AND label.value = {})",
    "postgresql": "(CAST(labels AS jsonb) ->> CAST({} AS text)) = CAST({} AS text)",
}


def statement_of(kind: str, table: str, columns: str, permitted: SqlFilter, page: Page) -> tuple[str, list[Value]]:
    """Return the statement for that kind of database, and the values to bind; its last column is the filter's verdict.

    `table` and `columns` become part of it unquoted.
    """
    values: list[Value] = [*permitted.parameters]
    candidates = permitted.candidates if page.parent is None else ()
    age = "ordering" if page.parent is not None or candidates else _AGE
    where = _narrowed(kind, page, age, values)
    # Written so that no index fits it: the index of the parent, or of a candidate, must be used.
    where.append(f"({permitted.condition}) IS TRUE")
    direction = "DESC" if page.newest_first is not page.is_backwards else "ASC"
    end = f"ORDER BY {age} {direction}, id {direction} LIMIT {_bound(page.limit, values)}"
    select = f'SELECT {columns}, {permitted.verdict} FROM "{table}"'  # noqa: S608 - a checked name
    if page.parent is not None:
        select += _BY_PARENT[kind].format(table)
    if len(candidates) < 2:
        return f"{select} WHERE {_all(*candidates, *where)} {end}", values
    parts = [f"{_all(candidate, *where)} {end}" for candidate in candidates]
    ids = " UNION ALL ".join(
        f'SELECT id FROM (SELECT id FROM "{table}" WHERE {part}) AS part{number}'  # noqa: S608 - as above
        for number, part in enumerate(parts)
    )
    return f"{select} WHERE {_AMONG[kind].format(ids)} {end}", values


def _narrowed(kind: str, page: Page, age: str, values: list[Value]) -> list[str]:
    """Return the conditions on a record other than its permission; values to bind are added to `values`."""
    # Also written so that no index fits it.
    where = [f"COALESCE(expires_at > {_bound(int(time.time()), values)}, TRUE)"]
    if page.parent is not None:
        where.append(f"parent = {_bound(page.parent, values)}")
    if page.facet is not None:
        where.append(f"facet = {_bound(page.facet, values)}")
    where += [_LABELLED[kind].format(_bound(name, values), _bound(value, values)) for name, value in page.matching]
    for cursor, sign in ((page.after, "<>"[not page.newest_first]), (page.before, "<>"[page.newest_first])):
        if cursor is not None:
            # SQLite finds the place of the second condition in an index of the age's expression, but not of the first.
            where.append(f"({age}, id) {sign} ({_bound(cursor.ordering, values)}, {_bound(cursor.id, values)})")
            where.append(f"{age} {sign}= {_bound(cursor.ordering, values)}")
    return where


def _bound(value: Value, values: list[Value]) -> str:
    values.append(value)
    return f"?{len(values)}"


def _all(*conditions: str) -> str:
    return " AND ".join(f"({condition})" for condition in conditions)
