"""The routes of stored chats below `/v1/chat/completions`: lists, answers, messages, metadata, deletion."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.chat.body import CHAT_UPDATE
from server.api.chat.store import Chats, shown_answer, with_metadata
from server.api.chat.stored_messages import Messages, is_older, read_older, stored_messages
from server.api.models.catalogue import Catalogue
from server.fairness.threads import in_thread
from server.http.api_route import ApiRoute, AskingRoute
from server.http.body_checks import metadata_of
from server.http.errors import invalid
from server.http.json_body import look_again, read_body
from server.http.pagination import Shown, fitting, frame_of, list_of, list_query, one_of_query, page_of, places_of
from server.http.request_state import gate_of
from server.http.responses import JsonInPieces, json_response, list_of_texts
from server.inference.answers.model_name import QUICK
from server.json_input.reader import Reader
from server.json_input.strict import InvalidJson
from server.storage.records.guarded import NotFound
from server.storage.records.record import Record

_CHAT: Final = type_of_record("chat_completions")
_FILTER: Final = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_PLACE: Final = re.compile("0|[1-9][0-9]{0,8}")


class StoredChats:
    """Shows each caller the stored answers that it may read, and removes those that it may delete."""

    def __init__(self, chats: Chats, catalogue: Catalogue, reader: Reader) -> None:
        self._chats = chats
        self._catalogue = catalogue
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of stored answers."""
        every, one = "/v1/chat/completions", "/v1/chat/completions/{completion_id}"
        return [
            AskingRoute(
                every,
                self.page,
                methods=["GET"],
                asks=[(Action.READ, _CHAT)],
                may_ask=[(Action.READ, "model")],
                name="chat.completions.list",
            ),
            AskingRoute(
                one, self.retrieve, methods=["GET"], asks=[(Action.READ, _CHAT)], name="chat.completions.retrieve"
            ),
            AskingRoute(
                one,
                self.update,
                methods=["POST"],
                asks=[(Action.UPDATE, _CHAT), (Action.READ, _CHAT)],
                name="chat.completions.update",
            ),
            AskingRoute(
                one, self.delete, methods=["DELETE"], asks=[(Action.DELETE, _CHAT)], name="chat.completions.delete"
            ),
            AskingRoute(
                f"{one}/messages",
                self.messages,
                methods=["GET"],
                asks=[(Action.READ, _CHAT)],
                name="chat.completions.messages.list",
            ),
        ]

    async def page(self, request: Request) -> Response:
        """Answer with a page of stored answers, oldest first unless the query says otherwise."""
        query, matching, name = (
            list_query(request, newest_first=False),
            _matching(request),
            one_of_query(request, "model"),
        )
        gate = gate_of(request.scope)
        model = None if name is None else await self._catalogue.stored_name(gate, name)
        page = await page_of(request, self._chats.records, query, facet=model, matching=matching)
        page, texts = await fitting(page, self._shown, from_end=query.is_backwards)
        return await list_of_texts(frame_of(page), texts)

    async def retrieve(self, request: Request) -> Response:
        """Answer with one stored answer and the messages that it answers."""
        return await self._answer(await self._found(request))

    async def messages(self, request: Request) -> Response:
        """Answer with a page of the request's messages, in their order unless the query says otherwise."""
        query = list_query(request, newest_first=False)
        messages = await self._messages(await self._found(request, whole=False))
        after, before = (None if cursor is None else _place(messages, cursor) for cursor in (query.after, query.before))
        places = range(len(messages))[:: -1 if query.newest_first else 1]
        shown, has_more = places_of(places, query, after, before)
        ends = [{"id": messages.id_of(place)} for place in (*shown[:1], *shown[-1:])]
        return await list_of_texts(list_of(ends, has_more=has_more), messages.shown(shown))

    async def update(self, request: Request) -> Response:
        """Replace the metadata of a stored answer."""
        _, change = await read_body(request, self._reader, CHAT_UPDATE)
        record = await self._chats.records.update(
            gate_of(request.scope),
            request.path_params["completion_id"],
            lambda current: replace(current, body=with_metadata(current.body, change.metadata)),
        )
        return await self._answer(record)

    async def delete(self, request: Request) -> Response:
        """Remove a stored answer and its messages."""
        identity = request.path_params["completion_id"]
        await self._chats.records.delete(gate_of(request.scope), identity)
        return json_response({"id": identity, "object": "chat.completion.deleted", "deleted": True})

    async def _found(self, request: Request, *, whole: bool = True) -> Record:
        identity = request.path_params["completion_id"]
        return await self._chats.records.get(gate_of(request.scope), identity, whole=whole)

    async def _answer(self, record: Record) -> JsonInPieces:
        return JsonInPieces([await self._with_input(record, await self._messages(record))])

    async def _shown(self, record: Record) -> Shown:
        messages = await self._messages(record)
        return messages.size, partial(self._with_input, record, messages)

    async def _with_input(self, record: Record, messages: Messages) -> bytes:
        """Return a stored answer as clients know it, with the messages of its request."""
        # Messages in parts are parsed.
        asked = await in_thread(messages.asked) if messages.size > QUICK else messages.asked()
        return b'%b,"input_messages":%b}' % (shown_answer(record.body)[:-1], asked)

    async def _messages(self, record: Record) -> Messages:
        stored = await self._chats.messages(record)
        if stored is None:
            stored = stored_messages([])
        elif is_older(stored):
            stored = (await look_again(self._reader, stored, read_older))["text"]
        return Messages.read(record.id, stored)


def _matching(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the `metadata[name]=value` of a query; raises the 400 that tells what is wrong."""
    found: dict[str, str] = {}
    for parameter, value in request.query_params.multi_items():
        if not parameter.startswith("metadata"):
            continue
        name = _FILTER.fullmatch(parameter)
        # What was meant as a filter and is not taken for one would show too much.
        if name is None or name[1] in found:
            raise invalid("the query takes `metadata[name]=value`, each name once", "metadata", "invalid_value")
        found[name[1]] = value
    try:
        return tuple(metadata_of({"metadata": found}).items())
    except InvalidJson as refusal:
        raise invalid(refusal.message, refusal.param, refusal.code) from None


def _place(messages: Messages, cursor: str) -> int:
    """Return the place of the message with that id; raises NotFound."""
    whose, _, place = cursor.rpartition("-")
    if whose != messages.identity or not _PLACE.fullmatch(place) or int(place) >= len(messages):
        raise NotFound(cursor)
    return int(place)
