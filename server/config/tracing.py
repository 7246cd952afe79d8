"""The model of `server.tracing`: the collector of spans."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from server.config.base import StrictModel
from server.config.locations import BaseUrl
from server.config.types import Text, refusal

_TRACES: Final = "/v1/traces"


def _endpoint(value: str) -> str:
    if value.endswith(_TRACES):
        raise refusal("bad-url", "takes the collector's base URL", f"leave out `{_TRACES}`, which is appended")
    return value


class TracingConfig(StrictModel):
    """An OpenTelemetry collector that takes OTLP over HTTP at `endpoint` (`/v1/traces` is appended), and the name by
    which it knows this server.
    """

    endpoint: Annotated[BaseUrl, AfterValidator(_endpoint)]
    service_name: Text = "ostiary"
