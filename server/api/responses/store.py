"""Stored responses: the response of a model, and apart from it the items that it answers and those of its output."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads
from secrets import token_hex
from typing import Final

from server.api.conversations.items import Items
from server.api.conversations.stored_items import stored_item
from server.api.responses.item_list import ItemList
from server.fairness.shares import NoRoom
from server.http.errors import invalid
from server.http.pagination import missing_reference
from server.json_input.strict import Json
from server.storage.database.database import DatabaseUnavailable, InDoubt, ParentGone
from server.storage.records.body import Body, encoded
from server.storage.records.guarded import Creation, GuardedStore
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Record
from server.storage.records.usage import TooManyParts

DIGITS: Final = 48
"""Digits of the id of a response; the ids of its items begin with them, too."""

_PREFIX: Final = "resp_"
INPUT: Final = 1
OUTPUT: Final = 2
ASKED: Final = 3
PASSED: Final = 4
"""The numbers of the parts of a stored response: the items that it answers, its output, the request for one that is
answered later, and the output of such a one as far as it has come.
"""

_RESPONSE: Final = b'{"response":'
_METADATA: Final = b',"metadata":{'

_log: Final = logging.getLogger("ostiary.storage")


def new_response_id() -> str:
    """Return an id that no other response has, and that cannot be guessed."""
    return f"{_PREFIX}{token_hex(DIGITS // 2)}"


def digits_of(identity: str) -> str:
    """Return what the ids of a response's items have of its own id."""
    return identity.removeprefix(_PREFIX)


def response_of(digits: str) -> str:
    """Return the id of the response whose items have these digits."""
    return f"{_PREFIX}{digits}"


def output_of(shown: Json) -> ItemList:
    """Return the output of a response in its stored form."""
    items = [{name: value for name, value in item.items() if name != "id"} for item in shown["output"]]
    return ItemList([item["id"] for item in shown["output"]], [stored_item(item) for item in items])


@dataclass(frozen=True, slots=True)
class Filling:
    """A conversation that gets the items of a response, once that is complete."""

    creation: Creation
    conversation: str
    items: ItemList


class Responses:
    """Stores responses in `records`, and fills conversations with their items.

    `together` is true where responses and conversations are in one database.
    """

    def __init__(self, records: GuardedStore, parts: RecordParts, *, together: bool) -> None:
        self.records = records
        self.parts = parts
        self.together = together

    async def write(
        self, creation: Creation, shown: Json, before: ItemList, filling: tuple[Items, Filling] | None
    ) -> None:
        """Store a response with the items that it answers, and fill its conversation: all or nothing.

        Raises the 404 of a conversation that is gone, the 400 of one that is full, StorageExceeded, and
        DatabaseUnavailable.
        """
        identity, payer = shown["id"], creation.owner
        steps = [
            self.parts.adding(identity, INPUT, Body(before.encoded()), payer),
            self.parts.adding(identity, OUTPUT, Body(output_of(shown).encoded()), payer),
        ]
        draft = Draft(identity, body_of(shown), facet=shown["model"])
        if filling is None:
            await self.records.create(creation, draft, steps)
            return
        items, fill = filling
        if self.together:
            # The conversation is held before anything is counted, as where it is removed: else two could wait for each
            # other.
            holding, *filled = items.filling(fill.creation, fill.conversation, fill.items.pairs)
            with filling_told(fill.conversation):
                await self.records.create_all(creation, [draft], [holding], [*steps, *filled])
            return
        record = await self.records.create(creation, draft, steps)
        try:
            await fill_alone(items, fill)
        except BaseException:
            # In two databases there is no transaction, so what was stored first is taken back.
            await self._take_back(record)
            raise

    async def input_of(self, record: Record) -> ItemList:
        """Return the items that a response answers."""
        return await self._items(record, INPUT) or ItemList()

    async def output_of(self, record: Record) -> ItemList:
        """Return the output of a response."""
        return await self._items(record, OUTPUT) or ItemList()

    async def output_so_far(self, record: Record) -> ItemList:
        """Return the output of a response; of one that is not over, what was stored when its tools were called last."""
        output = await self._items(record, OUTPUT)
        return await self._items(record, PASSED) or ItemList() if output is None else output

    async def whole_output_of(self, record: Record) -> ItemList | None:
        """Return the output of a response; None for one that is not over."""
        return await self._items(record, OUTPUT)

    async def _items(self, record: Record, number: int) -> ItemList | None:
        part = await self.parts.get(record, number)
        return None if part is None else ItemList.decoded(part.text)

    async def _take_back(self, record: Record) -> None:
        try:
            await self.records.withdraw(record)
        except DatabaseUnavailable as fault:
            _log.warning("a response whose conversation could not be filled stays there: %s", fault)


async def fill_alone(items: Items, fill: Filling) -> None:
    """Fill a conversation with the items of a response that is not stored, or in another database."""
    try:
        with filling_told(fill.conversation):
            await items.fill(fill.creation, fill.conversation, fill.items.pairs)
    except InDoubt:
        await take_back(items, fill)
        raise


async def take_back(items: Items, fill: Filling) -> None:
    """Remove what a conversation was filled with, for a response that did not end as complete."""
    try:
        await items.take_back(fill.items.ids)
    except (DatabaseUnavailable, NoRoom) as fault:
        _log.warning("a conversation keeps the items of a response that is not complete: %s", fault)


@contextmanager
def filling_told(conversation: str) -> Iterator[None]:
    """Raise the 404 of a conversation that is gone, and the 400 of one that is full, in the place of what they are."""
    try:
        yield
    except ParentGone:
        raise missing_reference("conversation", conversation) from None
    except TooManyParts as fault:
        sentence = f"a conversation has at most {fault.most} items; begin another conversation"
        raise invalid(sentence, "conversation", "too_many_items") from None


def body_of(shown: Json) -> Body:
    """Return the stored form of a response: the text has two members in this order, `response` and `metadata`."""
    kept = {name: value for name, value in shown.items() if name not in ("id", "output", "metadata")}
    labels = encoded(shown["metadata"])
    return Body(
        b"%b%b%b%b" % (_RESPONSE, encoded(kept).encode(), b',"metadata":', labels.encode()) + b"}", labels=labels
    )


def members_of(record: Record) -> Json:
    """Return the members of a stored response but for its output."""
    kept: Json = loads(record.body.text)
    return {"id": record.id, **kept["response"], "metadata": kept["metadata"]}


def shown_response(record: Record, output: Sequence[bytes], *, items: Sequence[bytes] | None = None) -> list[bytes]:
    """Return a stored response as clients know it, in pieces; with `items` they are its `input`."""
    text = record.body.text
    # Inside a text of JSON a quote has a backslash before it, so that what is looked for is a member.
    end = text.rfind(_METADATA)
    if not text.startswith(_RESPONSE) or end < 0:
        raise ValueError("the body is no stored response")
    pieces = [b'{"id":"%b",' % record.id.encode(), text[len(_RESPONSE) + 1 : end - 1], b',"output":[']
    pieces.append(b",".join(output))
    pieces += (b"]", text[end:-1])
    if items is not None:
        pieces += (b',"input":[', b",".join(items), b"]")
    return [*pieces, b"}"]
