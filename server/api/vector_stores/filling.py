"""The way of a file into a part of an index: its bytes, the pieces of its text, their vectors, the chunks.

Nothing is held as a whole: bytes are read, texts embedded and chunks written as the next step asks for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from server.api.files.store import FileStore
from server.api.models.embedding import Embedder, EmbeddingModel
from server.api.vector_stores.links import Link, Strategy
from server.api.vector_stores.search import IndexOf, check_model, other_dimensions
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import StoreExpired, has_expired
from server.authz.request_authorization import Gate
from server.extraction.pieces import Chunking, Code, Piece, Unreadable
from server.inference.provider import Fault, ProviderFailed
from server.storage.blobs.store import pieces_of
from server.storage.records.record import Record
from server.storage.vectors.index import Chunk, IndexUnavailable, Vector, VectorIndex, WrongDimensions

LARGEST_FILE: Final = 512 * 1024 * 1024
"""Bytes of a file that is ingested."""

MOST_CHUNKS: Final = 2_000_000
"""Chunks of one vector store."""

BYTES_OF_A_NUMBER: Final = 4
"""Bytes that a number of a vector counts for."""

_ASKED_AGAIN: Final = (0.5, 2.0)
"""Seconds before a provider that fails is asked again about the same texts."""

_LONGEST_PAUSE: Final = 30.0


class Extracting(Protocol):
    """The part of `server.extraction.extractor.Extractor` that ingestion needs."""

    def pieces(
        self,
        source: AsyncIterator[bytes],
        size: int,
        filename: str,
        media_type: str,
        chunking: Chunking,
        tokenizer: Path | None,
        charset: str | None = None,
    ) -> AsyncGenerator[Sequence[Piece], None]:
        """Return the pieces of a file; raises Unreadable."""
        ...


@dataclass(frozen=True, slots=True)
class Filled:
    """The contents of a part that was filled: the number of its chunks, and the bytes that they take."""

    chunks: int
    bytes: int


class Filling:
    """Fills parts of indexes with what files bring."""

    def __init__(
        self, stores: VectorStores, files: FileStore, embedder: Embedder, extractor: Extracting, index_of: IndexOf
    ) -> None:
        self._stores = stores
        self._files = files
        self._embedder = embedder
        self._extractor = extractor
        self._index_of = index_of

    def is_ready(self, store: Record) -> bool:
        """Return whether the index of a store is ready; one that opens at its first use begins to open.

        Where none is configured, an attempt is to say so.
        """
        try:
            index = self._index_of(store)
        except IndexUnavailable:
            return True
        if index.fault is not None:
            return False
        try:
            index.check_open()
        except IndexUnavailable:
            return False
        return True

    async def filled(self, gate: Gate, part: int, store: Record, link: Link, begin: Callable[[], None]) -> Filled:
        """Fill a part of the index with what the link brings, once the policy permits all that this needs.

        `begin` is called before anything comes into the part.
        """
        index = self._index_of(store)
        if has_expired(store):
            raise StoreExpired(store.id)
        await gate.enter()
        gate.check_tokens()
        await self._stores.fillable(gate, store.id)
        file = await self._files.records.get(gate, link.file_id)
        model = await self._embedder.model(gate, store.body["embedding_model"])
        check_model(store, model)
        room = await self._room(store, file)
        reading = await self._files.open(file)
        async with pieces_of(reading) as source:
            pieces = self._extractor.pieces(
                source,
                reading.size,
                file.body["filename"],
                file.body["content_type"] or "",
                _chunking(link, model),
                model.tokenizer,
                file.body.get("charset"),
            )
            async with aclosing(pieces), aclosing(self._chunks(gate, model, pieces)) as chunks:
                first = await anext(chunks, None)
                if not first:
                    raise Unreadable(Code.INVALID_FILE, "no text was found in the file")
                store = await self._filled_with(store, model, len(first[0].vector))
                measured = _Measured(first, chunks, room)
                begin()
                return await self._added(index, store, part, measured)

    async def _filled_with(self, store: Record, model: EmbeddingModel, length: int) -> Record:
        """Return the store as one that the model fills with vectors of this length; raise what ends the work if it
        can't be one.
        """
        store = await self._stores.filled_with(store, length, model.fingerprint)
        check_model(store, model)
        if store.body["dimensions"] != length:
            raise other_dimensions(store, length)
        return store

    async def _added(self, index: VectorIndex, store: Record, part: int, measured: _Measured) -> Filled:
        """Add chunks to a part of the index; raise what ends the work if the store is then too full."""
        length: int = store.body["dimensions"]
        try:
            count = await index.add(store.body["index"], length, part, measured.chunks())
        except WrongDimensions:
            raise other_dimensions(store, length) from None
        # Others may have filled the store since.
        if await self._stores.chunks_of(store) + count > MOST_CHUNKS:
            raise _full()
        return Filled(count, measured.bytes)

    async def _room(self, store: Record, file: Record) -> int:
        """Return how many chunks there is room for in the store; raise Unreadable for a file that is too large."""
        if file.body["bytes"] > LARGEST_FILE:
            sentence = f"the file has {file.body['bytes']} bytes, and at most {LARGEST_FILE} are ingested; divide it"
            raise Unreadable(Code.INVALID_FILE, sentence)
        return MOST_CHUNKS - await self._stores.chunks_of(store)

    async def _chunks(
        self, gate: Gate, model: EmbeddingModel, pieces: AsyncIterator[Sequence[Piece]]
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the pieces with their vectors."""
        ordinal = 0
        async for batch in pieces:
            # What is blank has no meaning, and some models make no vector of it.
            worded = [piece for piece in batch if piece.text.strip()]
            if not worded:
                continue
            vectors = await self._embedded(gate, model, [piece.text for piece in worded])
            yield [
                Chunk(ordinal + place, piece.text, vector)
                for place, (piece, vector) in enumerate(zip(worded, vectors, strict=True))
            ]
            ordinal += len(worded)

    async def _embedded(self, gate: Gate, model: EmbeddingModel, texts: Sequence[str]) -> list[Vector]:
        """Return the embeddings of the texts; a provider that fails for now is asked again, a few times."""
        for pause in _ASKED_AGAIN:
            try:
                return await self._embedder.embed(gate, model, texts)
            except ProviderFailed as failure:
                if failure.fault is Fault.REQUEST or failure.hopeless:
                    raise
                await asyncio.sleep(max(pause, min(failure.retry_after or 0.0, _LONGEST_PAUSE)))
        return await self._embedder.embed(gate, model, texts)


