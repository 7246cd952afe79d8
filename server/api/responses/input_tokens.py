"""`POST /v1/responses/input_tokens`: the tokens that a model would read for a response, without an answer."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.responses.asking import AskedTurns
from server.api.responses.context import Contexts
from server.api.responses.counted_body import COUNTED
from server.api.responses.server_tools.offering import settings_with
from server.api.responses.server_tools.tool import Opening, ServerTools
from server.api.responses.store import new_response_id
from server.api.responses.unsealing import asked_items
from server.authn.seals import Seals
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.json_body import read_body
from server.http.request_state import gate_of
from server.http.responses import json_response
from server.json_input.reader import Reader


class InputTokens:
    """Counts the input of requests for responses, after the same questions to the policy as for an answer."""

    def __init__(
        self,
        turns: AskedTurns,
        contexts: Contexts,
        seals: Seals,
        reader: Reader,
        tools: ServerTools,
    ) -> None:
        self._tools = tools
        self._turns = turns
        self._contexts = contexts
        self._seals = seals
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the route that counts."""
        return [
            AskingRoute(
                "/v1/responses/input_tokens",
                self.count,
                asks=[(Action.READ, "model")],
                may_ask=[
                    (Action.READ, type_of_record("responses")),
                    (Action.READ, type_of_record("openai_conversations")),
                    (Action.READ, type_of_record("conversation_items")),
                    (Action.READ, type_of_record("openai_files")),
                    (Action.READ, "prompt"),
                    (Action.READ, "vector_store"),
                    (Action.READ, "tool_group"),
                    (Action.READ, "tool"),
                ],
                methods=["POST"],
                name="responses.input_tokens",
            )
        ]

    async def count(self, request: Request) -> Response:
        """Answer with the number of tokens; nothing is stored or charged."""
        gate = gate_of(request.scope)
        _, body = await read_body(request, self._reader, COUNTED)
        model, identity = await self._turns.model(gate, body.model), new_response_id()
        async with WhileConnected(request.receive):
            context = await self._contexts.of(gate, body, identity, fills=False)
            tools = await self._tools.open(Opening(gate, identity, body, context))
            await tools.aclose()
        items = await asked_items(self._seals, gate, context, model.name)
        offering = replace(body, settings=settings_with(body, tools))
        tokens = await self._turns.tokens(request, offering, model, context.system, items)
        return json_response({"object": "response.input_tokens", "input_tokens": tokens})
