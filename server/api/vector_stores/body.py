"""Bodies of requests about vector stores, their files, and the batches of these.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from server.http.body_checks import (
    LONGEST_KEY,
    LONGEST_VALUE,
    MOST_KEYS,
    known_members,
    metadata_of,
    missing,
    wrong,
)
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

MOST_FIRST_FILES: Final = 500
"""Files that a vector store is made with."""

MOST_BATCHED: Final = 2000
"""Files of one batch."""

MOST_BATCH_BYTES: Final = 768 * 1024
"""Bytes of a body that makes a batch."""

LONGEST_NAME: Final = 256
LONGEST_DESCRIPTION: Final = 2048
"""Characters, as those of a name."""

LONGEST_ID: Final = 256
"""Characters of the id of a file, a model or a provider."""

LEAST_SIZE: Final = 100
LARGEST_SIZE: Final = 4096
"""Tokens of a chunk."""

MOST_DAYS: Final = 365
"""Days of a store's life after its last use."""

MOST_DIMENSIONS: Final = 16_384

_LARGEST_WHOLE: Final = 2**53
_UNREADABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class CreateStore:
    """A store to be made. `chunking` is null for the server's choice, else the size and the overlap."""

    name: str | None
    description: str | None
    metadata: dict[str, str]
    file_ids: list[str]
    chunking: list[int] | None
    expires_after: int | None
    embedding_model: str | None
    embedding_dimension: int | None
    provider_id: str | None


@dataclass(frozen=True, slots=True)
class UpdateStore:
    """The members of a store that change, by the names of its record's body."""

    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attach:
    """A file to be attached: `chunking` as in `CreateStore`."""

    file_id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    chunking: list[int] | None = None


@dataclass(frozen=True, slots=True)
class AttachBatch:
    """Files to be attached together, each with the members of `Attach`; `listed` is the member that names them."""

    files: list[dict[str, Any]]
    listed: str

    def place(self, index: int) -> str:
        """Return the JSON path of a file's id in the body."""
        return f"file_ids[{index}]" if self.listed == "file_ids" else f"files[{index}].file_id"


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """The attributes that take the place of a file's."""

    attributes: dict[str, Any]


def read_create(document: Document) -> Json:
    """Return the members of `CreateStore`; raises InvalidJson, as every function that follows."""
    body = document.members
    known_members(
        body,
        (
            *("name", "description", "metadata", "file_ids", "chunking_strategy", "expires_after"),
            *("embedding_model", "embedding_dimension", "provider_id"),
        ),
    )
    file_ids = body.get("file_ids")
    return {
        "name": _optional(body, "name", _text(LONGEST_NAME)),
        "description": _optional(body, "description", _text(LONGEST_DESCRIPTION)),
        "metadata": metadata_of(body),
        "file_ids": [] if file_ids is None else _file_ids(file_ids, "file_ids", MOST_FIRST_FILES),
        "chunking": chunking_of(body),
        "expires_after": _optional(body, "expires_after", _days),
        "embedding_model": _optional(body, "embedding_model", _identifier),
        "embedding_dimension": _optional(body, "embedding_dimension", _dimensions),
        "provider_id": _optional(body, "provider_id", _identifier),
    }


def read_update(document: Document) -> Json:
    """Return the members of `UpdateStore`: what is null is taken away, and what is absent stays."""
    body = document.members
    fixed = {"embedding_model", "embedding_dimension", "provider_id"} & body.keys()
    if fixed:
        name = min(fixed)
        raise wrong(name, "never changes; make another store, and attach the files to it")
    known_members(body, ("name", "description", "metadata", "expires_after"))
    changes: Json = {}
    if "name" in body:
        changes["name"] = _optional(body, "name", _text(LONGEST_NAME))
    if "description" in body:
        changes["description"] = _optional(body, "description", _text(LONGEST_DESCRIPTION))
    if "metadata" in body:
        changes["metadata"] = metadata_of(body)
    if "expires_after" in body:
        changes["expires_after"] = _optional(body, "expires_after", _days)
    return {"changes": changes}


def read_attach(document: Document) -> Json:
    """Return the members of `Attach`."""
    return _file(document.members, "")


def read_batch(document: Document) -> Json:
    """Return the members of `AttachBatch`."""
    if len(document.raw) > MOST_BATCH_BYTES:
        raise InvalidJson(f"the body of a batch has at most {MOST_BATCH_BYTES} bytes", why=Why.TOO_COMPLEX)
    body = document.members
    known_members(body, ("file_ids", "files", "chunking_strategy", "attributes"))
    given = [name for name in ("file_ids", "files") if body.get(name) is not None]
    if len(given) != 1:
        raise wrong("file_ids", "or `files` names the files of a batch, and one of the two alone")
    if given == ["files"]:
        for name in ("chunking_strategy", "attributes"):
            if body.get(name) is not None:
                raise wrong(name, "stands in each of `files`, not beside them")
        return {"files": _files(body["files"]), "listed": "files"}
    chosen = {"attributes": attributes_of(body), "chunking": chunking_of(body)}
    ids = _file_ids(body["file_ids"], "file_ids", MOST_BATCHED)
    if not ids:
        raise wrong("file_ids", "is empty")
    return {"files": [{"file_id": file_id, **chosen} for file_id in ids], "listed": "file_ids"}


