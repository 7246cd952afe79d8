"""Schema migrations: numbered changes of a table, each applied once and never altered afterwards."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from server.storage.database.counting import RECORDS, Counting
from server.storage.database.database import AlreadyThere, Database, DatabaseUnavailable, Overtaken, Step

LONGEST_NAME: Final = 40
"""Characters of a table's name."""

_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
_FILE: Final = re.compile(r"(?P<number>[0-9]{4})_(?P<name>[a-z_]+)\.(?P<kind>[a-z]+)\.sql")

_PLACE: Final = re.compile(r"\{[a-z_]+\}")

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS ostiary_migrations (
    subject TEXT NOT NULL,
    number BIGINT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (subject, number)
);
CREATE TABLE IF NOT EXISTS ostiary_fillings (
    subject TEXT NOT NULL,
    number BIGINT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (subject, number)
);
"""
_FILLED: Final = "SELECT position FROM ostiary_fillings WHERE subject = ?1 AND number = ?2"
_FILL_ON: Final = (
    "UPDATE ostiary_fillings SET position = ?4 WHERE subject = ?1 AND number = ?2 AND position = ?3 RETURNING position"
)
_ALL_FILLED: Final = "DELETE FROM ostiary_fillings WHERE subject = ?1 AND number = ?2"
_FILLED_AT_ONCE: Final = 500
"""Records in a transaction, for whose time others can't write to SQLite."""

_log: Final = logging.getLogger("ostiary.storage")
_APPLIED: Final = "SELECT number, checksum FROM ostiary_migrations WHERE subject = ?1 ORDER BY number"


class SchemaMismatch(Exception):
    """The table was made by another version of the server; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of a table, as a template for the table's name.

    `filling` is a statement that brings records of the time before into what the change has made: those with an id
    after `?1` and up to `?2`. It may meet a record twice.
    """

    number: int
    name: str
    template: str
    filling: str | None = None

    @property
    def checksum(self) -> str:
        """The checksum of the template, to compare an applied migration with the known one."""
        return hashlib.sha256(self.template.encode()).hexdigest()


def check_name(table: str) -> None:
    """Raise ValueError for a name of a table that may not become part of a statement."""
    if not _NAME.fullmatch(table):
        raise ValueError("a table's name is at most 40 letters, digits and `_`, and no digit comes first")


def migrations(kind: str, series: str = "") -> list[Migration]:
    """Return all migrations for that kind of database, in their order: those of records, or of another series."""
    found, folder = [], files("server.storage") / "migrations" / series
    for file in folder.iterdir():
        named = _FILE.fullmatch(file.name)
        if named is not None and named["kind"] == kind:
            number, name = int(named["number"]), named["name"]
            filling = folder / f"{named['number']}_{name}.fill.{kind}.sql"
            later = filling.read_text("utf-8") if filling.is_file() else None
            found.append(Migration(number, name, file.read_text("utf-8"), later))
    return sorted(found, key=lambda migration: migration.number)


async def bring_up_to_date(
    database: Database, table: str, parent: str | None = None, counting: Counting = RECORDS, series: str = ""
) -> None:
    """Create the table of records, or of another series, or migrate it to this version; safe in several processes.

    Records belong to those of the table `parent`, where there is one, and are deleted with them; that table is up to
    date already. `counting` says how they count. Raises DatabaseUnavailable, and SchemaMismatch for a table that a
    newer or another version made.
    """
    for name in filter(None, (table, parent)):
        check_name(name)
    await database.script(_LEDGER)
    references = "" if parent is None else f'NOT NULL REFERENCES "{parent}" (id) ON DELETE CASCADE'
    places = {"{table}": table, "{parent}": parent or table, "{references}": references, **counting.conditions}
    known = migrations(database.kind, series)
    applied = {int(number): checksum for number, checksum in await database.read(_APPLIED, table)}
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise SchemaMismatch(
                f"the table `{table}` was made by another version (migration {migration.number} is not the known one); "
                "use the version that made it, or another `table_name`"
            )
    newest = max(applied, default=0)
    if newest > known[-1].number:
        raise SchemaMismatch(f"the table `{table}` was made by a newer version; use that, or another `table_name`")
    for migration in known:
        if migration.number not in applied:
            await _apply(database, migration, table, places)
        if migration.filling is not None:
            await _fill(database, migration, table)


async def _fill(database: Database, migration: Migration, table: str) -> None:
    """Bring in the records of the time before, some at a time; goes on where it, or another process, has ended."""
    filling, key = (migration.filling or "").replace("{table}", table), (table, migration.number)
    while rows := await database.read(_FILLED, *key):
        position: str = rows[0][0]
        ids = f'SELECT id FROM "{table}" WHERE id > ?1 ORDER BY id LIMIT {_FILLED_AT_ONCE}'  # noqa: S608 - a checked name
        [(last,)] = await database.read(f"SELECT max(id) FROM ({ids}) AS ids", position)  # noqa: S608 - as above
        if last is None:
            await database.write(Step(_ALL_FILLED, key))
            return
        if not position:
            _log.info("the table `%s` is brought up to date; one with a million records takes a minute or so", table)
        with suppress(Overtaken):
            # The position first, so that other processes wait for this one.
            await database.write(Step(_FILL_ON, (*key, position, last), Overtaken()), Step(filling, (position, last)))


async def _apply(database: Database, migration: Migration, table: str, places: Mapping[str, str]) -> None:
    statements = _PLACE.sub(lambda place: places[place[0]], migration.template)
    note = (
        f"INSERT INTO ostiary_migrations (subject, number, checksum, applied_at) VALUES "  # noqa: S608 - no user's text
        f"('{table}', {migration.number}, '{migration.checksum}', {int(time.time())});"
    )
    if migration.filling is not None:
        note += f"INSERT INTO ostiary_fillings (subject, number, position) VALUES ('{table}', {migration.number}, '');"  # noqa: S608 - as above
    try:
        # The migration is noted first: of several processes, only one succeeds in that.
        await database.script(f"{note}\n{statements}")
    except (AlreadyThere, DatabaseUnavailable):
        applied = await database.read(_APPLIED, table)
        if (migration.number, migration.checksum) not in applied:
            raise
