"""Vector stores, their files, and the batches of these as clients know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.responses import Response

from server.api.vector_stores.links import Link, Status, Strategy
from server.api.vector_stores.purges import Purge
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.store import Sums, VectorStores
from server.api.vector_stores.store_record import expires_at, has_expired
from server.http.responses import json_response
from server.storage.records.record import Json, Record

_POLL_MILLISECONDS: Final = "250"
"""The time after which OpenAI's SDKs look again at what is under way."""


class Shown:
    """Stores as clients know them, with what the records of others say about them."""

    def __init__(self, stores: VectorStores, queue: IngestionQueue) -> None:
        self._stores = stores
        self._queue = queue

    async def stores(self, records: Iterable[Record]) -> list[Json]:
        """Return the stores, in their order."""
        found = [*records]
        sums = await self._stores.sums([record.id for record in found])
        purges = await self._queue.purges(found)
        return [store_object(record, sums[record.id], purges[record.id]) for record in found]


def store_object(store: Record, sums: Sums, purge: Purge) -> Json:
    """Return a store with the sums of its files, and how far the bytes of what was removed are gone."""
    body = store.body
    days: int | None = body["expires_after"]
    ends = {} if days is None else {"expires_after": {"anchor": "last_active_at", "days": days}}
    is_busy = bool(sums.counts.get(Status.IN_PROGRESS))
    return {
        "id": store.id,
        "object": "vector_store",
        "created_at": store.created_at,
        "name": body["name"] or "",
        "description": body["description"],
        "usage_bytes": sums.bytes,
        "file_counts": _counts(sums.counts),
        "status": "expired" if has_expired(store) else "in_progress" if is_busy else "completed",
        **ends,
        "expires_at": expires_at(store),
        "last_active_at": body["last_active_at"],
        "metadata": body["metadata"],
        "embedding_model": body["embedding_model"],
        "embedding_dimension": body["dimensions"],
        "provider_id": body["provider_id"],
        "purge": {"pending": purge.pending, "last_purged_at": purge.last_purged_at},
    }


def file_response(link: Link) -> Response:
    """Return the answer with a file of a store."""
    return _polled(shown_file(link), is_busy=link.status is Status.IN_PROGRESS)


def batch_response(batch: Record, sums: Sums) -> Response:
    """Return the answer with a batch."""
    shown = batch_object(batch, sums)
    return _polled(shown, is_busy=shown["status"] == "in_progress")


def _polled(shown: Json, *, is_busy: bool) -> Response:
    response = json_response(shown)
    if is_busy:
        response.headers["openai-poll-after-ms"] = _POLL_MILLISECONDS
    return response


def shown_file(link: Link) -> Json:
    """Return a file of a store."""
    return {
        "id": link.file_id,
        "object": "vector_store.file",
        "usage_bytes": link.usage_bytes,
        "created_at": link.record.created_at,
        "vector_store_id": link.store_id,
        "status": link.status.value,
        "last_error": link.last_error,
        "chunking_strategy": _strategy(link),
        "attributes": link.attributes,
    }


def batch_object(batch: Record, sums: Sums) -> Json:
    """Return a batch; it is `completed` as soon as none of its files is under way, whatever became of them."""
    is_busy = bool(sums.counts.get(Status.IN_PROGRESS))
    status = "in_progress" if is_busy else "completed"
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": batch.created_at,
        "vector_store_id": batch.parent,
        "status": "cancelled" if batch.body["cancelled"] else status,
        "file_counts": _counts(sums.counts),
    }


def _strategy(link: Link) -> Json:
    if link.strategy is Strategy.OTHER:
        return {"type": "other"}
    # The server's own choice is shown with its sizes, as OpenAI's document has it.
    sizes = {"max_chunk_size_tokens": link.chunking.size, "chunk_overlap_tokens": link.chunking.overlap}
    return {"type": "static", "static": sizes}


def _counts(counts: Mapping[Status, int]) -> Json:
    found = {status.value: counts.get(status, 0) for status in Status}
    return found | {"total": sum(found.values())}
