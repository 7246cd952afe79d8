"""Searches of a vector store: what the caller may find is known before the index is asked, and limits the search.

So a page is full wherever enough may be found, and nothing else is ever compared or counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.requests import Request

from server.api.models.embedding import Embedder, EmbeddingModel
from server.api.vector_stores.filters import Filter
from server.api.vector_stores.findable import Findable, Place
from server.api.vector_stores.ranking import AS_USUAL, Mode, Ranking, best, by_words, fused
from server.api.vector_stores.search_body import MOST_QUERIES
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import StoreExpired, has_expired
from server.authz.request_authorization import Gate
from server.fairness.places import leave_place
from server.fairness.threads import in_thread
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid, provider_error
from server.inference.provider import ProviderFailed
from server.storage.records.record import Record
from server.storage.vectors.index import Hit, Vector, VectorIndex

LONGEST_QUERY: Final = 16 * 1024
"""Bytes of one query, in UTF-8."""

CANDIDATES: Final = 100
"""Chunks that are ranked where words count, and twice as many as results where that is more."""

_TRIES: Final = 3

IndexOf: TypeAlias = Callable[[Record], VectorIndex]
"""Returns the index that has the chunks of a store; raises IndexUnavailable where its provider isn't configured."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search: at most `limit` chunks for all `queries` together, of files that meet the filter."""

    queries: tuple[str, ...]
    limit: int = 10
    filter: Filter | None = None
    mode: Mode = Mode.VECTOR
    ranking: Ranking = AS_USUAL
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk with its score, and the file that it comes from; `file_id` is empty for a text without a file.

    `ordinal` is its place in the file; `chunk_id` and `extra` are what the text was put in with.
    """

    file_id: str
    filename: str
    score: float
    text: str
    attributes: Mapping[str, Any]
    ordinal: int = 0
    chunk_id: str = ""
    extra: str = ""


class Search:
    """Searches stores that the caller may read."""

    def __init__(self, stores: VectorStores, findable: Findable, embedder: Embedder, index_of: IndexOf) -> None:
        self._stores = stores
        self._findable = findable
        self._embedder = embedder
        self._index_of = index_of

    async def found(self, request: Request, gate: Gate, store: Record, wanted: Wanted) -> list[Found]:
        """Return what the caller may find, best first.

        Raises StoreExpired, the ApiError for a query or a model that can't be used, IndexUnavailable, QuotaExceeded,
        ListTooLong, NoRoom and ClientGone.
        """
        async with WhileConnected(request.receive):
            return await self.found_for(gate, store, wanted)

    async def found_for(self, gate: Gate, store: Record, wanted: Wanted) -> list[Found]:
        """Return the same where the connection of the client is watched by others; raises no ClientGone."""
        _check(wanted)
        await self._stores.use(store)
        index = self._index_of(store)
        leave_place()  # a provider may take minutes
        vectors = await self._vectors(gate, store, wanted)
        return await self._looked_up(gate, store, wanted, index, vectors)

    async def check(self, gate: Gate, store: Record) -> None:
        """Raise what a search of the store would raise before it spends anything, whatever it looked for."""
        if has_expired(store):
            raise StoreExpired(store.id)
        self._index_of(store)
        await self._embedder.model(gate, store.body["embedding_model"])

    async def _vectors(self, gate: Gate, store: Record, wanted: Wanted) -> list[Vector]:
        """Return the embeddings of the queries, none where only words count."""
        if wanted.mode is Mode.KEYWORD:
            return []
        model = await self._embedder.model(gate, store.body["embedding_model"])
        check_model(store, model)
        try:
            for query in wanted.queries:
                model.check(query)
            vectors = await self._embedder.embed(gate, model, wanted.queries)
        except ProviderFailed as failure:
            raise provider_error(failure) from None
        except ApiError as refusal:
            raise _at(wanted.place, refusal) from None
        dimensions = store.body["dimensions"]
        if dimensions is not None and {len(vector) for vector in vectors} != {dimensions}:
            raise other_dimensions(store, len(vectors[0]))
        return vectors

    async def _looked_up(
        self, gate: Gate, store: Record, wanted: Wanted, index: VectorIndex, vectors: Sequence[Vector]
    ) -> list[Found]:
        shown = list[Found]()
        for _ in range(_TRIES):
            places = await self._findable.parts(gate, store, wanted.filter)
            hits = await self._hits(store, wanted, index, vectors, [*places]) if places else []
            shown = await self._shown(hits, places)
            # What has gone in the meantime leaves a gap that others may fill.
            if len(shown) == len(hits):
                break
        return shown

    async def _hits(
        self, store: Record, wanted: Wanted, index: VectorIndex, vectors: Sequence[Vector], parts: Sequence[int]
    ) -> list[Hit]:
        key, mode = store.body["index"], wanted.mode
        most = wanted.limit if mode is Mode.VECTOR else max(CANDIDATES, 2 * wanted.limit)
        found = list[Sequence[Hit]]()
        for place, query in enumerate(wanted.queries):
            near = [] if mode is Mode.KEYWORD else await index.nearest(key, vectors[place], parts, most)
            if mode is Mode.VECTOR:
                found.append(near)
                continue
            matching = await index.matching(key, query, parts, most)
            worded = await in_thread(by_words, query, matching) if matching else []
            found.append(worded if mode is Mode.KEYWORD else fused(near, worded, wanted.ranking))
        return best(found, wanted.ranking, wanted.limit)

    async def _shown(self, hits: Sequence[Hit], places: Mapping[int, Place]) -> list[Found]:
        """Return the hits as they are shown, without those whose link or file has gone."""
        # An index that returns another part than it was asked for would be a fault: nothing of it is shown.
        hits = [hit for hit in hits if hit.part in places]
        described = await self._findable.described({places[hit.part] for hit in hits})
        shown = list[Found]()
        for hit in hits:
            found = described.get(places[hit.part].link)
            if found is not None and found[0].part == hit.part:
                link, filename = found
                place = (hit.ordinal, hit.id, hit.extra)
                shown.append(Found(link.file_id, filename, hit.score, hit.text, link.attributes, *place))
        return shown


def check_model(store: Record, model: EmbeddingModel) -> None:
    """Raise the 409 for a model that has the name of the one that made the vectors of a store, and is another one."""
    made_by = store.body.get("made_by")
    if made_by is not None and model.fingerprint not in (None, made_by):
        sentence = (
            f"the vectors of the store `{store.id}` were made by another model that was called "
            f"`{store.body['embedding_model']}` then; configure that model again, or make a new store and attach the "
            "files to it"
        )
        raise ApiError(409, sentence, code="model_changed", headers={"x-should-retry": "false"})


def other_dimensions(store: Record, length: int) -> ApiError:
    """Return the 409 for a model whose vectors can't be compared with those of a store."""
    sentence = (
        f"the model `{store.body['embedding_model']}` makes vectors of {length} numbers now, and the store "
        f"`{store.id}` holds vectors of {store.body['dimensions']}; configure the model that the store was made with"
    )
    return ApiError(409, sentence, code="dimensions_changed", headers={"x-should-retry": "false"})


def _check(wanted: Wanted) -> None:
    """Raise the 400 for queries that nothing is asked for."""
    many = len(wanted.queries) != 1
    if not 0 < len(wanted.queries) <= MOST_QUERIES:
        raise invalid(f"`{wanted.place}` must hold 1 to {MOST_QUERIES} queries", wanted.place, "invalid_value")
    for number, query in enumerate(wanted.queries):
        place = f"{wanted.place}[{number}]" if many else wanted.place
        size = len(query.encode(errors="replace"))
        if not query.strip():
            raise invalid(f"`{place}` must be a text that isn't blank", place, "invalid_value")
        if size > LONGEST_QUERY:
            sentence = (
                f"`{place}` has {size} bytes, and a query may have {LONGEST_QUERY}: its maximum length is exceeded"
            )
            raise invalid(sentence, place, "context_length_exceeded")


def _at(place: str, refusal: ApiError) -> ApiError:
    """Return the refusal of a text as one of the query."""
    if refusal.param != "input":
        return refusal
    return ApiError(refusal.status, refusal.message, code=refusal.code, param=place, headers=refusal.headers)
