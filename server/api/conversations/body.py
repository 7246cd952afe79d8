"""Bodies of requests about conversations and their items; members of an item that are not checked here are data.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from server.api.conversations.item_members import fit_item
from server.api.conversations.stored_items import stored_item
from server.http.body_checks import NewMetadata, check_values, known_members, metadata_of, missing, text_at, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

MOST_ITEMS: Final = 20
"""Items that one request may bring."""

MOST_KEPT: Final = 100_000
"""Items of one conversation."""

MOST_FILES: Final = 100
"""Times that the items of one request may name files: for each of them the policy is asked."""

MOST_BYTES: Final = 900_000
"""Bytes that the items of one request may take, as JSON in ASCII; copies count as they are stored."""

MOST_VALUES: Final = 100_000
"""Values that the items of one request may hold, at any depth."""

TOO_LARGE: Final = f"the items take more than {MOST_BYTES} bytes; upload large contents as files"

LONGEST_ID: Final = 128
"""Characters of the id of a referenced object; no object has a longer one, and an error does not repeat it."""

REFERENCE: Final = "item_reference"

PREFIXES: Final = {
    "additional_tools": "at",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "code_interpreter_call": "ci",
    "compaction": "cmp",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "configuration_update": "cfg",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "file_search_call": "fs",
    "function_call": "fc",
    "function_call_output": "fco",
    "image_generation_call": "ig",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "message": "msg",
    "program": "prg",
    "program_output": "prgo",
    "reasoning": "rs",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "web_search_call": "ws",
}
"""The types of items that there are, each with how the ids of such items begin."""

_NO_STATUS: Final = frozenset(
    {
        *("additional_tools", "compaction", "configuration_update", "custom_tool_call", "custom_tool_call_output"),
        *("mcp_approval_request", "mcp_approval_response", "mcp_list_tools", "program"),
    }
)
_OUTCOMES: Final = {
    "apply_patch_call_output": ("completed", "failed"),
    "code_interpreter_call": ("completed", "failed", "incomplete"),
    "file_search_call": ("completed", "failed", "incomplete"),
    "image_generation_call": ("completed", "failed"),
    "mcp_call": ("completed", "failed", "incomplete"),
    "program_output": ("completed", "incomplete"),
    "web_search_call": ("completed", "failed"),
}
"""Items whose status says how what they tell of has ended; that of others says that they are here, so it is ours."""

_OURS: Final = frozenset(
    {
        *("access_attributes", "conversation", "conversation_id", "created_at", "created_by", "id", "object", "origin"),
        *("owner", "owner_issuer", "owner_principal", "parent", "status", "tenant", "version"),
    }
)
"""Members of an item that the server sets."""

_ROLES: Final = ("assistant", "developer", "system", "user")
_TEXTS: Final = {
    "input_text": "text",
    "output_text": "text",
    "reasoning_text": "text",
    "refusal": "refusal",
    "summary_text": "text",
    "text": "text",
}
_SOURCES: Final = {
    "computer_screenshot": ("file_id", "image_url"),
    "input_file": ("file_data", "file_id", "file_url"),
    "input_image": ("file_id", "image_url"),
}
"""Parts of a message, with the member that says it, or with those of which one must."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be kept: its type and its stored form; or a reference to an item that it is a copy of."""

    type: str
    stored: bytes
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class NewItems:
    """Items to be kept, and the files that they name, each as its place in the body and its id."""

    items: Sequence[NewItem]
    files: Sequence[tuple[str, str]]


