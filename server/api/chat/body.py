"""The members of a chat's body that this server reads; the provider reads the others.

`read_chat` may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.api.chat.stored_messages import stored_messages
from server.api.models.request_body import SWITCH, ModelBody, built, check_spelling, read_model, read_stream
from server.http.body_checks import NewMetadata, check_values, known_members, metadata_of, missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

MOST_STORED: Final = 512 * 1024
"""Bytes of a body that is to be stored."""

MOST_KEPT: Final = 900_000
"""Bytes of the messages of such a body as they are stored; a check may return little more."""

MOST_VALUES: Final = 100_000
"""Values that the messages of such a body may hold, at any depth."""

_READ_HERE: Final = frozenset({"model", "messages", "stream", "stream_options", "store"})


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """The parts of a body that are to be stored: its metadata, and its messages in their stored form."""

    metadata: dict[str, str]
    messages: bytes


@dataclass(frozen=True, slots=True)
class ChatBody(ModelBody):
    """The body of a chat; `stored` is None where it wants nothing stored."""

    stored: StoreRequest | None = None

    @property
    def is_stored(self) -> bool:
        """True if the chat is to be stored here."""
        return self.stored is not None


def chat_body(
    stored: Json | None = None,
    messages: bytes = b"",
    cost: Json | None = None,
    found: Json | None = None,
    asking: Any = None,
    **members: Any,
) -> ChatBody:
    """Return the body of which a check has returned these members."""
    kept = None if stored is None else StoreRequest(**stored, messages=messages)
    return ChatBody(**members, **built(cost, found, asking), stored=kept)


def read_chat(document: Document) -> Json:
    """Return the members of a ChatBody; raises InvalidJson with the place of what this server could not handle."""
    body = document.members
    check_spelling(body, _READ_HERE)
    told = read_model(document) | read_stream(document)
    _check_messages(body)
    if not isinstance(body.get("store"), SWITCH):
        raise wrong("store", "must be true or false")
    return {**told, **_stored(document)} if body.get("store") else told


def _stored(document: Document) -> Json:
    if len(document.raw) > MOST_STORED:
        raise InvalidJson(f"a chat that is to be stored may have {MOST_STORED} bytes and no more", why=Why.TOO_COMPLEX)
    messages = document.members["messages"]
    check_values(messages, "messages", MOST_VALUES)
    kept = stored_messages(messages)
    if len(kept) > MOST_KEPT:
        sentence = f"the messages of a chat that is to be stored take more than {MOST_KEPT} bytes as they are stored"
        raise InvalidJson(sentence, "messages", why=Why.TOO_COMPLEX)
    return {"stored": {"metadata": metadata_of(document.members)}, "messages": kept}


def read_chat_update(document: Document) -> Json:
    """Return the metadata of a change to a stored chat; raises InvalidJson if the body would change anything else."""
    known_members(document.members, ["metadata"])
    if "metadata" not in document.members:
        raise missing("metadata")
    return {"metadata": metadata_of(document.members)}


CHAT: Final = BodyParser(read_chat, chat_body)
CHAT_UPDATE: Final = BodyParser(read_chat_update, NewMetadata)


def _check_messages(body: Json) -> None:
    if "messages" not in body:
        raise missing("messages")
    messages = body["messages"]
    if type(messages) is not list or not messages:
        raise wrong("messages", "must be a list with at least one message")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise wrong(f"messages[{index}]", "must be an object")
        if type(message.get("role")) is not str:
            raise wrong(f"messages[{index}].role", "must be a text")
