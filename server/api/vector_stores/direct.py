"""`/v1/vector-io`: chunks put into vector stores and found there, in Llama Stack's forms."""

from __future__ import annotations

from collections.abc import Sequence
from json import loads
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.models.catalogue import Catalogue
from server.api.vector_stores.direct_body import INSERT, QUERY, Query
from server.api.vector_stores.documents import Documents
from server.api.vector_stores.ranking import Fusion, Mode, Ranking
from server.api.vector_stores.refusals import attaching, store_expired
from server.api.vector_stores.routes import FILE, STORE
from server.api.vector_stores.search import Found, Search, Wanted
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import StoreExpired
from server.authz.request_authorization import Gate
from server.fairness.outgoing import hold
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid
from server.http.json_body import read_body
from server.http.request_state import gate_of
from server.http.responses import list_response
from server.json_input.reader import Reader
from server.storage.records.guarded import NotFound
from server.storage.records.record import Record


class VectorIo:
    """Takes chunks in, and finds chunks, for callers who may update or read the store."""

    def __init__(
        self, stores: VectorStores, catalogue: Catalogue, documents: Documents, search: Search, reader: Reader
    ) -> None:
        self._stores = stores
        self._catalogue = catalogue
        self._documents = documents
        self._search = search
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of chunks."""
        model = (Action.READ, "model")
        return [
            AskingRoute(
                "/v1/vector-io/insert",
                self.insert,
                methods=["POST"],
                asks=[(Action.UPDATE, STORE)],
                may_ask=[model],
                name="vector_io.insert",
            ),
            AskingRoute(
                "/v1/vector-io/query",
                self.query,
                methods=["POST"],
                asks=[(Action.READ, STORE)],
                may_ask=[model, (Action.READ, FILE)],
                name="vector_io.query",
            ),
        ]

    async def insert(self, request: Request) -> Response:
        """Put chunks in; the answer is null, as in Llama Stack."""
        body = (await read_body(request, self._reader, INSERT))[1]  # the bytes, up to 10 MB, aren't kept
        gate = gate_of(request.scope)
        store, permit = await self._stores.fillable(gate, body.store)
        await self._check_models(gate, store, body.models)
        with attaching(lambda index: f"chunks[{index}]", "chunks"):
            async with WhileConnected(request.receive):
                await self._documents.insert(gate, store, permit, body.chunks)
        return Response(b"null", media_type="application/json")

    async def _check_models(self, gate: Gate, store: Record, names: Sequence[str]) -> None:
        """Raise the 400 for a name that is none of the model of a store, or of a model that the caller may not read.

        The first such name ends it, so there are no more questions than the model has names.
        """
        own = store.body["embedding_model"]
        for name in names:
            if name == own:
                continue
            try:
                is_own = own in (await self._catalogue.get(gate, name)).names
            except NotFound:
                is_own = False
            if not is_own:
                sentence = f"the vector store `{store.id}` has vectors of the model `{own}` alone"
                raise invalid(sentence, "chunks", "invalid_value")

    async def query(self, request: Request) -> Response:
        """Answer with the chunks that are the best for a query, and with their scores."""
        _, body = await read_body(request, self._reader, QUERY)
        gate = gate_of(request.scope)
        store = await self._stores.readable(gate, body.store)
        try:
            found = await self._search.found(request, gate, store, _wanted(body))
        except StoreExpired:
            raise store_expired(store.id) from None
        await hold(sum(len(each.text) + len(each.extra) for each in found))
        frame = {"scores": [each.score for each in found]}
        return await list_response(frame, (_chunk(store, each) for each in found), "chunks")


def _wanted(body: Query) -> Wanted:
    ranking = Ranking(Fusion(body.ranker), body.weight, 1 - body.weight, body.impact, body.threshold)
    return Wanted((body.text,), body.limit, None, Mode(body.mode), ranking)


def _chunk(store: Record, found: Found) -> dict[str, Any]:
    """Return a chunk as Llama Stack's clients know it; its vector stays in the index."""
    if found.extra:
        kept = loads(found.extra)
    else:
        kept = {
            "metadata": {"document_id": found.file_id, "filename": found.filename, **found.attributes},
            "chunk_metadata": {"document_id": found.file_id, "source": found.filename},
        }
    identity = found.chunk_id or f"{found.file_id}:{found.ordinal}"
    return {
        "content": found.text,
        "chunk_id": identity,
        "metadata": kept["metadata"],
        "chunk_metadata": {"chunk_id": identity, **kept["chunk_metadata"]},
        "embedding": [],
        "embedding_model": store.body["embedding_model"],
        "embedding_dimension": store.body["dimensions"] or 0,
    }
