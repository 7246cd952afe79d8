"""From a checked configuration and its bundle to a server that serves, and back to nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop

from server import wiring
from server.authn import Authenticator
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authz.control_plane import ControlPlane
from server.authz.decision_log import DecisionLog
from server.authz.opa_process import OpaProcess
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.readiness import Authentication, ReadinessProbe
from server.authz.runtime_directory import RuntimeDirectory
from server.authz.transport import OpaTransport, UnixAddress
from server.config import AuthConfig, Config
from server.config.edge import STDOUT
from server.http1 import door

_GRACE_SECONDS = 10

loop_factory = uvloop.new_event_loop


class PortInUse(Exception):
    """The address can't be listened on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served: the configuration, the bundle's archive and revision, the OPA to run, who vouches."""

    config: Config
    archive: bytes
    revision: str
    opa: Path
    authenticator: Authenticator | None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as fault:
        raise PortInUse(
            f"port {port} of {host} can't be used: {fault.strerror}; choose another `server.port`"
        ) from None


def authenticator(config: AuthConfig) -> Authenticator | None:
    """Who turns tokens into principals; None where authentication is not configured."""
    provider = config.provider_config
    if provider is None:
        return None
    token = provider.jwks.token
    mapping = {} if provider.claims_mapping is None else {"claims_mapping": provider.claims_mapping}
    return OAuth2Authenticator(
        OAuth2Settings(
            jwks_uri=provider.jwks.uri,
            issuer=provider.issuer,
            audience=provider.audience,
            jwks_token=None if token is None else token.get_secret_value(),
            key_recheck_seconds=provider.jwks.key_recheck_period,
            tls_cafile=provider.tls_cafile,
            verify_tls=provider.verify_tls,
            **mapping,
        )
    )


def runtime_directory(port: int) -> RuntimeDirectory:
    """The private directory of the server on this port; a killed server's is taken over. Raises UnsafeDirectory."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return RuntimeDirectory.claim(base / f"ostiary-{os.geteuid()}-{port}")


async def serve(plan: Plan, directory: RuntimeDirectory, listener: socket.socket, announce: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once requests can be decided. Raises OpaStartFailed."""
    async with _decisions(plan, directory) as (pep, probe):
        app = wiring.build(plan.config, pep, plan.authenticator, probe)
        settings = plan.config.server
        server = _Server(
            door(
                app,
                log_config=None,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                ssl_certfile=settings.tls_certfile,
                ssl_keyfile=settings.tls_keyfile,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        announce()
        await server.serve(sockets=[listener])


@asynccontextmanager
async def _decisions(
    plan: Plan, directory: RuntimeDirectory
) -> AsyncIterator[tuple[PolicyEnforcementPoint, ReadinessProbe]]:
    bundle = directory.path / "bundle.tar.gz"
    bundle.write_bytes(plan.archive)
    address = UnixAddress(directory.socket)
    authentication = Authentication.OFF if plan.authenticator is None else Authentication.CONFIGURED
    async with AsyncExitStack() as stack:
        transport = OpaTransport(address)
        stack.callback(transport.close)
        pdp = PolicyDecisionPoint(transport, plan.revision)
        control = ControlPlane(address)
        stack.push_async_callback(control.close)
        probe = ReadinessProbe(pdp, control, authentication)
        opa = OpaProcess(plan.opa, bundle, directory, probe)
        await opa.start()
        stack.push_async_callback(opa.stop)
        log = _decision_log(plan.config.server.decision_log)
        stack.push_async_callback(log.close)
        yield PolicyEnforcementPoint(pdp, log), probe


def _decision_log(sink: Path | str) -> DecisionLog:
    return DecisionLog.to_stdout() if sink == STDOUT else DecisionLog.to_file(Path(sink))


class _Server(uvicorn.Server):
    """uvicorn, without its own signal handlers: it would raise the signal again in the middle of our clean-up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """End gently; the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