class _Measured:
    """Chunks on their way to an index: they are counted, and refused where there is no room for more."""

    def __init__(self, first: Sequence[Chunk], rest: AsyncIterator[Sequence[Chunk]], room: int) -> None:
        self.bytes = 0
        self._first = first
        self._rest = rest
        self._room = room

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        """Yield them; raises Unreadable where there is no room."""
        yield self._measured(self._first)
        async for batch in self._rest:
            yield self._measured(batch)

    def _measured(self, batch: Sequence[Chunk]) -> Sequence[Chunk]:
        self._room -= len(batch)
        if self._room < 0:
            raise _full()
        self.bytes += sum(usage_of(chunk) for chunk in batch)
        return batch


def _full() -> Unreadable:
    return Unreadable(Code.INVALID_FILE, f"the vector store would have more than {MOST_CHUNKS} chunks")


def usage_of(chunk: Chunk) -> int:
    """Return the bytes that a chunk counts for."""
    texts = (chunk.text, chunk.id, chunk.extra)
    return sum(len(text.encode(errors="replace")) for text in texts) + BYTES_OF_A_NUMBER * len(chunk.vector)


def _chunking(link: Link, model: EmbeddingModel) -> Chunking:
    """Return the sizes of the chunks, none of which the model would cut; raise Unreadable where that was asked for."""
    chunking, most = link.chunking, model.most_tokens
    if most is None or chunking.size <= most:
        return chunking
    if link.strategy is Strategy.STATIC:
        sentence = (
            f"the chunks would have {chunking.size} tokens, and the model `{model.name}` takes at most {most}; "
            "attach the file with a smaller `max_chunk_size_tokens`"
        )
        raise Unreadable(Code.SERVER_ERROR, sentence)
    return Chunking(most, min(chunking.overlap, most // 2))
