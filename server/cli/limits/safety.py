"""Limits of shields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from policy import shields as required
from server.api.models import asked_shields
from server.api.safety import body as safety
from server.cli.limits.row import Limit
from server.config import shield_params
from server.safety import bedrock as guardrails
from server.safety import checks, images, streams, texts, told_stream
from server.safety import running as shields
from server.safety.llama_guard import conversations as guard

CONSTANTS: Final[dict[str, Any]] = {
    "asked_shields": asked_shields,
    "guard": guard,
    "guardrails": guardrails,
    "images": images,
    "required": required,
    "safety": safety,
    "shield_params": shield_params,
    "checks": checks,
    "shields": shields,
    "streams": streams,
    "texts": texts,
    "told_stream": told_stream,
}
"""Modules by the names that rows give them."""

LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "a request to a shield: its bytes, messages, or texts for moderations",
        "{safety.MOST_BYTES:bytes}, {safety.MOST_MESSAGES}, {safety.MOST_INPUTS}",
        "413, 400",
    ),
    Limit(
        "texts of one check by a shield",
        "{shields.MOST_CHARACTERS} characters; of a Llama Guard {guard.MOST_WINDOWS} windows of {guard.WINDOW} "
        "characters, of a guardrail {guardrails.MOST_REQUESTS} requests of {guardrails.MOST_CHARACTERS}",
        "400, `text_too_long`",
    ),
    Limit(
        "characters of the sources of an answer, of its question, and of each part that a guardrail compares",
        "{guardrails.MOST_SOURCES}, {guardrails.LONGEST_QUESTION}, {guardrails.MOST_GROUNDED}",
        "400, `text_too_long`; a longer answer goes in parts",
    ),
    Limit(
        "shields that one request asks for, and the characters of the name of each",
        "{asked_shields.MOST_ASKED}, {asked_shields.LONGEST_NAME}",
        "400",
    ),
    Limit(
        "a request or an answer whose texts go through [required shields](../api/safety.md#required-shields)",
        "{checks.MOST_BYTES:bytes}; {texts.MOST_TEXTS} texts; "
        "{texts.MOST_SIGNS} brackets, commas and texts of its JSON",
        "400, `text_too_long`; of an answer 503, `shield_unavailable`",
    ),
    Limit(
        "a stream that goes through shields: characters that wait for a check and behind it, texts, bytes that wait",
        "{streams.WINDOW} and {streams.TAIL}, {streams.MOST_TEXTS}, {streams.MOST_HELD:bytes}",
        "an error event, `shield_unavailable`",
    ),
    Limit(
        "characters of a stream whose scores are told at its end",
        "{told_stream.MOST_COLLECTED}",
        "an `error` in the place of its result",
    ),
    Limit("images of a request that shields judge", "{images.MOST_IMAGES}", "400, `not_checked`"),
    Limit("shields that one rule requires", "{required.MOST_REQUIRED}", "the configuration is refused"),
    Limit(
        "time of one check by a shield",
        "{shield_params.TIMEOUT_SECONDS:seconds}, or its `timeout`, at most {shield_params.MOST_SECONDS:seconds}",
        "503, `shield_unavailable`",
    ),
    Limit(
        "words of one shield of `inline::keyword`, and characters of one of them",
        "{shield_params.MOST_WORDS}, {shield_params.LONGEST_WORD}",
        "the configuration is refused; 400",
    ),
)
"""Rows in the order of the page."""
