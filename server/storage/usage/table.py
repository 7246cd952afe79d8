"""The tables of usage: accounts, their counts by day, and the batches in which these are written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from hashlib import sha256
from json import dumps
from typing import Final

from policy.vocabulary import Principal
from server.storage.database.database import Database, Overtaken, ParentGone, Step
from server.storage.database.migrate import bring_up_to_date, check_name
from server.storage.usage.tally import DAY_SECONDS, Account, Spent

BATCH_COUNTS: Final = 500
"""Counts that are written in one transaction."""

BATCH_BYTES: Final = 1024 * 1024
"""Bytes of attributes after which a batch takes no further account."""

FORGOTTEN_AT_ONCE: Final = 500
"""Counts of days that are over which are removed in one transaction."""

NUMBERS: Final = tuple(each.name for each in fields(Spent))
"""The columns of what is counted."""

_PAUSE: Final = 0.01
_KEY: Final = ("account", "day", "team", "model", "provider")
_ACCOUNT: Final = ("account", "id", "owner_principal", "owner_issuer", "access_attributes")
_WHOLE: Final = frozenset({"day", *NUMBERS})
_WRITER_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class CountRow:
    """One row of counts, with the row of its account."""

    account: tuple[str | None, ...]
    counted: tuple[str | int, ...]


Batch = list[CountRow]
"""Rows that are written in one transaction."""


def batches_of(accounts: Sequence[Account], team: str) -> Iterator[Batch]:
    """Yield the counts of the accounts; `team` is the attribute whose first value, by alphabet, is a team's name."""
    batch, size = Batch(), 0
    for account in accounts:
        row = _row(account)
        own = "" if account.owner is None else min(account.owner.attributes.get(team, ()), default="")
        size += len(row[-1] or "")
        for key, spent in account.counts.items():
            batch.append(CountRow(row, (str(row[0]), key.day, own, key.model, key.provider_id, *astuple(spent))))
            if len(batch) >= BATCH_COUNTS:
                yield batch
                batch, size = Batch(), 0
        if size >= BATCH_BYTES and batch:
            yield batch
            batch, size = Batch(), 0
    if batch:
        yield batch


def _row(account: Account) -> tuple[str | None, ...]:
    owner = account.owner
    if owner is None:
        return account.name, account.name, None, None, "{}"
    attributes = dumps({name: sorted(values) for name, values in sorted(owner.attributes.items())}, ensure_ascii=False)
    return account_id(owner, attributes), account.name, owner.id, owner.issuer, attributes


def account_id(owner: Principal, attributes: str) -> str:
    """Return the id of the account of a principal with these attributes, in every process."""
    return sha256(dumps([owner.issuer, owner.id, attributes]).encode()).hexdigest()


class UsageTable:
    """The accounts in the table `name` of a database, and what belongs to them in tables beside it."""

    def __init__(self, database: Database, name: str) -> None:
        check_name(name)
        self.database = database
        self.name = name
        every = _EVERY[database.kind]
        sums = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in NUMBERS)
        # In their order, so that two processes never wait for each other.
        self._add_accounts = (
            f'INSERT INTO "{name}" ({", ".join(_ACCOUNT)}) SELECT {_members(database.kind, _ACCOUNT)} '  # noqa: S608 - a checked name
            f"FROM {every} WHERE TRUE ORDER BY 1 ON CONFLICT (account) DO NOTHING"
        )
        self._add_counts = (
            f'INSERT INTO "{name}$days" AS kept ({", ".join((*_KEY, *NUMBERS))}) '  # noqa: S608 - as above
            f"SELECT {_members(database.kind, (*_KEY, *NUMBERS))} FROM {every} WHERE TRUE ORDER BY 1, 2, 3, 4, 5 "
            f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {sums}"
        )
        self._begin = (
            f'INSERT INTO "{name}$writers" AS kept (writer, batch, written_at) VALUES (?1, ?2, ?3) '  # noqa: S608 - as above
            "ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, written_at = excluded.written_at "
            "WHERE kept.batch < excluded.batch RETURNING batch"
        )
        over = f'SELECT {", ".join(_KEY)} FROM "{name}$days" WHERE day < ?1 LIMIT {FORGOTTEN_AT_ONCE}'  # noqa: S608 - as above
        self._forget = f'DELETE FROM "{name}$days" WHERE ({", ".join(_KEY)}) IN ({over}) RETURNING day'  # noqa: S608 - as above
        seen = f'SELECT account FROM "{name}" WHERE account > ?1 ORDER BY account LIMIT {FORGOTTEN_AT_ONCE}'  # noqa: S608 - as above
        self._last = f"SELECT max(account) FROM ({seen}) AS seen"  # noqa: S608 - as above
        self._forget_accounts = (
            f'DELETE FROM "{name}" WHERE account > ?1 AND account <= ?2 AND NOT EXISTS '  # noqa: S608 - as above
            f'(SELECT 1 FROM "{name}$days" AS spent WHERE spent.account = "{name}".account)'
        )
        self._forget_writers = f'DELETE FROM "{name}$writers" WHERE written_at < ?1'  # noqa: S608 - as above

    async def prepare(self) -> None:
        """Make the tables, or bring them up to date; raises DatabaseUnavailable and SchemaMismatch."""
        await bring_up_to_date(self.database, self.name, series="usage")

    async def write(self, writer: str, number: int, batch: Batch) -> None:
        """Add a batch to what is there, once, however often it is tried with that number.

        The numbers of a writer rise. Raises DatabaseUnavailable, NoRoom and ParentGone, after which it may be tried
        again.
        """
        accounts = {row.account[0]: row.account for row in batch}
        with suppress(Overtaken):
            await self.database.write(
                Step(self._begin, (writer, number, int(time.time())), Overtaken()),
                Step(self._add_accounts, (dumps([*accounts.values()], ensure_ascii=False),)),
                Step(self._add_counts, (dumps([row.counted for row in batch], ensure_ascii=False),)),
            )

    async def forget(self, before: int) -> None:
        """Remove the counts of days before that one, and what nothing belongs to any more, in steps.

        Raises DatabaseUnavailable and NoRoom.
        """
        with suppress(_NothingLeft):
            while True:
                await self.database.write(Step(self._forget, (before,), _NothingLeft()))
                await asyncio.sleep(_PAUSE)
        after: str | None = ""
        while after is not None:
            [(last,)] = await self.database.read(self._last, after)
            if last is not None:
                # Something may be counted for an account at this moment; then it stays.
                with suppress(ParentGone):
                    await self.database.write(Step(self._forget_accounts, (after, last)))
                await asyncio.sleep(_PAUSE)
            after = last
        await self.database.write(Step(self._forget_writers, (int(time.time()) - _WRITER_DAYS * DAY_SECONDS,)))


class _NothingLeft(Exception):
    """Nothing is left to remove."""


_EVERY: Final = {
    "sqlite": "json_each(?1)",
    "postgresql": "jsonb_array_elements(CAST(?1 AS jsonb)) AS each(value)",
}
"""A parameter that holds a JSON list of lists, as rows with a `value`."""


def _members(kind: str, columns: Sequence[str]) -> str:
    """Return the members of `value` as these columns."""
    if kind == "sqlite":
        return ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(columns)))
    places = ((f"value ->> {place}", column) for place, column in enumerate(columns))
    return ", ".join(f"CAST({text} AS bigint)" if column in _WHOLE else text for text, column in places)
