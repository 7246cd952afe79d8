"""The way of items to a model: the chat that they come to, with the files that they name; errors about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request

from server.api.chat.body import ChatBody
from server.api.chat.files import ChatFiles
from server.api.models.asked import Asked, Attached
from server.api.models.asking import Asking
from server.api.models.model import Model
from server.api.responses.body import ResponseBody
from server.api.responses.turn import COSTED_TURN, COUNTED_TURN, TURN, Turn, asked_turn
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT
from server.fairness.places import without_place
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError
from server.http.json_body import refused
from server.http.request_state import gate_of
from server.inference.members import Found
from server.inference.provider import Task
from server.json_input.body_parser import BodyParser
from server.json_input.reader import LARGE, Reader
from server.json_input.strict import InvalidJson, Json

_PARAMS: Final = {
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
"""Members of a chat, and those of a response that they come of."""

_IN_CHAT: Final = re.compile(r"`(messages|max_completion_tokens|reasoning_effort|response_format|verbosity)[^`\s]*`")


class AskedTurns:
    """Asks models with items; what a chat may not ask is told as an error about the response."""

    def __init__(self, asking: Asking, files: ChatFiles, reader: Reader) -> None:
        self._asking = asking
        self._files = files
        self._reader = reader

    async def model(self, gate: Gate, name: str) -> Model:
        """Return the model of that name; raises the 404 for one that the caller may not read."""
        return await self._asking.model(gate, name)

    async def asked(
        self,
        request: Request,
        body: ResponseBody,
        model: Model,
        system: Sequence[str | Json],
        items: Iterable[bytes | memoryview],
        parser: BodyParser[Turn] | None = None,
    ) -> Asked[ChatBody]:
        """Return the chat that asks the model with these items; raises the ApiError for what may not be asked.

        `parser` reads the chat; None for the one that the caller's budget needs.
        """
        places = {identity: place for place, identity in reversed(body.files)}
        earlier = _earlier(body)

        async def attach(request: Request, found: Found) -> Attached:
            named = tuple(replace(file, place=places.get(file.id, earlier)) for file in found.files)
            return await self._files.attached(request, replace(found, files=named))

        thoughts = self._asking.thoughts(model)
        raw = asked_turn(body.model, body.settings, system, items, stream=body.stream, thoughts=thoughts)
        turn = await self._turn(request, raw, parser or _parser(gate_of(request.scope)))
        await self._check_others(request, turn, places)
        try:
            return await self._asking.of(request, turn.raw, turn.body, model, Task.CHAT, attach=attach)
        except ApiError as error:
            raise _in_our_terms(error) from None

    async def _check_others(self, request: Request, turn: Turn, places: Mapping[str, str]) -> None:
        """Raise the 404 of a file that the request names in a place which the model does not read."""
        read = {file.id for file in turn.body.found.files}
        others = {identity: place for identity, place in places.items() if identity not in read}
        if others:
            async with WhileConnected(request.receive):
                await self._files.check(gate_of(request.scope), others)

    async def tokens(
        self,
        request: Request,
        body: ResponseBody,
        model: Model,
        system: Sequence[str | Json],
        items: Iterable[bytes | memoryview],
    ) -> int:
        """Return the tokens of that chat's prompt, as far as they are known; nothing is charged."""
        asked = await self.asked(request, body, model, system, items, COUNTED_TURN)
        async with WhileConnected(request.receive), without_place():
            return await self._asking.count(asked)

    async def _turn(self, request: Request, raw: bytes, parser: BodyParser[Turn]) -> Turn:
        try:
            if len(raw) < LARGE:
                return parser.value(await self._reader.look(raw, parser.check))
            with self._reader.room.share(CURRENT.get()) as hold:
                hold(len(raw))
                async with WhileConnected(request.receive), without_place():
                    return parser.value(await self._reader.look(raw, parser.check))
        except InvalidJson as refusal:
            raise _in_our_terms(refused(refusal)) from None


def _earlier(body: ResponseBody) -> str:
    """Return the member of a body that leads to the items from before."""
    if body.previous is not None:
        return "previous_response_id"
    return "input" if body.conversation is None else "conversation"


def _parser(gate: Gate) -> BodyParser[Turn]:
    return TURN if gate.charge is None or not gate.charge.may_count_tokens else COSTED_TURN


def _in_our_terms(error: ApiError) -> ApiError:
    """Return an error about a chat as one about the response that it was made for."""
    param, message = error.param, error.message
    if param is not None:
        head = re.split(r"[.\[]", param, maxsplit=1)[0]
        param = _PARAMS.get(head, param)
    message = _IN_CHAT.sub(lambda found: f"`{_PARAMS[found[1]]}`", message)
    return ApiError(error.status, message, code=error.code, param=param, headers=error.headers)
