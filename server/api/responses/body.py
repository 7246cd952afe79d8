"""The body of a request for a response: what it refers to, its input items, and how the model is to answer.

`read_response` may run in a worker process, so this module imports the standard library, `server.json_input` and
modules that import no more than these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from server.api.conversations.body import PREFIXES, REFERENCE, check_part, files_of, normal_item
from server.api.conversations.stored_items import stored_item
from server.api.models.request_body import LONGEST_NAME
from server.api.responses.mcp.checks import approvals_in
from server.api.responses.settings import settings_of
from server.http.body_checks import check_values, missing, short, text_at, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json

CREATE: Final = "response.create"
"""The type of the messages that ask for a response on a WebSocket."""

MOST_ITEMS: Final = 5_000
"""Items that a model is asked with: those of the request, and those before them."""

MOST_FILLED: Final = 50
"""Items of one request that goes on in a conversation: they are added in one transaction, which others wait for."""

MOST_VALUES: Final = 100_000
"""Values that the input of one request may hold, at any depth."""

MOST_FILES: Final = 100
"""Times that the input of one request may name files: for each of them the policy is asked."""

MOST_REFERENCES: Final = 100
"""Items of one request that refer to others: for each of them the policy is asked."""

MOST_VARIABLES: Final = 100
"""Variables of a prompt that one request may set."""

LONGEST_ID: Final = 128
"""Characters of the id of something that a body refers to; no object has a longer one."""

LONGEST_PLACE: Final = 256
"""Characters of the path of a file's id in a body, as an error tells it."""

MOST_VARIABLES_BYTES: Final = 64 * 1024
"""Bytes of the values of a prompt's variables, as JSON."""

_WITH_STATUS: Final = ("custom_tool_call", "custom_tool_call_output")
"""Items that have a status where a response shows them, and none in a conversation."""

_VERSION_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class InputItem:
    """An item of the input: its stored form and how its id begins, or a reference to an item that it repeats."""

    word: str
    stored: bytes
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class PromptUse:
    """A prompt that a body refers to, the version if it says one, and the values of variables: texts, and parts of a
    message that are images or files.
    """

    id: str
    version: int | None
    variables: dict[str, str | Json]


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """The body of a request for a response.

    `previous` and `conversation` are ids, at most one of them given. `files` are the places and ids of files that the
    input names. `shown` are the members that the response repeats, `settings` those of the chat, and `names` what the
    names of its tools stand for. `offered` are the names of the functions that the chat has, and `served` the tools
    that this server runs, by their types, each as its place and what its check returned. `approvals` are requests for
    approvals that the input brings along, by their ids. `include` are the parts of items that the answer has besides. A
    context of more than `compact_at` tokens is summed up. Without `generates` no model is asked, and the next response
    goes on from this one.
    """

    model: str
    stream: bool
    store: bool
    background: bool
    previous: str | None
    conversation: str | None
    prompt: PromptUse | None
    shown: Json
    settings: Json
    names: dict[str, Json]
    approvals: dict[str, Json]
    offered: Sequence[str]
    served: dict[str, list[tuple[str, Json]]]
    compact_at: int | None
    include: frozenset[str]
    items: Sequence[InputItem]
    files: Sequence[tuple[str, str]]
    generates: bool = True


def built_response(
    items: Sequence[tuple[str, int, str | None]],
    texts: bytes,
    prompt: Json | None,
    include: Sequence[str],
    files: Sequence[Sequence[str]],
    **members: Any,
) -> ResponseBody:
    """Return the body of which a check has returned these members."""
    found, start = list[InputItem](), 0
    for word, size, copy_of in items:
        found.append(InputItem(word, texts[start : start + size], copy_of))
        start += size
    return ResponseBody(
        **members,
        include=frozenset(include),
        prompt=None if prompt is None else PromptUse(**prompt),
        items=found,
        files=[(place, identity) for place, identity in files],
    )


def read_response(document: Document) -> Json:
    """Return the arguments of `built_response`; raises InvalidJson with the place of what is wrong.

    Members that are not known are ignored, since clients send new ones before servers know them.
    """
    body = document.members
    items = _items(body)
    previous, conversation = _previous(body), _conversation(body)
    if previous is not None and conversation is not None:
        raise wrong("previous_response_id", "and `conversation` exclude each other; leave one out")
    if conversation is not None and len(items) > MOST_FILLED:
        raise wrong("input", f"must hold at most {MOST_FILLED} items beside `conversation`; add others to it before")
    prompt = _prompt(body)
    if not items and previous is None and conversation is None and prompt is None:
        raise missing("input")
    naming = [(_place(index), item) for index, item in enumerate(items)]
    if prompt is not None:
        naming += ((_variable_place(name), value) for name, value in prompt["variables"].items())
    files = [[place[:LONGEST_PLACE], identity] for where, named in naming for place, identity in files_of(named, where)]
    if len(files) > MOST_FILES:
        raise wrong("input", f"may name files {MOST_FILES} times and no more in one request")
    copies = [item["id"] if item["type"] == REFERENCE else None for item in items]
    if sum(copy is not None for copy in copies) > MOST_REFERENCES:
        raise wrong("input", f"may refer to {MOST_REFERENCES} items and no more in one request")
    texts = [b"" if copy is not None else stored_item(item) for item, copy in zip(items, copies, strict=True)]
    words = [PREFIXES.get(item["type"], "") for item in items]
    return {
        "model": _model(body),
        "stream": _switch(body, "stream", default=False),
        "store": _switch(body, "store", default=True),
        "background": _in_background(body),
        "previous": previous,
        "conversation": conversation,
        "prompt": prompt,
        "items": [*zip(words, map(len, texts), copies, strict=True)],
        "files": files,
        "texts": b"".join(texts),
        "approvals": approvals_in(body.get("input")),
        **settings_of(body),
    }


