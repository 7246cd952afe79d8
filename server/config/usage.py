"""The model of `server.usage`: what is told apart in the counts of usage, and how long they are kept."""

from __future__ import annotations

from typing import Annotated, Final

from server.config.base import StrictModel
from server.config.types import Text, whole_number

MOST_DAYS: Final = 3650


class UsageConfig(StrictModel):
    """The attribute `team`, whose first value is the team that a request counts for, and the days to keep counts."""

    team: Text = "teams"
    keep_days: Annotated[int, whole_number(1, MOST_DAYS)] = 400
