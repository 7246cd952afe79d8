"""`GET /v1/models` and `GET /v1/models/{model_id}`."""

from __future__ import annotations

from json import dumps

from starlette.requests import Request
from starlette.responses import Response

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
        # Nothing that is shown depends on the caller, only whether it is.
        self._shown = {model.name: _shown(model, created) for model in catalogue.models}

    async def list(self, request: Request) -> Response:
        """All of them on one page."""
        permits = await gate_of(request.scope).readable(self._resources)
        shown = b",".join([self._shown[self._catalogue.model(permit).name] for permit in permits])
        return Response(b'{"object":"list","data":[%b]}' % shown, media_type="application/json")

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
        return Response(self._shown[self._catalogue.model(permit).name], media_type="application/json")


def _shown(model: Model, created: int) -> bytes:
    shown = {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": model.provider_id,
        "custom_metadata": {"provider_id": model.provider_id, "model_type": model.kind, **model.metadata},
    }
    return dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
