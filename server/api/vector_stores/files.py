"""`/v1/vector_stores/{id}/files`: the files of a vector store."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.vector_stores.attaching import Attaching
from server.api.vector_stores.file_body import ATTACH, FILE_UPDATE
from server.api.vector_stores.links import NewLink, Status
from server.api.vector_stores.pages import LinkPage, LinkPages
from server.api.vector_stores.refusals import attaching
from server.api.vector_stores.routes import CHANGING, FILE, STORE
from server.api.vector_stores.shown import file_response, shown_file
from server.api.vector_stores.store import VectorStores
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid
from server.http.json_body import read_body
from server.http.pagination import list_of, list_query, one_of_query
from server.http.request_state import gate_of
from server.http.responses import json_response, list_response
from server.json_input.reader import Reader

_STATUSES: Final = tuple(status.value for status in Status)


class VectorStoreFiles:
    """Attaches files to stores, and shows those of a store that the caller may read."""

    def __init__(self, stores: VectorStores, attaching: Attaching, pages: LinkPages, reader: Reader) -> None:
        self._stores = stores
        self._attaching = attaching
        self._pages = pages
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of the files of vector stores."""
        every = "/v1/vector_stores/{vector_store_id}/files"
        one = f"{every}/{{file_id}}"
        return [
            AskingRoute(
                every,
                self.page,
                methods=["GET"],
                asks=[(Action.READ, FILE), (Action.READ, STORE)],
                name="vector_stores.files.list",
            ),
            AskingRoute(
                every,
                self.create,
                methods=["POST"],
                asks=[*CHANGING, (Action.READ, FILE)],
                name="vector_stores.files.create",
            ),
            AskingRoute(
                one,
                self.retrieve,
                methods=["GET"],
                asks=[(Action.READ, FILE), (Action.READ, STORE)],
                name="vector_stores.files.retrieve",
            ),
            AskingRoute(
                one,
                self.update,
                methods=["POST"],
                asks=[(Action.READ, FILE), *CHANGING],
                name="vector_stores.files.update",
            ),
            AskingRoute(
                one,
                self.delete,
                methods=["DELETE"],
                asks=[(Action.READ, FILE), *CHANGING],
                name="vector_stores.files.delete",
            ),
        ]

    async def page(self, request: Request) -> Response:
        """Answer with a page of files, newest first unless the query says otherwise."""
        query, status = list_query(request), status_of(request)
        gate = gate_of(request.scope)
        store = await self._stores.readable(gate, request.path_params["vector_store_id"])
        async with WhileConnected(request.receive):
            page = await self._pages.page(gate, store, query, status)
        return await files_response(page)

    async def create(self, request: Request) -> Response:
        """Attach a file; its text is taken in later."""
        _, new = await read_body(request, self._reader, ATTACH)
        gate = gate_of(request.scope)
        store, permit = await self._stores.changeable(gate, request.path_params["vector_store_id"])
        with attaching(lambda _: "file_id", "file_id"):
            await self._attaching.check(gate, [new.file_id])
            link = NewLink.of(new.file_id, new.attributes, new.chunking)
            [attached] = await self._attaching.attach(gate, store, permit, [link])
        return file_response(attached)

    async def retrieve(self, request: Request) -> Response:
        """Answer with one file of a store."""
        gate = gate_of(request.scope)
        store = await self._stores.readable(gate, request.path_params["vector_store_id"])
        return file_response(await self._pages.find(gate, store, request.path_params["file_id"]))

    async def update(self, request: Request) -> Response:
        """Replace the attributes of a file in a store."""
        _, new = await read_body(request, self._reader, FILE_UPDATE)
        gate = gate_of(request.scope)
        store, _ = await self._stores.changeable(gate, request.path_params["vector_store_id"])
        link = await self._pages.find(gate, store, request.path_params["file_id"])
        return file_response(await self._attaching.describe(gate, link, new.attributes))

    async def delete(self, request: Request) -> Response:
        """Take a file out of a store; the file itself stays."""
        gate, file_id = gate_of(request.scope), request.path_params["file_id"]
        store, _ = await self._stores.changeable(gate, request.path_params["vector_store_id"])
        await self._pages.find(gate, store, file_id)
        await self._attaching.detach(store, file_id)
        return json_response({"id": file_id, "object": "vector_store.file.deleted", "deleted": True})


def status_of(request: Request) -> Status | None:
    """Return the state that a list is narrowed by; raises the 400 for one that there isn't."""
    given = one_of_query(request, "filter")
    if given is not None and given not in _STATUSES:
        raise invalid(f"`filter` must be one of {', '.join(_STATUSES)}", "filter", "invalid_value")
    return None if given is None else Status(given)


async def files_response(page: LinkPage) -> Response:
    """Return a page of files."""
    ends = [{"id": link.file_id} for link in (*page.links[:1], *page.links[-1:])]
    return await list_response(list_of(ends, has_more=page.has_more), map(shown_file, page.links))