def read_create(document: Document) -> Json:
    """Read a message on a WebSocket as `read_response` reads a body; its response is always streamed. Raises
    InvalidJson.
    """
    body = document.members
    if body.get("type") != CREATE:
        raise wrong("type", f"must be `{CREATE}`; other events of clients are not served")
    refused = {
        "background": bool(body.get("background")),
        # A client that has named its streams takes the events without a name for those of another one.
        "stream_id": body.get("stream_id") is not None,
    }
    for name in (name for name, is_given in refused.items() if is_given):
        raise InvalidJson(f"`{name}` is not served on a WebSocket; leave it out", name, "unsupported_parameter")
    generates = _switch(body, "generate", default=True)
    return {**read_response(Document({**body, "stream": True}, document.raw)), "generates": generates}


RESPONSE: Final = BodyParser(read_response, built_response)
CREATED: Final = BodyParser(read_create, built_response)


def _place(index: int) -> str:
    return f"input[{index}]"


def _items(body: Json) -> list[Json]:
    given = body.get("input")
    if given is None:
        return []
    if type(given) is str:
        given = [{"type": "message", "role": "user", "content": given}]
    if type(given) is not list or len(given) > MOST_ITEMS:
        raise wrong("input", f"must be a text or a list of at most {MOST_ITEMS} items")
    check_values(given, "input", MOST_VALUES)
    items = [normal_item(item, _place(index)) for index, item in enumerate(given)]
    for item in items:
        if item["type"] in _WITH_STATUS:
            item["status"] = "completed"
    return items


def _model(body: Json) -> str:
    if "model" not in body:
        raise missing("model")
    model: str = body["model"]
    if type(model) is not str or not 0 < len(model) <= LONGEST_NAME:
        raise wrong("model", "must be the name of a model")
    return model


def _switch(body: Json, name: str, *, default: bool) -> bool:
    value = body.get(name)
    if type(value) not in (bool, type(None)):
        raise wrong(name, "must be true or false")
    return default if value is None else value


def _in_background(body: Json) -> bool:
    background = _switch(body, "background", default=False)
    if background and not _switch(body, "store", default=True):
        raise wrong("background", "needs a stored response, which is got later; leave `store` out, or set it to true")
    return background


def _previous(body: Json) -> str | None:
    if body.get("previous_response_id") is None:
        return None
    return text_at(body, "previous_response_id", "", LONGEST_ID)


def _conversation(body: Json) -> str | None:
    """Return the id of the conversation, which a body may say as a text or as an object."""
    given = body.get("conversation")
    if given is None:
        return None
    if type(given) is dict:
        return text_at(given, "id", "conversation", LONGEST_ID)
    return text_at(body, "conversation", "", LONGEST_ID)


def _prompt(body: Json) -> Json | None:
    given = body.get("prompt")
    if given is None:
        return None
    if type(given) is not dict:
        raise wrong("prompt", "must be an object")
    variables = given.get("variables")
    if not isinstance(variables, dict | None) or len(variables or {}) > MOST_VARIABLES:
        raise wrong("prompt.variables", f"must be an object of at most {MOST_VARIABLES} values")
    values = {name: _variable(name, value) for name, value in (variables or {}).items()}
    if len(dumps(values)) > MOST_VARIABLES_BYTES:
        instead = "put large texts into `input`, and name files by `file_id`"
        raise wrong("prompt.variables", f"must take at most {MOST_VARIABLES_BYTES} bytes; {instead}")
    return {"id": text_at(given, "id", "prompt", LONGEST_ID), "version": _version(given), "variables": values}


def _variable(name: str, value: Any) -> str | Json:
    place = _variable_place(name)
    match value:
        case str() as text:
            return text
        case {"type": "input_text", "text": str(text)}:
            return text
        case {"type": "input_file" | "input_image"}:
            check_part(value, place)
            part: Json = value
            return part
    raise wrong(place, "must be a text, or an object of the type `input_text`, `input_image` or `input_file`")


def _variable_place(name: str) -> str:
    return f"prompt.variables.{short(name)}"


def _version(prompt: Json) -> int | None:
    """Return the number of a version, which OpenAI's clients send as a text."""
    version = prompt.get("version")
    if version is None:
        return None
    if type(version) is str and version.isascii() and version.isdecimal() and len(version) <= _VERSION_DIGITS:
        version = int(version)
    if type(version) is not int or version < 1:
        raise wrong("prompt.version", "must be the number of a version, a whole number from 1 on")
    return version
