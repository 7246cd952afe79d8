"""The record of a vector store: its body, its id, and the end of its life."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from secrets import token_hex
from typing import Any, Final

from server.storage.records.body import Body
from server.storage.records.record import Json, Record

DAY_SECONDS: Final = 86_400

_INDEX_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store to be made. `name` is what its maker calls it, which rules never go by.

    `dimensions` is None where the first vector decides, and `expires_after` the days of its life after its last use,
    None without end. `resource_id` is what a registration gives as the id at the provider.
    """

    embedding_model: str
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    dimensions: int | None = None
    provider_id: str | None = None
    resource_id: str | None = None
    expires_after: int | None = None

    def body(self) -> Json:
        """Return the body of the store's record, with the key of an index that nothing else has."""
        return {
            "name": self.name,
            "description": self.description,
            "metadata": dict(self.metadata),
            "embedding_model": self.embedding_model,
            "dimensions": self.dimensions,
            "provider_id": self.provider_id,
            "provider_resource_id": self.resource_id,
            "made_by": None,
            "index": token_hex(_INDEX_BYTES),
            "expires_after": self.expires_after,
            "last_active_at": int(time.time()),
        }


def new_store_id() -> str:
    """Return an id that no other store has, and that cannot be guessed."""
    return f"vs_{token_hex(24)}"


def expires_at(store: Record) -> int | None:
    """Return the second at which the store's life ends, unless it is used before."""
    days: int | None = store.body["expires_after"]
    return None if days is None else store.body["last_active_at"] + days * DAY_SECONDS


def has_expired(store: Record) -> bool:
    """Return whether the store's life is over: it is still shown, and nothing can be put in or found."""
    end = expires_at(store)
    return end is not None and end <= int(time.time())


class StoreExpired(Exception):
    """The store's life is over."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        self.identity = identity


def modern(record: Record) -> Record:
    """Return a store that an earlier version has registered as this version has it."""
    body = record.body
    if "index" in body:
        return record
    described: Mapping[str, Any] = body["described"]
    return replace(
        record,
        body=Body.of(
            {
                "name": described["vector_db_name"],
                "description": None,
                "metadata": {},
                "embedding_model": described["embedding_model"],
                "dimensions": described["embedding_dimension"],
                "provider_id": body["provider_id"],
                "provider_resource_id": body["provider_resource_id"],
                # Always the same one, and none that another store or a caller could have.
                "index": sha256(f"{record.ordering}:{record.id}".encode()).hexdigest()[: 2 * _INDEX_BYTES],
                "expires_after": None,
                "last_active_at": record.created_at,
            }
        ),
    )
