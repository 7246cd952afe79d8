"""The configuration with which uvicorn serves the application over this server's protocol."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import LifespanType

from server.http.cors import Cors
from server.http.protocol import HttpProtocol
from server.http.protocol_errors import Count, ProtocolConfig


def http_protocol(
    app: ASGIApp, count: Count, cors: Cors | None = None, *, lifespan: LifespanType = "on", **options: Any
) -> ProtocolConfig:
    """Return the configuration with which uvicorn serves `app`; `count` is called for each request that never reaches
    `app`.

    `cors` adds its headers to the refusals of such requests. `options` are uvicorn's own (address, TLS).
    """
    return ProtocolConfig(
        app,
        count,
        cors,
        http=HttpProtocol,
        ws="none",
        lifespan=lifespan,
        # Longer than clients and proxies keep an idle connection, so that none sends into one that is being closed.
        timeout_keep_alive=75,
        # The peer is the client: its `X-Forwarded-*` headers prove nothing.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        **options,
    )
