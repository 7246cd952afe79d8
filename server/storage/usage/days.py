"""Days as callers write them."""

from __future__ import annotations

import re
import time
from datetime import date, timedelta
from typing import Final

from server.storage.usage.tally import DAY_SECONDS

DEFAULT_DAYS: Final = 30
"""Days of a report that is asked for without its first day, today among them."""

_DAY: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FIRST: Final = date(1970, 1, 1)


def day_number(text: str) -> int:
    """Return the number of a day like `2026-11-30`, counted from 1970; raises ValueError, with a sentence."""
    if not _DAY.fullmatch(text):
        raise ValueError("is not a day like `2026-11-30`")
    try:
        number = (date.fromisoformat(text) - _FIRST).days
    except ValueError:
        raise ValueError("is no day of the calendar") from None
    if number < 0:
        raise ValueError("is before 1970")
    return number


def day_text(number: int) -> str:
    """Return a day as `day_number` takes it."""
    return (_FIRST + timedelta(days=number)).isoformat()


def today() -> int:
    """Return the number of the day, in UTC."""
    return int(time.time()) // DAY_SECONDS


def first_day(text: str | None) -> int:
    """Return the first day of a report: that of the text, or else `DEFAULT_DAYS` ago; raises ValueError."""
    return today() - DEFAULT_DAYS + 1 if text is None else day_number(text)
