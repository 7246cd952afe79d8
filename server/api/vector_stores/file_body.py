"""Bodies of requests about the files of vector stores, and the batches of these.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from server.api.vector_stores.body_members import attributes_of, check_distinct, chunking_of, read_file_ids, read_id
from server.http.body_checks import known_members, missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

MOST_BATCHED: Final = 2000
"""Files of one batch."""

MOST_BATCH_BYTES: Final = 768 * 1024
"""Bytes of a body that makes a batch."""


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
    chosen = {"attributes": attributes_of(body), "chunking": chunking_of(body)}
    if given == ["files"]:
        # By OpenAI's document what stands beside `files` is ignored: each of them has its own.
        return {"files": _files(body["files"]), "listed": "files"}
    ids = read_file_ids(body["file_ids"], "file_ids", MOST_BATCHED)
    if not ids:
        raise wrong("file_ids", "is empty")
    return {"files": [{"file_id": file_id, **chosen} for file_id in ids], "listed": "file_ids"}


def read_file_update(document: Document) -> Json:
    """Return the members of `UpdateFile`."""
    known_members(document.members, ("attributes",))
    if "attributes" not in document.members:
        raise missing("attributes")
    return {"attributes": attributes_of(document.members)}


ATTACH: Final = BodyParser(read_attach, Attach)
BATCH: Final = BodyParser(read_batch, AttachBatch)
FILE_UPDATE: Final = BodyParser(read_file_update, UpdateFile)


def _file(body: Json, place: str) -> Json:
    known_members(body, ("file_id", "attributes", "chunking_strategy"), place.removesuffix("."))
    if body.get("file_id") is None:
        raise missing(f"{place}file_id")
    return {
        "file_id": read_id(body["file_id"], f"{place}file_id"),
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
    check_distinct([each["file_id"] for each in found], lambda index: f"files[{index}].file_id")
    return found
