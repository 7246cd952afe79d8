"""The members of a response's body that say how to answer: checked, as they are shown, and as a chat has them.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from json import dumps
from typing import Any, Final

from server.api.conversations.include import INCLUDABLE
from server.api.models.asked_shields import settings_of_shields
from server.api.responses.tools import Offer, chosen, offer_of
from server.http.body_checks import metadata_of, wrong
from server.json_input.strict import InvalidJson, Json, Why

LEAST_OUTPUT: Final = 16
"""Tokens; no answer may be limited to fewer."""

MOST_LOGPROBS: Final = 20
"""Tokens whose probabilities are told at each place of an answer."""

LEAST_COMPACTED: Final = 1_000
"""Tokens; no shorter context is summed up."""

MOST_MANAGEMENT: Final = 16
"""Entries of `context_management`."""

LONGEST_IDENTIFIER: Final = 64
"""Characters of a `safety_identifier`."""

LONGEST_TEXT: Final = 512
"""Characters of a short text such as `user`."""

MOST_BYTES: Final = 256 * 1024
"""Bytes of the tools, instructions and other members that are shown, as JSON."""

LOGPROBS: Final = "message.output_text.logprobs"
"""The value of `include` that asks a model for the probabilities of its tokens."""

SEALED: Final = "reasoning.encrypted_content"
"""The value of `include` that asks for a model's reasoning in a form that a client can send again."""

_FORMATS: Final = ("text", "json_object", "json_schema")


def settings_of(body: Json) -> Json:
    """Return the members about the answer: `shown`, the chat's `settings`, and what is known of its tools."""
    offer, included = offer_of(body), _included(body)
    choice, tools = chosen(body, offer)
    text, form = _text(body)
    reasoning = _object(body, "reasoning")
    shown: Json = {
        "instructions": _words(body, "instructions"),
        "tools": offer.shown,
        "tool_choice": choice,
        "truncation": _one_of(body, "truncation", ("auto", "disabled")) or "disabled",
        "parallel_tool_calls": _switch(body, "parallel_tool_calls", default=True),
        "text": text,
        "top_p": _number(body, "top_p", 0, 1, 1.0),
        "presence_penalty": _number(body, "presence_penalty", -2, 2, 0.0),
        "frequency_penalty": _number(body, "frequency_penalty", -2, 2, 0.0),
        "top_logprobs": _whole(body, "top_logprobs", 0, MOST_LOGPROBS) or 0,
        "temperature": _number(body, "temperature", 0, 2, 1.0),
        "reasoning": None if reasoning is None else {"effort": None, "summary": None, **reasoning},
        "user": _words(body, "user", LONGEST_TEXT),
        "max_output_tokens": _whole(body, "max_output_tokens", LEAST_OUTPUT),
        "max_tool_calls": _whole(body, "max_tool_calls", 0),
        "service_tier": "default",
        "metadata": metadata_of(body),
        "safety_identifier": _words(body, "safety_identifier", LONGEST_IDENTIFIER),
        "prompt_cache_key": _words(body, "prompt_cache_key", LONGEST_TEXT),
    }
    if body.get("moderation") is not None:
        shown["moderation"] = None  # until there is a result
    if len(dumps(shown)) > MOST_BYTES:
        sentence = f"the tools, the instructions and the other members beside `input` take more than {MOST_BYTES} bytes"
        raise InvalidJson(sentence, "tools", why=Why.TOO_COMPLEX)
    settings = _chat(body, shown, included, offer, form) | tools | settings_of_shields(body)
    about_tools = {"names": offer.names, "offered": [*offer.offered], "served": offer.served}
    more = {"include": sorted(included), "compact_at": _compact_at(body)}
    return {"shown": shown, "settings": settings, **more, **about_tools}


def _compact_at(body: Json) -> int | None:
    """Return the tokens above which a context is summed up; None where the body does not say a number."""
    given = body.get("context_management")
    if given is None:
        return None
    if type(given) is not list or len(given) > MOST_MANAGEMENT:
        raise wrong("context_management", f"must be a list of at most {MOST_MANAGEMENT} objects")
    found = list[int]()
    for index, entry in enumerate(given):
        place = f"context_management[{index}]"
        if type(entry) is not dict or type(entry.get("type")) is not str:
            raise wrong(place, "must be an object with a `type`")
        if entry["type"] == "compaction":
            least = _whole(entry, "compact_threshold", LEAST_COMPACTED, place=f"{place}.")
            found += [] if least is None else [least]
    return min(found, default=None)


