"""`POST /v1/responses`: answers of models as items, from what a request says and refers to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from policy.vocabulary import Action, type_of_record
from server.api.conversations.items import Items
from server.api.models.asking import Asking
from server.api.models.chosen import answering_name
from server.api.models.model import Model
from server.api.responses.answering import Endings, RespondingChat
from server.api.responses.asking import AskedTurns
from server.api.responses.body import RESPONSE
from server.api.responses.context import Contexts
from server.api.responses.head import head_of
from server.api.responses.item_list import ItemList
from server.api.responses.offering import settings_with
from server.api.responses.rounds import Rounds
from server.api.responses.server_tools import Opening, ServerTools, ToolSet
from server.api.responses.state import State
from server.api.responses.store import Filling, Responses, digits_of, fill_alone, new_response_id, output_of
from server.api.responses.unsealing import asked_items
from server.authn.seals import Seals
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.json_body import read_body
from server.http.request_state import gate_of, state_of
from server.inference.provider import ChatModel, ChatRequest
from server.json_input.reader import Reader
from server.json_input.strict import Json
from server.storage.records.guarded import Creation

RESPONSES: Final = type_of_record("responses")
_CONVERSATION: Final = type_of_record("openai_conversations")
_ITEM: Final = type_of_record("conversation_items")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a response that is over: `creation` is leave to store it with its `items`, `filling` the
    conversation that gets them. Neither is there where nothing is asked for.
    """

    creation: Creation | None
    items: ItemList
    filling: Filling | None

    @property
    def size(self) -> int:
        """The bytes of the items that are held until then."""
        return self.items.size + (0 if self.filling is None else self.filling.items.size)


class ResponseRoutes:
    """Answers requests for responses: by models, after the policy has permitted everything that a body names.

    Responses that are to be stored go to `responses`, and fill conversations of `items`.
    """

    def __init__(
        self,
        asking: Asking,
        turns: AskedTurns,
        responses: Responses,
        contexts: Contexts,
        items: Items,
        seals: Seals,
        reader: Reader,
        endings: Endings,
        tools: ServerTools,
    ) -> None:
        self._tools = tools
        self._asking = asking
        self._turns = turns
        self._responses = responses
        self._contexts = contexts
        self._items = items
        self._seals = seals
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
        model = await self._turns.model(gate, body.model)
        identity = new_response_id()
        creation = None
        if body.store:
            creation = await self._responses.records.permit_create(gate, made=[identity])
        # Many questions to the policy, and nothing is spent yet.
        async with WhileConnected(request.receive):
            context = await self._contexts.of(gate, body, identity)
        opening = Opening(gate, identity, body, context)
        async with WhileConnected(request.receive):
            tools = await self._tools.open(opening)
        try:
            return await self._answered(request, opening, model, creation, tools)
        except BaseException:
            await tools.aclose()
            raise

    async def _answered(
        self, request: Request, opening: Opening, model: Model, creation: Creation | None, tools: ToolSet
    ) -> Response:
        gate, body, context = opening.gate, opening.body, opening.context
        items = asked_items(self._seals, gate, context)
        kept = [*items] if tools else []
        first = replace(body, settings=settings_with(body, tools))
        asked = await self._turns.asked(request, first, model, context.system, kept or items)

        async def again(more: Sequence[bytes], settings: Json) -> tuple[ChatModel, ChatRequest]:
            now, every = replace(body, settings=settings), [*kept, *more]
            found = await self._turns.asked(Request(request.scope, _nothing), now, model, context.system, every)
            return found.answering, found.request

        is_held = creation is not None or tools
        plan = _Plan(creation, context.items if is_held else ItemList(), context.filling)
        state = State(
            head=head_of(opening.response_id, int(time.time()), body),
            item_id=(digits_of(opening.response_id), len(body.items)),
            names=body.names,
        )
        most, request_id = body.shown["max_tool_calls"], state_of(request.scope).request_id
        rounds = Rounds(tools, again, partial(settings_with, body, tools), self._endings.calls, most, request_id)
        responding = RespondingChat(
            asked.answering,
            state,
            partial(self._keep, plan),
            plan.size,
            partial(answering_name, asked.model.name, asked.chosen),
            self._endings,
            request_id,
            rounds,
        )
        ending = responding.told if body.stream else None
        return await self._asking.answer(request, responding, asked.request, streamed=body.stream, ending=ending)

    async def _keep(self, plan: _Plan, state: State, _events: Sequence[Json]) -> None:
        """Store a response that is over, and fill its conversation if it is complete."""
        shown, filling = state.response(), plan.filling
        if state.status != "completed":
            filling = None
        elif filling is not None:
            filling = Filling(filling.creation, filling.conversation, filling.items + output_of(shown))
        if plan.creation is not None:
            both = None if filling is None else (self._items, filling)
            await self._responses.write(plan.creation, shown, plan.items, both)
        elif filling is not None:
            await fill_alone(self._items, filling)


async def _nothing() -> Message:
    """Receive nothing more of a request whose connection is watched elsewhere."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}
