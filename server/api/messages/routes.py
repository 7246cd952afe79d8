"""`POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's way to ask any model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.chat.files import ChatFiles
from server.api.messages.answering import MESSAGE_STOP, MessagingChat
from server.api.messages.body import COSTED_MESSAGE, COUNTED_MESSAGE, MESSAGE, MessageBody
from server.api.messages.terms import in_our_terms
from server.api.models.asked import Asked, Attached, Parsers
from server.api.models.asking import Asking
from server.api.models.chosen import answering_name
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError
from server.http.json_body import read_body
from server.http.request_state import gate_of, state_of
from server.http.responses import json_response
from server.inference.members import Found
from server.inference.provider import Task
from server.json_input.body_parser import BodyParser
from server.json_input.reader import Reader

_PARSERS: Final = Parsers(MESSAGE, COSTED_MESSAGE)


class MessageRoutes:
    """Hands messages to the provider of their model as chats, once the policy lets the caller read that model.

    They may name `files` that the caller may read.
    """

    def __init__(self, asking: Asking, files: ChatFiles, reader: Reader) -> None:
        self._asking = asking
        self._files = files
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes that answer messages, and that count the tokens of what would be asked."""
        files, shields = (Action.READ, type_of_record("openai_files")), (Action.READ, "shield")
        routes = (
            ("", "messages.create", self.create, [files, shields]),
            ("/count_tokens", "messages.count_tokens", self.count, [files]),
        )
        return [
            AskingRoute(
                f"/v1/messages{path}",
                handler,
                asks=[(Action.READ, "model")],
                may_ask=may_ask,
                methods=["POST"],
                name=name,
            )
            for path, name, handler, may_ask in routes
        ]

    async def create(self, request: Request) -> Response:
        """Answer with one message, whole or streamed."""
        asked = await self._asked(request, _PARSERS.of(gate_of(request.scope)))
        # The body, which may be large, is not kept while a stream lasts.
        named = partial(answering_name, asked.model.name, asked.chosen)
        messaging = MessagingChat(asked.answering, asked.body, named, state_of(request.scope).request_id)
        return await self._asking.answer(
            request, messaging, asked.request, streamed=asked.body.stream, ending=messaging.told, last=MESSAGE_STOP
        )

    async def count(self, request: Request) -> Response:
        """Answer with the number of tokens that a model would read."""
        asked = await self._asked(request, COUNTED_MESSAGE)
        async with WhileConnected(request.receive):
            return json_response({"input_tokens": await self._asking.count(asked)})

    async def _asked(self, request: Request, parser: BodyParser[MessageBody]) -> Asked[MessageBody]:
        """Return the chat that asks the model; raises the ApiError for what may not be asked."""
        _, body = await read_body(request, self._reader, parser)
        model = await self._asking.model(gate_of(request.scope), body.model)
        named = body.named or {}

        async def attach(request: Request, found: Found) -> Attached:
            files = tuple(replace(file, place=named.get(file.id, file.place)) for file in found.files)
            return await self._files.attached(request, replace(found, files=files))

        try:
            return await self._asking.of(request, body.raw, body, model, Task.CHAT, attach=attach)
        except ApiError as error:
            sentence = in_our_terms(error.message, error.param)
            raise ApiError(error.status, sentence, code=error.code, param=error.param, headers=error.headers) from None
