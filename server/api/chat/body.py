"""The members of a chat's body that this server reads; the provider reads the others.

`read_chat` may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from server.api.chat.stored_messages import stored_messages
from server.http.body_checks import NewMetadata, check_values, known_members, metadata_of, missing
from server.inference.members import NOTHING_FOUND, Edit, Found, MemberRules, Stamp, found_of, members_of
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

LONGEST_NAME: Final = 512
"""Characters of a model's name; no model has a longer one, and an error does not repeat it."""

MOST_STORED: Final = 512 * 1024
"""Bytes of a body that is to be stored."""

MOST_KEPT: Final = 900_000
"""Bytes of the messages of such a body as they are stored; a check may return little more."""

MOST_VALUES: Final = 100_000
"""Values that the messages of such a body may hold, at any depth."""

_SWITCH: Final = (bool, type(None))
_READ_HERE: Final = frozenset({"model", "messages", "stream", "stream_options", "store"})


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """The parts of a body that are to be stored: its metadata, and its messages in their stored form."""

    metadata: dict[str, str]
    messages: bytes


@dataclass(frozen=True, slots=True)
class ChatCost:
    """Tokens to set aside: `least` is what the request needs, `most` what it would have if that is left.

    They differ where the body does not limit its answer. `asking` makes a provider tell what a stream has cost; None if
    nothing has to be changed for that.
    """

    least: int
    most: int
    asking: Edit | None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The changes to the body."""
        return () if self.asking is None else (self.asking,)


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A checked body: the model that it names, the place of that name in its bytes, and whether it asks for a stream.

    `stored` is None where it wants nothing stored, and `cost` where that was not estimated. `found` holds the members
    that may not reach every provider as they came. `asks_usage` is true for a stream that is to report usage.
    """

    model: str
    start: int
    end: int
    stream: bool
    stored: StoreRequest | None = None
    cost: ChatCost | None = None
    found: Found = NOTHING_FOUND
    asks_usage: bool = False

    def edits(self, rules: MemberRules, stamp: Stamp) -> list[Edit]:
        """Return what a provider with these `rules` reads otherwise; raises InvalidJson for what may not reach it."""
        return rules.edits(self.found, stamp, stored=self.stored is not None)

    def naming(self, raw: bytes, model: str, *edits: Edit) -> bytes:
        """Return the body `raw` to the byte, but for the model's name and the `edits`, which don't overlap."""
        view, name = memoryview(raw), dumps(model)
        if not edits:
            return b"".join((view[: self.start], name.encode(), view[self.end :]))
        pieces, done = list[bytes | memoryview](), 0
        for start, end, text in sorted(((self.start, self.end, name), *edits)):
            pieces += (view[done:start], text.encode())
            done = end
        return b"".join((*pieces, view[done:]))


def chat_body(
    stored: Json | None = None,
    messages: bytes = b"",
    cost: Json | None = None,
    found: Json | None = None,
    **members: Any,
) -> ChatBody:
    """Return the body of which a check has returned these members; JSON knows no tuples."""
    return ChatBody(
        **members,
        found=NOTHING_FOUND if found is None else found_of(**found),
        stored=None if stored is None else StoreRequest(**stored, messages=messages),
        cost=None if cost is None else _chat_cost(**cost),
    )


def _chat_cost(least: int, most: int, asking: Edit | None) -> ChatCost:
    if asking is None:
        return ChatCost(least, most, None)
    first, last, text = asking
    return ChatCost(least, most, (first, last, text))


def read_chat(document: Document) -> Json:
    """Return the members of a ChatBody; raises InvalidJson with the place of what this server could not handle."""
    body = document.members
    _check(body)
    start, end = document.span("model")
    told = {"model": body["model"], "start": start, "end": end, "stream": body.get("stream") is True}
    options = body.get("stream_options") or {}
    told |= {"found": members_of(document), "asks_usage": options.get("include_usage") is True}
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


def check_spelling(body: Json, read: Set[str], place: str = "") -> None:
    """Raise InvalidJson for a member that differs only in case from one that is read here.

    Some providers ignore case, and would see another model than the policy did.
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
