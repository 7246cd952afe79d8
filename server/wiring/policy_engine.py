"""The policy engine of a server: the decision point, and the life of an OPA that the server or the operator runs.

Little is imported here: OPA gets ready while the rest of the server is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from server.authz.decision_log.log import DecisionLog
from server.authz.opa.control_plane import ControlPlane
from server.authz.opa.process import OpaProcess
from server.authz.opa.runtime_directory import RuntimeDirectory
from server.authz.opa.transport import OpaTransport, TcpAddress, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.readiness import AuthenticationMode, ReadinessProbe, watch
from server.background.tasks import in_background
from server.config import Config, OpaConfig

Ready: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when requests may come; raises OpaStartFailed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of each process that serves: the configuration, the wanted revision, and the address of OPA.

    It holds secrets, and a server sends it to its own workers alone.
    """

    config: Config
    revision: str
    opa: UnixAddress | TcpAddress

    @property
    def authentication(self) -> AuthenticationMode:
        """The mode of authentication in the configuration."""
        off = self.config.server.auth.provider_config is None
        return AuthenticationMode.OFF if off else AuthenticationMode.CONFIGURED


@dataclass(frozen=True, slots=True)
class OwnOpa:
    """The OPA that the server is to start: its program, its bundle, and the directory of its socket."""

    binary: Path
    bundle: Path
    directory: RuntimeDirectory


def opa_elsewhere(config: OpaConfig) -> TcpAddress | None:
    """Return the address of an OPA that the operator runs; None where the server starts its own."""
    location = config.location
    if location is None:
        return None
    return TcpAddress(*location, None if config.token is None else config.token.get_secret_value())


@asynccontextmanager
async def open_decision_point(
    plan: Plan, decision_point: Callable[[OpaTransport, str], PolicyDecisionPoint] = PolicyDecisionPoint
) -> AsyncIterator[tuple[PolicyDecisionPoint, ReadinessProbe]]:
    """Open the decision point and the readiness probe; OPA need not listen yet.

    `decision_point` makes the former from a transport and the wanted revision.
    """
    async with AsyncExitStack() as stack:
        transport = OpaTransport(plan.opa)
        stack.callback(transport.close)
        pdp = decision_point(transport, plan.revision)
        control = ControlPlane(plan.opa)
        stack.push_async_callback(control.close)
        yield pdp, ReadinessProbe(pdp, control, plan.authentication)


@asynccontextmanager
async def engine_at_work(plan: Plan, own: OwnOpa | None) -> AsyncIterator[Ready]:
    """Start the server's `own` OPA, and end it with the context; None where the operator runs one.

    Raises OpaStartFailed. The operator's OPA is not waited for: until it comes, there are no decisions.
    """
    if own is None:
        yield _at_once
        return
    async with open_decision_point(plan) as (_, probe), AsyncExitStack() as stack:
        events = DecisionLog.to_stderr() if plan.config.server.opa.decision_log else None
        if events is not None:
            stack.push_async_callback(events.close)
        opa = OpaProcess(own.binary, own.bundle, own.directory, probe, events)
        stack.push_async_callback(opa.stop)
        await opa.begin()
        yield opa.ready


@asynccontextmanager
async def watched(plan: Plan, probe: ReadinessProbe) -> AsyncIterator[None]:
    """Watch an OPA that the operator runs, which may come, go and change; each process that asks it has to."""
    if isinstance(plan.opa, UnixAddress):
        yield
        return
    async with in_background("opa watch", watch(probe, f"{plan.opa.authority_host}:{plan.opa.port}")):
        yield


async def _at_once() -> None:
    return
