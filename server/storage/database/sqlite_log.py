"""The write-ahead log of an SQLite file: what is in it is copied into the file while writes go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import aiosqlite

from server.background.tasks import BackgroundTasks
from server.storage.database.database import Step

STEPS: Final = 500
"""Steps of transactions after which the log is copied; each takes a few pages of 4 KiB besides its texts."""

STEP_BYTES: Final = 2 * 1024 * 1024
"""Bytes of texts after which it is copied, however few the steps are. So little is left to a writer at `MOST_BYTES`."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the log from which a writer copies it itself, so that it does not grow without end. As long as writes come
without a pause it grows to this, since it begins again only where nothing is left to copy.
"""

MOST_PAGES: Final = MOST_BYTES // 4096
"""Those bytes in SQLite's pages."""


class LogCopies:
    """Copies the log on a connection of its own.

    SQLite has the writer do it otherwise, which waits for the disk then, and every caller that writes waits with it.
    """

    def __init__(self) -> None:
        self._connection: aiosqlite.Connection | None = None
        self._under_way = BackgroundTasks()
        self._steps = 0
        self._bytes = 0

    def begin(self, connection: aiosqlite.Connection) -> None:
        """Copy with this connection from now on, and close it at the end."""
        self._connection = connection

    def wrote(self, steps: Sequence[Step]) -> None:
        """Note that these steps are written, and begin to copy when they are enough."""
        self._steps += len(steps)
        self._bytes += sum([len(value) for step in steps for value in step.values if isinstance(value, str)])
        is_due = self._steps >= STEPS or self._bytes >= STEP_BYTES
        if is_due and not self._under_way and self._connection is not None:
            self._steps = self._bytes = 0
            self._under_way.start("copy of a database's log", self._copy(self._connection))

    async def close(self) -> None:
        """End the copy that is under way, and close the connection."""
        connection, self._connection = self._connection, None
        await self._under_way.finish()
        if connection is not None:
            await connection.close()

    async def _copy(self, connection: aiosqlite.Connection) -> None:
        # A file that can't be written now is told by the next write to it.
        with suppress(sqlite3.Error, OSError):
            # Passive: it waits for no other connection, and none waits for it.
            await connection.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
