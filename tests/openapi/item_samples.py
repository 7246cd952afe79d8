"""Items that OpenAI's document lets a request bring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.openapi.conformity import properties
from tests.openapi.document import SCHEMAS
from tests.openapi.samples import Samples

REFUSED = {
    "CompactionTriggerItemParam": "it tells a model to compact, and is none of the document's conversation items",
    "ItemReferenceParam": "it names another item; `test_a_copy_is_shown_like_its_item` is about it",
}
OF_TOOLS = ("AdditionalToolsItemParam", "ToolSearchOutputItemParam")
EMPTY = ("input_file", "input_image")
"""Parts whose every member but the type is optional in the document; one without anything to show is refused."""


def kinds() -> list[str]:
    """The names of the schemas of items that a request may bring."""
    found: list[str] = []
    for each in SCHEMAS["InputItem"]["oneOf"]:
        name = each["$ref"].rpartition("/")[2]
        found += [inner["$ref"].rpartition("/")[2] for inner in SCHEMAS["Item"]["oneOf"]] if name == "Item" else [name]
    return [name for name in found if name not in REFUSED]


def samples(file: str) -> Samples:
    """Samples that name a file which is there."""
    return Samples(lambda name, _schema: file if name == "file_id" else None)


def is_empty_part(value: Any) -> bool:
    """Whether a part in `value` has nothing to show."""
    if isinstance(value, list):
        return any(map(is_empty_part, value))
    if not isinstance(value, dict):
        return False
    sources = ("file_data", "file_id", "file_url", "image_url")
    if value.get("type") in EMPTY and not any(value.get(name) for name in sources):
        return True
    return any(map(is_empty_part, value.values()))


def names_a_file_twice(message: Any) -> bool:
    """Whether a part of a chat's message has a file's bytes beside its id, which is refused."""
    parts = message["content"] if isinstance(message.get("content"), list) else []
    return any({"file_data", "file_id"} <= part.get("file", {}).keys() for part in parts)


def is_refused(item: Any) -> bool:
    """Whether a message of ours says nothing, which is refused where it is a message's part."""
    return "role" in item and item.get("type", "message") == "message" and is_empty_part(item["content"])


def tried(kind: str, file: str) -> Iterator[Any]:
    """Samples of a kind: all of them, but of tools, which are kept as they are, only one for each property."""
    every = samples(file).around(SCHEMAS[kind])
    for item in _telling(every, kind, set()) if kind in OF_TOOLS else every:
        if not is_refused(item):
            yield item


def telling(file: str) -> Iterator[Any]:
    """Samples of all kinds, as long as each has a property that none before it has."""
    seen: set[str] = set()
    for kind in kinds():
        yield from _telling(tried(kind, file), kind, seen)


def _telling(items: Iterable[Any], kind: str, seen: set[str]) -> Iterator[Any]:
    for item in items:
        found = {path for path, _ in properties({"oneOf": [SCHEMAS[kind]]}, item)}
        if not found <= seen:
            seen |= found
            yield item