def read_file_update(document: Document) -> Json:
    """Return the members of `UpdateFile`."""
    known_members(document.members, ("attributes",))
    if "attributes" not in document.members:
        raise missing("attributes")
    return {"attributes": attributes_of(document.members)}


CREATE: Final = BodyParser(read_create, CreateStore)
UPDATE: Final = BodyParser(read_update, UpdateStore)
ATTACH: Final = BodyParser(read_attach, Attach)
BATCH: Final = BodyParser(read_batch, AttachBatch)
FILE_UPDATE: Final = BodyParser(read_file_update, UpdateFile)


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
        if not is_attribute(value):
            raise wrong(
                f"{where}.{name}",
                f"must be a text of at most {LONGEST_VALUE} characters without a NUL, true, false, or a number that "
                "a double holds",
            )
    return found


def is_attribute(value: object) -> bool:
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
    size = _whole(static, "max_chunk_size_tokens", f"{where}.static", LEAST_SIZE, LARGEST_SIZE)
    return [size, _whole(static, "chunk_overlap_tokens", f"{where}.static", 0, size // 2)]


def _file(body: Json, place: str) -> Json:
    known_members(body, ("file_id", "attributes", "chunking_strategy"), place.removesuffix("."))
    if body.get("file_id") is None:
        raise missing(f"{place}file_id")
    return {
        "file_id": _identifier(body["file_id"], f"{place}file_id"),
        "attributes": attributes_of(body, place),
        "chunking": chunking_of(body, place),
    }


def _files(given: object) -> list[Json]:
    if type(given) is not list or not 0 < len(given) <= MOST_BATCHED:
        raise wrong("files", f"must be a list of 1 to {MOST_BATCHED} objects, each with a `file_id`")
    found = []
    for index, each in enumerate(given):
        if type(each) is not dict:
            raise wrong(f"files[{index}]", "must be an object with a `file_id`")
        found.append(_file(each, f"files[{index}]."))
    _check_distinct([each["file_id"] for each in found], lambda index: f"files[{index}].file_id")
    return found


def _file_ids(given: object, place: str, most: int) -> list[str]:
    if type(given) is not list or len(given) > most:
        raise wrong(place, f"must be a list of at most {most} ids of files")
    ids = [_identifier(each, f"{place}[{index}]") for index, each in enumerate(given)]
    _check_distinct(ids, lambda index: f"{place}[{index}]")
    return ids


def _check_distinct(ids: Iterable[str], place: Callable[[int], str]) -> None:
    seen: set[str] = set()
    for index, each in enumerate(ids):
        if each in seen:
            raise wrong(place(index), "names a file that is there already")
        seen.add(each)


def _optional(body: Json, name: str, check: Callable[[object, str], Any]) -> Any:
    return None if body.get(name) is None else check(body[name], name)


def _text(longest: int) -> Callable[[object, str], str]:
    def check(value: object, place: str) -> str:
        if type(value) is not str or len(value) > longest or "\0" in value:
            raise wrong(place, f"must be a text of at most {longest} characters without a NUL")
        return value

    return check


def _identifier(value: object, place: str) -> str:
    if type(value) is not str or not 0 < len(value) <= LONGEST_ID or _UNREADABLE.search(value):
        raise wrong(place, f"must be an id of 1 to {LONGEST_ID} printable characters")
    return value


def _dimensions(value: object, place: str) -> int:
    if type(value) is not int or not 0 < value <= MOST_DIMENSIONS:
        raise wrong(place, f"must be a whole number from 1 to {MOST_DIMENSIONS}")
    return value


def _days(value: object, place: str) -> int:
    if type(value) is not dict:
        raise wrong(place, "must be an object with `anchor` and `days`")
    known_members(value, ("anchor", "days"), place)
    if value.get("anchor") != "last_active_at":
        raise wrong(f"{place}.anchor", "must be `last_active_at`")
    return _whole(value, "days", place, 1, MOST_DAYS)


def _whole(body: Json, name: str, place: str, least: int, most: int) -> int:
    where = f"{place}.{name}"
    if name not in body:
        raise missing(where)
    value = body[name]
    if type(value) is not int or not least <= value <= most:
        raise wrong(where, f"must be a whole number from {least} to {most}")
    return value
