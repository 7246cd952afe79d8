"""Texts that callers put into vector stores themselves, in chunks of their own and without files.

The chunks that a caller puts into one document are one part of a store, which a link without a file belongs to. Its
chunks come and go while the link stays, so a request first claims the link: two requests that put the same chunk in
leave one. Another caller's chunks of that document are another part, which belongs to that caller.

New chunks come before those go whose places they take, so that a text that is replaced can be found all the time.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from sys import getsizeof
from typing import Final, Self

from policy.vocabulary import Principal
from server.api.models.embedding import Embedder, EmbeddingModel
from server.api.vector_stores.claims import Change, Claim, Claims, shared_attributes
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.filling import BYTES_OF_A_NUMBER, MOST_CHUNKS, usage_of
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.search import IndexOf, check_model, other_dimensions
from server.api.vector_stores.store import VectorStores
from server.authz.permit import Permit
from server.authz.request_authorization import Gate
from server.background.lasting import LastingWork
from server.fairness.shares import FairShares, Share, Turn
from server.http.errors import ApiError, invalid, provider_error
from server.inference.provider import ProviderFailed
from server.quota.storage_limit import StorageLimit
from server.storage.records.record import Record
from server.storage.vectors.index import Chunk, Held, IndexUnavailable, Vector, VectorIndex

TOGETHER: Final = 50
"""Documents that come into an index in one commit, and are counted in one transaction."""

PUTS: Final = Share("chunks that are put into vector stores", 64, 4, waiting=4096, waiting_each=1024, seconds=30.0)
"""Groups of up to `TOGETHER` documents that claim their links and come into an index at the same time, also where their
callers have left. One may wait for another process that changes the same document."""

INCOMING: Final = Share(
    "bytes of chunks that are put into vector stores", 256 * 1024 * 1024, 40 * 1024 * 1024, 0, 0, seconds=1.0
)
"""Bytes of chunks and their vectors whose requests wait for vectors or for a turn, or that come into an index."""

BYTES_OF_A_CHUNK: Final = 2048
"""Bytes that a chunk takes in memory besides its texts and its vector, at least."""

UNKNOWN_NUMBERS: Final = 4096
"""Numbers that a vector is taken to have which a model makes for an empty store; few models make longer ones."""

_log: Final = logging.getLogger("ostiary.vectors")


class Documents:
    """Puts chunks into stores that the caller may update; belongs to one event loop."""

    def __init__(
        self,
        stores: VectorStores,
        queue: IngestionQueue,
        embedder: Embedder,
        index_of: IndexOf,
        lasting: LastingWork,
    ) -> None:
        """Count what has begun to come into an index as `lasting` work."""
        self._stores = stores
        self._queue = queue
        self._embedder = embedder
        self._index_of = index_of
        self._lasting = lasting
        self._claims = Claims(stores, queue.notes)
        self._turns = FairShares(PUTS)
        self._room = FairShares(INCOMING)

    async def insert(self, gate: Gate, store: Record, permit: Permit, given: Sequence[NewChunk]) -> None:
        """Put the chunks in; one that has the name of another of its document takes its place.

        Raises StoreExpired, TooManyParts, StorageExceeded, Contended, NoRoom, NotFound for a store that is gone,
        IndexUnavailable, and the ApiError for texts or vectors that the store can't take.
        """
        kept = _Kept(self._room, _size(store, given))
        try:
            await self._insert(gate, store, permit, given, kept)
        finally:
            kept.end()

    async def _insert(self, gate: Gate, store: Record, permit: Permit, given: Sequence[NewChunk], kept: _Kept) -> None:
        await self._stores.use(store)
        index = self._index_of(store)
        index.check_open()  # nothing is begun before it is
        chunks, model = await self._with_vectors(gate, store, given)
        store = await self._stores.filled_with(
            store, len(chunks[0].vector), None if model is None else model.fingerprint
        )
        if model is not None:
            check_model(store, model)
        _check_lengths(store, given, chunks)
        if await self._stores.chunks_of(store) + len(chunks) > MOST_CHUNKS:
            raise invalid(f"a vector store has at most {MOST_CHUNKS} chunks", "chunks", "too_many_chunks")
        documents = defaultdict[str, dict[str, NewChunk]](dict)
        for chunk in chunks:
            documents[chunk.document][chunk.id] = chunk
        each = [(name, [*named.values()]) for name, named in documents.items()]
        for start in range(0, len(each), TOGETHER):
            some = dict(each[start : start + TOGETHER])
            # Waited for by the request, and kept by its work: as many go on as have turns, however many callers leave.
            turn = await self._turns.take()
            # Nothing is awaited between here and the start of the work, which ends both.
            put = self._put_in(turn, kept.again(), index, store, permit.caller, gate.storage_limit, some)
            await self._lasting.reach("insertion of chunks", put)

    async def _with_vectors(
        self, gate: Gate, store: Record, given: Sequence[NewChunk]
    ) -> tuple[list[NewChunk], EmbeddingModel | None]:
        """Return the chunks, those without a vector with the one that the store's model makes.

        The model comes with them; None where it isn't needed.
        """
        lacking = [place for place, chunk in enumerate(given) if not chunk.vector]
        made, model = dict[int, Vector](), None
        if lacking:
            model = await self._embedder.model(gate, store.body["embedding_model"])
            check_model(store, model)
            for place in lacking:
                _check(model, given[place].text, place)
            try:
                vectors = await self._embedder.embed(gate, model, [given[place].text for place in lacking])
            except ProviderFailed as failure:
                raise provider_error(failure) from None
            made = dict(zip(lacking, vectors, strict=True))
        return [replace(chunk, vector=made.get(place, chunk.vector)) for place, chunk in enumerate(given)], model

    async def _put_in(
        self,
        turn: Turn,
        kept: _Kept,
        index: VectorIndex,
        store: Record,
        owner: Principal | None,
        limit: StorageLimit | None,
        documents: Mapping[str, Sequence[NewChunk]],
    ) -> None:
        """Do what `_put` does, and end the turn and the use of the memory."""
        try:
            await self._put(index, store, owner, limit, documents)
        finally:
            turn.end()
            kept.end()

    async def _put(
        self,
        index: VectorIndex,
        store: Record,
        owner: Principal | None,
        limit: StorageLimit | None,
        documents: Mapping[str, Sequence[NewChunk]],
    ) -> None:
        """Put the chunks of some documents in, all of them or none."""
        key, begun = store.body["index"], False
        claim = await self._claims.claim(store, owner, limit, documents)
        try:
            await index.remove_chunks(key, claim.stray)
            new = {name: _numbered(chunks, claim.first(name)) for name, chunks in documents.items()}
            changes = _changes(claim, documents, new, await self._old(index, claim, documents))
            if limit is not None:
                more = {name: max(0, change.bytes - change.going_bytes) for name, change in changes.items()}
                claim = await self._claims.reserve(claim, limit, more)
            claim.check()
            begun = True
            length = len(next(iter(new.values()))[0].vector)
            await index.put(key, length, {claim.links[name].part: chunks for name, chunks in new.items()})
            await self._claims.complete(claim, changes)
        except BaseException:
            await self._claims.release(claim, has_begun=begun)
            raise
        gone = {claim.links[name].part: change.removed for name, change in changes.items() if change.removed}
        try:
            await index.remove_chunks(key, gone)
        except IndexUnavailable as fault:
            # The note of the claim has them removed later; the new ones are there.
            _log.warning("replaced chunks of the vector store `%s` are still found: %s", store.id, fault)
        self._queue.wake()

    async def _old(
        self, index: VectorIndex, claim: Claim, documents: Mapping[str, Sequence[NewChunk]]
    ) -> dict[str, list[Held]]:
        """Return the chunks whose places others take, by their documents."""
        names = {
            claim.links[name].part: [chunk.id for chunk in chunks]
            for name, chunks in documents.items()
            if claim.first(name)
        }
        found = defaultdict[int, list[Held]](list)
        for held in await index.named(claim.store.body["index"], names) if names else ():
            found[held.part].append(held)
        return {name: found[link.part] for name, link in claim.links.items()}


class _Kept:
    """Memory of the chunks of one request: given back when the request has ended, and all work with its chunks."""

    __slots__ = ("_turn", "_users")

    def __init__(self, room: FairShares, size: int) -> None:
        """Take the memory for the request; raises NoRoom."""
        turn = room.take_now(size)
        if turn is None:
            raise room.refusal(size)
        self._turn = turn
        self._users = 1

    def again(self) -> Self:
        """Return this for one more piece of work, which has to `end` it too."""
        self._users += 1
        return self

    def end(self) -> None:
        """End the use of the request, or of a piece of work."""
        self._users -= 1
        if not self._users:
            self._turn.end()


def _size(store: Record, chunks: Sequence[NewChunk]) -> int:
    """Return the bytes that chunks take in memory, about, those included that the store's model makes vectors for."""
    made = BYTES_OF_A_NUMBER * (store.body["dimensions"] or UNKNOWN_NUMBERS)
    texts = sum(getsizeof(chunk.text) + getsizeof(chunk.extra) for chunk in chunks)
    vectors = sum(BYTES_OF_A_NUMBER * len(chunk.vector) or made for chunk in chunks)
    return texts + vectors + BYTES_OF_A_CHUNK * len(chunks)


def _numbered(chunks: Sequence[NewChunk], first: int) -> list[Chunk]:
    return [Chunk(first + place, chunk.text, chunk.vector, chunk.id, chunk.extra) for place, chunk in enumerate(chunks)]


def _changes(
    claim: Claim,
    documents: Mapping[str, Sequence[NewChunk]],
    new: Mapping[str, Sequence[Chunk]],
    old: Mapping[str, Sequence[Held]],
) -> dict[str, Change]:
    """Return what putting the new chunks into the places of the old ones does to each document."""
    found = dict[str, Change]()
    for name, chunks in new.items():
        before = old[name]
        is_all = len(before) == claim.links[name].chunks
        numbers = BYTES_OF_A_NUMBER * len(chunks[0].vector)
        found[name] = Change(
            len(chunks),
            sum(map(usage_of, chunks)),
            len(before),
            sum(held.bytes + numbers for held in before),
            [held.ordinal for held in before],
            shared_attributes(documents[name]) if is_all else None,
        )
    return found


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
