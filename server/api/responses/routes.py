"""`POST /v1/responses`: answers of models as items, from what a request says and refers to."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.chat.body import ChatBody
from server.api.chat.files import ChatFiles
from server.api.conversations.items import Items
from server.api.models.asking import Asked, Asking, Attached
from server.api.models.model import Model
from server.api.responses.answering import Endings, RespondingChat
from server.api.responses.body import RESPONSE, ResponseBody
from server.api.responses.context import Context, Contexts
from server.api.responses.head import head_of
from server.api.responses.loop import State
from server.api.responses.store import Filling, Responses, digits_of, fill_alone, new_response_id, output_of
from server.api.responses.turn import COSTED_TURN, TURN, Turn, asked_turn
from server.fairness.caller import CURRENT
from server.fairness.places import without_place
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError
from server.http.json_body import read_body, refused
from server.http.request_state import gate_of, state_of
from server.inference.members import Found
from server.inference.provider import Task
from server.json_input.reader import LARGE, Reader
from server.json_input.strict import InvalidJson
from server.storage.records.guarded import Creation

RESPONSES: Final = type_of_record("responses")
_CONVERSATION: Final = type_of_record("openai_conversations")
_ITEM: Final = type_of_record("conversation_items")

_PARAMS: Final = {
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
"""Members of a chat, and those of a response that they come of."""

_IN_CHAT: Final = re.compile(r"`(messages|max_completion_tokens|reasoning_effort|response_format|verbosity)[^`\s]*`")


@dataclass(frozen=True, slots=True)
class _Plan:
    """One request that may be answered: `creation` is leave to store the response; None if that isn't asked for."""

    body: ResponseBody
    context: Context
    creation: Creation | None


class ResponseRoutes:
    """Answers requests for responses: by models, after the policy has permitted everything that a body names.

    Responses that are to be stored go to `responses`, and fill conversations of `items`.
    """

    def __init__(
        self,
        asking: Asking,
        responses: Responses,
        contexts: Contexts,
        items: Items,
        files: ChatFiles,
        reader: Reader,
        endings: Endings,
    ) -> None:
        self._asking = asking
        self._responses = responses
        self._contexts = contexts
        self._items = items
        self._files = files
        self._reader = reader
        self._endings = endings

    def routes(self) -> list[ApiRoute]:
        """Return the route that makes responses."""
        return [
            AskingRoute(
                "/v1/responses",
                self.create,
                asks=[(Action.READ, "model")],
                may_ask=[
                    (Action.CREATE, RESPONSES),
                    (Action.READ, RESPONSES),
                    (Action.READ, _CONVERSATION),
                    (Action.UPDATE, _CONVERSATION),
                    (Action.CREATE, _ITEM),
                    (Action.READ, _ITEM),
                    (Action.READ, type_of_record("openai_files")),
                    (Action.READ, "prompt"),
                ],
                methods=["POST"],
                name="responses.create",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with one response, whole or streamed."""
        gate = gate_of(request.scope)
        _, body = await read_body(request, self._reader, RESPONSE)
        model = await self._asking.model(gate, body.model)
        identity, created = new_response_id(), int(time.time())
        creation = None
        if body.store:
            creation = await self._responses.records.permit_create(gate, made=[identity])
        # Many questions to the policy, and nothing is spent yet.
        async with WhileConnected(request.receive):
            context = await self._contexts.of(gate, body, identity)
        asked = await self._asked(request, body, model, context)
        state = State(
            head=head_of(identity, created, body),
            item_id=(digits_of(identity), len(body.items)),
            names=body.names,
        )
        responding = RespondingChat(
            asked.answering,
            state,
            partial(self._keep, _Plan(body, context, creation)),
            partial(_answering, asked),
            self._endings,
            state_of(request.scope).request_id,
        )
        ending = responding.told if body.stream else None
        return await self._asking.answer(request, responding, asked.request, streamed=body.stream, ending=ending)

    async def _asked(self, request: Request, body: ResponseBody, model: Model, context: Context) -> Asked[ChatBody]:
        """Return the chat that is asked for the response; raises the ApiError in the terms of a response."""
        places = {identity: place for place, identity in reversed(body.files)}

        async def attach(request: Request, found: Found) -> Attached:
            named = tuple(replace(file, place=places.get(file.id, "input")) for file in found.files)
            return await self._files.attached(request, replace(found, files=named))

        turn = await self._turn(request, body, context)
        try:
            return await self._asking.of(request, turn.raw, turn.body, model, Task.CHAT, attach=attach)
        except ApiError as error:
            raise _in_our_terms(error) from None

    async def _turn(self, request: Request, body: ResponseBody, context: Context) -> Turn:
        gate = gate_of(request.scope)
        parser = TURN if gate.charge is None or not gate.charge.may_count_tokens else COSTED_TURN
        raw = asked_turn(body.model, body.settings, context.system, context.items.plain(), stream=body.stream)
        try:
            if len(raw) < LARGE:
                return parser.value(await self._reader.look(raw, parser.check))
            with self._reader.room.share(CURRENT.get()) as hold:
                hold(len(raw))
                async with WhileConnected(request.receive), without_place():
                    return parser.value(await self._reader.look(raw, parser.check))
        except InvalidJson as refusal:
            raise _in_our_terms(refused(refusal)) from None

    async def _keep(self, plan: _Plan, state: State) -> None:
        """Store a response that is over, and fill its conversation if it is complete."""
        shown, filling = state.response(), plan.context.filling
        if state.status != "completed":
            filling = None
        elif filling is not None:
            filling = Filling(filling.creation, filling.conversation, filling.items + output_of(shown))
        if plan.creation is not None:
            both = None if filling is None else (self._items, filling)
            await self._responses.write(plan.creation, shown, plan.context.items, both)
        elif filling is not None:
            await fill_alone(self._items, filling)


def _answering(asked: Asked[ChatBody]) -> str:
    """Return the canonical name of the model that answers."""
    chosen = asked.chosen
    return asked.model.name if chosen is None or chosen.answering is None else chosen.answering.name


def _in_our_terms(error: ApiError) -> ApiError:
    """Return an error about a chat as one about the response that it was made for."""
    param, message = error.param, error.message
    if param is not None:
        head = re.split(r"[.\[]", param, maxsplit=1)[0]
        param = _PARAMS.get(head, param)
    message = _IN_CHAT.sub(lambda found: f"`{_PARAMS[found[1]]}`", message)
    return ApiError(error.status, message, code=error.code, param=param, headers=error.headers)
