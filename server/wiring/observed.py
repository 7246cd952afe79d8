"""Dependencies of the server, wrapped so that each use is noted: databases, counters, blobs, identity."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn import Authenticator, IdentityUnavailable
from server.authz.contract.errors import Failure
from server.authz.observer import Observer, Outcome, QuestionKind
from server.quota.counters import Charge, Counters, CountersUnavailable, Usage
from server.storage.blobs.store import BlobMissing, BlobReading, Blobs, BlobsFull, BlobsUnavailable, BlobWriting
from server.storage.database.database import Database, DatabaseUnavailable, Row, Step, Value
from server.storage.database.dialect import Dialect
from server.telemetry.dependencies import Dependency, Probe, cause_of
from server.wiring.at_start import Origin

_CONNECT_SECONDS: Final = 2.0
_PING: Final = "SELECT 1"


class ObservedDatabase:
    """A database whose failures are noted, and which comes from the `origin` in the configuration."""

    def __init__(self, database: Database, dependency: Dependency, origin: Origin) -> None:
        self._database = database
        self._dependency = dependency
        self._origin = origin
        dependency.probe = self._ping

    @property
    def dialect(self) -> Dialect:
        """The SQL dialect of the database."""
        return self._database.dialect

    @property
    def kind(self) -> str:
        """The kind of migrations that it takes."""
        return self._database.kind

    async def start(self) -> None:
        """Open it; raises DatabaseUnavailable with a sentence that says what to correct."""
        try:
            with self._dependency.used(DatabaseUnavailable):
                await self._database.start()
        except DatabaseUnavailable as fault:
            raise DatabaseUnavailable(self._origin.sentence(fault)) from None

    async def close(self) -> None:
        """Close it."""
        await self._database.close()

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a statement that changes nothing."""
        with self._dependency.used(DatabaseUnavailable):
            return await self._database.read(statement, *values)

    async def scan(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a statement of a list."""
        with self._dependency.used(DatabaseUnavailable):
            return await self._database.scan(statement, *values)

    async def write(self, *steps: Step) -> None:
        """Take these steps in one transaction."""
        with self._dependency.used(DatabaseUnavailable):
            await self._database.write(*steps)

    async def script(self, statements: str) -> None:
        """Several statements without parameters."""
        with self._dependency.used(DatabaseUnavailable):
            await self._database.script(statements)

    async def _ping(self) -> str | None:
        await self._database.read(_PING)
        return None


class ObservedCounters:
    """Counters whose failures are noted, and which come from the `origin` in the configuration."""

    def __init__(self, counters: Counters, dependency: Dependency, origin: Origin) -> None:
        self._counters = counters
        self._dependency = dependency
        self._origin = origin
        dependency.probe = self._ask

    async def start(self) -> None:
        """Open the store; raises CountersUnavailable with a sentence that says what to correct."""
        try:
            with self._dependency.used(CountersUnavailable):
                await self._counters.start()
        except CountersUnavailable as fault:
            raise CountersUnavailable(self._origin.sentence(fault)) from None

    async def close(self) -> None:
        """Close the store."""
        await self._counters.close()

    async def take(self, units: Charge) -> tuple[bool, Usage]:
        """Take the units; true if they were taken, and the usage now."""
        with self._dependency.used(CountersUnavailable):
            return await self._counters.take(units)

    async def give_back(self, key: str, window: int, tokens: int) -> None:
        """Correct the tokens used in that period."""
        with self._dependency.used(CountersUnavailable):
            await self._counters.give_back(key, window, tokens)

    async def used(self, key: str) -> Usage | None:
        """Return the usage in the last period that was counted."""
        return await self._counters.used(key)

    async def reset(self, key: str) -> None:
        """Set the counts of the period that is in force to 0."""
        await self._counters.reset(key)

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._counters.ping()

    async def forget(self, before: int) -> None:
        """Remove the counts of periods that started before that; a store that expires them itself does nothing."""
        await self._counters.forget(before)

    async def _ask(self) -> str | None:
        await self._counters.ping()
        return None


class ObservedBlobs:
    """Blobs whose failures are noted; a single missing blob is no failure, and neither is a full disk."""

    def __init__(self, blobs: Blobs, dependency: Dependency) -> None:
        self._blobs = blobs
        self._dependency = dependency
        dependency.probe = self._ask

    @property
    def gathered(self) -> int:
        """The bytes that a blob which is being written has in memory at most."""
        return self._blobs.gathered

    async def start(self) -> None:
        """Check that blobs can be kept; a failure ends the start, and is no outage."""
        await self._blobs.start()

    async def begin(self, key: str) -> BlobWriting:
        """Start to write a blob."""
        try:
            return _ObservedWriting(await self._blobs.begin(key), self._dependency)
        except BlobsUnavailable as fault:
            _note(self._dependency, fault)
            raise

    async def open(self, key: str) -> BlobReading:
        """Start to read a blob."""
        try:
            reading = await self._blobs.open(key)
        except BlobsUnavailable as fault:
            _note(self._dependency, fault)
            raise
        self._dependency.worked()
        return reading

    async def delete(self, key: str) -> None:
        """Remove the blob."""
        try:
            await self._blobs.delete(key)
        except BlobsUnavailable as fault:
            _note(self._dependency, fault)
            raise
        self._dependency.worked()

    async def ping(self) -> None:
        """Return if blobs can be kept and fetched."""
        await self._blobs.ping()

    async def close(self) -> None:
        """Close everything."""
        await self._blobs.close()

    async def _ask(self) -> str | None:
        await self._blobs.ping()
        return None


class _ObservedWriting:
    def __init__(self, writing: BlobWriting, dependency: Dependency) -> None:
        self._writing = writing
        self._dependency = dependency

    async def write(self, piece: bytes) -> None:
        try:
            await self._writing.write(piece)
        except BlobsUnavailable as fault:
            _note(self._dependency, fault)
            raise

    async def finish(self) -> None:
        try:
            await self._writing.finish()
        except BlobsUnavailable as fault:
            _note(self._dependency, fault)
            raise
        self._dependency.worked()

    async def abandon(self) -> None:
        await self._writing.abandon()


def _note(dependency: Dependency, fault: BlobsUnavailable) -> None:
    if not isinstance(fault, BlobMissing | BlobsFull):
        dependency.failed(f"it can't be used: {cause_of(fault)}")


class ObservedAuthenticator:
    """An authenticator whose failures are noted; the services that it asks listen at the `addresses`."""

    def __init__(self, authenticator: Authenticator, dependency: Dependency, addresses: Sequence[str]) -> None:
        self._authenticator = authenticator
        self._dependency = dependency
        if addresses:
            dependency.probe = connecting(addresses)

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """Return the principal whom `token` proves."""
        try:
            principal = await self._authenticator.authenticate(token, request)
        except IdentityUnavailable as fault:
            if fault.is_outage:
                self._dependency.failed("it can't be told whether tokens are good")
            raise
        if self._dependency.probe is None:
            # With a probe, a good token says little: most are cached, and no service is asked about them.
            self._dependency.worked()
        return principal

    async def close(self) -> None:
        """Close every connection."""
        await self._authenticator.close()


def connecting(addresses: Sequence[str]) -> Probe:
    """Return a probe that connects to each of the addresses, which are URLs, and sends nothing."""

    async def probe() -> str | None:
        faults = [fault for fault in await asyncio.gather(*map(_connect, addresses)) if fault is not None]
        if not faults:
            return None
        which = "it" if len(addresses) == 1 else f"{len(faults)} of {len(addresses)} services"
        return f"{which} can't be reached: {faults[0]}"

    return probe


async def _connect(address: str) -> str | None:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as fault:
        return cause_of(fault)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return None


class ObservedDecisions:
    """Passes everything on to `observer`, and notes the state of the policy engine and of the decision log."""

    def __init__(self, observer: Observer, policy: Dependency, log: Dependency) -> None:
        self._observer = observer
        self._policy = policy
        self._log = log

    def answered(self, seconds: float) -> None:
        """Note that a question took that long."""
        self._observer.answered(seconds)

    def decided(self, kind: QuestionKind, effect: Outcome, count: int = 1) -> None:
        """Count so many decisions."""
        self._observer.decided(kind, effect, count)
        if effect is not Outcome.UNAVAILABLE:
            self._policy.worked()

    def unavailable(self, failure: Failure) -> None:
        """Note that a question got no decision."""
        self._observer.unavailable(failure)
        if failure is Failure.DECISION_LOG:
            self._log.failed("it can't be written")
        elif failure is not Failure.QUESTION:
            self._policy.failed(f"it gives no decisions: {failure}")
