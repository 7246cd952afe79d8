"""Limits of responses, messages and compaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.api.messages import body as message_body
from server.api.messages import course
from server.api.responses import body as response_body
from server.api.responses import context as response_context
from server.api.responses import loop as response_loop
from server.api.responses import open_items, unsealing
from server.api.responses import settings as response_settings
from server.api.responses import state as response_state
from server.api.responses import tools as response_tools
from server.api.responses.compaction import summaries
from server.background import lasting
from server.cli.limits.row import Limit

CONSTANTS: Final[dict[str, Any]] = {
    "course": course,
    "lasting": lasting,
    "message_body": message_body,
    "open_items": open_items,
    "response_body": response_body,
    "response_context": response_context,
    "response_loop": response_loop,
    "response_settings": response_settings,
    "response_state": response_state,
    "response_tools": response_tools,
    "summaries": summaries,
    "unsealing": unsealing,
}
"""Modules by the names that rows give them."""

ASKED: Final[Sequence[Limit]] = (
    Limit(
        "input of a response: items, values, files, references",
        "{response_body.MOST_ITEMS} with those that it goes on from, {response_body.MOST_FILLED} of a request beside "
        "`conversation`, {response_body.MOST_VALUES}, "
        "{response_body.MOST_FILES}, {response_body.MOST_REFERENCES}",
        "400",
    ),
    Limit(
        "items that a response answers",
        "{response_context.MOST_STORED:bytes} where it is stored, else {response_context.MOST_ASKED:bytes}",
        "400, `context_length_exceeded`",
    ),
    Limit(
        "tools of a response, and all members beside its input",
        "{response_tools.MOST_TOOLS}, {response_settings.MOST_BYTES:bytes}",
        "400, 413",
    ),
    Limit(
        "variables of a prompt that a response sets, their values, and the text with them",
        "{response_body.MOST_VARIABLES}, {response_body.MOST_VARIABLES_BYTES:bytes}, "
        "{response_context.MOST_PROMPT} characters",
        "400",
    ),
    Limit(
        "output of a response",
        "{response_state.MOST_OUTPUT:bytes} in {open_items.MOST_ITEMS} items",
        "it ends there, as `incomplete`",
    ),
    Limit(
        "brackets, commas and texts of the arguments in which the text for a custom tool is looked for",
        "{response_state.MOST_SIGNS}",
        "the arguments are the text",
    ),
)
"""Rows about requests for a response, and about its output."""

ANSWERED: Final[Sequence[Limit]] = (
    Limit(
        "files that one text of a response cites",
        "{response_loop.MOST_SOURCES}",
        "later ones are not cited",
    ),
    Limit(
        "stop sequences of a message, and each of them",
        "{message_body.MOST_STOPS}, {message_body.LONGEST_STOP} characters",
        "400",
    ),
    Limit("blocks of a message that a model answers", "{course.MOST_BLOCKS}", "502, or an `error` event"),
    Limit(
        "tokens from which a context may be summed up, entries of `context_management`",
        "{response_settings.LEAST_COMPACTED}, {response_settings.MOST_MANAGEMENT}",
        "400",
    ),
    Limit(
        "the summary of a compaction, sealed reasoning of a model, and the time for which both can be gone on from",
        "{summaries.MOST_SUMMARY:bytes}, {unsealing.MOST_SEALED:bytes}, {unsealing.LIFETIME:seconds}",
        "the beginning is kept; 400, `invalid_encrypted_content`",
    ),
    Limit(
        "a compaction, or an item of sealed reasoning, that is sent again",
        "{unsealing.LARGEST_ITEM:bytes}",
        "400, `invalid_encrypted_content`",
    ),
    Limit(
        "time in which a server that stops stores what it has answered, and counts chunks that were put in",
        "{lasting.FINISH_SECONDS:seconds}",
        "later responses are not stored; later chunks are not counted",
    ),
)
"""Rows about citations, messages, compaction and sealed reasoning."""
