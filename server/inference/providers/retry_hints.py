"""Hints of providers about when to ask again, in each form that they are given in."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

LONGEST: Final = 10_000.0
"""Seconds; a longer wait is no hint that a client could follow."""

_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?")
_DELAY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)s")


def seconds_to_wait(headers: Mapping[str, str], error: Mapping[str, Any] | None = None) -> float | None:
    """Return the seconds that a provider asks to wait, from 0 to `LONGEST`; None if it doesn't say.

    It says so in milliseconds, in seconds, as a date, or in the `details` of its `error`.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    for name in _MILLISECONDS:
        found = _number(given.get(name, ""), 0.001)
        if found is not None:
            return found
    after = given.get("retry-after", "")
    found = _number(after, 1.0) if after else _in_details(error or {})
    return found if found is not None or not after else _until(after, given.get("date"))


def _number(text: str, unit: float) -> float | None:
    value = float(text) * unit if _NUMBER.fullmatch(text) else LONGEST
    return value if value < LONGEST else None


def _until(moment: str, now: str | None) -> float | None:
    """Return the seconds until a date, by the provider's own clock where it tells the time."""
    try:
        start = time.time() if now is None else parsedate_to_datetime(now).timestamp()
        wait = parsedate_to_datetime(moment).timestamp() - start
    except (ValueError, TypeError, OverflowError):
        return None
    return max(wait, 0.0) if wait < LONGEST else None


def _in_details(error: Mapping[str, Any]) -> float | None:
    details = error.get("details")
    for detail in details if type(details) is list else ():
        delay = detail.get("retryDelay") if type(detail) is dict else None
        found = _DELAY.fullmatch(delay) if type(delay) is str else None
        if found is not None:
            return _number(found[1], 1.0)
    return None
