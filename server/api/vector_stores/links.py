"""Links: what ties a file, or a text that a caller has put in, to a vector store, and how far its ingestion is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from json import dumps
from secrets import randbits
from typing import Any, Final

from policy.vocabulary import Principal
from server.extraction.pieces import DEFAULT_OVERLAP, DEFAULT_SIZE, Chunking
from server.storage.records.record import Draft, Json, Record

MOST_LINKS: Final = 10_000
"""Files and texts of one vector store."""

FILE_ID: Final = {
    "sqlite": "json_extract(body, '$.file_id')",
    "postgresql": "(CAST(body AS json) ->> 'file_id')",
}
"""The expression of the index of links by their files, in each kind of database."""

_PART_BITS: Final = 63


class Status(StrEnum):
    """The state of the ingestion of a link; the facet of its record."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Strategy(StrEnum):
    """The side that chose the sizes of chunks: the server, or the caller who attached the file; `other` for texts in
    chunks.
    """

    AUTO = "auto"
    STATIC = "static"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NewLink:
    """A file to be attached, with its attributes and its chunking; `batch` is the id of the batch that it came with.

    For a text without a file, `document` is its name, `writer` the caller whose text it is, and `file_id` is empty.
    """

    file_id: str
    attributes: Mapping[str, str | float | bool]
    strategy: Strategy = Strategy.AUTO
    chunking: Chunking = field(default_factory=Chunking)
    batch: str | None = None
    document: str | None = None
    writer: Principal | None = None

    @classmethod
    def of(cls, file_id: str, attributes: Mapping[str, str | float | bool], chunking: Sequence[int] | None) -> NewLink:
        """Return a file with the size and the overlap of its chunks; None leaves them to the server."""
        if chunking is None:
            return cls(file_id, attributes)
        return cls(file_id, attributes, Strategy.STATIC, Chunking(*chunking))

    def draft(self, store: Record) -> Draft:
        """Return the draft of the link's record, whose ingestion has not begun."""
        body: Json = {
            "file_id": self.file_id,
            "part": new_part(),
            "batch": self.batch,
            "attributes": dict(self.attributes),
            "chunking": {
                "type": self.strategy.value,
                "size": self.chunking.size,
                "overlap": self.chunking.overlap,
            },
            "bytes": 0,
            "chunks": 0,
            "last_error": None,
            "document": self.document,
        }
        return Draft(self.id(store), body, parent=store.id, facet=Status.IN_PROGRESS.value)

    def of_batch(self, batch: str) -> NewLink:
        """Return the same file as one of that batch."""
        return replace(self, batch=batch)

    def id(self, store: Record) -> str:
        """Return the id of the link's record."""
        if self.document is None:
            return link_id(store, self.file_id)
        return document_link_id(store, self.document, self.writer)


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it was read; its `record` says who attached it, and never changes in that."""

    record: Record

    @property
    def id(self) -> str:
        """The id of the record, which no client sees."""
        return self.record.id

    @property
    def store_id(self) -> str:
        """The id of the store."""
        if self.record.parent is None:
            raise ValueError("a link belongs to a store")
        return self.record.parent

    @property
    def file_id(self) -> str:
        """The id of the file; empty for a text without one."""
        file_id: str = self.record.body["file_id"]
        return file_id

    @property
    def document(self) -> str | None:
        """The name of a text without a file."""
        document: str | None = self.record.body["document"]
        return document

    @property
    def owner(self) -> Principal | None:
        """The caller who attached the file, as it was then; None for one without a token."""
        return self.record.owner

    @property
    def part(self) -> int:
        """The number of the part of the store's index that has the chunks."""
        part: int = self.record.body["part"]
        return part

    @property
    def batch(self) -> str | None:
        """The id of the batch that the file was attached with."""
        batch: str | None = self.record.body["batch"]
        return batch

    @property
    def status(self) -> Status:
        """How far the ingestion is."""
        return Status(self.record.facet)

    @property
    def attributes(self) -> Json:
        """The attributes that searches can be narrowed by."""
        attributes: Json = self.record.body["attributes"]
        return attributes

    @property
    def strategy(self) -> Strategy:
        """Who chose the sizes of chunks."""
        return Strategy(self.record.body["chunking"]["type"])

    @property
    def chunking(self) -> Chunking:
        """The sizes of chunks."""
        found = self.record.body["chunking"]
        return Chunking(found.get("size", DEFAULT_SIZE), found.get("overlap", DEFAULT_OVERLAP))

    @property
    def usage_bytes(self) -> int:
        """Bytes that the chunks take in the index."""
        size: int = self.record.body["bytes"]
        return size

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        chunks: int = self.record.body["chunks"]
        return chunks

    @property
    def last_error(self) -> dict[str, Any] | None:
        """The code and the message of what the ingestion failed by."""
        error: dict[str, Any] | None = self.record.body["last_error"]
        return error


def new_part() -> int:
    """Return the number of a part that no other attempt to ingest anything has."""
    return randbits(_PART_BITS)


def link_id(store: Record, file_id: str) -> str:
    """Return the id of the record that links a file to a store: attaching it twice meets the same record."""
    return _named(store, "file", file_id)


def document_link_id(store: Record, document: str, writer: Principal | None) -> str:
    """Return the id of the record that links a text without a file to a store.

    Each caller has links of its own, since what a link brings belongs to its owner and counts with what that one keeps.
    """
    return _named(store, "document", dumps([document, *([] if writer is None else [writer.issuer, writer.id])]))


def _named(store: Record, kind: str, name: str) -> str:
    # By the store's ordering: a later store may have the same id.
    digits = sha256(f"{store.ordering}:{kind}:{name}".encode()).hexdigest()[:48]
    return f"vsf_{digits}"
