"""Texts that callers put into vector stores themselves, in chunks of their own and without files.

The chunks that a caller puts into one document are one part of a store, which a link without a file belongs to. Its
chunks come and go while the link stays, so a request first claims the link: two requests that put the same chunk in
leave one. Another caller's chunks of that document are another part, which belongs to that caller.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from policy.vocabulary import Principal
from server.api.models.embedding import Embedder, EmbeddingModel
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.filling import MOST_CHUNKS, usage_of
from server.api.vector_stores.links import MOST_LINKS, Link, NewLink, Status, Strategy
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.search import IndexOf, other_dimensions
from server.api.vector_stores.store import VectorStores
from server.authz.permit import Permit
from server.authz.request_authorization import Gate
from server.background.lasting import LastingWork
from server.http.errors import ApiError, invalid, provider_error
from server.inference.provider import ProviderFailed
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database.database import AlreadyThere, Overtaken, ParentGone
from server.storage.records.body import Body
from server.storage.records.guarded import Contended, NotFound
from server.storage.records.record import Json, Record
from server.storage.records.usage import having_at_most
from server.storage.vectors.index import Chunk, Vector, VectorIndex

CLAIM_SECONDS: Final = 60
"""Seconds for which a request keeps others from changing a document."""

WAIT_SECONDS: Final = 10.0
"""Seconds that a request waits for another one that changes the same document."""

_PAUSE: Final = 0.05
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class _Gone:
    """The number of chunks that others have taken the places of, and the bytes that are not counted any more.

    `is_all` if no other chunk was there.
    """

    chunks: int
    bytes: int
    is_all: bool


class Documents:
    """Puts chunks into stores that the caller may update."""

    def __init__(
        self,
        stores: VectorStores,
        queue: IngestionQueue,
        embedder: Embedder,
        index_of: IndexOf,
        lasting: LastingWork,
    ) -> None:
        """What has begun to come into an index is `lasting` work: it has to be counted."""
        self._stores = stores
        self._queue = queue
        self._embedder = embedder
        self._index_of = index_of
        self._lasting = lasting

    async def insert(self, gate: Gate, store: Record, permit: Permit, given: Sequence[NewChunk]) -> None:
        """Put the chunks in; one that has the name of another of its document takes its place.

        Raises StoreExpired, TooManyParts, StorageExceeded, Contended, NotFound for a store that is gone,
        IndexUnavailable, and the ApiError for texts or vectors that the store can't take.
        """
        await self._stores.use(store)
        index = self._index_of(store)
        await index.chunks(store.body["index"], 0, 0, 1)  # nothing is begun before it is ready
        chunks = await self._with_vectors(gate, store, given)
        length = len(chunks[0].vector)
        store = await self._stores.with_dimensions(store, length)
        _check_lengths(store, given, chunks)
        if await self._stores.chunks_of(store) + len(chunks) > MOST_CHUNKS:
            raise invalid(f"a vector store has at most {MOST_CHUNKS} chunks", "chunks", "too_many_chunks")
        documents = defaultdict[str, dict[str, NewChunk]](dict)
        for chunk in chunks:
            documents[chunk.document][chunk.id] = chunk
        owner = permit.caller
        for document, named in documents.items():
            put = self._put(index, store, owner, gate.storage_limit, document, [*named.values()])
            await self._lasting.reach("insertion of chunks", put)

    async def _with_vectors(self, gate: Gate, store: Record, given: Sequence[NewChunk]) -> list[NewChunk]:
        """Return the chunks, those without a vector with the one that the store's model makes."""
        lacking = [place for place, chunk in enumerate(given) if not chunk.vector]
        made = dict[int, Vector]()
        if lacking:
            model = await self._embedder.model(gate, store.body["embedding_model"])
            for place in lacking:
                _check(model, given[place].text, place)
            try:
                vectors = await self._embedder.embed(gate, model, [given[place].text for place in lacking])
            except ProviderFailed as failure:
                raise provider_error(failure) from None
            made = dict(zip(lacking, vectors, strict=True))
        return [replace(chunk, vector=made.get(place, chunk.vector)) for place, chunk in enumerate(given)]

    async def _put(
        self,
        index: VectorIndex,
        store: Record,
        owner: Principal | None,
        limit: StorageLimit | None,
        document: str,
        new: Sequence[NewChunk],
    ) -> None:
        """Put the chunks of one document in."""
        link = await self._claimed(store, owner, limit, document, new)
        first: int = link.record.body["next"] - len(new)
        chunks = [
            Chunk(first + place, chunk.text, chunk.vector, chunk.id, chunk.extra) for place, chunk in enumerate(new)
        ]
        reserved = 0
        try:
            old = await index.named(store.body["index"], link.part, [chunk.id for chunk in chunks])
            before = sum(usage_of(replace(chunk, vector=chunks[0].vector)) for chunk in old)
            if limit is not None:
                more = max(0, sum(map(usage_of, chunks)) - before)
                link, reserved = await self._with_room(link, limit, more), more
            is_all = await self._replaced(index, store, link, chunks, is_new=not old)
        except BaseException:
            await self._release(link, reserved)
            raise
        gone = _Gone(len(old), before + reserved, is_all)
        try:
            await self._counted(store, link, chunks, gone, _shared(new))
            self._queue.wake()
        except NotFound:
            # The store is being removed, and this may have come after its index went.
            await self._stores.links.database.write(*self._queue.notes.leaving(store, link))
            raise NotFound(store.id) from None

    async def _with_room(self, link: Link, limit: StorageLimit, more: int) -> Link:
        """Return the link, whose owner keeps `more` bytes from now on; raises StorageExceeded, and Contended."""
        record = link.record
        body = Body.of({**record.body, "bytes": link.usage_bytes + more})
        changing = self._stores.links.changing(record, body, record.facet, None)
        try:
            await self._stores.records.write(limit, record.owner, Stored(0, more), changing)
        except Overtaken:
            raise Contended from None
        return Link(replace(record, body=body, version=record.version + 1))

    async def _replaced(
        self, index: VectorIndex, store: Record, link: Link, chunks: Sequence[Chunk], *, is_new: bool
    ) -> bool:
        """Put the chunks into the index, in the places of those with their names unless each `is_new`.

        Returns whether no other chunk is there.
        """
        key = store.body["index"]
        if not is_new:
            await index.remove_chunks(key, link.part, [chunk.id for chunk in chunks])
        # As the index has it: the counts of a link may be behind after a kill.
        is_all = chunks[0].ordinal == 0 or not await index.chunks(key, link.part, 0, 1)
        await index.add(key, len(chunks[0].vector), link.part, _once(chunks))
        return is_all

    async def _counted(
        self, store: Record, link: Link, chunks: Sequence[Chunk], gone: _Gone, attributes: Mapping[str, Any]
    ) -> None:
        """Count the chunks that have come and gone, and end the claim; raises NotFound for a link that is gone."""
        for _ in range(_TRIES):
            members: Json = {
                "chunks": link.chunks - gone.chunks + len(chunks),
                "bytes": link.usage_bytes - gone.bytes + sum(map(usage_of, chunks)),
            }
            # A claim that took too long is another request's now, and so are the attributes.
            if link.record.body["next"] == chunks[-1].ordinal + 1:
                members |= {"busy_until": None, **({"attributes": attributes} if gone.is_all else {})}
            try:
                replacing = self._queue.notes.replacing(store) if gone.chunks else ()
                await self._stores.changed(link, Status.COMPLETED, members, replacing)
            except Overtaken:
                link = await self._stores.refreshed(link)
            else:
                return
        raise Contended

    async def _claimed(
        self,
        store: Record,
        owner: Principal | None,
        limit: StorageLimit | None,
        document: str,
        chunks: Sequence[NewChunk],
    ) -> Link:
        """Return the link of a document, which this request alone changes now; raises Contended after a while.

        The ordinals before its `next` are taken, those of the chunks included, and its attributes are what the chunks
        share with those that were there before.
        """
        new = NewLink("", _shared(chunks), Strategy.OTHER, document=document, writer=owner)
        end = time.monotonic() + WAIT_SECONDS
        while True:
            link = await self._stores.link(new.id(store))
            with suppress(AlreadyThere, Overtaken):
                if link is None:
                    link = await self._made(store, owner, limit, new)
                if (link.record.body.get("busy_until") or 0) <= time.time():
                    claim = {
                        "busy_until": int(time.time()) + CLAIM_SECONDS,
                        "next": link.record.body.get("next", 0) + len(chunks),
                        "attributes": _common([link.attributes, new.attributes]),
                    }
                    return await self._stores.changed(link, Status.COMPLETED, claim)
            if time.monotonic() > end:
                raise Contended
            await asyncio.sleep(_PAUSE)

    async def _made(self, store: Record, owner: Principal | None, limit: StorageLimit | None, new: NewLink) -> Link:
        """Return the link of a new document; raises TooManyParts, StorageExceeded, and AlreadyThere."""
        draft = replace(new.draft(store), facet=Status.COMPLETED.value)
        record = draft.owned_by(owner)
        try:
            await self._stores.records.write(
                limit,
                owner,
                Stored(1, 1),
                self._stores.records.holding(store.id),
                self._stores.links.inserting(record),
                having_at_most(MOST_LINKS, self._stores.links.name, store.id),
            )
        except ParentGone:
            raise NotFound(store.id) from None
        return Link(record)

    async def _release(self, link: Link, reserved: int) -> None:
        """Let others change the document, and give room back that was reserved."""
        with suppress(Overtaken):
            members = {"busy_until": None, "bytes": link.usage_bytes - reserved}
            await self._stores.changed(link, Status.COMPLETED, members)


