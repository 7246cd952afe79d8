"""From a plan to a server that serves, and back to nothing left behind."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from server import wiring
from server.api.open_streams import OpenStreams
from server.authenticators import authenticator
from server.authz.readiness import ReadinessProbe
from server.draining import LAST_SECONDS, DrainingServer, Ending
from server.engine import Plan, Ready
from server.guards import EnforcementPoint
from server.http1 import door
from server.starting import settled


def on_signals(stop: Callable[[], None]) -> None:
    """Have SIGINT and SIGTERM call `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


async def serve(plan: Plan, ready: Ready, listener: socket.socket, announce: Callable[[], None]) -> None:
    """Serve from this one process until SIGINT or SIGTERM; `announce` is called when it begins.

    With an OPA of its own it begins once requests can be decided. Raises OpaStartFailed.
    """
    telemetry = wiring.measured(plan.config)
    async with wiring.decisions(plan, telemetry) as (pep, probe):
        await ready()
        await serve_door(plan, pep, probe, telemetry, listener, announce)


async def serve_door(
    plan: Plan,
    pep: EnforcementPoint,
    probe: ReadinessProbe,
    telemetry: wiring.Telemetry,
    listener: socket.socket,
    announce: Callable[[], None],
) -> None:
    """What each process that serves does; raises what a bad certificate or key raises."""
    settings, ending, streams = plan.config.server, Ending(), OpenStreams()
    app = wiring.build(plan.config, pep, authenticator(settings.auth), probe, telemetry, ending, streams)
    config = door(
        app,
        log_config=None,
        timeout_graceful_shutdown=int(LAST_SECONDS),
        ssl_certfile=settings.tls_certfile,
        ssl_keyfile=settings.tls_keyfile,
    )

    def begun() -> None:
        announce()
        settled()

    server = DrainingServer(config, ending, streams.end_all, begun, shared=settings.workers > 1)
    on_signals(server.stop)
    await server.serve(sockets=[listener])
