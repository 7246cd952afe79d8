"""Prometheus metrics: counters, histograms and gauges, with labels from small sets only.

One process counts in memory. Several workers count in files of one directory, and each of them reports all counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from threading import Lock
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from policy.vocabulary import CONTRACT
from server.authz.contract.errors import Failure
from server.authz.observer import EFFECTS, Outcome, QuestionKind
from server.background.tasks import in_background
from server.inference.provider import Kind
from server.net.protocol_errors import ProtocolError
from server.telemetry.claim_counters import ClaimCounters
from server.telemetry.deferred_counters import DeferredCounters
from server.telemetry.dependencies import Dependency
from server.telemetry.gauges import Gauges, GaugeSample
from server.telemetry.shield_counters import ShieldCounters
from server.telemetry.tool_counters import ToolCounters
from server.telemetry.usage_counters import UsageCounters, Used
from server.telemetry.vector_counters import VectorCounters

SAMPLE_SECONDS: Final = 1.0
"""Greatest age of another worker's gauges, in seconds."""

OTHER: Final = "other"

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_QUESTION_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)


class Metrics:
    """All metrics of the server; a `server.authz.observer.Observer` of the policy decision point.

    `version` is the server's; `shared` is the directory in which workers count, which `SHARED_DIRECTORY` names as well.
    Counting is cheap and never fails a request; it may be done in any thread.
    """

    def __init__(self, version: str, shared: str | None = None) -> None:
        if shared is None:
            values.ValueClass = values.MutexValue  # without workers, a stray variable in the environment is ignored
        # Otherwise each counter gets a second series with its time of creation.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.shared = shared
        registry = CollectorRegistry()
        self._exposed = registry
        if shared is not None:
            self._exposed = CollectorRegistry()
            MultiProcessCollector(self._exposed, shared)  # type: ignore[no-untyped-call]  # it has no types
        self._gauges = Gauges(registry)
        self.claims = ClaimCounters(registry)
        self._usage = UsageCounters(registry)
        self.vectors = VectorCounters(registry)
        self.shields = ShieldCounters(registry)
        self.tools = ToolCounters(registry)
        self.background = DeferredCounters.of_responses(registry)
        self.batches = DeferredCounters.of_batches(registry)
        self._used: Mapping[tuple[str, str], Used] = {}
        self._look: Callable[[], GaugeSample] | None = None
        self._dependencies: Iterable[Dependency] = ()
        self._count_streams: Callable[[], int] = int
        self._count_writes: Callable[[], int] = int
        self._looking = Lock()
        self._requests = Counter(
            "ostiary_http_requests", "Requests by outcome.", ["route", "method", "status"], registry=registry
        )
        self._durations = Histogram(
            "ostiary_http_request_duration_seconds",
            "Time from a request's head to the last byte of its answer.",
            ["route"],
            registry=registry,
            buckets=_REQUEST_BUCKETS,
        )
        unreadable = Counter(
            "ostiary_http_unreadable_requests",
            "Requests that were not handed on, by reason.",
            ["reason"],
            registry=registry,
        )
        self._unreadable = {reason: unreadable.labels(str(reason)) for reason in ProtocolError}
        self._outcomes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        decisions = Counter("ostiary_decisions", "Decisions by kind and effect.", ["kind", "effect"], registry=registry)
        self._decisions = {pair: decisions.labels(*pair) for pair in EFFECTS}
        self._questions = Histogram(
            "ostiary_opa_question_duration_seconds",
            "Time that the policy engine took for a question, answered or not.",
            registry=registry,
            buckets=_QUESTION_BUCKETS,
        )
        failures = Counter(
            "ostiary_policy_unavailable", "Questions without a decision, by reason.", ["reason"], registry=registry
        )
        self._failures = {failure: failures.labels(str(failure)) for failure in Failure}
        self._provider_failures = Counter(
            "ostiary_provider_failures", "Failures of providers by kind.", ["provider", "kind"], registry=registry
        )
        build = Gauge(
            "ostiary_build_info",
            "1, for the running version and the contract with its policy bundle.",
            ["version", "contract"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        build.labels(version, str(CONTRACT)).set(1)

    def served(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a finished request for the route template `route` that took `seconds`."""
        outcome = self._outcomes.get((route, method, status)) or self._outcome(route, method, status)
        outcome[0].inc()
        outcome[1].observe(seconds)

    def _outcome(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        known = method if method in _METHODS else OTHER
        outcome = self._requests.labels(route, known, str(status)), self._durations.labels(route)
        if known == method:
            self._outcomes[route, method, status] = outcome
        return outcome

    def unreadable(self, reason: ProtocolError) -> None:
        """Count a request that was rejected before its route was known."""
        self._unreadable[reason].inc()

    def answered(self, seconds: float) -> None:
        """Count an answered question and its time."""
        self._questions.observe(seconds)

    def decided(self, kind: QuestionKind, effect: Outcome, count: int = 1) -> None:
        """Count decisions."""
        self._decisions[kind, effect].inc(count)

    def unavailable(self, failure: Failure) -> None:
        """Count a question without a decision."""
        self._failures[failure].inc()

    def watch_provider(self, provider: str) -> None:
        """Report the failures of a provider from now on, none so far."""
        for kind in Kind:
            self._provider_failures.labels(provider, kind)

    def provider_failed(self, provider: str, kind: str) -> None:
        """Count a failure of a provider, before its answer or in the middle of it."""
        self._provider_failures.labels(provider, kind).inc()

    def watch(self, look: Callable[[], GaugeSample]) -> None:
        """Sample the gauges with `look` from now on."""
        self._look = look

    def watch_dependencies(self, dependencies: Iterable[Dependency]) -> None:
        """Report `dependencies` from now on."""
        self._dependencies = dependencies

    def watch_streams(self, count: Callable[[], int]) -> None:
        """Sample the number of open streams with `count` from now on."""
        self._count_streams = count

    def watch_writes(self, count: Callable[[], int]) -> None:
        """Sample the number of unwritten stored chats with `count` from now on."""
        self._count_writes = count

    def watch_usage(self, totals: Mapping[tuple[str, str], Used]) -> None:
        """Report the counts in `totals`, by provider and model, from now on."""
        self._used = totals

    def sample(self) -> None:
        """Update the gauges, and what follows other counts."""
        with self._looking:
            sample = None if self._look is None else self._look()
            self._gauges.sample(self._count_streams(), self._count_writes(), sample)
            self._gauges.sample_dependencies(self._dependencies)
            self._usage.sample(self._used)
            self.vectors.sample()
            self.background.sample()
            self.batches.sample()

    @asynccontextmanager
    async def sampling(self) -> AsyncIterator[None]:
        """Update the gauges repeatedly where another process may report them."""
        if self.shared is None:
            yield
            return
        async with in_background("metrics sampling", self._keep_sampling()):
            yield

    async def _keep_sampling(self) -> None:
        while True:
            await asyncio.to_thread(self.sample)
            await asyncio.sleep(SAMPLE_SECONDS)

    def text(self) -> bytes:
        """Return Prometheus' text format 0.0.4; reads files, so not for the event loop."""
        self.sample()
        return generate_latest(self._exposed)

    def openmetrics(self) -> bytes:
        """Return OpenMetrics 1.0.0; reads files, so not for the event loop."""
        self.sample()
        text: bytes = generate_openmetrics(self._exposed)  # type: ignore[no-untyped-call]  # as above
        return text
