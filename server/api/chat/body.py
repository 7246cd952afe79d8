"""The members of a chat body that this server reads; all others go to the provider as they are.

`read_chat` may run in a reading process, so this imports nothing but the standard library and `server.json_input`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from json import dumps
from typing import Final, TypedDict

from server.http.body_checks import metadata_of
from server.json_input.strict import Document, InvalidJson, Json, Why

LONGEST_NAME: Final = 512
"""Characters of a model's name; no model has a longer one, and messages don't repeat it."""

MOST_STORED: Final = 512 * 1024
"""Bytes of a body that is to be stored."""

_SWITCH: Final = (bool, type(None))
_READ_HERE: Final = frozenset({"model", "messages", "stream", "stream_options", "store"})


Edit = tuple[int, int, str]
"""A place in a body (its first byte, and the one behind its last), and the text that is to be there instead."""


class StoreRequest(TypedDict):
    """The parts of a body to store: its metadata, and its messages as a place in its bytes.

    `edits` are the places that the provider reads otherwise, since it is not asked to store anything.
    """

    metadata: dict[str, str]
    messages: tuple[int, int]
    edits: list[Edit]


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A checked body: the model that it names, the place of that name in its bytes, and whether it asks for a stream.

    `stored` is None where it wants nothing stored.
    """

    raw: bytes
    model: str
    start: int
    end: int
    stream: bool
    stored: StoreRequest | None = None

    def naming(self, model: str, *edits: Edit) -> bytes:
        """Return the body to the byte, but for the model's name, what is stored, and further `edits`."""
        view, name = memoryview(self.raw), dumps(model)
        if self.stored is None and not edits:
            return b"".join((view[: self.start], name.encode(), view[self.end :]))
        stored = () if self.stored is None else map(tuple, self.stored["edits"])
        pieces, done = list[bytes | memoryview](), 0
        for start, end, text in sorted(((self.start, self.end, name), *stored, *edits)):
            pieces += (view[done:start], text.encode())
            done = end
        return b"".join((*pieces, view[done:]))


def read_chat(document: Document) -> Json:
    """Return the fields of a ChatBody without the bytes; raises Refused with the place of a member that is wrong."""
    body = document.members
    _check(body)
    start, end = document.span("model")
    told = {"model": body["model"], "start": start, "end": end, "stream": body.get("stream") is True}
    return {**told, "stored": _stored(document)} if body.get("store") else told


def _stored(document: Document) -> StoreRequest:
    if len(document.raw) > MOST_STORED:
        raise InvalidJson(f"a chat that is to be stored may have {MOST_STORED} bytes and no more", why=Why.TOO_COMPLEX)
    edits = [(*document.span("store"), "false")]
    if "metadata" in document.members:
        edits.append((*document.span("metadata"), "null"))
    return {"metadata": metadata_of(document.members), "messages": document.span("messages"), "edits": edits}


def check_spelling(body: Json, read: Set[str], place: str = "") -> None:
    """Raise Refused for a member that differs from one that is read here in nothing but its case.

    Some providers don't regard it, and would so see another model than the policy did.
    """
    for name in body.keys() - read:
        if name.casefold() in read:
            raise _wrong(f"{place}{name}", f"is written `{name.casefold()}`")


def _check(body: Json) -> None:
    check_spelling(body, _READ_HERE)
    _check_model(body)
    _check_messages(body)
    if not isinstance(body.get("stream"), _SWITCH):
        raise _wrong("stream", "must be true or false")
    if not isinstance(body.get("stream_options", {}), dict | None):
        raise _wrong("stream_options", "must be an object")
    if not isinstance(body.get("store"), _SWITCH):
        raise _wrong("store", "must be true or false")


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


def _wrong(place: str, demand: str) -> InvalidJson:
    return InvalidJson(f"`{place}` {demand}", place, "invalid_value")


def _missing(name: str) -> InvalidJson:
    return InvalidJson(f"the body has no `{name}`", name, "missing_required_parameter")
