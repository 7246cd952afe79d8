"""The work on one batch: its input file is checked, its lines are run, its files are made."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.batches.acting_callers import ActingCaller
from server.api.batches.batch import UNDER_WAY, moved
from server.api.batches.checking import Checking
from server.api.batches.held import HeldBatch
from server.api.batches.input_file import InputFile
from server.api.batches.journal import Journal
from server.api.batches.lines import LineTurns
from server.api.batches.making_files import make_files
from server.api.batches.parts import ROOMS, BatchParts
from server.api.batches.running import Paused, Running
from server.api.batches.validation import InvalidInput, LineError
from server.api.files.store import FileStore
from server.api.responses.background.callers import Callers
from server.authz.contract.errors import PolicyUnavailable
from server.authz.permit import AccessDenied, RouteDenied
from server.authz.request_authorization import Gate
from server.background.faults import log_fault
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.http.deferred import DeferredRequests, log_limit
from server.http.error_table import error_of
from server.http.errors import ApiError
from server.http.held_lease import LeaseLost
from server.json_input.reader import Reader
from server.json_input.strict import Json
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded
from server.quota.storage_limit import StorageExceeded, StorageLimit
from server.storage.blobs.store import BlobMissing, BlobReading, BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable, Overtaken
from server.storage.records.guarded import Contended, NotFound
from server.storage.records.record import Record
from server.storage.records.waiting import asker_of

PATH: Final = "/v1/batches"

MOST_TAKEN: Final = 10
"""Processes that take a batch, one after another, without coming any further; then it fails."""

WAIT_SECONDS: Final = 5.0
"""Seconds between two attempts at what a database, files or the policy engine can't do now."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts at what has failed, at most; at first it is two, and each time twice as long."""

KEPT_SECONDS: Final = 7 * 24 * 3600
"""Seconds after the end of its window in which the files of a batch must have been made; then it fails."""

_PASSING: Final = (PolicyUnavailable, DatabaseUnavailable, BlobsUnavailable, NoRoom, Contended)
"""What ends by itself, and which no caller is to blame for."""

_STOPPED: Final = LineError("server_error", "the server was stopped again and again while it worked on the batch")
_NOT_MADE: Final = LineError("output_not_stored", "the files of the batch could not be made for a week")

_log: Final = logging.getLogger("ostiary.api")