def _new_items(
    items: Sequence[tuple[str, int, str | None]], files: Sequence[tuple[str, str]], texts: bytes
) -> NewItems:
    """Return the items, which follow each other in `texts`; each is told as its type, its size, and what it copies."""
    found, start = [], 0
    for kind, size, copy_of in items:
        found.append(NewItem(kind, texts[start : start + size], copy_of))
        start += size
    return NewItems(found, files)


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation to be made, with the items that it begins with."""

    metadata: dict[str, str]
    begins_with: NewItems


def _new_conversation(metadata: dict[str, str], **items: Any) -> NewConversation:
    return NewConversation(metadata, _new_items(**items))


def read_conversation(document: Document) -> Json:
    """Return `metadata`, and what `read_items` returns of the items that the conversation begins with."""
    body = document.members
    known_members(body, ("items", "metadata"))
    metadata = metadata_of(body)
    return {"metadata": metadata, **(_told([]) if body.get("items") is None else _told(_items(body)))}


def read_items(document: Document) -> Json:
    """Return the arguments of `_new_items`; raises InvalidJson."""
    body = document.members
    known_members(body, ("items",))
    items = _items(body)
    if not items:
        raise wrong("items", "must be a list with at least one item")
    return _told(items)


def read_conversation_update(document: Document) -> Json:
    """Return the `metadata` that a conversation is to have; raises InvalidJson."""
    body = document.members
    known_members(body, ("metadata",))
    if "metadata" not in body:
        raise missing("metadata")
    return {"metadata": metadata_of(body)}


CONVERSATION: Final = BodyParser(read_conversation, _new_conversation)
CONVERSATION_UPDATE: Final = BodyParser(read_conversation_update, NewMetadata)
ITEMS: Final = BodyParser(read_items, _new_items)


def _told(items: list[Json]) -> Json:
    found = [list(place) for index, item in enumerate(items) for place in files_of(item, f"items[{index}]")]
    if len(found) > MOST_FILES:
        raise wrong("items", f"may name files {MOST_FILES} times and no more in one request")
    copies = [item["id"] if item["type"] == REFERENCE else None for item in items]
    texts = [stored_item(item) if copy is None else b"" for item, copy in zip(items, copies, strict=True)]
    if len(dumps(items)) > MOST_BYTES:
        raise InvalidJson(TOO_LARGE, "items", why=Why.TOO_COMPLEX)
    kinds = (item["type"] for item in items)
    told = [*zip(kinds, map(len, texts), copies, strict=True)]
    return {"items": told, "files": found, "texts": b"".join(texts)}


def _items(body: Json) -> list[Json]:
    if "items" not in body:
        raise missing("items")
    items = body["items"]
    if type(items) is not list or len(items) > MOST_ITEMS:
        raise wrong("items", f"must be a list of at most {MOST_ITEMS} items")
    check_values(items, "items", MOST_VALUES)
    return [normal_item(item, f"items[{index}]") for index, item in enumerate(items)]


def normal_item(item: Any, place: str) -> Json:
    """Return the item at `place` as it is kept, without an id, or a reference with its `id`; raises InvalidJson."""
    if type(item) is not dict:
        raise wrong(place, "must be an object")
    # A message may leave its type out, and a reference too.
    kind = item.get("type") or ("message" if "role" in item else REFERENCE)
    if kind == REFERENCE:
        return {"type": REFERENCE, "id": text_at(item, "id", place, LONGEST_ID)}
    if type(kind) is not str or kind not in PREFIXES:
        raise wrong(f"{place}.type", f"must be `{REFERENCE}` or one of {', '.join(f'`{name}`' for name in PREFIXES)}")
    kept: Json = {"type": kind}
    if kind not in _NO_STATUS:
        status = item.get("status")
        kept["status"] = status if status in _OUTCOMES.get(kind, ()) else "completed"
    kept |= {name: value for name, value in item.items() if name not in _OURS and name != "type"}
    if kind == "local_shell_call_output" and kept.get("call_id") is None and type(item.get("id")) is str:
        # The SDK names the call by the id of its output, which is the server's to say.
        kept["call_id"] = item["id"]
    _CHECKS.get(kind, _anything)(kept, place)
    fit_item(kept)
    return kept


def _message(item: Json, place: str) -> None:
    if item.get("role") not in _ROLES:
        raise wrong(f"{place}.role", f"must be one of {', '.join(f'`{role}`' for role in _ROLES)}")
    if "content" not in item:
        raise missing(f"{place}.content")
    content = item["content"]
    if type(content) is str:
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    if type(content) is not list:
        raise wrong(f"{place}.content", "must be a text or a list of parts")
    item["content"] = content
    for index, part in enumerate(content):
        check_part(part, f"{place}.content[{index}]")


def check_part(part: Any, place: str) -> None:
    """Raise InvalidJson for a value that is no part of a message."""
    if type(part) is not dict:
        raise wrong(place, "must be an object")
    kind = text_at(part, "type", place)
    if kind in _TEXTS:
        text_at(part, _TEXTS[kind], place)
    elif kind not in _SOURCES:
        names = ", ".join(f"`{name}`" for name in sorted({*_TEXTS, *_SOURCES}))
        raise wrong(f"{place}.type", f"must be one of {names}")
    elif not any(type(part.get(name)) is str for name in _SOURCES[kind]):
        raise wrong(place, f"must have one of {', '.join(f'`{name}`' for name in _SOURCES[kind])}")


def _call(item: Json, place: str) -> None:
    for name in ("call_id", "name", "arguments"):
        text_at(item, name, place)


def _output(item: Json, place: str) -> None:
    if item.get("call_id") is not None:
        text_at(item, "call_id", place)
    if "output" not in item:
        raise missing(f"{place}.output")
    if type(item["output"]) not in (str, list):
        raise wrong(f"{place}.output", "must be a text or a list of parts")


def _reasoning(item: Json, place: str) -> None:
    if type(item.get("summary") or []) is not list:
        raise wrong(f"{place}.summary", "must be a list")


def _anything(_item: Json, _place: str) -> None:
    return


_CHECKS: Final = {
    "function_call": _call,
    "function_call_output": _output,
    "message": _message,
    "reasoning": _reasoning,
}


def files_of(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the id of each file that `value` names, at any depth."""
    if type(value) is list:
        for index, member in enumerate(value):
            yield from files_of(member, f"{place}[{index}]")
    elif type(value) is dict:
        if value.get("type") in [*_SOURCES] and value.get("file_id") is not None:
            yield f"{place}.file_id", text_at(value, "file_id", place, LONGEST_ID)
        for name, member in value.items():
            if type(member) is dict or type(member) is list:
                yield from files_of(member, f"{place}.{name}")
