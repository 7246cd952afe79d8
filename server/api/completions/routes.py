"""`POST /v1/completions`."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.completions.body import COMPLETIONS, COSTED_COMPLETIONS, CompletionsBody
from server.api.models.asked import Parsers
from server.api.models.asking import Asking
from server.api.models.model import Model
from server.http.api_route import ApiRoute, AskingRoute
from server.inference.provider import Task, Wanted

_PARSERS: Final = Parsers(COMPLETIONS, COSTED_COMPLETIONS)


class Completions:
    """Hands prompts to the provider of their model, once the policy lets the caller read that model."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def routes(self) -> list[ApiRoute]:
        """Return the route that completes texts."""
        return [
            AskingRoute(
                "/v1/completions",
                self.create,
                asks=[(Action.READ, "model")],
                may_ask=[(Action.READ, "shield")],
                methods=["POST"],
                name="completions.create",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with the completions of all prompts, whole or streamed."""
        asked = await self._asking.read(request, _PARSERS, Task.TEXT, _wanted)
        return await self._asking.answer(request, asked.answering, asked.request, streamed=asked.body.stream)


def _wanted(body: CompletionsBody, _model: Model) -> Wanted:
    return Wanted(body.count)
