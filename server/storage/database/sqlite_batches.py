"""Batches of work on an SQLite file: one call to a connection's thread, one transaction.

A call to the thread costs more than most statements, and so does a transaction. A failed write doesn't undo the others:
where one fails, all are taken back and done again with a savepoint for each. No caller learns of success before the
transaction has ended.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiosqlite

from server.background.ends import to_its_end
from server.background.priority import give_way
from server.background.tasks import BackgroundTasks
from server.storage.database.database import Row, Step

_MOST_TOGETHER: Final = 64
"""Most pieces of work in a batch, during which no other process may write."""

_CAREFUL: Final = 64
"""Batches with savepoints behind one in which a write failed: where many fail, each would be done twice."""

_TURNS: Final = 3
"""Turns of the event loop in which others can join, since requests that have just arrived are about to ask."""


class _Work:
    """Steps that are run completely or not at all; the rows are those of the last one."""

    __slots__ = ("done", "fault", "rows", "steps")

    def __init__(self, steps: Sequence[Step], done: asyncio.Future[list[Row]]) -> None:
        self.steps = steps
        self.done = done
        self.rows: list[Row] = []
        self.fault: BaseException | None = None

    def settle(self) -> None:
        """Set the result for the caller, unless it was cancelled."""
        if self.done.done():
            return
        if self.fault is None:
            self.done.set_result(self.rows)
        else:
            self.done.set_exception(self.fault)


class ReadJob(sqlite3.Connection):
    """A connection whose `commit` runs the work in `batch`, each piece separately."""

    def __init__(self, batch: Sequence[_Work], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batch = batch

    def commit(self) -> None:
        """Run the batch."""
        for work in self.batch:
            try:
                self.take(work)
            except Exception as fault:  # noqa: BLE001 - raised in the waiting caller
                work.fault = fault

    def take(self, work: _Work) -> None:
        """Run the steps of one piece; raise what they raise."""
        for step in work.steps:
            work.rows = self.execute(step.statement, step.values).fetchall()
            if step.otherwise is not None and not work.rows:
                raise step.otherwise


class WriteJob(ReadJob):
    """A connection whose `commit` runs the work in `batch` in one transaction.

    It belongs to the thread that makes it, which then gives way to the event loop: what one caller writes in bulk would
    else keep a core from the requests of others, and from LanceDB, whose threads give way too.
    """

    _careful = 0

    def __init__(self, batch: Sequence[_Work], *arguments: Any, **options: Any) -> None:
        super().__init__(batch, *arguments, **options)
        give_way()

    def commit(self) -> None:
        """Run the batch; where the transaction fails, run each piece in a transaction of its own."""
        if len(self.batch) > 1 and self._is_done_together():
            return
        for work in self.batch:
            self._do_alone(work)

    def _is_done_together(self) -> bool:
        """Run the batch in one transaction, and return whether it was: with savepoints where one of the last failed."""
        ways = (self._do_with_savepoints,) if self._careful else (self._do_at_once, self._do_with_savepoints)
        self._careful = max(0, self._careful - 1)
        for way in ways:
            try:
                self._do_together(way)
            except Exception:  # noqa: BLE001 - whose fault it was turns out when each is tried with a savepoint, or alone
                self._careful = _CAREFUL
                for work in self.batch:
                    work.fault = None
            else:
                return True
        return False

    def executescript(self, sql_script: str) -> sqlite3.Cursor:
        """Run the script, and undo all of it if a statement fails."""
        try:
            return super().executescript(sql_script)
        except BaseException:
            self._undo()
            raise

    def _do_together(self, way: Callable[[], None]) -> None:
        """Run the batch in one transaction; raise what ends the transaction."""
        try:
            self.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as fault:
            # Each piece would wait as long for the lock, and fail.
            for work in self.batch:
                work.fault = fault
            return
        try:
            way()
            self.execute("COMMIT")
        except BaseException:
            self._undo()
            raise

    def _do_at_once(self) -> None:
        for work in self.batch:
            self.take(work)

    def _do_with_savepoints(self) -> None:
        for work in self.batch:
            self.execute("SAVEPOINT work")
            try:
                self.take(work)
            except Exception as fault:  # noqa: BLE001 - raised in the waiting caller
                work.fault = fault
                self._careful = _CAREFUL
                self.execute("ROLLBACK TO work")
            self.execute("RELEASE work")

    def _do_alone(self, work: _Work) -> None:
        try:
            self.execute("BEGIN IMMEDIATE")
            self.take(work)
            self.execute("COMMIT")
        except Exception as fault:  # noqa: BLE001 - raised in the waiting caller
            work.fault = fault
            self._undo()

    def _undo(self) -> None:
        # Without a transaction, or after a full disk has ended it, there is nothing to roll back.
        with suppress(sqlite3.Error):
            self.execute("ROLLBACK")


class SqliteBatches:
    """Work for connections of one kind to the file at `path`, in the order of its arrival.

    At most `most` pieces are in a batch. One that is alone in its batch is interrupted when its caller is cancelled.
    """

    def __init__(self, kind: type[ReadJob], path: Path, busy_seconds: float, most: int = _MOST_TOGETHER) -> None:
        self._connecting = partial(aiosqlite.connect, path, isolation_level=None, timeout=busy_seconds)
        self._kind = kind
        self._most = most
        self._alone: dict[_Work, aiosqlite.Connection] = {}
        self._free: list[tuple[aiosqlite.Connection, list[_Work]]] = []
        self._waiting: list[_Work] = []
        self._starting = False
        self._under_way = BackgroundTasks()

    async def connect(self) -> aiosqlite.Connection:
        """Return a further connection, which this object closes."""
        batch: list[_Work] = []
        return await to_its_end(self._connected(batch))

    async def _connected(self, batch: list[_Work]) -> aiosqlite.Connection:
        connection = await self._connecting(factory=partial(self._kind, batch))
        self._free.append((connection, batch))
        return connection

    async def close(self) -> None:
        """Finish the waiting work, and close the connections, each of which has a thread."""
        await self._under_way.finish()
        connections, self._free = self._free, []
        for connection, _ in connections:
            await connection.close()

    async def do(self, *steps: Step) -> list[Row]:
        """Return the rows of the last step, once all of them have run; raise what one of them raises."""
        if not (self._free or self._under_way):
            raise RuntimeError("a database is used before it is started")
        work = _Work(steps, asyncio.get_running_loop().create_future())
        self._waiting.append(work)
        self._start()
        try:
            return await work.done
        except asyncio.CancelledError:
            if work in self._alone:
                await self._alone[work].interrupt()
            raise

    def _start(self) -> None:
        """Give waiting work to a connection that is free, if there is one."""
        if self._waiting and self._free and not self._starting:
            self._starting = True
            self._under_way.start("database batch", self._do_waiting(*self._free.pop()))

    async def _do_waiting(self, connection: aiosqlite.Connection, batch: list[_Work]) -> None:
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._starting = False
            while self._waiting:
                taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._start()
                # The work of cancelled callers is dropped.
                batch[:] = [work for work in taken if not work.done.done()]
                await self._run(connection, batch)
                for work in batch:
                    work.settle()
                batch.clear()
        finally:
            for work in batch:
                work.done.cancel()
            self._free.append((connection, batch))

    async def _run(self, connection: aiosqlite.Connection, batch: list[_Work]) -> None:
        """Run the batch on the connection's thread."""
        alone = batch[0] if self._most == 1 and batch else None
        if alone is None:
            await connection.commit()
            return
        self._alone[alone] = connection
        try:
            await connection.commit()
        finally:
            del self._alone[alone]
