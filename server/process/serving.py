"""Serving from one process: opening everything, serving until a signal, and closing everything."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from server.authz.readiness import ReadinessProbe
from server.authz.request_authorization import EnforcementPoint
from server.http.drain_guard import Shutdown
from server.http.open_streams import OpenStreams
from server.http.protocol_config import http_protocol
from server.net.certificates import UnusableCertificate
from server.net.client_address import ClientAddresses
from server.net.tls import ServerTls
from server.process.startup import settled
from server.process.uvicorn_server import LAST_SECONDS, DrainingServer
from server.telemetry.exposition import Exposition, MetricsListener, Rendered
from server.wiring import application, decisions
from server.wiring.authenticators import authenticator
from server.wiring.policy_engine import Plan, Ready, watched
from server.wiring.preflight import server_tls

_log: Final = logging.getLogger("ostiary.serving")


def on_signals(stop: Callable[[], None]) -> None:
    """Have SIGINT and SIGTERM call `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


async def serve(
    plan: Plan, ready: Ready, listener: socket.socket, announce: Callable[[], None], metrics: socket.socket | None
) -> None:
    """Serve from this one process until SIGINT or SIGTERM; `announce` is called when it begins.

    `metrics` is the socket on which they are shown to those who can connect. With an OPA of its own it begins once
    requests can be decided. Raises OpaStartFailed.
    """
    telemetry = decisions.measured(plan.config)
    async with decisions.open_enforcement(plan, telemetry) as (pep, probe):
        await ready()
        with shown(telemetry.metrics, metrics):
            await serve_http(plan, pep, probe, telemetry, listener, announce)


@contextmanager
def shown(rendered: Rendered, listener: socket.socket | None) -> Iterator[None]:
    """Show the metrics on a listening socket of their own, for as long as the context lasts."""
    if listener is None:
        yield
        return
    with closing(MetricsListener(Exposition(rendered), listener)):
        yield


async def serve_http(
    plan: Plan,
    pep: EnforcementPoint,
    probe: ReadinessProbe,
    telemetry: decisions.Telemetry,
    listener: socket.socket,
    announce: Callable[[], None],
) -> None:
    """Serve HTTP from this process until a signal; raises the exceptions that `start_failure` has a sentence for."""
    settings, ending, streams = plan.config.server, Shutdown(), OpenStreams()
    identity = authenticator(settings.auth, telemetry.tallies)
    app = application.build(plan.config, pep, identity, probe, telemetry, ending, streams)
    tls = server_tls(settings)
    config = http_protocol(
        app,
        telemetry.metrics.unreadable,
        application.cors(settings.cors),
        # Opened here and not by uvicorn, which would tell what fails in a traceback.
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=int(LAST_SECONDS),
        ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
    )

    def begun() -> None:
        announce()
        settled()

    addresses = ClientAddresses(settings.trusted_proxies)
    server = DrainingServer(config, ending, streams.end_all, begun, addresses, workers=settings.workers)
    on_signals(server.stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, tls)
    async with app.router.lifespan_context(app), watched(plan, probe):
        await server.serve(sockets=[listener])


def nothing_to_read_again() -> None:
    """Log that SIGHUP has no effect without a certificate."""
    _log.warning("SIGHUP has a certificate read again, and this server has none; restart it for another configuration")


def _reload(tls: ServerTls | None) -> None:
    if tls is None:
        nothing_to_read_again()
        return
    try:
        tls.reload()
    except UnusableCertificate as fault:
        _log.error("%s; the old certificate stays", fault)
        return
    _log.info("the certificate was read again")
    for doubt in tls.doubts():
        _log.warning("%s", doubt)
