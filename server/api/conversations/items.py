"""The routes of the items of a conversation, `/v1/conversations/{conversation_id}/items`.

An item has an owner of its own, and belongs to its conversation: the policy is asked about both. To read an item one
must be allowed to read the conversation and the item; to add or to remove one is to change the conversation, so that
takes leave to update the conversation, and to create or to delete the item.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from json import dumps
from os import urandom
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.conversations.body import ITEMS, MOST_BYTES, MOST_KEPT, PREFIXES, REFERENCE, TOO_LARGE, NewItems
from server.api.conversations.include import INCLUDABLE, without_unasked
from server.authz.request_authorization import Gate
from server.http.errors import ApiError, invalid
from server.http.json_body import read_body
from server.http.pagination import frame_of, included, list_of, list_query, missing_reference, page_of
from server.http.request_state import gate_of
from server.http.responses import json_response, list_response
from server.json_input.reader import Reader
from server.storage.database.database import ParentGone, Step
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Draft, Json, Record
from server.storage.records.usage import TooManyParts, having_at_most

MOST_LISTED: Final = 100
"""Items on one page."""


_WORDS: Final = frozenset(PREFIXES.values())
_NO_WORD: Final = "item"
"""The prefix of a copy's id if the original's id has none of this server's."""


class Items:
    """Keeps the items of `conversations`; they may name `files`."""

    def __init__(self, store: GuardedStore, conversations: GuardedStore, files: GuardedStore, reader: Reader) -> None:
        self._store = store
        self._conversations = conversations
        self._files = files
        self._reader = reader

    async def page(self, request: Request) -> Response:
        """Answer with a page of items, newest first unless the query says otherwise."""
        query, asked = list_query(request, most=MOST_LISTED), included(request, INCLUDABLE)
        gate, conversation = gate_of(request.scope), request.path_params["conversation_id"]
        await self._conversations.get(gate, conversation)
        page = await page_of(request, self._store, query, parent=conversation)
        return await list_response(frame_of(page), (_shown(record, asked) for record in page.records))

    async def create(self, request: Request) -> Response:
        """Add items to the conversation, all of them or none."""
        asked = included(request, INCLUDABLE)
        _, new = await read_body(request, self._reader, ITEMS)
        gate, conversation = gate_of(request.scope), request.path_params["conversation_id"]
        await self._conversations.permit(gate, conversation, Action.UPDATE)
        identities = _new_ids(new)
        permit = await self._store.permit_create(gate, made=identities)
        drafts = await self._drafts(gate, conversation, new, identities)
        try:
            records = await self._store.create_all(
                permit,
                drafts,
                before=[self._conversations.holding(conversation)],
                after=[having_at_most(MOST_KEPT, self._store.table, conversation)],
            )
        except ParentGone:
            raise NotFound(conversation) from None
        except TooManyParts as fault:
            sentence = f"a conversation has at most {fault.most} items; delete some, or begin another conversation"
            raise invalid(sentence, "items", "too_many_items") from None
        return json_response(list_of([_shown(record, asked) for record in records], has_more=False))

    async def retrieve(self, request: Request) -> Response:
        """Answer with one item."""
        asked = included(request, INCLUDABLE)
        gate, conversation = gate_of(request.scope), request.path_params["conversation_id"]
        await self._conversations.get(gate, conversation)
        return json_response(_shown(await self._store.get(gate, request.path_params["item_id"], conversation), asked))

    async def delete(self, request: Request) -> Response:
        """Remove an item, and answer with its conversation."""
        gate, identity = gate_of(request.scope), request.path_params["conversation_id"]
        conversation = await self._conversations.permit(gate, identity, Action.UPDATE)
        await self._store.delete(gate, request.path_params["item_id"], identity)
        return json_response(conversation_object(conversation))

    async def adding(self, gate: Gate, conversation: str, new: NewItems) -> list[Step]:
        """Return the steps that add new items to a conversation that is made in the same transaction.

        Raises AccessDenied, and the 404 of a resource that an item refers to and the caller may not read.
        """
        identities = _new_ids(new)
        permit = await self._store.permit_create(gate, made=identities)
        drafts = await self._drafts(gate, conversation, new, identities)
        return [self._store.inserting(permit, draft) for draft in drafts]

    async def _drafts(self, gate: Gate, conversation: str, new: NewItems, identities: list[str]) -> list[Draft]:
        """Return the new items, with copies in the place of references; everything that they name is readable."""
        places = {identity: place for place, identity in reversed(new.files)}
        files = await self._files.readable(gate, [*places])
        for identity, place in places.items():
            if identity not in files:
                raise missing_reference(place, identity)
        copied = await self._copied(gate, new.items)
        bodies = [copied[item["id"]] if item["type"] == REFERENCE else item for item in new.items]
        if copied:
            _check_size(bodies)
        return [Draft(identity, body, conversation) for identity, body in zip(identities, bodies, strict=True)]

    async def _copied(self, gate: Gate, items: Sequence[Json]) -> dict[str, Json]:
        """Return the bodies of the items that are referred to, by their ids."""
        places = {item["id"]: f"items[{index}].id" for index, item in enumerate(items) if item["type"] == REFERENCE}
        records = await self._store.readable(gate, [*places])
        parents = {record.parent for record in records.values() if record.parent is not None}
        entered = await self._conversations.readable(gate, [*parents])
        for identity, place in places.items():
            if identity not in records or records[identity].parent not in entered:
                raise missing_reference(place, identity)
        return {identity: record.body for identity, record in records.items()}


def _new_ids(new: NewItems) -> list[str]:
    """Return an id for each of the items; that of a copy begins as the id of what is copied does."""
    words = (
        item["id"].rpartition("_")[0] if item["type"] == REFERENCE else PREFIXES[item["type"]] for item in new.items
    )
    return [f"{word if word in _WORDS else _NO_WORD}_{urandom(24).hex()}" for word in words]


def _check_size(bodies: list[Json]) -> None:
    """Raise the 413 of items that are too large together, as copies make them."""
    size = 0
    for body in bodies:
        size += len(dumps(body))
        if size > MOST_BYTES:
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)


def conversation_object(record: Record) -> Json:
    """Return the conversation as OpenAI's clients know it."""
    return {
        "id": record.id,
        "object": "conversation",
        "created_at": record.created_at,
        "metadata": record.body["metadata"],
    }


def _shown(record: Record, asked: frozenset[str]) -> Json:
    return {"id": record.id, **without_unasked(record.body, asked)}
