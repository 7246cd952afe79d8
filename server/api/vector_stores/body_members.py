"""Members that several bodies about vector stores have: attributes, sizes of chunks, ids.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Final

from server.http.body_checks import LONGEST_KEY, LONGEST_VALUE, MOST_KEYS, known_members, missing, wrong
from server.json_input.strict import Json

LONGEST_ID: Final = 256
"""Characters of the id of a file, a model or a provider."""

LEAST_SIZE: Final = 100
LARGEST_SIZE: Final = 4096
"""Tokens of a chunk."""

_LARGEST_WHOLE: Final = 2**53
_UNREADABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


def attributes_of(body: Json, place: str = "") -> Json:
    """Return the attributes in a body, empty where they are absent or null."""
    where = f"{place}attributes"
    found = body.get("attributes")
    if found is None:
        return {}
    if type(found) is not dict or len(found) > MOST_KEYS:
        raise wrong(where, f"must be an object of at most {MOST_KEYS} texts, numbers, true or false, or null")
    for name, value in found.items():
        if not 0 < len(name) <= LONGEST_KEY or "\0" in name:
            raise wrong(where, f"has a key that is not 1 to {LONGEST_KEY} characters long, or holds a NUL")
        if not _is_attribute(value):
            raise wrong(
                f"{where}.{name}",
                f"must be a text of at most {LONGEST_VALUE} characters without a NUL, true, false, or a number that "
                "a double holds",
            )
    return found


def chunking_of(body: Json, place: str = "") -> list[int] | None:
    """Return the size and the overlap that a body asks for; None where it leaves them to the server."""
    where = f"{place}chunking_strategy"
    found = body.get("chunking_strategy")
    if found is None:
        return None
    if type(found) is not dict or found.get("type") not in ("auto", "static"):
        raise wrong(where, "must be an object whose `type` is `auto` or `static`")
    if found["type"] == "auto":
        known_members(found, ("type",), where)
        return None
    known_members(found, ("type", "static"), where)
    static = found.get("static")
    if type(static) is not dict:
        raise wrong(f"{where}.static", "must be an object with the sizes")
    known_members(static, ("max_chunk_size_tokens", "chunk_overlap_tokens"), f"{where}.static")
    size = read_whole(static, "max_chunk_size_tokens", f"{where}.static", LEAST_SIZE, LARGEST_SIZE)
    return [size, read_whole(static, "chunk_overlap_tokens", f"{where}.static", 0, size // 2)]


def read_file_ids(given: object, place: str, most: int) -> list[str]:
    """Return the ids of at most `most` different files; raises InvalidJson, as every function here."""
    if type(given) is not list or len(given) > most:
        raise wrong(place, f"must be a list of at most {most} ids of files")
    ids = [read_id(each, f"{place}[{index}]") for index, each in enumerate(given)]
    check_distinct(ids, lambda index: f"{place}[{index}]")
    return ids


def check_distinct(ids: Iterable[str], place: Callable[[int], str]) -> None:
    """Refuse ids of which two are the same; `place` returns the JSON path of one by its index."""
    seen: set[str] = set()
    for index, each in enumerate(ids):
        if each in seen:
            raise wrong(place(index), "names a file that is there already")
        seen.add(each)


def read_id(value: object, place: str) -> str:
    """Return the value if it is an id that can be shown."""
    if type(value) is not str or not 0 < len(value) <= LONGEST_ID or _UNREADABLE.search(value):
        raise wrong(place, f"must be an id of 1 to {LONGEST_ID} printable characters")
    return value


def read_whole(body: Json, name: str, place: str, least: int, most: int) -> int:
    """Return a member that is a whole number from `least` to `most`."""
    where = f"{place}.{name}"
    if name not in body:
        raise missing(where)
    value = body[name]
    if type(value) is not int or not least <= value <= most:
        raise wrong(where, f"must be a whole number from {least} to {most}")
    return value


def _is_attribute(value: object) -> bool:
    """Return whether a value can be that of an attribute."""
    match value:
        case bool():
            return True
        case str():
            return len(value) <= LONGEST_VALUE and "\0" not in value
        case int():
            return abs(value) <= _LARGEST_WHOLE
        case float():
            return isfinite(value)
    return False
