"""Building of the policy enforcement point, the decision log and the telemetry of a process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from server.authn.tally import Tallies
from server.authz.decision_log.limits import LOW_SPACE
from server.authz.decision_log.log import DecisionLog, DecisionLogUnusable
from server.authz.decision_log.sink import Rotation
from server.authz.observer import Observer
from server.authz.opa.transport import OpaTransport
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.readiness import ReadinessProbe
from server.config import Config
from server.config.decision_log import DecisionLogSetting, RotatedLog, rotated
from server.telemetry.dependencies import Dependencies, Dependency
from server.telemetry.gauges import GaugeSample
from server.telemetry.metrics import Metrics
from server.telemetry.shared import SHARED_DIRECTORY
from server.wiring.observed import ObservedDecisions
from server.wiring.policy_engine import Plan, open_decision_point

if TYPE_CHECKING:
    from server.telemetry.spans import Tracing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The telemetry of one process; `tracing` is None without a collector, `tallies` counts claims of tokens."""

    metrics: Metrics
    tracing: Tracing | None
    tallies: Tallies
    dependencies: Dependencies
    policy: Dependency
    decision_log: Dependency

    @property
    def observer(self) -> Observer:
        """The observer of every question and decision."""
        return ObservedDecisions(self.metrics, self.policy, self.decision_log)


@asynccontextmanager
async def open_enforcement(
    plan: Plan, telemetry: Telemetry
) -> AsyncIterator[tuple[PolicyEnforcementPoint, ReadinessProbe]]:
    """Open the enforcement point, which logs each decision, and the readiness probe; close both with the context."""

    def decision_point(transport: OpaTransport, revision: str) -> PolicyDecisionPoint:
        return _decision_point(transport, revision, telemetry)

    async with open_decision_point(plan, decision_point) as (pdp, probe), AsyncExitStack() as stack:
        log = _decision_log(plan.config.server.decision_log)
        stack.push_async_callback(log.close)
        telemetry.metrics.watch(lambda: sample(pdp, log))
        telemetry.decision_log.probe = partial(_log_fault, log)
        telemetry.decision_log.strain = partial(_log_strain, log)
        yield PolicyEnforcementPoint(pdp, log), probe


def measured(config: Config) -> Telemetry:
    """Build the telemetry of this process, with the export of spans if there is a collector."""
    release, to = version("ostiary"), config.server.tracing
    metrics = Metrics(release, os.environ.get(SHARED_DIRECTORY) if config.server.workers > 1 else None)
    dependencies = Dependencies()
    metrics.watch_dependencies(dependencies)
    policy = dependencies.add(Dependency("policy", needed=True, on_timer=False))
    log = dependencies.add(Dependency("decision_log", needed=True))
    tracing = None
    if to is not None:
        # Imported here, so that a server without a collector does not wait for it.
        from server.telemetry.spans import Tracing

        tracing = Tracing(to.endpoint, to.service_name, release)
    return Telemetry(metrics, tracing, Tallies(metrics.claims), dependencies, policy, log)


async def _log_fault(log: DecisionLog) -> str | None:
    return None if log.fault is None else f"it can't be written: {log.fault}"


def _log_strain(log: DecisionLog) -> str | None:
    return f"its disk has less than {LOW_SPACE // 2**20} MiB left" if log.space.is_low else None


def _decision_point(transport: OpaTransport, revision: str, telemetry: Telemetry) -> PolicyDecisionPoint:
    if telemetry.tracing is None:
        return PolicyDecisionPoint(transport, revision, telemetry.observer)
    from server.wiring.traced import TracedDecisionPoint

    return TracedDecisionPoint(transport, revision, telemetry.observer, telemetry.tracing)


def sample(pdp: PolicyDecisionPoint, log: DecisionLog) -> GaugeSample:
    """Return the values of the gauges now."""
    return GaugeSample(
        breaker_open=pdp.breaker_open,
        breaker_openings=pdp.breaker_openings,
        wanted_revision=pdp.expected_revision,
        live_revision=pdp.live_revision,
        log_lines_waiting=log.lines_waiting,
        log_write_failures=log.write_failures,
        log_free_bytes=log.space.free,
    )


def _decision_log(setting: DecisionLogSetting) -> DecisionLog:
    if not isinstance(setting, Path | RotatedLog):
        return DecisionLog.to_stdout()
    file = rotated(setting)
    try:
        return DecisionLog.to_file(file.path, None if file.rotate_at is None else Rotation(file.rotate_at, file.keep))
    except OSError as fault:
        raise DecisionLogUnusable(
            f"the decision log `{file.path}` can't be written: {fault.strerror}; choose another `server.decision_log`"
        ) from None
