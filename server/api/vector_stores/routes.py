"""`/v1/vector_stores`: vector stores themselves; `files` and `batches` have the routes of what is in them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.models.catalogue import DefinedByConfiguration
from server.api.vector_stores.attaching import Attaching
from server.api.vector_stores.body import CREATE, UPDATE, CreateStore, UpdateStore
from server.api.vector_stores.links import NewLink
from server.api.vector_stores.making import StoreMaking
from server.api.vector_stores.refusals import attaching, defined_by_configuration
from server.api.vector_stores.shown import Shown
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import has_expired, modern, new_store_id
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.json_body import read_body
from server.http.pagination import frame_of, list_query, page_of
from server.http.request_state import gate_of
from server.http.responses import json_response, list_response
from server.json_input.reader import Reader
from server.quota.storage_limit import Stored
from server.storage.records.body import Body
from server.storage.records.record import Draft, Record

STORE: Final = "vector_store"
FILE: Final = type_of_record("openai_files")
CHANGING: Final = ((Action.UPDATE, STORE), (Action.READ, STORE))
"""The questions of a route that changes a store, and shows something of it."""


class VectorStoreRoutes:
    """Makes vector stores, and shows each to the callers that the policy permits."""

    def __init__(
        self, stores: VectorStores, making: StoreMaking, attaching: Attaching, shown: Shown, reader: Reader
    ) -> None:
        self._stores = stores
        self._making = making
        self._attaching = attaching
        self._shown = shown
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of vector stores."""
        every, one = "/v1/vector_stores", "/v1/vector_stores/{vector_store_id}"
        return [
            AskingRoute(every, self.page, methods=["GET"], asks=[(Action.READ, STORE)], name="vector_stores.list"),
            AskingRoute(
                every,
                self.create,
                methods=["POST"],
                asks=[(Action.CREATE, STORE)],
                may_ask=[(Action.READ, FILE), (Action.READ, "model"), (Action.READ, "provider")],
                name="vector_stores.create",
            ),
            AskingRoute(
                one, self.retrieve, methods=["GET"], asks=[(Action.READ, STORE)], name="vector_stores.retrieve"
            ),
            AskingRoute(one, self.update, methods=["POST"], asks=CHANGING, name="vector_stores.update"),
            AskingRoute(
                one, self.delete, methods=["DELETE"], asks=[(Action.DELETE, STORE)], name="vector_stores.delete"
            ),
        ]

    async def page(self, request: Request) -> Response:
        """Answer with a page of stores, newest first unless the query says otherwise."""
        page = await page_of(request, self._stores.records, list_query(request))
        return await list_response(frame_of(page), await self._shown.stores(map(modern, page.records)))

    async def create(self, request: Request) -> Response:
        """Make a store, and attach the files that the body names."""
        _, new = await read_body(request, self._reader, CREATE, optional=True)
        gate, identity = gate_of(request.scope), new_store_id()
        creation = await self._stores.records.permit_create(gate, made=[identity])
        made = await self._making.store(gate, new)
        with attaching(lambda index: f"file_ids[{index}]", "file_ids"):
            if new.file_ids:
                # Many questions to the policy, and nothing is written yet.
                async with WhileConnected(request.receive):
                    await self._attaching.check(gate, new.file_ids)
                await self._stores.records.check_room(creation, Stored(1 + len(new.file_ids), 1))
            store = await self._stores.records.create(creation, Draft(identity, made.body()))
            if new.file_ids:
                await self._attaching.fill(gate, store, creation.permit, _links(new))
        return await self._answer(store)

    async def retrieve(self, request: Request) -> Response:
        """Answer with one store."""
        identity = request.path_params["vector_store_id"]
        return await self._answer(await self._stores.readable(gate_of(request.scope), identity))

    async def update(self, request: Request) -> Response:
        """Change what the body names, and nothing else."""
        _, new = await read_body(request, self._reader, UPDATE, optional=True)
        identity = request.path_params["vector_store_id"]
        changed = await self._stores.records.update(
            gate_of(request.scope), identity, lambda record: _changed(modern(record), new)
        )
        return await self._answer(changed)

    async def delete(self, request: Request) -> Response:
        """Remove a store with everything in it; the files themselves stay."""
        identity = request.path_params["vector_store_id"]
        try:
            await self._attaching.delete_store(gate_of(request.scope), identity)
        except DefinedByConfiguration:
            raise defined_by_configuration(identity) from None
        return json_response({"id": identity, "object": "vector_store.deleted", "deleted": True})

    async def _answer(self, store: Record) -> Response:
        return json_response((await self._shown.stores([store]))[0])


def _links(new: CreateStore) -> Sequence[NewLink]:
    return [NewLink.of(file_id, {}, new.chunking) for file_id in new.file_ids]


def _changed(record: Record, new: UpdateStore) -> Record:
    # A change is a use; only one of its end brings back a store whose life was over.
    is_used = not has_expired(record) or "expires_after" in new.changes
    used = {"last_active_at": int(time.time())} if is_used else {}
    return replace(record, body=Body.of({**record.body, **new.changes, **used}))
