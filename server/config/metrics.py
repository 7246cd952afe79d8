"""The model of `server.metrics`: a separate listener for Prometheus."""

from __future__ import annotations

from typing import Annotated

from server.config.base import StrictModel
from server.config.locations import Host
from server.config.types import whole_number


class MetricsConfig(StrictModel):
    """The address where `/metrics` is served without a token to any client that can connect; port 0 is any free one."""

    host: Host = "127.0.0.1"
    port: Annotated[int, whole_number(0, 65535)]
