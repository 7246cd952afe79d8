"""What a body may register, and under which names.

It may be read in a reading process, so this imports nothing but the standard library and `server.reading`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from server.api.metadata import LONGEST_KEY, MOST_KEYS, known_members, missing, short, text_at, wrong
from server.reading.strict import Document, Json, Refused

LONGEST_ID: Final = 256
"""Bytes of an identifier in UTF-8."""

LONGEST_TEXT: Final = 2048
"""Characters of any other text."""

_UNREACHABLE: Final = re.compile(r"\\|%[0-9A-Fa-f]{2}|(?:\A|/)\.{0,2}(?:/|\Z)")
"""What no path of a request can hold: paths are told apart by these, or refused for them."""

_PURPOSES: Final = ("post-training/messages", "eval/question-answer", "eval/messages-answer")
_RETURNED: Final = (
    *("string", "number", "boolean", "array", "object", "json", "union"),
    *("chat_completion_input", "completion_input", "agent_turn_input"),
)
_MOST_FUNCTIONS: Final = 100

Check = Callable[[Any, str], object]
"""Gives what is kept of the value at a place; raises Refused."""


def look_at_model(document: Document) -> Json:
    """The parts of a model; `provider_id` is null where the body leaves the choice to the server."""
    body = document.members
    known_members(body, ("model_id", "provider_id", "provider_model_id", "model_type", "metadata"))
    model_id = _needed(body, "model_id", identifier)
    own = _given(body, "provider_model_id", identifier)
    return {
        "model_id": model_id,
        "provider_id": _given(body, "provider_id", _text),
        "provider_model_id": model_id if own is None else own,
        "model_type": _given(body, "model_type", _one_of("llm", "embedding")) or "llm",
        "metadata": _given(body, "metadata", _metadata) or {},
    }


def look_at_shield(document: Document) -> Json:
    """A shield."""
    return _described(document, "shield_id", "provider_shield_id", params=_given_as(_object))


def look_at_vector_store(document: Document) -> Json:
    """A vector store, as the registry knows it."""
    return _described(
        document,
        "vector_db_id",
        "provider_vector_db_id",
        embedding_model=_needed_as(_text),
        embedding_dimension=_given_as(_positive),
        vector_db_name=_given_as(_text),
    )


def look_at_tool_group(document: Document) -> Json:
    """A tool group."""
    return _described(
        document, "toolgroup_id", "provider_toolgroup_id", mcp_endpoint=_given_as(_address), args=_given_as(_object)
    )


def look_at_dataset(document: Document) -> Json:
    """A dataset; its id is null where the body leaves the choice to the server."""
    return _described(
        document,
        "dataset_id",
        "provider_dataset_id",
        purpose=_needed_as(_one_of(*_PURPOSES)),
        source=_needed_as(_source),
        metadata=_given_as(_metadata),
        identified=False,
    )


def look_at_scoring_function(document: Document) -> Json:
    """A scoring function."""
    return _described(
        document,
        "scoring_fn_id",
        "provider_scoring_fn_id",
        description=_needed_as(_text),
        return_type=_needed_as(_return_type),
        params=_given_as(_object),
        metadata=_given_as(_metadata),
    )


def look_at_benchmark(document: Document) -> Json:
    """A benchmark."""
    return _described(
        document,
        "benchmark_id",
        "provider_benchmark_id",
        dataset_id=_needed_as(_text),
        scoring_functions=_needed_as(_functions),
        metadata=_given_as(_metadata),
    )


def identifier(value: object, place: str) -> str:
    """A name that a path can hold, so that what is registered can be read and removed; raises Refused."""
    name = _text(value, place)
    if not 0 < len(name.encode()) <= LONGEST_ID:
        raise wrong(place, f"must have 1 to {LONGEST_ID} bytes")
    if not name.isprintable() or name != name.strip() or _UNREACHABLE.search(name):
        demand = "must be printable, without blanks at its ends, `\\`, escapes like `%2F`, and empty or dot segments"
        raise wrong(place, demand)
    return name
