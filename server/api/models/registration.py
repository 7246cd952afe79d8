"""The routes that register and remove models: `POST /v1/models` and `DELETE /v1/models/{model_id}`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, Origin, Resource
from server.api.models.candidates import Candidates
from server.api.models.catalogue import Catalogue, DefinedByConfiguration, ProviderGone
from server.api.models.model import Model
from server.api.models.registered import RegisteredModels
from server.api.models.routes import model_object
from server.api.registry.body import MODEL, NewModel
from server.api.registry.routes import deleted_object, name_taken, read_registration
from server.authz.permit import AccessDenied
from server.authz.request_authorization import Gate
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import ApiError, invalid, model_not_found
from server.http.request_state import gate_of
from server.http.responses import json_response
from server.json_input.reader import Reader
from server.storage.database.database import AlreadyThere
from server.storage.records.guarded import NotFound


class ModelRegistry:
    """Registers models that the `providers` of these ids run, and removes them."""

    def __init__(
        self, catalogue: Catalogue, registered: RegisteredModels, providers: Collection[str], reader: Reader
    ) -> None:
        self._catalogue = catalogue
        self._registered = registered
        self._providers = providers
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of models that change something."""
        return [
            AskingRoute(
                "/v1/models",
                self.register,
                methods=["POST"],
                asks=[(Action.CREATE, "model"), (Action.READ, "provider")],
                may_ask=[(Action.READ, "model")],
                name="models.register",
            ),
            AskingRoute(
                "/v1/models/{model_id:path}",
                self.unregister,
                methods=["DELETE"],
                asks=[(Action.DELETE, "model")],
                name="models.unregister",
            ),
        ]

    async def register(self, request: Request) -> Response:
        """Register a model, which is served from now on to the callers who may read it."""
        new = await read_registration(request, self._reader, MODEL)
        provider_id = new.provider_id or self._only_provider()
        model = Model(
            new.model_id,
            provider_id,
            new.provider_model_id,
            new.model_type,
            new.metadata,
            aliases=tuple(new.aliases),
        )
        gate = gate_of(request.scope)
        permit = await self._registered.permit_create(gate, model)
        await self._check_provider(gate, provider_id)
        try:
            self._catalogue.provider(model)
        except ProviderGone:
            sentence = f"the provider `{provider_id}` may not be asked for the model `{model.provider_model_id}`"
            raise invalid(sentence, "provider_model_id", "invalid_value") from None
        if new.fallback or new.weights:
            model = await self._naming(gate, model, new)
        try:
            created = await self._registered.create(permit, model)
        except AlreadyThere:
            raise name_taken(model.name, ", or begins with the id of another provider") from None
        return Response(model_object(created, created.created or 0), media_type="application/json")

    async def unregister(self, request: Request) -> Response:
        """Remove a registered model."""
        name = request.path_params["model_id"]
        try:
            model = await self._catalogue.delete(gate_of(request.scope), name)
        except NotFound:
            raise model_not_found(name) from None
        except DefinedByConfiguration:
            sentence = f"the model `{name}` is defined by the configuration; remove it there"
            headers = {"x-should-retry": "false"}
            raise ApiError(HTTPStatus.CONFLICT, sentence, code="defined_by_configuration", headers=headers) from None
        return json_response(deleted_object(model.name, "model"))

    async def _naming(self, gate: Gate, model: Model, new: NewModel) -> Model:
        """Return the model with the others that it names; raises the 400 for one that can't answer in its place."""
        fallback = [await self._named(gate, model, name, f"fallback[{at}]") for at, name in enumerate(new.fallback)]
        weights = {
            model.name if name in model.names else await self._named(gate, model, name, "weights"): weight
            for name, weight in new.weights.items()
        }
        if len({*fallback}) < len(new.fallback) or len(weights) < len(new.weights):
            which = "weights" if len(weights) < len(new.weights) else "fallback"
            raise invalid(f"`{which}` names a model twice", which, "invalid_value")
        naming = replace(model, fallback=tuple(fallback), weights=weights)
        # They may name a model of this name that is gone.
        candidates = Candidates(self._catalogue, gate, naming, lambda: 0.0)
        while (other := await candidates.next()) is not None:
            if other is not naming and model.name in (*other.fallback, *other.weights):
                which = "fallback" if other.name in fallback else "weights"
                raise invalid(f"what the model `{other.name}` names leads back to this one", which, "invalid_value")
        return naming

    async def _named(self, gate: Gate, model: Model, name: str, place: str) -> str:
        """Return the canonical name of another model, which the caller may read."""
        if name in model.names:
            raise invalid(f"the model `{name}` names itself", place, "invalid_value")
        try:
            found = await self._catalogue.get(gate, name)
        except NotFound:
            sentence = f"there is no model `{name}`, or you have no access to it"
            raise invalid(sentence, place, "invalid_value") from None
        if found.kind != model.kind:
            sentence = f"the model `{name}` is of the type `{found.kind}`, and this one of `{model.kind}`"
            raise invalid(sentence, place, "invalid_value")
        return found.name

    def _only_provider(self) -> str:
        if len(self._providers) == 1:
            return next(iter(self._providers))
        raise invalid("the body has no `provider_id`", "provider_id", "missing_required_parameter")

    async def _check_provider(self, gate: Gate, provider_id: str) -> None:
        """Raise the same 400 for a provider that does not exist and for one that the caller may not read."""
        resource = Resource("provider", (provider_id,), None, Origin.CONFIG)
        try:
            await gate.permit(Action.READ, resource)
            known = provider_id in self._providers
        except AccessDenied:
            known = False
        if not known:
            sentence = f"there is no provider `{provider_id}` of models, or you have no access to it"
            raise invalid(sentence, "provider_id", "invalid_value")
