"""What this server has to know of a chat; the rest is between the caller and the provider.

`look_at_chat` may run in a reading process, so this imports nothing but the standard library and `server.reading`.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps
from typing import Final

from server.reading.strict import Document, Json, Refused

LONGEST_NAME: Final = 512
"""Characters of a model's name; a longer one is nobody's, and isn't worth repeating."""

_READ_HERE: Final = frozenset({"model", "messages", "stream", "stream_options", "store"})


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A checked body: the model that it names, where in its bytes that name is, and whether it asks for a stream."""

    raw: bytes
    model: str
    start: int
    end: int
    stream: bool

    def naming(self, model: str) -> bytes:
        """The body to the byte, but for the model's name."""
        view = memoryview(self.raw)
        return b"".join((view[: self.start], dumps(model).encode(), view[self.end :]))


def look_at_chat(document: Document) -> Json:
    """Everything of a ChatBody but the bytes; raises Refused with the place of what this server could not handle."""
    body = document.members
    _check(body)
    start, end = document.span("model")
    return {"model": body["model"], "start": start, "end": end, "stream": body.get("stream") is True}


def _check(body: Json) -> None:
    for name in body.keys() - _READ_HERE:
        # Some providers read names without regard to case, and would so see another model than the policy did.
        if name.casefold() in _READ_HERE:
            raise _wrong(name, f"is written `{name.casefold()}`")
    _check_model(body)
    _check_messages(body)
    if not isinstance(body.get("stream", False), bool | None):
        raise _wrong("stream", "must be true or false")
    if not isinstance(body.get("stream_options", {}), dict | None):
        raise _wrong("stream_options", "must be an object")
    if body.get("store"):
        raise Refused("chat completions are not stored here; leave out `store`", "store", "unsupported_parameter")


def _check_model(body: Json) -> None:
    if "model" not in body:
        raise _missing("model")
    if type(body["model"]) is not str or not 0 < len(body["model"]) <= LONGEST_NAME:
        raise _wrong("model", "must be the name of a model")


def _check_messages(body: Json) -> None:
    if "messages" not in body:
        raise _missing("messages")
    messages = body["messages"]
    if type(messages) is not list or not messages:
        raise _wrong("messages", "must be a list with at least one message")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise _wrong(f"messages[{index}]", "must be an object")
        if type(message.get("role")) is not str:
            raise _wrong(f"messages[{index}].role", "must be a text")


def _wrong(place: str, demand: str) -> Refused:
    return Refused(f"`{place}` {demand}", place, "invalid_value")


def _missing(name: str) -> Refused:
    return Refused(f"the body has no `{name}`", name, "missing_required_parameter")
