"""`POST /v1/responses/compact`: a conversation in few items, of which one holds the model's summary, sealed."""

from __future__ import annotations

import time
from json import dumps

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.conversations.body import PREFIXES
from server.api.responses.asking import AskedTurns
from server.api.responses.compaction.body import COMPACTION, read_said_by_users
from server.api.responses.compaction.summaries import TASK, summary_of
from server.api.responses.context import Contexts
from server.api.responses.item_list import ItemList
from server.api.responses.state import item_id
from server.api.responses.store import digits_of, new_response_id
from server.api.responses.unsealing import LIFETIME, asked_items, sealing_caller
from server.authn.seals import Seals
from server.fairness.outgoing import hold_in_all
from server.fairness.places import leave_place
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import provider_error
from server.http.json_body import look_again, read_body
from server.http.request_state import gate_of
from server.http.responses import list_of_texts
from server.inference.provider import ProviderFailed
from server.json_input.reader import Reader
from server.json_input.strict import Json


class CompactionRoutes:
    """Has a model sum up what a caller has said and been answered; what users said stays as it is."""

    def __init__(self, turns: AskedTurns, contexts: Contexts, seals: Seals, reader: Reader) -> None:
        self._turns = turns
        self._contexts = contexts
        self._seals = seals
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the route that makes compactions."""
        item, conversation = type_of_record("conversation_items"), type_of_record("openai_conversations")
        return [
            AskingRoute(
                "/v1/responses/compact",
                self.create,
                asks=[(Action.READ, "model")],
                may_ask=[
                    (Action.READ, type_of_record("responses")),
                    (Action.READ, conversation),
                    (Action.READ, item),
                    (Action.READ, type_of_record("openai_files")),
                ],
                methods=["POST"],
                name="responses.compact",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with the messages of users and a sealed summary of everything."""
        gate = gate_of(request.scope)
        _, body = await read_body(request, self._reader, COMPACTION)
        model, identity = await self._turns.model(gate, body.model), new_response_id()
        async with WhileConnected(request.receive):
            context = await self._contexts.of(gate, body, identity)
        items = [*await asked_items(self._seals, gate, context, model.name), TASK]
        asked = await self._turns.asked(request, body, model, context.system, items)
        leave_place()
        try:
            async with WhileConnected(request.receive):
                text, usage = await summary_of(asked.answering, asked.request)
        except ProviderFailed as failure:
            raise provider_error(failure) from None
        kept = await self._said_by_users(context.items)
        await hold_in_all(kept.size)
        sealed = self._seals.sealed(sealing_caller(gate), text, int(time.time()) + LIFETIME)
        last = {
            "id": item_id(PREFIXES["compaction"], (digits_of(identity), 0), len(body.items)),
            "type": "compaction",
            "encrypted_content": sealed,
        }
        texts = [*kept.shown(frozenset({"message.input_image.image_url"})), dumps(last).encode()]
        return await _answer(identity, texts, usage)

    async def _said_by_users(self, items: ItemList) -> ItemList:
        text = b'{"items":[%b]}' % b",".join(items.plain())
        places: list[int] = (await look_again(self._reader, text, read_said_by_users))["places"]
        return ItemList([items.ids[place] for place in places], [items.texts[place] for place in places])


async def _answer(identity: str, output: list[bytes], usage: Json | None) -> Response:
    nothing = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    details = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    head = {"id": identity, "object": "response.compaction", "created_at": int(time.time())}
    return await list_of_texts({**head, "usage": usage or nothing | details}, output, "output")
