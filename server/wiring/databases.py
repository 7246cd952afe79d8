"""Building of the databases and the names of tables that a configuration describes."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from server.config import Config
from server.config.home import RECORDS_FILE, home
from server.config.storage import (
    KvPostgresBackend,
    KvSqliteBackend,
    Namespace,
    SqlPostgresBackend,
    SqlSqliteBackend,
    Table,
)
from server.storage.database.database import Database
from server.storage.database.migrate import LONGEST_NAME
from server.storage.database.sqlite import SqliteDatabase

REGISTRY: Final = "registry"
"""The beginning of the names of the registry's tables where the configuration has none."""

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")


def database_of(config: Config, name: str | None) -> Database:
    """Return the database of a backend, not opened yet; None is the server's own choice."""
    backend = None if name is None else config.storage.backends[name]
    match backend:
        case KvPostgresBackend() | SqlPostgresBackend():
            # The driver is imported where it is used: a server with a file needn't wait for it.
            from server.storage.database.postgres import PostgresDatabase

            return PostgresDatabase(backend.url)
    path = file_of(config, name)
    if path is None:
        raise ValueError(f"the backend `{name}` keeps counters, and no records")
    return SqliteDatabase(path)


def file_of(config: Config, name: str | None) -> Path | None:
    """Return the file of a backend; None if it is no file."""
    backend = None if name is None else config.storage.backends[name]
    match backend:
        case None:
            return home() / RECORDS_FILE
        case KvSqliteBackend() | SqlSqliteBackend():
            return backend.db_path
    return None


def table_name(named: Table | Namespace | None, default: str) -> str:
    """Return the name of a store's table; `default` is its name where the configuration has none."""
    match named:
        case None:
            return default
        case Table(table_name=table):
            return table
        case Namespace(namespace=namespace):
            return _NO_NAME.sub("_", f"kv_{namespace}")[:40]


def beside(table: str, parts: str) -> str:
    """Return the name of a table beside that one, which no other one has and which is no longer than one may be."""
    name = f"{table}_{parts}"
    digits = min(24, LONGEST_NAME - len("t_") - len(parts))
    return name if len(name) <= LONGEST_NAME else f"t{sha256(table.encode()).hexdigest()[:digits]}_{parts}"


def usage_place(config: Config) -> tuple[str | None, str]:
    """Return the backend and the table of usage, which is beside the registry where the configuration has no other.

    So a configuration that names a place for each store of an earlier version needs no further one.
    """
    stores = config.storage.stores
    if stores.usage is not None:
        return stores.usage.backend, table_name(stores.usage, REGISTRY)
    backend = None if stores.metadata is None else stores.metadata.backend
    return backend, beside(table_name(stores.metadata, REGISTRY), "usage")
