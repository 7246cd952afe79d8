"""The shape of `server.metrics`: a listener for Prometheus alone."""

from __future__ import annotations

from typing import Annotated

from server.config.base import StrictModel
from server.config.locations import Host
from server.config.types import whole_number


class MetricsConfig(StrictModel):
    """Where `/metrics` is shown without a token to everybody who can connect; port 0 is any free one."""

    host: Host = "127.0.0.1"
    port: Annotated[int, whole_number(0, 65535)]
