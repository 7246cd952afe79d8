"""Limits of lists, questions to the policy and the decision log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.authz.decision_log import limits as log
from server.authz.opa import room, transport
from server.cli.limits.row import Limit
from server.storage.database import limits as database
from server.storage.records import list_steps, permitted

CONSTANTS: Final[dict[str, Any]] = {
    "database": database,
    "permitted": permitted,
    "list_steps": list_steps,
    "log": log,
    "room": room,
    "transport": transport,
}
"""Modules by the names that rows give them."""

LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "records that one list passes over",
        "{list_steps.MOST_PASSED}, {list_steps.MOST_ASKED} of them each with a question of its own",
        "429, `list_too_long`",
    ),
    Limit("one statement of a list", "{database.LIST_SECONDS:seconds}", "503, `list_too_slow`"),
    Limit(
        "a small question to the policy, and the time for it",
        "{room.SMALL_BYTES:bytes} with its caller, {room.SMALL_TEXT} characters of the path and the names, "
        "{transport.DEADLINE:seconds}",
        "503",
    ),
    Limit(
        "resources that a request asks about in a small question",
        "{room.SMALL_QUESTIONS}",
        "more are a large one",
    ),
    Limit(
        "a large question to the policy, and the time for it",
        "{room.LARGE_QUESTIONS} resources, {room.LARGE_BYTES:bytes} besides the first one and its caller, "
        "{room.LARGE_SECONDS:seconds}; "
        "fewer resources where the last ones took the engine more than {room.GOAL_SECONDS:seconds}",
        "more wait for another turn; 503 for the caller alone",
    ),
    Limit(
        "bodies of the records on one page of a list",
        "{permitted.MOST_PAGE_BYTES:bytes}",
        "the page ends early, with `has_more`",
    ),
    Limit(
        "refusals of one address without a token, with a line each in the decision log",
        "{log.WHOLE_EACH} in {log.WINDOW_SECONDS:seconds}",
        "further ones are [counted](decision-log.md#what-is-counted)",
    ),
    Limit(
        "a path or a name in a line of the decision log",
        "{log.MOST_TEXT} characters",
        "of longer ones the beginning and the length",
    ),
)
"""Rows in the order of the page."""
