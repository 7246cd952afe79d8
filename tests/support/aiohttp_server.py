"""Runs an application of aiohttp on loopback, in a thread of its own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from aiohttp import web

from tests.support.patience import PATIENCE


@contextmanager
def serving(app: web.Application, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve the application for as long as the context lasts, over TLS if there is a context for it; yields its URL.

    A handler ends when its client leaves.
    """
    ready, stop = Future[str](), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_run(app, ready, stop, tls)))
    thread.start()
    try:
        yield ready.result(timeout=PATIENCE)
    finally:
        stop.set()
        thread.join(timeout=PATIENCE)


async def _run(app: web.Application, ready: Future[str], stop: threading.Event, tls: ssl.SSLContext | None) -> None:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    ready.set_result(f"{'https' if tls else 'http'}://{host}:{port}")
    await asyncio.to_thread(stop.wait)
    await runner.cleanup()
