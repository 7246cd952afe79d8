"""The rows of `inline::faiss` in an SQLite file: chunks with their vectors, and an index of their words."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from server.storage.vectors.faiss_file import FaissFile, fault_in_words
from server.storage.vectors.index import IndexUnavailable
from server.storage.vectors.keys import checked
from server.storage.vectors.opening import Unusable
from server.storage.vectors.rows import Placed, written, wrong

MOST_WORDS: Final = 256
"""Words of a query that are looked for; further ones are left out."""

REMOVED: Final = 128
"""Rows that are removed in one transaction, so that other writers wait for no more."""

MERGED: Final = 64
"""Pages of an index of words that are merged in one transaction."""

FETCHED: Final = 256
"""Rows that are read at a time."""

MARK_BYTES: Final = 64
"""Bytes of a removed vector that a purge looks for in the file."""

_WORD: Final = re.compile(r"\w+")
_SHOWN: Final = "c.id, c.part, c.ordinal, c.text, c.name, c.extra"

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS stores (key TEXT PRIMARY KEY, dimensions INTEGER)",
    "CREATE TABLE IF NOT EXISTS batches (batch INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, committed INTEGER)",
)

Row = tuple[int, int, int, str, str, str]
"""A row: its number, its part, its ordinal, its text, its name and its extra."""


class FaissRows:
    """The rows of all stores in one file, which one process has at a time.

    One thread changes them, and any thread reads them. The rows of one ingestion are written in steps. They count from
    the step on that commits their `batch`, which is the last one.
    """

    def __init__(self, path: Path) -> None:
        self.file = FaissFile(path)
        self._connection = self.file.connection

    def open(self) -> None:
        """Make the file where it is missing, and remove what a killed process has begun; raise Unusable.

        It may be tried again then: nothing is left open, and the file is given up.
        """
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self.file.lock()
        try:
            with self.file.changing() as connection:
                for statement in _TABLES:
                    connection.execute(statement)
            for key in [key for (key,) in self._connection().execute("SELECT key FROM stores")]:
                while self.clear(key):
                    pass
        except (IndexUnavailable, sqlite3.Error) as fault:
            raise Unusable(
                f"the file of the vector index can't be used: {fault_in_words(fault)}", str(self.file.path)
            ) from None

    def close(self) -> None:
        """Close every connection, and give the file up."""
        self.file.close()

    def dimensions(self, key: str) -> int | None:
        """Return the number of a store's dimensions; None where it isn't there."""
        found = self._connection().execute("SELECT dimensions FROM stores WHERE key = ?", (checked(key),)).fetchone()
        return None if found is None else int(found[0])

    def begin(self, key: str, dimensions: int) -> int:
        """Make the store where it is missing, and return the number of a new batch; raises WrongDimensions."""
        with self.file.changing() as connection:
            known = connection.execute("SELECT dimensions FROM stores WHERE key = ?", (checked(key),)).fetchone()
            if known is None:
                for statement in _tables(key):
                    connection.execute(statement)
                connection.execute("INSERT INTO stores VALUES (?, ?)", (key, dimensions))
            elif known[0] != dimensions:
                raise wrong(dimensions, known[0])
            made = connection.execute("INSERT INTO batches (key, committed) VALUES (?, 0)", (key,))
            return int(made.lastrowid or 0)

    def write(self, key: str, batch: int, placed: Sequence[Placed], vectors: Any) -> None:
        """Write rows of a batch, whose vectors are the rows of a matrix."""
        with self.file.changing() as connection:
            for (part, chunk), vector in zip(placed, vectors, strict=True):
                given = (batch, part, chunk.ordinal, vector.tobytes(), written(chunk.id), written(chunk.extra))
                made = connection.execute(
                    f"INSERT INTO chunks_{checked(key)} (batch, part, ordinal, vector, name, extra, text) "  # noqa: S608  # the key is checked
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*given, written(chunk.text)),
                )
                connection.execute(
                    f"INSERT INTO words_{key} (rowid, text) VALUES (?, ?)",  # noqa: S608  # the key is checked
                    (made.lastrowid, written(chunk.text)),
                )

    def commit(self, batch: int) -> None:
        """Make the rows of a batch count; raises IndexUnavailable where their store has been dropped."""
        with self.file.changing() as connection:
            done = connection.execute("UPDATE batches SET committed = 1 WHERE batch = ?", (batch,))
            if not done.rowcount:
                raise IndexUnavailable("the vector store has been removed")

    def withdraw(self, batch: int) -> bool:
        """Let the rows of a batch count no more, and return whether they did."""
        with self.file.changing() as connection:
            done = connection.execute("UPDATE batches SET committed = 0 WHERE batch = ? AND committed", (batch,))
            return bool(done.rowcount)

    def abandon(self, key: str, batch: int) -> bool:
        """Remove some rows of a batch that doesn't count, and return whether there may be more."""
        with self.file.changing() as connection:
            removed = _delete(connection, key, *_some(key, "batch = ?", (batch,)))
            if removed == REMOVED:
                return True
            connection.execute("DELETE FROM batches WHERE batch = ?", (batch,))
            return False

    def vectors(self, key: str, batch: int | None = None) -> Iterator[list[tuple[int, int, bytes]]]:
        """Yield the numbers, parts and vectors of the rows that count, or of those of a batch."""
        which = "b.committed" if batch is None else "b.batch = ?"
        statement = (
            f"SELECT c.id, c.part, c.vector FROM chunks_{checked(key)} c JOIN batches b ON b.batch = c.batch "  # noqa: S608  # the key is checked
            f"WHERE {which} ORDER BY c.id"
        )
        with closing(self._connection().execute(statement, () if batch is None else (batch,))) as found:
            while rows := found.fetchmany(FETCHED):
                yield rows

    def rows(self, key: str, numbers: Sequence[int]) -> dict[int, Row]:
        """Return those of the rows that are there, by their numbers."""
        among = "c.id IN (SELECT value FROM json_each(?))"
        statement = f"SELECT {_SHOWN} FROM chunks_{checked(key)} c WHERE {among}"  # noqa: S608  # the key is checked
        return {row[0]: row for row in self._connection().execute(statement, (json.dumps(numbers),))}

    def part(self, key: str, part: int, first: int, limit: int) -> list[Row]:
        """Return the rows of a part that count, from an ordinal on, in their order."""
        statement = (
            f"SELECT {_SHOWN} FROM chunks_{checked(key)} c JOIN batches b ON b.batch = c.batch WHERE b.committed "  # noqa: S608  # the key is checked
            "AND c.part = ? AND c.ordinal >= ? ORDER BY c.ordinal LIMIT ?"
        )
        return self._connection().execute(statement, (part, first, limit)).fetchall()

    def named(self, key: str, names: Mapping[int, Sequence[str]]) -> list[tuple[int, int, str, int]]:
        """Return the part, ordinal, name and bytes of the rows that count and have these names in these parts."""
        size = " + ".join(f"length(CAST(c.{column} AS BLOB))" for column in ("text", "name", "extra"))
        statement = (
            f"SELECT c.part, c.ordinal, c.name, {size} FROM chunks_{checked(key)} c "  # noqa: S608  # the key is checked
            "JOIN batches b ON b.batch = c.batch WHERE b.committed "
            "AND c.part = ? AND c.name IN (SELECT value FROM json_each(?))"
        )
        given = ((part, json.dumps([written(name) for name in some])) for part, some in names.items())
        return [row for values in given for row in self._connection().execute(statement, values)]

    def matching(self, key: str, text: str, parts: Sequence[int], limit: int) -> list[tuple[Row, float]]:
        """Return the rows of these parts that have words of the text, best first, with their scores by BM25."""
        words = list(dict.fromkeys(_WORD.findall(text)))[:MOST_WORDS]
        if not words:
            return []
        # Between quotes a word is no word of FTS5's language, and no quote is a letter.
        query = " OR ".join(f'"{word}"' for word in words)
        statement = (
            f"SELECT {_SHOWN}, w.rank FROM words_{checked(key)} w JOIN chunks_{key} c ON c.id = w.rowid "  # noqa: S608  # the key is checked
            f"JOIN batches b ON b.batch = c.batch WHERE w.words_{key} MATCH ? AND b.committed "
            "AND c.part IN (SELECT value FROM json_each(?)) ORDER BY w.rank LIMIT ?"
        )
        found = self._connection().execute(statement, (query, json.dumps(parts), limit)).fetchall()
        return [(row[:6], -row[6]) for row in found]

    def remove(self, key: str, parts: Sequence[int]) -> tuple[list[bytes], bool]:
        """Remove some rows of parts. Return the beginnings of some of their vectors, and whether there may be more."""
        which = "part IN (SELECT value FROM json_each(?))"
        marks, removed = self._remove(key, *_some(key, which, (json.dumps(parts),)))
        return marks, removed == REMOVED

    def remove_chunks(self, key: str, ordinals: Mapping[int, Sequence[int]]) -> list[bytes]:
        """Remove rows of parts by their ordinals at once, and return the beginnings of some of their vectors."""
        pairs = [(part, ordinal) for part, some in ordinals.items() for ordinal in some]
        which = "(part, ordinal) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"
        return self._remove(key, which, (json.dumps(pairs),))[0]

    def drop(self, key: str) -> bool:
        """Remove some rows of a store, or with the last ones the store, and return whether it is still there."""
        if self.dimensions(key) is None:
            return False
        with self.file.changing() as connection:
            # Its words go with the store.
            which, given = _some(key, "1", ())
            if connection.execute(f"DELETE FROM chunks_{checked(key)} WHERE {which}", given).rowcount == REMOVED:  # noqa: S608  # the key is checked
                return True
            connection.execute(f"DROP TABLE IF EXISTS words_{checked(key)}")
            connection.execute(f"DROP TABLE IF EXISTS chunks_{key}")
            connection.execute("DELETE FROM batches WHERE key = ?", (key,))
            connection.execute("DELETE FROM stores WHERE key = ?", (key,))
        return False

    def clear(self, key: str, but: Sequence[int] = ()) -> bool:
        """Remove some rows of batches that don't count, `but` those that are being written.

        Return whether there may be more.
        """
        begun = "SELECT batch FROM batches WHERE key = ? AND NOT committed ORDER BY batch"
        for (batch,) in self._connection().execute(begun, (checked(key),)).fetchall():
            if batch not in but:
                self.abandon(key, batch)
                return True
        return False

    def merge(self, key: str, *, begins: bool) -> bool:
        """Drop some words of removed rows, and return whether there may be more. `begins` goes through all words.

        SQLite has overwritten the removed rows themselves already.
        """
        pages = -MERGED if begins else MERGED
        with self.file.changing() as connection:
            before = connection.total_changes
            connection.execute(f"INSERT INTO words_{checked(key)} (words_{key}, rank) VALUES ('merge', ?)", (pages,))  # noqa: S608  # the key is checked
            # As SQLite's documentation says: where it has merged nothing, it has made one change at most.
            return connection.total_changes - before > 1

    def is_left(self, mark: bytes) -> bool:
        """Return whether the beginning of a vector stands in the file, and in no row of any store."""
        if not self.file.holds(mark):
            return False
        # Another store may have the same text; its rows are read only where the bytes are found.
        among = f"WHERE substr(vector, 1, {MARK_BYTES}) = ? LIMIT 1"
        read = self._connection().execute
        stores = [key for (key,) in read("SELECT key FROM stores")]
        return not any(read(f"SELECT 1 FROM chunks_{checked(key)} {among}", (mark,)).fetchone() for key in stores)  # noqa: S608  # the key is checked

    def _remove(self, key: str, which: str, given: tuple[Any, ...]) -> tuple[list[bytes], int]:
        if self.dimensions(key) is None:
            return [], 0
        some = f"SELECT substr(vector, 1, {MARK_BYTES}) FROM chunks_{checked(key)} WHERE {which} LIMIT 4"  # noqa: S608  # the key is checked
        with self.file.changing() as connection:
            marks = [bytes(mark) for (mark,) in connection.execute(some, given)]
            return marks, _delete(connection, key, which, given)


