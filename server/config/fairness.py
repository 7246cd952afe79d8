"""The model of `server.fairness`: the callers that share what the server has."""

from __future__ import annotations

from server.config.base import StrictModel
from server.config.types import Text


class FairnessConfig(StrictModel):
    """The unit of fair shares: every principal, or all principals with the same first value of the attribute `by`."""

    by: Text | None = None