def _check(model: EmbeddingModel, text: str, place: int) -> None:
    """Raise the 400 for the text of a chunk that the model would refuse or cut."""
    try:
        model.check(text)
    except ApiError as refusal:
        where = f"chunks[{place}].content"
        raise ApiError(refusal.status, refusal.message, code=refusal.code, param=where) from None


def _check_lengths(store: Record, given: Sequence[NewChunk], chunks: Sequence[NewChunk]) -> None:
    """Raise the 400 for a vector of the caller's, and the 409 for one of the model's, that the store can't take."""
    wanted = store.body["dimensions"]
    for place, chunk in enumerate(chunks):
        length, where = len(chunk.vector), f"chunks[{place}].embedding"
        if length != wanted and given[place].vector:
            sentence = f"`{where}` has {length} numbers, and the vectors of the store `{store.id}` have {wanted}"
            raise invalid(sentence, where, "invalid_value")
        if length != wanted:
            raise other_dimensions(store, length)


def _shared(chunks: Sequence[NewChunk]) -> dict[str, Any]:
    """Return the attributes that all of these chunks have with the same value."""
    return _common([chunk.attributes for chunk in chunks])


def _common(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = attributes
    return {
        name: value
        for name, value in first.items()
        if all(name in other and type(other[name]) is type(value) and other[name] == value for other in others)
    }


async def _once(chunks: Sequence[Chunk]) -> AsyncIterator[Sequence[Chunk]]:
    yield chunks