def _tables(key: str) -> Iterator[str]:
    """Yield the statements that make a store."""
    # The vector stands before the texts, so that its beginning is not split between pages.
    yield (
        f"CREATE TABLE chunks_{checked(key)} (id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER, part INTEGER, "
        "ordinal INTEGER, vector BLOB, name TEXT, extra TEXT, text TEXT)"
    )
    yield f"CREATE INDEX parts_{key} ON chunks_{key} (part, ordinal)"
    yield f"CREATE INDEX written_{key} ON chunks_{key} (batch)"
    yield (
        f"CREATE VIRTUAL TABLE words_{key} USING fts5(text, content='chunks_{key}', content_rowid='id', "
        "tokenize='porter unicode61 remove_diacritics 2')"
    )


def _some(key: str, which: str, given: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Return the condition for as many of the rows as go in one transaction."""
    return f"id IN (SELECT id FROM chunks_{checked(key)} WHERE {which} LIMIT {REMOVED})", given  # noqa: S608  # the key is checked


def _delete(connection: sqlite3.Connection, key: str, which: str, given: tuple[Any, ...]) -> int:
    """Remove rows with their words, and return how many."""
    connection.execute(
        f"INSERT INTO words_{checked(key)} (words_{key}, rowid, text) "  # noqa: S608  # the key is checked
        f"SELECT 'delete', id, text FROM chunks_{key} WHERE {which}",
        given,
    )
    return connection.execute(f"DELETE FROM chunks_{key} WHERE {which}", given).rowcount  # noqa: S608  # the key is checked
