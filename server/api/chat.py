"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.bodies import Json, read_object
from server.api.disconnects import WhileConnected
from server.api.errors import ApiError, invalid, model_not_found
from server.api.failures import provider_error
from server.api.streaming import EventStream
from server.authz.errors import AccessDenied
from server.authz.permit import Permit
from server.inference.catalogue import Catalogue
from server.inference.provider import ChatRequest, ProviderFailed
from server.requests import gate_of

LONGEST_NAME: Final = 512
"""Characters of a model's name; a longer one is nobody's, and isn't worth repeating."""


class ChatCompletions:
    """Hands a chat to the provider of its model, once the policy lets the caller read that model."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def create(self, request: Request) -> Response:
        """One completion, whole or streamed."""
        body = await read_object(request)
        _check(body)
        permit = await self._permit(request, body["model"])
        model = self._catalogue.model(permit)
        if model.kind != "llm":
            raise invalid(f"the model `{body['model']}` does not chat; it makes embeddings", "model", "invalid_value")
        provider = self._catalogue.provider(permit)
        chat = ChatRequest(model.name, model.provider_model_id, body)
        try:
            async with WhileConnected(request.receive):
                if body.get("stream"):
                    return EventStream(await provider.stream(chat))
                return Response(await provider.complete(chat), media_type="application/json")
        except ProviderFailed as failure:
            raise provider_error(failure) from None

    async def _permit(self, request: Request, name: str) -> Permit:
        model = self._catalogue.find(name)
        if model is None:
            raise model_not_found(name)
        try:
            return await gate_of(request.scope).permit(Action.READ, model.resource)
        except AccessDenied:
            raise model_not_found(name) from None


def _check(body: Json) -> None:
    """Refuse what this server could not handle; the rest of the body is between the caller and the provider."""
    if "model" not in body:
        raise _missing("model")
    name = body["model"]
    if type(name) is not str or not 0 < len(name) <= LONGEST_NAME:
        raise invalid("`model` must be the name of a model", "model", "invalid_value")
    if "messages" not in body:
        raise _missing("messages")
    messages = body["messages"]
    if type(messages) is not list or not messages:
        raise invalid("`messages` must be a list with at least one message", "messages", "invalid_value")
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    if not isinstance(body.get("stream", False), bool | None):
        raise invalid("`stream` must be true or false", "stream", "invalid_value")
    if not isinstance(body.get("stream_options", {}), dict | None):
        raise invalid("`stream_options` must be an object", "stream_options", "invalid_value")
    if body.get("store"):
        raise invalid("chat completions are not stored here; leave out `store`", "store", "unsupported_parameter")


def _check_message(message: Any, path: str) -> None:
    if type(message) is not dict:
        raise invalid(f"`{path}` must be an object", path, "invalid_value")
    if type(message.get("role")) is not str:
        raise invalid(f"`{path}.role` must be a text", f"{path}.role", "invalid_value")


def _missing(name: str) -> ApiError:
    return invalid(f"the body has no `{name}`", name, "missing_required_parameter")
