"""Reports of usage: the sums of what the policy lets a caller read, grouped and in pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from policy.vocabulary import Action, Origin, Principal, Resource
from server.authz.listing import Listing
from server.authz.request_authorization import Gate
from server.storage.database.database import Database, Row, Value
from server.storage.records.list_steps import MOST_ASKED, ListTooLong
from server.storage.records.sql_filter import RowVerdict, SqlFilter, compile_filter
from server.storage.usage.table import NUMBERS, UsageTable
from server.storage.usage.tally import Spent

KIND: Final = "usage"
"""The type of the resource, in rules: `usage::ISSUER::ID`."""

COLUMNS: Final = {
    "principal": "seen.id",
    "team": "spent.team",
    "model": "spent.model",
    "provider": "spent.provider",
    "day": "spent.day",
}
"""What sums can be grouped by, with the column of each."""

_ASKED_AT_ONCE: Final = 500
_EVERYTHING: Final = SqlFilter(f"'{RowVerdict.PERMIT}'", "1 = 1", (), frozenset({RowVerdict.PERMIT}))


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A part of a report by one of `COLUMNS`: the days from `first` on, in groups between `after` and `before`.

    `limit` is the most groups; None is no limit.
    """

    by: str
    first: int
    limit: int | None = None
    descending: bool = False
    after: str | int | None = None
    before: str | int | None = None

    @property
    def is_backwards(self) -> bool:
        """True if the page ends before `before`."""
        return self.before is not None and self.after is None


@dataclass(frozen=True, slots=True)
class Group:
    """The sums of one group: `key` is its name, or its day. A principal has an id and an issuer, unless it is none."""

    key: str | int
    principal: str | None
    issuer: str | None
    spent: Spent


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Groups in their order, and whether there are more."""

    groups: tuple[Group, ...]
    has_more: bool


class UsageReports:
    """Reports of `table` for callers that pass their gate: the sums of the accounts that each of them may read.

    Besides what its methods name, they raise PolicyUnavailable, DatabaseUnavailable, NoRoom and Overlong.
    """

    def __init__(self, table: UsageTable) -> None:
        self._table = table

    async def page(self, gate: Gate, query: UsageQuery) -> UsagePage:
        """Return a page of the sums of what the caller may read; raises ListTooLong."""
        async with gate.listing(Action.READ, KIND) as listing:
            permitted = compile_filter(listing.permit.filter, self._table.database.dialect)
            if permitted.outcomes == {RowVerdict.DENY}:
                return UsagePage((), has_more=False)
            asked = await self._asked(listing, permitted, query.first)
            groups, count = await _groups(self._table, query, permitted, asked)
            listing.permitted_by_filter(max(0, count - len(asked)))
            return _page(groups, query)

    async def _asked(self, listing: Listing, permitted: SqlFilter, first: int) -> list[str]:
        """Return the accounts that the filter leaves undecided and a question permits."""
        if RowVerdict.ASK not in permitted.outcomes:
            return []
        found, after, count = list[str](), "", 0
        while True:
            rows = await self._table.database.scan(
                _undecided(self._table.name, permitted), *permitted.parameters, after, first
            )
            resources = [_resource(row) for row in rows]
            # A principal may have several accounts of its name: each permit is for the resource that was asked about.
            kept = {id(permit.resource) for permit in await listing.readable(resources)} if rows else set()
            found += [row[0] for row, resource in zip(rows, resources, strict=True) if id(resource) in kept]
            if len(rows) < _ASKED_AT_ONCE:
                return found
            after, count = rows[-1][0], count + len(rows)
            if count >= MOST_ASKED:
                raise ListTooLong(count, "a later `since` passes over fewer")


async def whole_report(table: UsageTable, query: UsageQuery) -> tuple[Group, ...]:
    """Return the sums of all accounts, for the operator; raises DatabaseUnavailable, NoRoom and Overlong."""
    groups, _ = await _groups(table, query, _EVERYTHING, ())
    return groups


async def _groups(
    table: UsageTable, query: UsageQuery, permitted: SqlFilter, asked: Sequence[str]
) -> tuple[tuple[Group, ...], int]:
    """Return up to one group more than the limit, in the order of the statement, and the number of accounts seen."""
    statement, values = _statement(table.database, table.name, query, permitted, asked)
    rows = await table.database.scan(statement, *values)
    groups = tuple(Group(row[0], row[1], row[2], Spent(*row[3:-1])) for row in rows)
    return groups, rows[0][-1] if rows else 0


def _page(groups: Sequence[Group], query: UsageQuery) -> UsagePage:
    kept = groups if query.limit is None else groups[: query.limit]
    return UsagePage(tuple(kept[::-1] if query.is_backwards else kept), len(groups) > len(kept))


def _statement(
    database: Database, table: str, query: UsageQuery, permitted: SqlFilter, asked: Sequence[str]
) -> tuple[str, list[Value]]:
    values: list[Value] = [*permitted.parameters]

    def bound(value: Value) -> str:
        values.append(value)
        return f"?{len(values)}"

    dialect, key = database.dialect, COLUMNS[query.by]
    allowed = f"({permitted.verdict}) = '{RowVerdict.PERMIT}'"
    if asked:
        values.append(json.dumps([*asked]))
        allowed += f" OR account IN {dialect.elements.format(dialect.parameter.format(len(values)))}"
    where = [f"spent.day >= {bound(query.first)}"]
    for cursor, sign in ((query.after, "<>"[not query.descending]), (query.before, "<>"[query.descending])):
        if cursor is not None:
            where.append(f"{key} {sign} {bound(cursor)}")
    order = "DESC" if query.descending is not query.is_backwards else "ASC"
    limit = "" if query.limit is None else f" LIMIT {bound(query.limit + 1)}"
    sums = ", ".join(f"CAST(sum(spent.{name}) AS bigint)" for name in NUMBERS)
    statement = (
        f"WITH permitted AS MATERIALIZED (SELECT account, id, owner_principal, owner_issuer "  # noqa: S608 - a checked name
        f'FROM "{table}" WHERE ({permitted.condition}) AND ({allowed})) '
        f"SELECT {key}, min(seen.owner_principal), min(seen.owner_issuer), {sums}, (SELECT count(*) FROM permitted) "
        f'FROM permitted AS seen JOIN "{table}$days" AS spent ON spent.account = seen.account '
        f"WHERE {' AND '.join(where)} GROUP BY {key} ORDER BY {key} {order}{limit}"
    )
    return statement, values


def _undecided(table: str, permitted: SqlFilter) -> str:
    """Return the statement for the next accounts behind one, with counts from a day on, that need a question."""
    after, first = (f"?{len(permitted.parameters) + place}" for place in (1, 2))
    return (
        f"SELECT account, id, owner_principal, owner_issuer, access_attributes "  # noqa: S608 - a checked name
        f"FROM \"{table}\" WHERE ({permitted.condition}) AND ({permitted.verdict}) = '{RowVerdict.ASK}' "
        f'AND account > {after} AND EXISTS (SELECT 1 FROM "{table}$days" AS spent '
        f'WHERE spent.account = "{table}".account AND spent.day >= {first}) ORDER BY account LIMIT {_ASKED_AT_ONCE}'
    )


def _resource(row: Row) -> Resource:
    _, name, identity, issuer, attributes = row
    owner = None
    if identity is not None:
        owner = Principal(identity, issuer, {each: tuple(held) for each, held in json.loads(attributes).items()})
    return Resource(KIND, (name,), owner, Origin.CREATED)
