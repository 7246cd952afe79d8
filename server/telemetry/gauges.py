"""Gauges: values that are sampled when metrics are read, not counted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from server.inference.breaker import Breaker, BreakerState
from server.telemetry.dependencies import WEIGHT, Dependency, State

_OPEN: Final = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}


@dataclass(frozen=True, slots=True)
class GaugeSample:
    """The values of one sample."""

    breaker_open: bool
    breaker_openings: int
    wanted_revision: str | None
    live_revision: str | None
    log_lines_waiting: int
    log_write_failures: int
    log_free_bytes: int | None = None


class Gauges:
    """The sampled metrics. Values of workers are added, or the largest one is taken."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._streams = Gauge(
            "ostiary_streams_open",
            "Streamed answers under way.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._writes = Gauge(
            "ostiary_stored_chats_waiting",
            "Stored chats that are not written yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._breaker = Gauge(
            "ostiary_opa_breaker_open",
            "1 while the policy engine is not asked because it did not answer.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._openings = _Growing(
            Counter("ostiary_opa_breaker_openings", "How often that has begun.", registry=registry)
        )
        self._waiting = Gauge(
            "ostiary_decision_log_lines_waiting",
            "Lines of the decision log that are not written yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._write_failures = _Growing(
            Counter("ostiary_decision_log_write_failures", "Failed attempts to write the log.", registry=registry)
        )
        self._free = Gauge(
            "ostiary_decision_log_free_bytes",
            "Free space on the disk of the decision log.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._free.set(math.inf)
        self._revisions = Gauge(
            "ostiary_policy_revision",
            "1 for the policy revision that is wanted, and for the one that answered last.",
            ["state", "revision"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._up = Gauge(
            "ostiary_dependency_up",
            "1 for a dependency that answers, 0 for one that doesn't, 0.5 for one that fails now and then.",
            ["dependency"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._failures = Counter(
            "ostiary_dependency_failures", "Requests that could not use it.", ["dependency"], registry=registry
        )
        self._failed: dict[str, _Growing] = {}
        self._paused = Gauge(
            "ostiary_provider_breaker_open",
            "1 while a provider is not asked because it kept failing, 0.5 while one request tries it again.",
            ["provider"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._pauses = Counter(
            "ostiary_provider_breaker_openings", "How often that has begun.", ["provider"], registry=registry
        )
        self._paused_times: dict[str, _Growing] = {}
        self._in_force: dict[str, str | None] = {"wanted": None, "live": None}
        self._process = _Process(registry)

    def sample(self, streams: int, writes: int, sample: GaugeSample | None) -> None:
        """Update the gauges; without a `sample`, only those that need none."""
        self._process.sample()
        self._streams.set(streams)
        self._writes.set(writes)
        if sample is None:
            return
        self._breaker.set(sample.breaker_open)
        self._waiting.set(sample.log_lines_waiting)
        self._free.set(math.inf if sample.log_free_bytes is None else sample.log_free_bytes)
        self._openings.reach(sample.breaker_openings)
        self._write_failures.reach(sample.log_write_failures)
        self._show_revision("wanted", sample.wanted_revision)
        self._show_revision("live", sample.live_revision)

    def sample_dependencies(self, dependencies: Iterable[Dependency]) -> None:
        """Update the gauges of dependencies; one that was never used or probed has no value."""
        for each in dependencies:
            failed = self._failed.get(each.name)
            if failed is None:
                failed = self._failed[each.name] = _Growing(self._failures.labels(each.name))
            failed.reach(each.failures)
            state = each.finding.state
            if state is not State.UNKNOWN:
                self._up.labels(each.name).set(WEIGHT[state])
            if each.breaker is not None and each.provider_id is not None:
                self._sample_breaker(each.provider_id, each.breaker)

    def _sample_breaker(self, provider_id: str, breaker: Breaker) -> None:
        openings = self._paused_times.get(provider_id)
        if openings is None:
            openings = self._paused_times[provider_id] = _Growing(self._pauses.labels(provider_id))
        openings.reach(breaker.openings)
        self._paused.labels(provider_id).set(_OPEN[breaker.state])

    def _show_revision(self, state: str, revision: str | None) -> None:
        """Set an earlier revision's series to 0: the files of several workers can't drop one."""
        before = self._in_force[state]
        if before is not None and before != revision:
            self._revisions.labels(state, before).set(0)
        if revision is not None:
            self._revisions.labels(state, revision).set(1)
        self._in_force[state] = revision


class _Growing:
    """A counter that follows another count, from zero."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._reached = 0.0

    def reach(self, total: float) -> None:
        if total > self._reached:
            self._counter.inc(total - self._reached)
            self._reached = total


class _Process:
    """The usual `process_…` metrics, which prometheus-client has for a single process only."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._collector = ProcessCollector(registry=None)
        self._cpu = _Growing(Counter("process_cpu_seconds", "User and system CPU time.", registry=registry))
        self._gauges = {
            "process_resident_memory_bytes": Gauge(
                "process_resident_memory_bytes", "Resident memory.", registry=registry, multiprocess_mode="livesum"
            ),
            "process_open_fds": Gauge(
                "process_open_fds", "Open file descriptors.", registry=registry, multiprocess_mode="livesum"
            ),
            "process_max_fds": Gauge(
                "process_max_fds",
                "Most file descriptors that one process may open.",
                registry=registry,
                multiprocess_mode="livemin",
            ),
            "process_start_time_seconds": Gauge(
                "process_start_time_seconds",
                "When the last process started, in seconds since the epoch.",
                registry=registry,
                multiprocess_mode="livemax",
            ),
        }

    def sample(self) -> None:
        for metric in self._collector.collect():
            for sample in metric.samples:
                if sample.name == "process_cpu_seconds_total":
                    self._cpu.reach(sample.value)
                elif gauge := self._gauges.get(sample.name):
                    gauge.set(sample.value)
