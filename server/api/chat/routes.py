"""`POST /v1/chat/completions`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, Anonymous, Principal, type_of_record
from server.api.chat.body import ChatBody
from server.api.chat.recording import RecordingChat
from server.api.chat.store import Chat, Chats, new_answer_id
from server.api.chat.token_budget import cost_of, metered, parser_for
from server.api.models.catalogue import Catalogue
from server.api.models.routes import find_model
from server.authn.stamps import Stamps
from server.fairness.caller import CURRENT, caller_of
from server.fairness.places import leave_place
from server.fairness.way_out import hold
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid, provider_error
from server.http.event_stream import EventStream
from server.http.json_body import read_body
from server.http.open_streams import OpenStreams
from server.http.request_state import gate_of, state_of
from server.http.responses import JsonInPieces
from server.inference.members import Edit, MemberRules
from server.inference.provider import ChatModel, ChatRequest, ProviderFailed
from server.json_input.reader import Reader
from server.json_input.strict import InvalidJson


class ChatCompletions:
    """Hands a chat to the provider of its model, once the policy lets the caller read that model.

    A chat that is to be stored goes to `chats` with its answer, if the policy lets the caller create that too.
    """

    def __init__(
        self, catalogue: Catalogue, reader: Reader, streams: OpenStreams, chats: Chats, stamps: Stamps
    ) -> None:
        self._catalogue = catalogue
        self._chats = chats
        self._reader = reader
        self._stamps = stamps
        self._streams = streams

    def routes(self) -> list[ApiRoute]:
        """The route that makes chat completions."""
        return [
            AskingRoute(
                "/v1/chat/completions",
                self.create,
                asks=[(Action.READ, "model")],
                may_ask=[(Action.CREATE, type_of_record("chat_completions"))],
                methods=["POST"],
                name="chat.completions.create",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with one completion, whole or streamed."""
        answering, chat, streamed = await self._read(request)
        leave_place()  # a provider may take minutes
        if streamed:
            return EventStream(answering, chat, self._streams)
        try:
            async with WhileConnected(request.receive):
                pieces = await answering.complete(chat)
                await hold(sum(map(len, pieces)))
                return JsonInPieces(pieces)
        except ProviderFailed as failure:
            raise provider_error(failure) from None

    async def _read(self, request: Request) -> tuple[ChatModel, ChatRequest, bool]:
        """Return the chat model that answers, the request to it, and whether the answer is streamed.

        Of the caller's own body nothing is kept, unless it is stored.
        """
        gate = gate_of(request.scope)
        raw, body = await read_body(request, self._reader, parser_for(gate))
        model, provider = await find_model(self._catalogue, gate, body.model)
        if model.kind != "llm":
            raise invalid(f"the model `{body.model}` does not chat; it makes embeddings", "model", "invalid_value")
        edits, cost = self._edits(body, provider.members, gate.principal), cost_of(gate, body)
        asking = cost.edits if cost is not None and provider.members.reports_usage else ()
        answering = metered(gate, provider.chat, cost)
        chat = ChatRequest(
            model.name,
            body.naming(raw, model.provider_model_id, *edits, *asking),
            with_usage=body.asks_usage or bool(asking),
            unasked=partial(body.naming, raw, model.provider_model_id, *edits) if asking else None,
            request_id=state_of(request.scope).request_id,
        )
        if body.stored is None:
            return answering, chat, body.stream
        # Nothing is spent on an answer that may not be stored.
        answer_id = new_answer_id()
        creating = await self._chats.records.permit_create(gate, made=[answer_id])
        kept = Chat(answer_id, model.name, body.stored.messages, body.stored.metadata)
        write = partial(self._chats.write, creating, kept)
        recording = RecordingChat(answering, self._chats.queue, write, len(kept.messages))
        # The id is ours: a provider's may not be the only one, and under an id that is chosen nothing is stored.
        return recording, replace(chat, answer_id=answer_id), body.stream

    def _edits(self, body: ChatBody, rules: MemberRules, principal: Principal | Anonymous) -> list[Edit]:
        """Return the changes for the provider; raises the 400 for a member that may not reach it."""
        # Callers without a token are told apart by their addresses.
        caller = caller_of(principal, str(CURRENT.get()))
        try:
            return body.edits(rules, self._stamps.by(caller))
        except InvalidJson as refusal:
            raise invalid(refusal.message, refusal.param, refusal.code) from None
