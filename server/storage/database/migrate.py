"""Schema migrations: numbered changes of a table of records, each applied once and never altered afterwards."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from server.storage.database.database import AlreadyThere, Database, DatabaseUnavailable

LONGEST_NAME: Final = 40
"""Characters of a table's name."""

_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
_FILE: Final = re.compile(r"(?P<number>[0-9]{4})_(?P<name>[a-z_]+)\.(?P<kind>[a-z]+)\.sql")

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS ostiary_migrations (
    subject TEXT NOT NULL,
    number BIGINT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (subject, number)
);
"""
_APPLIED: Final = "SELECT number, checksum FROM ostiary_migrations WHERE subject = ?1 ORDER BY number"


class SchemaMismatch(Exception):
    """The table was made by another version of the server; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of a table, as a template for the table's name."""

    number: int
    name: str
    template: str

    @property
    def checksum(self) -> str:
        """The checksum of the template, to compare an applied migration with the known one."""
        return hashlib.sha256(self.template.encode()).hexdigest()


def check_name(table: str) -> None:
    """Raise ValueError for a name of a table that may not become part of a statement."""
    if not _NAME.fullmatch(table):
        raise ValueError("a table's name is at most 40 letters, digits and `_`, and no digit comes first")


def migrations(kind: str) -> list[Migration]:
    """Return all migrations for that kind of database, in their order."""
    found = []
    for file in (files("server.storage") / "migrations").iterdir():
        named = _FILE.fullmatch(file.name)
        if named is not None and named["kind"] == kind:
            found.append(Migration(int(named["number"]), named["name"], file.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def bring_up_to_date(database: Database, table: str, parent: str | None = None) -> None:
    """Create the table of records, or migrate it to this version; safe in several processes at once.

    Records belong to those of the table `parent`, where there is one, and are deleted with them. Raises
    DatabaseUnavailable, and SchemaMismatch for a table that a newer or another version made.
    """
    for name in filter(None, (table, parent)):
        check_name(name)
    await database.script(_LEDGER)
    references = "" if parent is None else f'NOT NULL REFERENCES "{parent}" (id) ON DELETE CASCADE'
    known = migrations(database.kind)
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
            await _apply(database, migration, table, references)


async def _apply(database: Database, migration: Migration, table: str, references: str) -> None:
    statements = migration.template.replace("{table}", table).replace("{references}", references)
    note = (
        f"INSERT INTO ostiary_migrations (subject, number, checksum, applied_at) VALUES "  # noqa: S608 - no user's text
        f"('{table}', {migration.number}, '{migration.checksum}', {int(time.time())});"
    )
    try:
        # The migration is noted first: of several processes, only one succeeds in that.
        await database.script(f"{note}\n{statements}")
    except (AlreadyThere, DatabaseUnavailable):
        applied = await database.read(_APPLIED, table)
        if (migration.number, migration.checksum) not in applied:
            raise