class BatchWork:
    """Works on batches for their owners, whose requests are at most `longest` seconds old.

    `lines_at_once` lines of one batch are under way at the same time. `count` is told how each batch has ended.
    """

    def __init__(
        self,
        parts: BatchParts,
        files: FileStore,
        callers: Callers,
        deferred: DeferredRequests,
        reader: Reader,
        longest: int,
        lines_at_once: int,
        count: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._files = files
        self._callers = callers
        self._deferred = deferred
        self._reader = reader
        self._longest = longest
        self._lines_at_once = lines_at_once
        self._count = count
        self._turns = LineTurns(lines_at_once, deferred.most_at_once)
        self._app: ASGIApp = _nothing
        self._running: dict[str, Running] = {}

    def through(self, app: ASGIApp) -> None:
        """Put the requests of lines to this application."""
        self._app = app

    @property
    def lines(self) -> int:
        """The number of lines that are under way."""
        return self._turns.used

    def leave(self, identity: str) -> bool:
        """Begin no more lines of a batch, and let any process go on with it; false where it runs no lines."""
        running = self._running.get(identity)
        if running is not None:
            running.leaves = True
        return running is not None

    async def do(self, held: HeldBatch) -> None:
        """Work on a batch until it is over, or until nothing can be done for it now.

        Raises DatabaseUnavailable and NoRoom where it is left to the process that takes it next.
        """
        CURRENT.set(self._deferred.caller(*asker_of(held.lease.work)))
        try:
            async with held.renewed():
                try:
                    await self._go_on(held)
                except Paused as paused:
                    seconds = max(0, round(paused.seconds))
                    await held.pause(seconds, is_fault=paused.is_fault, version=paused.version)
        except (LeaseLost, Overtaken):
            return  # another process has taken it
        except asyncio.CancelledError:
            with suppress(DatabaseUnavailable, NoRoom, LeaseLost):
                await asyncio.shield(held.pause(0))
            raise

    async def _go_on(self, held: HeldBatch) -> None:
        """Do all steps that are left; raises Paused and LeaseLost."""
        try:
            await self._steps(held)
        except (Paused, LeaseLost, Overtaken):
            raise
        except _PASSING as fault:
            _log.info("a batch waits: %s", fault)
            raise Paused(WAIT_SECONDS) from None
        except Exception as fault:  # noqa: BLE001 - whatever it is, the batch ends in the end, and others go on
            log_fault(_log, "the work on a batch failed", fault)
            raise Paused(min(LONGEST_PAUSE, 2.0**held.progress.tries), is_fault=True) from None

    async def _steps(self, held: HeldBatch) -> None:
        if held.record.body["status"] in UNDER_WAY:
            if held.progress.tries > MOST_TAKEN:
                await self._fail(held, [_STOPPED])
            elif not held.progress.ends:
                await self._check_and_run(held)
        if held.progress.ends:
            await self._finish(held)
        await self._clear(held)

    async def _check_and_run(self, held: HeldBatch) -> None:
        caller = ActingCaller(self._callers, held.lease.work, self._longest)
        gate, refusal = await self._gate(held, caller)
        async with self._input(held) as file:
            if not held.record.body["counts"][0] and not await self._checked(held, gate, file, refusal):
                return
            journal = Journal(held, self._parts, gate.storage_limit_of(held.record.owner))
            running = self._running[held.record.id] = Running(
                held,
                self._parts,
                journal,
                file,
                caller,
                self._app,
                self._turns,
                self._lines_at_once,
                refusal,
                lambda: self._deferred.yields,
            )
            try:
                end = await running.run()
            finally:
                del self._running[held.record.id]
        untold = running.untold
        errors = {} if untold is None else {"errors": [_told(error_of(untold, "")).shown()]}
        await held.write(
            replace(held.progress, ends=end),
            lambda record: (
                moved(record, "finalizing", **errors)
                if record.body["status"] == "in_progress"
                else {**record.body, **errors}
            ),
            self._parts.giving_room(held.record, "errors"),
        )

    async def _gate(self, held: HeldBatch, caller: ActingCaller) -> tuple[Gate, ApiError | None]:
        """Return the gate for what is asked about a batch itself, and the error of its lines if the file is refused."""
        gate = await self._own_gate(caller)
        try:
            await _enter(gate)
            await self._files.records.get(gate, held.record.body["input_file_id"], whole=False)
        except (NotFound, AccessDenied, RouteDenied) as denied:
            return gate, error_of(denied, gate.request_id)
        return gate, None

    async def _own_gate(self, caller: ActingCaller) -> Gate:
        """Return the gate of the caller, as it is now, for what is asked about a batch itself."""
        return self._deferred.gate(await caller.newest(), "POST", PATH, address=caller.address, is_paid=True)

    @asynccontextmanager
    async def _input(self, held: HeldBatch) -> AsyncIterator[InputFile]:
        """Yield the input file, which is opened when it is first read."""

        async def opened() -> BlobReading:
            record = await self._input_record(held)
            if record is None:
                raise BlobMissing("the input file of a batch is gone")
            return await self._files.open(record)

        async def is_there() -> bool:
            return await self._input_record(held) is not None

        file = InputFile(opened, is_there)
        try:
            yield file
        finally:
            await file.close()

    async def _input_record(self, held: HeldBatch) -> Record | None:
        """Return the record of the input file; None where it is gone."""
        identity = held.record.body["input_file_id"]
        return (await self._files.records.known([identity])).get(identity)

    async def _checked(self, held: HeldBatch, gate: Gate, file: InputFile, refusal: ApiError | None) -> bool:
        """Check the input file, and return whether its lines are to be run; else the batch has ended."""
        if held.record.body["status"] == "cancelling":
            await held.write(replace(held.progress, ends="cancelled"))
            return False
        identity = held.record.body["input_file_id"]
        record = await self._input_record(held)
        if record is None or refusal is not None:
            await self._fail(held, [_told(refusal or error_of(NotFound(identity), ""), "input_file_id")])
            return False
        try:
            limit = gate.storage_limit_of(held.record.owner)
            await Checking(held, self._parts, self._reader, limit).check(file, record.body["bytes"])
        except InvalidInput as invalid:
            await self._fail(held, invalid.errors, limit)
            return False
        except BlobMissing:
            await self._fail(held, [_told(error_of(NotFound(identity), ""), "input_file_id")])
            return False
        except StorageExceeded as full:
            await log_limit(gate, full)
            await self._fail(held, [_told(error_of(full, ""))])
            return False
        return True

    async def _fail(self, held: HeldBatch, errors: Sequence[LineError], limit: StorageLimit | None = None) -> None:
        """End a batch with these errors; with the first one where there is no room within the limit for more."""
        shown: list[Json] = [error.shown() for error in errors]
        try:
            await self._close(held, "failed", limit, errors=shown)
        except StorageExceeded:
            await self._close(held, "failed", errors=shown[:1])

    async def _close(self, held: HeldBatch, status: str, limit: StorageLimit | None = None, **members: Any) -> None:
        """Give a batch its last status and these members, in the room that was kept for them."""
        room = self._parts.giving_room(held.record, *ROOMS)
        await held.write(
            replace(held.progress, ends=""), lambda record: moved(record, status, **members), room, limit, 1
        )
        self._count(status)

    async def _finish(self, held: HeldBatch) -> None:
        """Make the files, and end the batch."""
        gate = await self._own_gate(ActingCaller(self._callers, held.lease.work, self._longest))
        try:
            await _enter(gate)
            await make_files(held, self._parts, self._files, gate)
        except (AccessDenied, RouteDenied, BlobsUnavailable) as fault:
            if held.record.body["expires_at"] + KEPT_SECONDS <= time.time():
                await self._fail(held, [_NOT_MADE])
                return
            _log.warning("the files of a batch can't be made yet: %s", fault)
            raise Paused(LONGEST_PAUSE) from None
        except _PASSING as fault:
            await log_limit(gate, fault)
            raise
        progress = held.progress
        await self._close(
            held,
            progress.ends,
            output_file_id=progress.output_file or None,
            error_file_id=progress.error_file or None,
        )

    async def _clear(self, held: HeldBatch) -> None:
        """Remove what the batch needs no more, some at a time, and then the work."""
        while steps := await self._parts.removing(held.record):
            await held.write(held.progress, steps=steps)
        await held.end()


async def _enter(gate: Gate) -> None:
    """Ask about the route; a used up quota is no refusal, since lines are charged themselves."""
    with suppress(QuotaExceeded, CountersUnavailable):
        await gate.enter()


def _told(error: ApiError, param: str | None = None) -> LineError:
    return LineError(error.code or "invalid_value", error.message, param=param)


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("a line of a batch is run before there is an application")
