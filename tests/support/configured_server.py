"""The folder, the database and the configuration of a server that a test starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from tests.support.databases import backend, empty_database


def own_folder(folder: Path) -> Path:
    """Make a folder for one server: two that share a folder would share the socket of their OPA."""
    made = folder / token_hex(4)
    made.mkdir()
    return made


@contextmanager
def own_database(folder: Path, postgres: str | None) -> Iterator[str]:
    """A database that is empty: an SQLite file in the folder, or one in the PostgreSQL at that address."""
    if postgres is None:
        yield str(folder / "records.db")
        return
    with empty_database(postgres) as database:
        yield database


def filled(text: str, database: str, folder: Path, **places: str) -> str:
    """The configuration `text` with its places filled in: `SQL` and `KV` become backends in the database, `BLOBS` a
    folder, and further ones what `places` says.
    """
    given = {**places, "SQL": backend(database), "KV": backend(database, "kv"), "BLOBS": str(folder / "blobs")}
    for name, value in given.items():
        text = text.replace(name, value)
    return text
