"""Health of the services that the server depends on.

Each use reports its result. A dependency that is idle for a while is probed, one probe at a time, so that an outage is
known before a request meets it and its end is noticed soon.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final

from server.background.tasks import in_background
from server.fairness.caller import CURRENT, SERVER
from server.inference.breaker import Breaker

Probe = Callable[[], Awaitable[str | None]]
"""Probes a dependency; returns the fault in one sentence, or None. An exception counts as a fault too."""

TICK_SECONDS: Final = 1.0
"""Seconds between checks of which dependencies are due for a probe."""

RETRY_SECONDS: Final = 2.0
"""Seconds between probes of an unhealthy dependency."""

PROBE_SECONDS: Final = 5.0
"""Seconds that a dependency may take to answer a probe."""

PATIENCE_SECONDS: Final = 1.0
"""Seconds that a report waits for running probes."""

_log: Final = logging.getLogger("ostiary.dependencies")


class State(StrEnum):
    """`degraded` if it fails at times, `unknown` until it has been used or probed."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


WEIGHT: Final[Mapping[State, float]] = {State.OK: 1.0, State.DEGRADED: 0.5, State.DOWN: 0.0}
"""The value of the metric for each state that is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A dependency's state, the time since which it has it (seconds since 1970; None if unknown), and the reason."""

    state: State
    since: float | None = None
    reason: str | None = None


class _Use(AbstractContextManager[None]):
    """One use of a dependency."""

    __slots__ = ("_away", "_dependency")

    def __init__(self, dependency: Dependency, away: tuple[type[Exception], ...]) -> None:
        self._dependency = dependency
        self._away = away

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._away):
            self._dependency.failed(f"it can't be used: {cause_of(error)}")
        elif error is None or isinstance(error, Exception):
            self._dependency.worked()


class Dependency:
    """One service by its `name`, a word or `kind:name`, of a set that the configuration fixes.

    If it is `needed`, the server can't serve without it. After a failed use it counts as degraded for `hold` seconds,
    regardless of successes in between. `probe` runs if it was not used for `every` seconds; unless `on_timer`, only for
    a report, or while it is unhealthy. `provider_id` is that of a provider, which not every caller may know of.
    `strain` says why a dependency that works is degraded, if it is. `breaker` is that of a provider that has one.
    """

    def __init__(
        self,
        name: str,
        probe: Probe | None = None,
        *,
        needed: bool = False,
        on_timer: bool = True,
        every: float = 5.0,
        hold: float = 0.0,
        provider_id: str | None = None,
    ) -> None:
        self.name = name
        self.needed = needed
        self.probe = probe
        self.failures = 0
        self.finding = Finding(State.UNKNOWN)
        self._on_timer = on_timer
        self._every = every
        self._hold = hold
        self.provider_id = provider_id
        self.strain: Callable[[], str | None] | None = None
        self.breaker: Breaker | None = None
        self._failed_at: float | None = None
        self._heard_at: float | None = None
        self.looking: asyncio.Task[None] | None = None

    def worked(self) -> None:
        """Note a successful use."""
        self._heard_at = now = time.monotonic()
        if self._failed_at is not None and now - self._failed_at < self._hold:
            if self.finding.state is not State.DEGRADED:
                self._find(State.DEGRADED, self.finding.reason)
            return
        strain = None if self.strain is None else self.strain()
        state = State.OK if strain is None else State.DEGRADED
        finding = self.finding
        if finding.state is not state or finding.reason != strain:
            self._find(state, strain)

    def failed(self, reason: str) -> None:
        """Note a failed use; `reason` is one sentence without addresses and secrets."""
        self.failures += 1
        self._failed_at = time.monotonic()
        self._missed(reason)

    def used(self, *away: type[Exception]) -> AbstractContextManager[None]:
        """Note the result of the block: exceptions of the kinds `away` mean that it can't be used now."""
        return _Use(self, away)

    def is_due(self, *, on_demand: bool) -> bool:
        """Return whether a probe is due; `on_demand` is True for a report."""
        if self.probe is None or self.looking is not None:
            return False
        well = self.finding.state in (State.OK, State.UNKNOWN)
        if well and not (self._on_timer or on_demand):
            return False
        pause = self._every if well else RETRY_SECONDS
        return self._heard_at is None or time.monotonic() - self._heard_at >= pause

    def look(self) -> asyncio.Task[None]:
        """Start a probe; the task never raises, and ends within `PROBE_SECONDS`."""
        if self.looking is None:
            self.looking = asyncio.create_task(self._look(), name="look at a dependency")
        return self.looking

    async def found(self) -> Finding:
        """Return the finding; probe now if there is none, else in the background if that is due."""
        if self.is_due(on_demand=True):
            self.look()
        if self.finding.state is State.UNKNOWN and self.looking is not None:
            await asyncio.wait([self.looking], timeout=PROBE_SECONDS)
        return self.finding

    async def _look(self) -> None:
        # The share of the caller who asked for the report may be used up.
        CURRENT.set(SERVER)
        began, reason = time.monotonic(), "it does not answer"
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    reason = "" if self.probe is None else await self.probe() or ""
        except Exception as fault:  # noqa: BLE001 - whatever a driver raises, the dependency could not be used
            reason = f"it can't be used: {cause_of(fault)}"
        finally:
            self.looking = None
        if not reason:
            self.worked()
        elif self._heard_at is None or self._heard_at <= began or self.finding.state is not State.OK:
            # A dependency that was used successfully during the probe is healthy, only slow.
            self._missed(reason)

    def _missed(self, reason: str) -> None:
        self._heard_at = time.monotonic()
        if (self.finding.state, self.finding.reason) != (State.DOWN, reason):
            self._find(State.DOWN, reason)

    def _find(self, state: State, reason: str | None) -> None:
        before = self.finding
        was_well, is_well = before.state in (State.OK, State.UNKNOWN), state is State.OK
        changed = before.since is None or was_well != is_well
        self.finding = Finding(state, time.time() if changed else before.since, reason)
        if was_well and not is_well:
            _log.warning("%s is %s: %s", self.name, state, reason)
        elif is_well and not was_well:
            _log.warning("%s works again", self.name)


class Dependencies:
    """Every dependency of this process; belongs to the event loop that runs `watching`."""

    def __init__(self) -> None:
        self._all: dict[str, Dependency] = {}

    def add(self, dependency: Dependency) -> Dependency:
        """Add a dependency."""
        self._all[dependency.name] = dependency
        return dependency

    def __iter__(self) -> Iterator[Dependency]:
        """Iterate over all of them, in the order in which they were added."""
        return iter(tuple(self._all.values()))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Probe on a timer, for as long as the context lasts."""
        try:
            async with in_background("dependency watch", self._watch()):
                yield
        finally:
            looking = [each.looking for each in self if each.looking is not None]
            for task in looking:
                task.cancel()
            if looking:
                await asyncio.wait(looking)

    async def look(self) -> None:
        """Probe all that are due, and return when they have answered, or after `PATIENCE_SECONDS`."""
        looking = [each.look() for each in self if each.is_due(on_demand=True)]
        if looking:
            await asyncio.wait(looking, timeout=PATIENCE_SECONDS)

    async def _watch(self) -> None:
        while True:
            for each in self:
                if each.is_due(on_demand=False):
                    each.look()
            await asyncio.sleep(TICK_SECONDS)


def cause_of(fault: BaseException) -> str:
    """Return the kind of a failure in a few words, without the addresses, paths and values that messages may hold."""
    cause = fault.__cause__ or fault.__context__ or fault
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return type(cause).__name__
