"""`POST /v1/responses`: answers of models as items, from what a request says and refers to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.conversations.items import Items
from server.api.models.asking import Asking
from server.api.models.model import Model
from server.api.responses.background.entering import Entering
from server.api.responses.body import CREATED, RESPONSE
from server.api.responses.context import Contexts
from server.api.responses.happenings import Begun, Prepared
from server.api.responses.head import head_of
from server.api.responses.item_list import ItemList
from server.api.responses.loop import step
from server.api.responses.making import Course, Making
from server.api.responses.response_stream import event_text
from server.api.responses.server_tools.tool import Opening
from server.api.responses.state import State
from server.api.responses.store import Filling, Responses, digits_of, fill_alone, new_response_id, output_of
from server.http.acting import acting_of
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid
from server.http.json_body import read_body
from server.http.request_state import gate_of
from server.http.websocket.memory import CONNECTION, ConnectionMemory
from server.http.websocket.turns import FRAME
from server.inference.provider import DONE
from server.json_input.reader import Reader
from server.json_input.strict import Json
from server.storage.records.guarded import Creation

RESPONSES: Final = type_of_record("responses")
_CONVERSATION: Final = type_of_record("openai_conversations")
_ITEM: Final = type_of_record("conversation_items")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a response that is over: `creation` is leave to store it with its `items`, `filling` the
    conversation that gets them. Neither is there where nothing is asked for. `memory` is that of the connection that
    may go on from a response which is not stored.
    """

    creation: Creation | None
    items: ItemList
    filling: Filling | None
    memory: ConnectionMemory | None

    @property
    def size(self) -> int:
        """The bytes of the items that are held until then."""
        return self.items.size + (0 if self.filling is None else self.filling.items.size)


class ResponseRoutes:
    """Answers requests for responses: by models, after the policy has permitted everything that a body names.

    Responses that are to be stored go to `responses`, and fill conversations of `items`. Those that are to be answered
    later go to `entering`.
    """

    def __init__(
        self,
        asking: Asking,
        making: Making,
        responses: Responses,
        contexts: Contexts,
        items: Items,
        reader: Reader,
        entering: Entering,
    ) -> None:
        self._entering = entering
        self._asking = asking
        self._making = making
        self._responses = responses
        self._contexts = contexts
        self._items = items
        self._reader = reader

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
                    (Action.READ, "shield"),
                    (Action.READ, "vector_store"),
                    (Action.READ, "tool_group"),
                    (Action.READ, "tool"),
                ],
                methods=["POST"],
                name="responses.create",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with one response, whole or streamed."""
        gate = gate_of(request.scope)
        _, body = await read_body(request, self._reader, CREATED if FRAME in request.scope else RESPONSE)
        if body.background and acting_of(request.scope) is not None:
            raise invalid(
                "what is asked for later is not put off again; leave out `background`", "background", "invalid_value"
            )
        if body.store:
            self._responses.records.expect_create(gate)
        model = await self._making.turns.model(gate, body.model)
        identity = new_response_id()
        gate.about(identity)
        creation = None
        if body.store:
            creation = await self._responses.records.permit_create(gate, made=[identity])
            if body.background:
                await self._entering.check_room(creation)
        # Many questions to the policy, and nothing is spent yet.
        async with WhileConnected(request.receive):
            context = await self._contexts.of(gate, body, identity)
        opening = Opening(gate, identity, body, context)
        if body.background and creation is not None:
            return await self._entering.answer(request, opening, model, creation)
        memory = CONNECTION.get() if creation is None else None
        items = context.items if creation is not None or memory is not None else ItemList()
        plan = _Plan(creation, items, context.filling, memory)
        state = State(
            head=head_of(identity, int(time.time()), body),
            item_id=(digits_of(identity), len(body.items)),
            names=body.names,
            shows_results="file_search_call.results" in body.include,
        )
        held = context.items.size - items.size
        course = Course(state, partial(self._keep, plan), plan.size, held, keeps_left=creation is not None)
        if not body.generates:
            return await self._prepared(request, opening, model, course)
        responding, asked = await self._making.responding(request, opening, model, course)
        ending = responding.told if body.stream else None
        return await self._asking.answer(request, responding, asked, streamed=body.stream, ending=ending)

    async def _prepared(self, request: Request, opening: Opening, model: Model, course: Course) -> Response:
        """Answer with the events of a response without output, once everything that it names is permitted."""
        await self._making.check(request, opening, model)
        state = course.state._replace(head={**course.state.head, "model": model.name})
        state, begun = step(state, Begun())
        state, ended = step(state, Prepared(int(time.time())))
        await course.keep(state, ended)
        return Response(b"".join(map(event_text, [*begun, *ended])) + DONE, media_type="text/event-stream")

    async def _keep(self, plan: _Plan, state: State, _events: Sequence[Json]) -> None:
        """Store a response that is over, and fill its conversation if it is complete."""
        shown, filling = state.response(whole=True), plan.filling
        if state.status != "completed":
            filling = None
        elif filling is not None:
            filling = Filling(filling.creation, filling.conversation, filling.items + output_of(shown))
        if plan.creation is not None:
            both = None if filling is None else (self._items, filling)
            await self._responses.write(plan.creation, shown, plan.items, both)
        elif filling is not None:
            await fill_alone(self._items, filling)
        if plan.memory is not None and state.status == "completed":
            items = plan.items + output_of(shown)
            plan.memory.keep(shown["id"], items, items.size)
