"""The routes that show models, `GET /v1/models` and `GET /v1/models/{model_id}`, and the search for a model by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.models.anthropic_form import anthropic_model, frame_of, part_of
from server.api.models.catalogue import Catalogue
from server.api.models.model import Model
from server.api.models.pages import AnyModel, ModelPage, Part, StoredModel
from server.authz.request_authorization import Gate
from server.http.api_route import ApiRoute, AskingRoute
from server.http.error_shapes import is_anthropics
from server.http.errors import ApiError, model_not_found
from server.http.pagination import list_of, list_query
from server.http.request_state import gate_of
from server.http.responses import encoded, list_of_texts
from server.storage.records.guarded import NotFound

MOST_LISTED: Final = 1000
"""Models on one page, and on one whose size isn't asked for."""


class Models:
    """Shows each caller the models that it may read, under their canonical names.

    `created`, in seconds since the epoch, is what those of the configuration show as the time of their creation.
    """

    def __init__(self, catalogue: Catalogue, created: int) -> None:
        self._catalogue = catalogue
        self._created = created
        # Nothing that is shown depends on the caller, only whether it is.
        self._shown = {model.name: model_object(model, created) for model in catalogue.configured}

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes that show models."""
        asks = [(Action.READ, "model")]
        return [
            AskingRoute("/v1/models", self.list, asks=asks, name="models.list"),
            AskingRoute("/v1/models/{model_id:path}", self.retrieve, asks=asks, name="models.retrieve"),
        ]

    async def list(self, request: Request) -> Response:
        """Answer with a page of models."""
        if is_anthropics(request.scope):
            page = await self._page(request, part_of(request, MOST_LISTED))
            shown = (anthropic_model(model, model.created or self._created) for model in page.models)
            return await list_of_texts(frame_of(page.models, has_more=page.has_more), shown)
        query = list_query(request, default=MOST_LISTED, most=MOST_LISTED, newest_first=False)
        from_end = query.before is not None and query.after is None
        part = Part(query.limit, query.after, query.before, query.newest_first, from_end)
        page = await self._page(request, part)
        ends = [{"id": model.name} for model in (*page.models[:1], *page.models[-1:])]
        return await list_of_texts(list_of(ends, has_more=page.has_more), map(self._show, page.models))

    async def retrieve(self, request: Request) -> Response:
        """Answer with one model, by any of its names."""
        name = request.path_params["model_id"]
        try:
            model = await self._catalogue.get(gate_of(request.scope), name)
        except NotFound:
            raise model_not_found(name) from None
        if is_anthropics(request.scope):
            shown = anthropic_model(model, model.created or self._created)
        else:
            shown = self._show(model)
        return Response(shown, media_type="application/json")

    async def _page(self, request: Request, part: Part) -> ModelPage:
        try:
            return await self._catalogue.page(gate_of(request.scope), part)
        except NotFound as missing:
            raise model_not_found(missing.identity) from None

    def _show(self, given: AnyModel) -> bytes:
        model = given.read() if isinstance(given, StoredModel) else given
        return self._shown[model.name] if model.created is None else model_object(model, model.created)


async def find_model(catalogue: Catalogue, gate: Gate, name: str) -> Model:
    """Return the model that a request names.

    Raises the 404 for a model that does not exist or that the caller may not read.
    """
    try:
        return await catalogue.get(gate, name)
    except NotFound:
        raise model_not_found(name) from None


def provider_gone(name: str) -> ApiError:
    """Return the 404 of a model that no provider runs any more."""
    sentence = (
        f"no provider runs the model `{name}` any more: its provider has left the configuration, or may not run it"
    )
    return ApiError(404, sentence, code="model_not_found", param="model")


def model_object(model: Model, created: int) -> bytes:
    """Return the model as JSON, for clients of OpenAI and for those of a registry."""
    kept = {
        "provider_id": model.provider_id,
        "provider_resource_id": model.provider_model_id,
        "model_type": model.kind,
    }
    shown = {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": model.provider_id,
        "identifier": model.name,
        "type": "model",
        **kept,
    }
    metadata, own = encoded(model.metadata), encoded(kept)
    # A caller who registers a model can't make it look like another one.
    if kept.keys() & model.metadata.keys():
        custom = encoded({**model.metadata, **kept})
    else:
        custom = b"%b,%b" % (metadata[:-1], own[1:]) if model.metadata else own
    return b'%b,"metadata":%b,"custom_metadata":%b}' % (encoded(shown)[:-1], metadata, custom)
