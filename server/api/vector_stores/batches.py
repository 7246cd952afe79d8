"""`/v1/vector_stores/{id}/file_batches`: files that were attached together."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.vector_stores.attaching import Attaching
from server.api.vector_stores.file_body import BATCH
from server.api.vector_stores.files import files_response, status_of
from server.api.vector_stores.links import NewLink
from server.api.vector_stores.pages import LinkPages
from server.api.vector_stores.refusals import attaching
from server.api.vector_stores.routes import CHANGING, FILE, STORE
from server.api.vector_stores.shown import batch_response
from server.api.vector_stores.store import VectorStores
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.json_body import read_body
from server.http.pagination import list_query
from server.http.request_state import gate_of
from server.json_input.reader import Reader
from server.storage.records.record import Record


class FileBatches:
    """Attaches files to stores by the batch."""

    def __init__(self, stores: VectorStores, attaching: Attaching, pages: LinkPages, reader: Reader) -> None:
        self._stores = stores
        self._attaching = attaching
        self._pages = pages
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of batches."""
        every = "/v1/vector_stores/{vector_store_id}/file_batches"
        one = f"{every}/{{batch_id}}"
        return [
            AskingRoute(
                every,
                self.create,
                methods=["POST"],
                asks=[*CHANGING, (Action.READ, FILE)],
                name="vector_stores.file_batches.create",
            ),
            AskingRoute(
                one,
                self.retrieve,
                methods=["GET"],
                asks=[(Action.READ, STORE)],
                name="vector_stores.file_batches.retrieve",
            ),
            AskingRoute(
                f"{one}/cancel",
                self.cancel,
                methods=["POST"],
                asks=CHANGING,
                name="vector_stores.file_batches.cancel",
            ),
            AskingRoute(
                f"{one}/files",
                self.files,
                methods=["GET"],
                asks=[(Action.READ, FILE), (Action.READ, STORE)],
                name="vector_stores.file_batches.list_files",
            ),
        ]

    async def create(self, request: Request) -> Response:
        """Attach the files of the body; their texts are taken in later."""
        _, new = await read_body(request, self._reader, BATCH)
        gate = gate_of(request.scope)
        store, permit = await self._stores.changeable(gate, request.path_params["vector_store_id"])
        links = [NewLink.of(each["file_id"], each["attributes"], each["chunking"]) for each in new.files]
        with attaching(new.place, new.listed):
            # Many questions to the policy, and nothing is written yet.
            async with WhileConnected(request.receive):
                await self._attaching.check(gate, [link.file_id for link in links])
            batch = await self._attaching.attach_batch(gate, store, permit, links)
        return await self._answer(batch)

    async def retrieve(self, request: Request) -> Response:
        """Answer with a batch."""
        gate, params = gate_of(request.scope), request.path_params
        store = await self._stores.readable(gate, params["vector_store_id"])
        return await self._answer(await self._stores.batch(store.id, params["batch_id"]))

    async def cancel(self, request: Request) -> Response:
        """End the ingestion of those files of a batch that came with it and are not done."""
        gate, params = gate_of(request.scope), request.path_params
        store, _ = await self._stores.changeable(gate, params["vector_store_id"])
        batch = await self._stores.batch(store.id, params["batch_id"])
        return await self._answer(await self._attaching.cancel(batch))

    async def files(self, request: Request) -> Response:
        """Answer with a page of the files of a batch, newest first unless the query says otherwise."""
        query, status = list_query(request), status_of(request)
        gate, params = gate_of(request.scope), request.path_params
        store = await self._stores.readable(gate, params["vector_store_id"])
        batch = await self._stores.batch(store.id, params["batch_id"])
        async with WhileConnected(request.receive):
            page = await self._pages.page(gate, store, query, status, batch)
        return await files_response(page)

    async def _answer(self, batch: Record) -> Response:
        return batch_response(batch, await self._stores.batch_sums(batch))
