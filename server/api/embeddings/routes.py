"""`POST /v1/embeddings`."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.embeddings.body import COSTED_EMBEDDINGS, EMBEDDINGS, EmbeddingsBody
from server.api.models.asked import Parsers
from server.api.models.asking import Asking
from server.api.models.model import Model
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import invalid
from server.inference.provider import Task, Wanted

_PARSERS: Final = Parsers(EMBEDDINGS, COSTED_EMBEDDINGS)


class Embeddings:
    """Hands texts to the provider of an embedding model, once the policy lets the caller read that model."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def routes(self) -> list[ApiRoute]:
        """Return the route that makes embeddings."""
        return [
            AskingRoute(
                "/v1/embeddings",
                self.create,
                asks=[(Action.READ, "model")],
                methods=["POST"],
                name="embeddings.create",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with the embeddings, in the order of the texts."""
        asked = await self._asking.read(request, _PARSERS, Task.EMBEDDING, _wanted)
        return await self._asking.answer(request, asked.answering, asked.request, streamed=False)


def _wanted(body: EmbeddingsBody, model: Model) -> Wanted:
    """Return what the answer has to be; raises the 400 for more dimensions than the model has."""
    full = model.dimensions
    if full is not None and body.dimensions is not None and body.dimensions > full:
        sentence = f"`dimensions` must be at most {full}, which is what the model `{body.model}` has"
        raise invalid(sentence, "dimensions", "invalid_value")
    return Wanted(body.count, body.base64, body.dimensions, full)
