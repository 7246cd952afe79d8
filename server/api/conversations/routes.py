"""The routes of conversations, `/v1/conversations`; `server.api.conversations.items` has those of their items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from os import urandom
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.conversations.body import CONVERSATION, CONVERSATION_UPDATE
from server.api.conversations.items import Items, conversation_response
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.json_body import read_body
from server.http.request_state import gate_of
from server.http.responses import json_response
from server.json_input.reader import Reader
from server.storage.database.database import Step
from server.storage.records.body import Body
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Draft

_CONVERSATION: Final = type_of_record("openai_conversations")
_ITEM: Final = type_of_record("conversation_items")
_NAMED: Final = (
    (Action.READ, type_of_record("openai_files")),
    (Action.READ, _ITEM),
    (Action.READ, _CONVERSATION),
)
"""The questions about resources that new items refer to."""


class Conversations:
    """Stores conversations and their `items`, and shows each to the callers that the policy permits."""

    def __init__(self, store: GuardedStore, items: Items, reader: Reader) -> None:
        self._store = store
        self._items = items
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of conversations and of their items."""
        one = "/v1/conversations/{conversation_id}"
        return [
            AskingRoute(
                "/v1/conversations",
                self.create,
                methods=["POST"],
                asks=[(Action.CREATE, _CONVERSATION)],
                may_ask=[(Action.CREATE, _ITEM), *_NAMED],
                name="conversations.create",
            ),
            AskingRoute(
                one, self.retrieve, methods=["GET"], asks=[(Action.READ, _CONVERSATION)], name="conversations.retrieve"
            ),
            AskingRoute(
                one,
                self.update,
                methods=["POST"],
                asks=[(Action.UPDATE, _CONVERSATION), (Action.READ, _CONVERSATION)],
                name="conversations.update",
            ),
            AskingRoute(
                one, self.delete, methods=["DELETE"], asks=[(Action.DELETE, _CONVERSATION)], name="conversations.delete"
            ),
            AskingRoute(
                f"{one}/items",
                self._items.page,
                methods=["GET"],
                asks=[(Action.READ, _ITEM), (Action.READ, _CONVERSATION)],
                name="conversations.items.list",
            ),
            AskingRoute(
                f"{one}/items",
                self._items.create,
                methods=["POST"],
                asks=[(Action.CREATE, _ITEM), (Action.UPDATE, _CONVERSATION)],
                may_ask=_NAMED,
                name="conversations.items.create",
            ),
            AskingRoute(
                f"{one}/items/{{item_id}}",
                self._items.retrieve,
                methods=["GET"],
                asks=[(Action.READ, _ITEM), (Action.READ, _CONVERSATION)],
                name="conversations.items.retrieve",
            ),
            AskingRoute(
                f"{one}/items/{{item_id}}",
                self._items.delete,
                methods=["DELETE"],
                asks=[(Action.DELETE, _ITEM), (Action.UPDATE, _CONVERSATION), (Action.READ, _CONVERSATION)],
                name="conversations.items.delete",
            ),
        ]

    async def create(self, request: Request) -> Response:
        """Make a conversation, with its first items."""
        _, new = await read_body(request, self._reader, CONVERSATION, optional=True)
        gate, identity = gate_of(request.scope), f"conv_{urandom(24).hex()}"
        permit = await self._store.permit_create(gate, made=[identity])
        adding: Sequence[Step] = ()
        if new.begins_with.items:
            # Many questions to the policy, and nothing is written yet.
            async with WhileConnected(request.receive):
                adding = await self._items.adding(gate, identity, new.begins_with)
        draft = Draft(identity, {"metadata": new.metadata})
        return conversation_response(await self._store.create(permit, draft, adding))

    async def retrieve(self, request: Request) -> Response:
        """Answer with one conversation."""
        return conversation_response(
            await self._store.get(gate_of(request.scope), request.path_params["conversation_id"])
        )

    async def update(self, request: Request) -> Response:
        """Replace the metadata of a conversation."""
        _, found = await read_body(request, self._reader, CONVERSATION_UPDATE, optional=True)
        change = partial(replace, body=Body.of({"metadata": found.metadata}))
        identity = request.path_params["conversation_id"]
        return conversation_response(await self._store.update(gate_of(request.scope), identity, change))

    async def delete(self, request: Request) -> Response:
        """Remove a conversation and its items."""
        identity = request.path_params["conversation_id"]
        await self._store.delete(gate_of(request.scope), identity)
        return json_response({"id": identity, "object": "conversation.deleted", "deleted": True})
