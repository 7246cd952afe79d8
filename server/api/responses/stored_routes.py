"""The routes of stored responses below `/v1/responses`: lists, one response, its input items, deletion."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.conversations.include import INCLUDABLE
from server.api.models.catalogue import Catalogue
from server.api.responses.background.queue import ResponseQueue
from server.api.responses.background.replay import Replays
from server.api.responses.background.worker import Background
from server.api.responses.item_list import ItemList
from server.api.responses.routes import RESPONSES
from server.api.responses.store import Responses, shown_response
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import invalid
from server.http.pagination import (
    Shown,
    fitting,
    frame_of,
    included,
    list_of,
    list_query,
    one_of_query,
    page_of,
    places_of,
)
from server.http.request_state import gate_of
from server.http.responses import JsonInPieces, json_response, list_of_texts
from server.storage.records.guarded import NotFound
from server.storage.records.record import Record

MOST_LISTED: Final = 100
"""Responses, and input items, on one page."""

_AT_ONCE: Final = 200
"""Items that are shown before others have their turn."""

_NUMBER_DIGITS: Final = 8

_NOTHING: Final = frozenset[str]()
"""What a list includes besides."""


class StoredResponses:
    """Shows each caller the stored responses that it may read, and removes those that it may delete."""

    def __init__(
        self,
        responses: Responses,
        catalogue: Catalogue,
        queue: ResponseQueue,
        background: Background,
        replays: Replays,
    ) -> None:
        self._queue = queue
        self._background = background
        self._replays = replays
        self._responses = responses
        self._catalogue = catalogue

    def routes(self) -> list[ApiRoute]:
        """Return the routes of stored responses."""
        every, one = "/v1/responses", "/v1/responses/{response_id}"
        return [
            AskingRoute(
                every,
                self.page,
                methods=["GET"],
                asks=[(Action.READ, RESPONSES)],
                may_ask=[(Action.READ, "model")],
                name="responses.list",
            ),
            AskingRoute(
                one,
                self.retrieve,
                methods=["GET"],
                asks=[(Action.READ, RESPONSES)],
                name="responses.retrieve",
                paid_before=True,
            ),
            AskingRoute(
                one, self.delete, methods=["DELETE"], asks=[(Action.DELETE, RESPONSES)], name="responses.delete"
            ),
            AskingRoute(
                f"{one}/input_items",
                self.input_items,
                methods=["GET"],
                asks=[(Action.READ, RESPONSES)],
                name="responses.input_items.list",
            ),
        ]

    async def page(self, request: Request) -> Response:
        """Answer with a page of responses and their input, newest first unless the query says otherwise."""
        query, name, gate = (
            list_query(request, most=MOST_LISTED),
            one_of_query(request, "model"),
            gate_of(request.scope),
        )
        model = None if name is None else await self._catalogue.stored_name(gate, name)
        page = await page_of(request, self._responses.records, query, facet=model)
        page, texts = await fitting(page, self._shown, from_end=query.is_backwards)
        return await list_of_texts(frame_of(page), texts)

    async def retrieve(self, request: Request) -> Response:
        """Answer with one response, or with its stored events."""
        asked, after = included(request, INCLUDABLE), _after(request)
        if one_of_query(request, "stream") == "true":
            record = await self._found(request, whole=False)
            if await self._queue.find_events(record.id) is None:
                sentence = (
                    "the events of this response are not kept, or not any more; they are for a while where it was "
                    "asked for with `background` and `stream`; leave `stream` out for the response itself"
                )
                raise invalid(sentence, "stream", "unsupported_value")
            return self._replays.of(record.id, after)
        record = await self._found(request)
        output = await self._responses.output_so_far(record)
        return JsonInPieces(shown_response(record, [*output.shown(asked)]))

    async def input_items(self, request: Request) -> Response:
        """Answer with a page of the items that a response answers, newest first unless the query says otherwise."""
        query, asked = list_query(request, most=MOST_LISTED), included(request, INCLUDABLE)
        items = await self._responses.input_of(await self._found(request, whole=False))
        after, before = (None if cursor is None else _place(items, cursor) for cursor in (query.after, query.before))
        places = range(len(items))[:: -1 if query.newest_first else 1]
        shown, has_more = places_of(places, query, after, before)
        ends = [{"id": items.ids[place]} for place in (*shown[:1], *shown[-1:])]
        return await list_of_texts(list_of(ends, has_more=has_more), items.shown(asked, shown))

    async def delete(self, request: Request) -> Response:
        """Remove a response with its items."""
        identity = request.path_params["response_id"]
        await self._responses.records.delete(gate_of(request.scope), identity)
        self._background.lose(identity)
        return json_response({"id": identity, "object": "response", "deleted": True})

    async def _found(self, request: Request, *, whole: bool = True) -> Record:
        identity = request.path_params["response_id"]
        return await self._responses.records.get(gate_of(request.scope), identity, whole=whole)

    async def _shown(self, record: Record) -> Shown:
        given, output = await self._responses.input_of(record), await self._responses.output_of(record)

        async def text() -> bytes:
            items = [await _in_turn(given, place, _NOTHING) for place in range(len(given))]
            return b"".join(shown_response(record, [*output.shown(_NOTHING)], items=items))

        return given.size + output.size, text


async def _in_turn(items: ItemList, place: int, included: frozenset[str]) -> bytes:
    """Return the item at a place as it is shown; now and then others have their turn before it."""
    if place % _AT_ONCE == _AT_ONCE - 1:
        await asyncio.sleep(0)
    return next(items.shown(included, [place]))


def _after(request: Request) -> int:
    """Return the number of the event behind which a stream begins, -1 for all; raises the 400 for another text."""
    text = one_of_query(request, "starting_after")
    if text is None:
        return -1
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS):
        raise invalid("`starting_after` must be the number of an event, from 0 on", "starting_after", "invalid_value")
    return int(text)


def _place(items: ItemList, cursor: str) -> int:
    """Return the place of the item with that id; raises NotFound."""
    if cursor not in items.ids:
        raise NotFound(cursor)
    return items.ids.index(cursor)
