"""Counting in an SQLite file: for one server, or several processes on one machine."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from server.background.ends import in_thread_to_its_end
from server.quota.counters import FORGET_PAUSE, LOOKED_AT, Charge, CountersUnavailable, Usage

_Result = TypeVar("_Result")

_BUSY_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.005
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS quota (
    key TEXT PRIMARY KEY,
    window INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
# `window >` and not `<>`: a clock that jumps back finds the later period still in force.
_TAKE: Final = """
INSERT INTO quota (key, window, requests, tokens)
SELECT :key, :window, :requests, :tokens
WHERE (:most_requests IS NULL OR :requests <= :most_requests) AND (:most_tokens IS NULL OR :tokens <= :most_tokens)
   OR EXISTS (SELECT 1 FROM quota WHERE key = :key)
ON CONFLICT (key) DO UPDATE SET
    window = max(excluded.window, quota.window),
    requests = excluded.requests + iif(excluded.window > quota.window, 0, quota.requests),
    tokens = excluded.tokens + iif(excluded.window > quota.window, 0, quota.tokens)
WHERE (:most_requests IS NULL
       OR excluded.requests + iif(excluded.window > quota.window, 0, quota.requests) <= :most_requests)
  AND (:most_tokens IS NULL
       OR excluded.tokens + iif(excluded.window > quota.window, 0, quota.tokens) <= :most_tokens)
RETURNING requests, tokens, window
"""
_USED: Final = "SELECT requests, tokens, window FROM quota WHERE key = :key AND window >= :window"
_GIVE_BACK: Final = "UPDATE quota SET tokens = max(0, tokens - :tokens) WHERE key = :key AND window = :window"
_STANDING: Final = "SELECT requests, tokens, window FROM quota WHERE key = :key"
_RESET: Final = "UPDATE quota SET requests = 0, tokens = 0 WHERE key = :key"
_PING: Final = "SELECT key FROM quota LIMIT 1"
_LAST: Final = "SELECT max(key) FROM (SELECT key FROM quota WHERE key > :after ORDER BY key LIMIT :most)"
_FORGET: Final = "DELETE FROM quota WHERE key > :after AND key <= :last AND window < :before"


class SqliteCounters:
    """Counts in the file at `path`, which is made if there is none.

    One thread writes; what waits for it when it is free is written in one transaction, so that the cost of a commit is
    shared by everyone who waits.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "quota")
        self._database: sqlite3.Connection | None = None
        self._waiting: list[tuple[Charge, asyncio.Future[tuple[bool, Usage]]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the file, and make in it what is missing; raises CountersUnavailable. It has to be closed then, too."""
        await self._run(self._open)

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writer is not None:
            await self._writer
        if self._database is not None:
            await self._run(self._database.close)
        self._thread.shutdown()

    async def take(self, units: Charge) -> tuple[bool, Usage]:
        """Return whether the units were taken, and the usage now; raises CountersUnavailable."""
        taken: asyncio.Future[tuple[bool, Usage]] = asyncio.get_running_loop().create_future()
        self._waiting.append((units, taken))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await taken

    async def give_back(self, key: str, window: int, tokens: int) -> None:
        """Correct the tokens used in that period; raises CountersUnavailable."""
        await self._run(lambda: self._execute(_GIVE_BACK, {"key": key, "window": window, "tokens": tokens}))

    async def used(self, key: str) -> Usage | None:
        """Return the usage in the last period that was counted; raises CountersUnavailable."""
        row = await self._run(lambda: self._opened.execute(_STANDING, {"key": key}).fetchone())
        return None if row is None else Usage(*row)

    async def reset(self, key: str) -> None:
        """Set the counts of the period that is in force to 0; raises CountersUnavailable."""
        await self._run(lambda: self._execute(_RESET, {"key": key}))

    async def ping(self) -> None:
        """Return if the counts can be read; raises CountersUnavailable."""
        await self._run(lambda: self._execute(_PING, {}))

    async def forget(self, before: int) -> None:
        """Remove what was counted in periods that started before then, in steps; raises CountersUnavailable."""
        after: str | None = ""
        while after is not None:
            after = await self._run(partial(self._forget_some, after, before))
            await asyncio.sleep(FORGET_PAUSE)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await self._run(partial(self._take_all, [units for units, _ in batch]))
            except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait would wait for ever
                for _, taken in batch:
                    if not taken.done():
                        taken.set_exception(failure)
                continue
            for (_, taken), result in zip(batch, results, strict=True):
                if not taken.done():
                    taken.set_result(result)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await in_thread_to_its_end(work, threads=self._thread)
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CountersUnavailable(f"the quotas in `{self._path}` can't be used: {reason}") from None

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._database = database
        _begin_log(database)
        # A lost second of counting after a power failure is worth less than a disk's time in every request.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_SCHEMA)

    def _take_all(self, batch: list[Charge]) -> list[tuple[bool, Usage]]:
        database = self._opened
        database.execute("BEGIN IMMEDIATE")
        try:
            results = [_take(database, units) for units in batch]
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        return results

    def _forget_some(self, after: str, before: int) -> str | None:
        """Forget some of the counts behind the key `after`, and return the last key; None if there are none."""
        last: str | None = self._opened.execute(_LAST, {"after": after, "most": LOOKED_AT}).fetchone()[0]
        if last is not None:
            self._execute(_FORGET, {"after": after, "last": last, "before": before})
        return last

    def _execute(self, statement: str, values: dict[str, Any]) -> None:
        self._opened.execute(statement, values)

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise RuntimeError("the quota's store is used before it is started")
        return self._database


def _begin_log(database: sqlite3.Connection) -> None:
    """Have changes written to a log first, which costs less than changing the file in place.

    Of several processes that start together on one file, SQLite refuses all but one, and lets none of them wait.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _take(database: sqlite3.Connection, units: Charge) -> tuple[bool, Usage]:
    values = {
        "key": units.key,
        "window": units.window,
        "requests": units.requests,
        "tokens": units.tokens,
        "most_requests": units.most_requests,
        "most_tokens": units.most_tokens,
    }
    row = database.execute(_TAKE, values).fetchone()
    if row is not None:
        return True, Usage(*row)
    used = database.execute(_USED, {"key": units.key, "window": units.window}).fetchone()
    return False, Usage(*used) if used is not None else Usage(0, 0, units.window)
