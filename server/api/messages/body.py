"""The members of a message's body that this server reads, and the chat that they come to.

Members that are not known are ignored, since clients send new ones before servers know them. The checks may run in a
worker process, so this module imports the standard library, `server.json_input` and modules that import no more than
these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.api.chat.body import ChatBody, read_chat
from server.api.chat.cost import read_costed_chat, read_counted_chat
from server.api.chat.made_chats import read_made
from server.api.messages.blocks import Conversation
from server.api.messages.tools import tools_of
from server.api.models.asked_shields import check_blocking, check_unshielded, settings_of_shields
from server.api.models.request_body import LONGEST_NAME, SWITCH, built, check_spelling, number_of
from server.http.body_checks import missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json

MOST_STOPS: Final = 64
"""Texts of `stop_sequences`."""

LONGEST_STOP: Final = 512
"""Characters of each of them."""

_READ_HERE: Final = frozenset(
    {
        *("max_tokens", "messages", "metadata", "model", "stop_sequences", "stream", "system", "temperature"),
        *("thinking", "tool_choice", "tools", "top_p"),
    }
)
_THINKING: Final = {"adaptive": True, "disabled": False, "enabled": True}


@dataclass(frozen=True, slots=True)
class MessageBody(ChatBody):
    """The body of a message; `raw` is the chat that it comes to, and the members about places are about that.

    `stops` are its stop sequences. Thoughts of the model are part of the answer if it `shows_thoughts`. `named` has the
    place of each file that is named, by the file's id.
    """

    raw: bytes = b""
    stops: tuple[str, ...] = ()
    shows_thoughts: bool = False
    named: Mapping[str, str] | None = None


def message_body(
    raw: bytes,
    stops: list[str],
    cost: Json | None = None,
    found: Json | None = None,
    asking: Any = None,
    **members: Any,
) -> MessageBody:
    """Return the body of which a check has returned these members."""
    return MessageBody(raw=raw, stops=(*stops,), **members, **built(cost, found, asking))


def read_message(document: Document) -> Json:
    """Return the arguments of `message_body`; raises InvalidJson with the place of what is wrong."""
    return _read(document, read_chat)


def read_costed_message(document: Document) -> Json:
    """Read a message as `read_message` does, with an estimate of the tokens."""
    return _read(document, read_costed_chat)


def read_counted_message(document: Document) -> Json:
    """Read a message as `read_message` does, with an estimate of the tokens of the prompt alone, for which no answer
    has a length.
    """
    return _read(document, read_counted_chat, is_asked=False)


MESSAGE: Final = BodyParser(read_message, message_body)
COSTED_MESSAGE: Final = BodyParser(read_costed_message, message_body)
COUNTED_MESSAGE: Final = BodyParser(read_counted_message, message_body)


def _read(document: Document, read: Callable[[Document], Json], *, is_asked: bool = True) -> Json:
    body = document.members
    check_spelling(body, _READ_HERE)
    if is_asked:
        check_blocking(body)
    else:
        check_unshielded(body)
    conversation = _conversation(body)
    chat: Json = {"model": _model(body), "messages": conversation.messages}
    if is_asked and body.get("max_tokens") is None:
        raise missing("max_tokens")
    stops = _stops(body)
    chat |= _settings(body, stops) | _form(body) | tools_of(body) | settings_of_shields(body)
    if type(body.get("stream")) not in SWITCH:
        raise wrong("stream", "must be true or false")
    if is_asked and body.get("stream"):
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    raw, told = read_made(chat, read)
    more = {"stops": stops, "shows_thoughts": _shows_thoughts(body), "named": conversation.files}
    return {**told, **more, "raw": raw}


def _model(body: Json) -> str:
    if "model" not in body:
        raise missing("model")
    name = body["model"]
    if type(name) is not str or not 0 < len(name) <= LONGEST_NAME:
        raise wrong("model", "must be the name of a model")
    return name


def _conversation(body: Json) -> Conversation:
    if "messages" not in body:
        raise missing("messages")
    messages, found = body["messages"], Conversation()
    if type(messages) is not list or not messages:
        raise wrong("messages", "must be a list with at least one message")
    found.add_system(body.get("system"))
    for number, message in enumerate(messages):
        found.add(message, f"messages[{number}]")
    if all(message["role"] == "system" for message in found.messages):
        raise InvalidJson("`messages` has nothing that a model reads; send a text", "messages", "invalid_value")
    return found


def _settings(body: Json, stops: list[str]) -> Json:
    """Return the members of a chat about the answer; what the body leaves out is left out."""
    settings: Json = {}
    length = number_of(body, "max_tokens")
    if length:
        settings["max_completion_tokens"] = length
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is None:
            continue
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise wrong(name, "must be a number from 0 to 1")
        settings[name] = value
    if stops:
        settings["stop"] = stops
    metadata = body.get("metadata")
    if not isinstance(metadata, dict | None):
        raise wrong("metadata", "must be an object")
    user = (metadata or {}).get("user_id")
    if type(user) not in (str, type(None)):
        raise wrong("metadata.user_id", "must be a text")
    return settings | ({"user": user} if user else {})


def _stops(body: Json) -> list[str]:
    stops = body.get("stop_sequences")
    if stops is None:
        return []
    if type(stops) is not list or len(stops) > MOST_STOPS:
        raise wrong("stop_sequences", f"must be a list of at most {MOST_STOPS} texts")
    for number, stop in enumerate(stops):
        if type(stop) is not str or not 0 < len(stop) <= LONGEST_STOP:
            raise wrong(f"stop_sequences[{number}]", f"must be a text of 1 to {LONGEST_STOP} characters")
    return stops


def _form(body: Json) -> Json:
    """Return the member of a chat about the form of its answer, which older clients name `output_format`."""
    config = body.get("output_config")
    if not isinstance(config, dict | None):
        raise wrong("output_config", "must be an object")
    place, form = "output_config.format", (config or {}).get("format")
    if form is None:
        place, form = "output_format", body.get("output_format")
    if form is None:
        return {}
    if type(form) is not dict or form.get("type") != "json_schema" or type(form.get("schema")) is not dict:
        raise wrong(place, "must have the type `json_schema` and a `schema`, which is an object")
    schema = {"name": "answer", "schema": form["schema"], "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _shows_thoughts(body: Json) -> bool:
    thinking = body.get("thinking")
    if thinking is None:
        return False
    kind = thinking.get("type") if type(thinking) is dict else None
    if type(kind) is not str or kind not in _THINKING:
        raise wrong("thinking", "must be an object with a `type`: `enabled`, `adaptive` or `disabled`")
    return _THINKING[kind] and thinking.get("display") != "omitted"
