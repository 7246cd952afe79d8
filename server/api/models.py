"""`GET /v1/models` and `GET /v1/models/{model_id}`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from policy.vocabulary import Action
from server.api.errors import model_not_found
from server.authz.errors import AccessDenied
from server.inference.catalogue import Catalogue, Model
from server.requests import gate_of


class Models:
    """Shows each caller the models that it may read, under their canonical names.

    `created`, in seconds since the epoch, is what all of them show as the time of their creation.
    """

    def __init__(self, catalogue: Catalogue, created: int) -> None:
        self._catalogue = catalogue
        self._resources = tuple(model.resource for model in catalogue.models)
        self._created = created

    async def list(self, request: Request) -> Response:
        """All of them on one page."""
        permits = await gate_of(request.scope).readable(self._resources)
        shown = [self._shown(self._catalogue.model(permit)) for permit in permits]
        return JSONResponse({"object": "list", "data": shown})

    async def retrieve(self, request: Request) -> Response:
        """One of them, by any of its names."""
        name = request.path_params["model_id"]
        model = self._catalogue.find(name)
        if model is None:
            raise model_not_found(name)
        try:
            permit = await gate_of(request.scope).permit(Action.READ, model.resource)
        except AccessDenied:
            raise model_not_found(name) from None
        return JSONResponse(self._shown(self._catalogue.model(permit)))

    def _shown(self, model: Model) -> dict[str, Any]:
        return {
            "id": model.name,
            "object": "model",
            "created": self._created,
            "owned_by": model.provider_id,
            "custom_metadata": {"provider_id": model.provider_id, "model_type": model.kind, **model.metadata},
        }
