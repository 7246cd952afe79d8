"""The end of a quota's day, as answers tell it."""

from __future__ import annotations

import re
import time

from tests.support.patience import PATIENCE

DAY = 86_400


def is_until_midnight(seconds: int) -> bool:
    """Whether so many seconds are left of the day in UTC, which is when the period ends.

    A busy machine may have taken PATIENCE since they were told.
    """
    off = (seconds - (DAY - time.time() % DAY)) % DAY
    return 0 < seconds <= DAY and min(off, DAY - off) <= PATIENCE


def seconds_of(duration: str) -> int:
    """The seconds of a duration such as `7h3m0s`."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(\d+)s", duration)
    assert found is not None, duration
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return hours * 3600 + minutes * 60 + seconds
