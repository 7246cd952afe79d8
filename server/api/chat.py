"""`POST /v1/chat/completions`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.api.bodies import read_body
from server.api.chat_body import ChatBody
from server.api.disconnects import WhileConnected
from server.api.errors import invalid
from server.api.failures import provider_error
from server.api.models import reached
from server.api.open_streams import OpenStreams
from server.api.slices import JsonInPieces
from server.api.streaming import EventStream
from server.inference.catalogue import Catalogue
from server.inference.provider import ChatRequest, Provider, ProviderFailed
from server.reading.reader import Reader
from server.requests import gate_of


class ChatCompletions:
    """Hands a chat to the provider of its model, once the policy lets the caller read that model."""

    def __init__(self, catalogue: Catalogue, reader: Reader, streams: OpenStreams) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._streams = streams

    async def create(self, request: Request) -> Response:
        """One completion, whole or streamed."""
        provider, chat, streamed = await self._read(request)
        if streamed:
            return EventStream(provider, chat, self._streams)
        try:
            async with WhileConnected(request.receive):
                return JsonInPieces(await provider.complete(chat))
        except ProviderFailed as failure:
            raise provider_error(failure) from None

    async def _read(self, request: Request) -> tuple[Provider, ChatRequest, bool]:
        """Who is asked what, and whether as a stream; of the caller's own body nothing is kept."""
        gate = gate_of(request.scope)
        raw, found = await read_body(request, self._reader, look_for(gate))
        body = ChatBody(raw, **found)
        model, provider = await reached(self._catalogue, gate_of(request.scope), body.model)
        if model.kind != "llm":
            raise invalid(f"the model `{body.model}` does not chat; it makes embeddings", "model", "invalid_value")
        chat = ChatRequest(model.name, body.naming(model.provider_model_id))
        return provider, chat, body.stream
