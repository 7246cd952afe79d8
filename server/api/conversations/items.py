"""The routes of the items of a conversation, `/v1/conversations/{conversation_id}/items`.

An item has an owner of its own, and belongs to its conversation: the policy is asked about both. To read an item one
must be allowed to read the conversation and the item; to add or to remove one is to change the conversation, so that
takes leave to update the conversation, and to create or to delete the item. The answer to a removal is the
conversation, so it takes leave to read that as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from os import urandom
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.conversations.body import ITEMS, MOST_BYTES, MOST_KEPT, PREFIXES, TOO_LARGE, NewItem, NewItems
from server.api.conversations.include import INCLUDABLE
from server.api.conversations.stored_items import is_older, read_older, shown_item
from server.authz.request_authorization import Gate
from server.fairness.outgoing import hold
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid
from server.http.json_body import look_again, read_body
from server.http.pagination import frame_of, included, list_of, list_query, missing_reference, page_of
from server.http.request_state import gate_of
from server.http.responses import JsonInPieces, list_of_texts
from server.json_input.reader import Reader
from server.storage.database.database import ParentGone, Step
from server.storage.records.body import Body
from server.storage.records.guarded import Creation, GuardedStore, NotFound
from server.storage.records.record import Draft, Json, Page, Record
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
        texts = [await self.stored(record) for record in page.records]
        return await _listed(page.records, texts, asked, frame_of(page))

    async def create(self, request: Request) -> Response:
        """Add items to the conversation, all of them or none."""
        asked = included(request, INCLUDABLE)
        _, new = await read_body(request, self._reader, ITEMS)
        gate, conversation = gate_of(request.scope), request.path_params["conversation_id"]
        await self._conversations.permit_unseen(gate, conversation, Action.UPDATE)
        identities = _new_ids(new)
        permit = await self._store.permit_create(gate, made=identities)
        # Many questions to the policy, and nothing is written yet.
        async with WhileConnected(request.receive):
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
        frame = list_of([{"id": record.id} for record in (records[0], records[-1])], has_more=False)
        return await _listed(records, (record.body.text for record in records), asked, frame)

    async def retrieve(self, request: Request) -> Response:
        """Answer with one item."""
        asked = included(request, INCLUDABLE)
        gate, conversation = gate_of(request.scope), request.path_params["conversation_id"]
        await self._conversations.get(gate, conversation)
        record = await self._store.get(gate, request.path_params["item_id"], conversation)
        return JsonInPieces([shown_item(record.id, await self.stored(record), asked)])

    async def delete(self, request: Request) -> Response:
        """Remove an item, and answer with its conversation."""
        gate, identity = gate_of(request.scope), request.path_params["conversation_id"]
        conversation = await self._conversations.permit(gate, identity, Action.UPDATE)
        await self._store.delete(gate, request.path_params["item_id"], identity)
        return conversation_response(conversation)

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
        bodies = [Body(item.stored if item.copy_of is None else copied[item.copy_of]) for item in new.items]
        return [Draft(identity, body, conversation) for identity, body in zip(identities, bodies, strict=True)]

    async def _copied(self, gate: Gate, items: Sequence[NewItem]) -> dict[str, bytes]:
        """Return the stored forms of the items that are referred to, by their ids, once there is room for all items."""
        places = {item.copy_of: f"items[{index}].id" for index, item in enumerate(items) if item.copy_of is not None}
        records = await self.readable(gate, [*places])
        for identity, place in places.items():
            if identity not in records:
                raise missing_reference(place, identity)
        copies = [records[item.copy_of].body.size for item in items if item.copy_of is not None]
        size = sum(copies) + sum(len(item.stored) for item in items)
        if size > MOST_BYTES:
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        await hold(size)
        whole = {record.id: record for record in await self._store.whole([*records.values()], held=True)}
        for identity, place in places.items():
            if identity not in whole:
                raise missing_reference(place, identity)
        return {identity: await self.stored(record) for identity, record in whole.items()}

    async def readable(self, gate: Gate, identities: Sequence[str]) -> dict[str, Record]:
        """Return the items that the caller may read, in conversations that it may read; bodies may be left out."""
        records = await self._store.readable(gate, identities)
        parents = {record.parent for record in records.values() if record.parent is not None}
        entered = await self._conversations.readable(gate, [*parents])
        return {identity: record for identity, record in records.items() if record.parent in entered}

    async def whole(self, records: Sequence[Record]) -> list[tuple[str, bytes]]:
        """Return the ids and the stored forms of these items; one that is gone is left out."""
        return [(record.id, await self.stored(record)) for record in await self._store.whole(records)]

    async def newest(self, gate: Gate, conversation: str, most: int) -> tuple[list[tuple[str, bytes]], bool]:
        """Return the newest items of a conversation that the caller may read, in their order, and whether there are
        more; raises NotFound where it may not read the conversation.
        """
        await self._conversations.get(gate, conversation)
        page = await self._store.page(gate, Page(most, newest_first=True, parent=conversation))
        return [(record.id, await self.stored(record)) for record in reversed(page.records)], page.has_more

    async def permit_filling(self, gate: Gate, conversation: str) -> Creation:
        """Return leave to add items to a conversation; raises NotFound, AccessDenied and StorageExceeded."""
        await self._conversations.permit_unseen(gate, conversation, Action.UPDATE)
        return await self._store.permit_create(gate)

    def filling(self, creation: Creation, conversation: str, items: Sequence[tuple[str, bytes]]) -> list[Step]:
        """Return the steps that add items with these ids, all or none; they raise ParentGone and TooManyParts."""
        drafts = [Draft(identity, Body(stored), conversation) for identity, stored in items]
        adding = [self._store.inserting(creation, draft) for draft in drafts]
        full = having_at_most(MOST_KEPT, self._store.table, conversation)
        return [self._conversations.holding(conversation), *adding, full]

    async def fill(self, creation: Creation, conversation: str, items: Sequence[tuple[str, bytes]]) -> None:
        """Add items in a transaction of their own; raises what the steps of `filling` raise, and StorageExceeded."""
        holding, *_, full = self.filling(creation, conversation, [])
        drafts = [Draft(identity, Body(stored), conversation) for identity, stored in items]
        await self._store.create_all(creation, drafts, [holding], [full])

    async def take_back(self, identities: Sequence[str]) -> None:
        """Remove items that a response has just added, as far as they are there: all in one transaction."""
        await self._store.withdraw_all(identities)

    async def stored(self, record: Record) -> bytes:
        """Return the stored form of an item, also of one that an older server has stored."""
        text = record.body.text
        if not is_older(text):
            return text
        older: bytes = (await look_again(self._reader, text, read_older))["text"]
        return older


def _new_ids(new: NewItems) -> list[str]:
    """Return an id for each of the items; that of a copy begins as the id of what is copied does."""
    words = (PREFIXES[item.type] if item.copy_of is None else item.copy_of.rpartition("_")[0] for item in new.items)
    return [f"{word if word in _WORDS else _NO_WORD}_{urandom(24).hex()}" for word in words]


async def _listed(
    records: Sequence[Record], texts: Iterable[bytes], asked: frozenset[str], frame: Json
) -> JsonInPieces:
    shown = (shown_item(record.id, text, asked) for record, text in zip(records, texts, strict=True))
    return await list_of_texts(frame, shown)


def conversation_response(record: Record) -> JsonInPieces:
    """Return the conversation as OpenAI's clients know it; its body has `metadata` and nothing else."""
    shown = f'{{"id":"{record.id}","object":"conversation","created_at":{record.created_at},'
    return JsonInPieces([shown.encode() + record.body.text[1:]])
