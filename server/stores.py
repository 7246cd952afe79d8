"""Which stores a configuration asks for; beside `server.wiring`, the one place that names the classes that keep."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from policy.vocabulary import type_of_record
from server.config import Config
from server.config.storage import (
    KvPostgresBackend,
    KvSqliteBackend,
    Namespace,
    SqlPostgresBackend,
    SqlSqliteBackend,
    Table,
)
from server.home import home
from server.storage.database import Database
from server.storage.guarded import GuardedStore
from server.storage.records import Records
from server.storage.schema import bring_up_to_date
from server.storage.sqlite import SqliteDatabase

RECORDS_FILE: Final = "records.db"

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")


class Stores:
    """Every store of records, for handlers that pass their gate; opened by `running` in the event loop that serves."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._databases: dict[str, Database] = {}
        self._tables: list[tuple[Database, str, str | None]] = []
        named = config.storage.stores
        self.files = self._store(named.files, "openai_files")
        self.conversations = self._store(named.conversations, "openai_conversations")
        self.items = self._store(named.conversations, "conversation_items", belonging_to=self.conversations)
        self.completions = self._store(named.inference, "chat_completions")
        self.prompts = self._store(named.prompts, "prompts", kind="prompt")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Every database open, and every table up to date; raises DatabaseUnavailable and SchemaMismatch."""
        async with AsyncExitStack() as opened:
            for database in self._databases.values():
                opened.push_async_callback(database.close)
                await database.start()
            for database, table, parent in self._tables:
                await bring_up_to_date(database, table, parent)
            yield

    def _store(
        self,
        named: Table | Namespace | None,
        default: str,
        *,
        kind: str | None = None,
        belonging_to: GuardedStore | None = None,
    ) -> GuardedStore:
        """The store that is configured so; `default` is its table's name where the configuration has none."""
        table = default
        if belonging_to is None and isinstance(named, Table):
            table = named.table_name
        elif isinstance(named, Namespace):
            table = _NO_NAME.sub("_", f"kv_{named.namespace}")[:40]
        database = self._database(None if named is None else named.backend)
        records = Records(database, table)
        self._tables.append((database, table, None if belonging_to is None else belonging_to.table))
        return GuardedStore(records, type_of_record(table) if kind is None else kind)

    def _database(self, backend: str | None) -> Database:
        """The database of a backend, once for all the stores in it; None is the server's own choice."""
        key = "" if backend is None else backend
        if key not in self._databases:
            self._databases[key] = self._opened(backend)
        return self._databases[key]

    def _opened(self, name: str | None) -> Database:
        backend = None if name is None else self._config.storage.backends[name]
        match backend:
            case None:
                return SqliteDatabase(home() / RECORDS_FILE)
            case KvSqliteBackend() | SqlSqliteBackend():
                return SqliteDatabase(backend.db_path)
            case KvPostgresBackend() | SqlPostgresBackend():
                # The driver is imported where it is used: a server with a file needn't wait for it.
                from server.storage.postgres import PostgresDatabase

                return PostgresDatabase(backend.url)
        raise ValueError(f"the backend `{name}` keeps counters, and no records")