def _chat(body: Json, shown: Json, included: frozenset[str], offer: Offer, form: Json) -> Json:
    """Return the members of the chat, but for its model, messages and tools; what the body leaves out is left out."""
    given = {
        "temperature": "temperature",
        "top_p": "top_p",
        "presence_penalty": "presence_penalty",
        "frequency_penalty": "frequency_penalty",
        "max_output_tokens": "max_completion_tokens",
        "user": "user",
        "safety_identifier": "safety_identifier",
        "prompt_cache_key": "prompt_cache_key",
    }
    settings = {mine: shown[name] for name, mine in given.items() if body.get(name) is not None}
    if offer.offered and body.get("parallel_tool_calls") is not None:
        settings["parallel_tool_calls"] = shown["parallel_tool_calls"]
    if LOGPROBS in included or shown["top_logprobs"]:
        settings |= {"logprobs": True, "top_logprobs": shown["top_logprobs"]}
    effort = (shown["reasoning"] or {}).get("effort")
    if effort is not None:
        if type(effort) is not str:
            raise wrong("reasoning.effort", "must be a text")
        settings["reasoning_effort"] = effort
    return settings | form


def _text(body: Json) -> tuple[Json, Json]:
    """Return `text` as it is shown, and the members of a chat about the form of its answer."""
    text = _object(body, "text") or {}
    form = text.get("format")
    if form is None:
        form = {"type": "text"}
    if type(form) is not dict or form.get("type") not in _FORMATS:
        raise wrong("text.format", f"must have a `type`, one of {', '.join(f'`{name}`' for name in _FORMATS)}")
    shown: Json = {"format": form}
    members: Json = {}
    if text.get("verbosity") is not None:
        shown["verbosity"] = members["verbosity"] = _one_of(text, "verbosity", ("low", "medium", "high"), "text.")
    if form["type"] == "json_object":
        members["response_format"] = {"type": "json_object"}
    elif form["type"] == "json_schema":
        if type(form.get("name")) is not str or type(form.get("schema")) is not dict:
            raise wrong("text.format", "must have a `name`, which is a text, and a `schema`, which is an object")
        schema = {
            name: form[name] for name in ("name", "description", "schema", "strict") if form.get(name) is not None
        }
        members["response_format"] = {"type": "json_schema", "json_schema": schema}
        shown["format"] = {"strict": None, **{name: value for name, value in form.items() if value is not None}}
    return shown, members


def _included(body: Json) -> frozenset[str]:
    values = body.get("include")
    if values is None:
        return frozenset()
    if type(values) is not list or not all(type(value) is str and value in INCLUDABLE for value in values):
        raise wrong("include", f"takes some of {', '.join(f'`{name}`' for name in INCLUDABLE)}")
    return frozenset(values)


def _object(body: Json, name: str) -> Json | None:
    value = body.get(name)
    if not isinstance(value, dict | None):
        raise wrong(name, "must be an object")
    return value


def _words(body: Json, name: str, longest: int | None = None) -> str | None:
    value = body.get(name)
    if type(value) not in (str, type(None)):
        raise wrong(name, "must be a text")
    if longest is not None and value is not None and len(value) > longest:
        raise wrong(name, f"must be a text of at most {longest} characters")
    return value


def _one_of(body: Json, name: str, known: tuple[str, ...], place: str = "") -> str | None:
    value = body.get(name)
    if value is not None and (type(value) is not str or value not in known):
        raise wrong(f"{place}{name}", f"must be one of {', '.join(f'`{each}`' for each in known)}")
    return value


def _switch(body: Json, name: str, *, default: bool) -> bool:
    value = body.get(name)
    if type(value) not in (bool, type(None)):
        raise wrong(name, "must be true or false")
    return default if value is None else value


def _number(body: Json, name: str, least: int, most: int, default: float) -> float:
    value: Any = body.get(name)
    if value is None:
        return default
    if type(value) not in (int, float) or not least <= value <= most:
        raise wrong(name, f"must be a number from {least} to {most}")
    found: float = value
    return found


def _whole(body: Json, name: str, least: int, most: int = 2**31 - 1, *, place: str = "") -> int | None:
    value = body.get(name)
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise wrong(f"{place}{name}", f"must be a whole number from {least} to {most}")
    return value
