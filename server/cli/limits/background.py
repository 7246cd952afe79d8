"""Limits of responses in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.api.responses.background import gathered as response_gathered
from server.api.responses.background import kept_events as response_events
from server.api.responses.background import queue as response_queue
from server.api.responses.background import worker as response_background
from server.cli.limits.row import Limit

CONSTANTS: Final[dict[str, Any]] = {
    "response_background": response_background,
    "response_events": response_events,
    "response_gathered": response_gathered,
    "response_queue": response_queue,
}
"""Modules by the names that rows give them."""

LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "responses in the background that are not over, of one caller and of all",
        "{response_queue.MOST_WAITING_EACH}, {response_queue.MOST_WAITING}",
        "429, 503",
    ),
    Limit(
        "responses that one process answers in the background at once, and of one caller",
        "{response_background.AT_ONCE}, {response_background.AT_ONCE_EACH}",
        "later ones wait, in rounds of the callers",
    ),
    Limit(
        "stored events of one response, but for those of its end",
        "{response_events.MOST_EVENTS}, {response_events.MOST_EVENT_BYTES:bytes}",
        "the answer ends there, `incomplete`",
    ),
    Limit(
        "time in which events of a response in the background are gathered, at least",
        "{response_gathered.PACE_SECONDS:seconds}",
        "they are stored and sent together",
    ),
    Limit(
        "stored events after the end of their response: time; responses and bytes of one caller",
        "{response_queue.EVENTS_KEPT_SECONDS:seconds}; {response_queue.MOST_KEPT_EACH}, "
        "{response_queue.MOST_KEPT_BYTES_EACH:bytes}",
        "they are dropped, those of the oldest first",
    ),
)
"""Rows in the order of the page."""
