"""Bodies of requests that make and change vector stores.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from server.api.vector_stores.body_members import chunking_of, read_file_ids, read_id, read_whole
from server.http.body_checks import known_members, metadata_of, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

MOST_FIRST_FILES: Final = 500
"""Files that a vector store is made with."""

LONGEST_NAME: Final = 256
LONGEST_DESCRIPTION: Final = 2048
"""Characters, as those of a name."""

MOST_DAYS: Final = 365
"""Days of a store's life after its last use."""

MOST_DIMENSIONS: Final = 16_384


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
        "file_ids": [] if file_ids is None else read_file_ids(file_ids, "file_ids", MOST_FIRST_FILES),
        "chunking": chunking_of(body),
        "expires_after": _optional(body, "expires_after", _days),
        "embedding_model": _optional(body, "embedding_model", read_id),
        "embedding_dimension": _optional(body, "embedding_dimension", _dimensions),
        "provider_id": _optional(body, "provider_id", read_id),
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


CREATE: Final = BodyParser(read_create, CreateStore)
UPDATE: Final = BodyParser(read_update, UpdateStore)


def _optional(body: Json, name: str, check: Callable[[object, str], Any]) -> Any:
    return None if body.get(name) is None else check(body[name], name)


def _text(longest: int) -> Callable[[object, str], str]:
    def check(value: object, place: str) -> str:
        if type(value) is not str or len(value) > longest or "\0" in value:
            raise wrong(place, f"must be a text of at most {longest} characters without a NUL")
        return value

    return check


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
    return read_whole(value, "days", place, 1, MOST_DAYS)
