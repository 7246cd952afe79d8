"""`GET /v1/providers` and `GET /v1/providers/{provider_id}`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from policy.vocabulary import Action, Origin, Resource
from server.authz.permit import AccessDenied, Permit
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import ApiError, provider_error
from server.http.request_state import gate_of
from server.inference.provider import Provider, ProviderFailed, ProviderHealth


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider instance of the configuration; `config` holds no secrets any more, but addresses."""

    api: str
    provider_id: str
    provider_type: str
    config: Mapping[str, Any]
    provider: Provider

    @property
    def resource(self) -> Resource:
        """The resource that the policy is asked about."""
        return _resource(self.provider_id)

    async def shown(self, *, with_config: bool) -> dict[str, Any]:
        """Return the provider as clients see it, with its last known health."""
        health = await self.provider.connection.health()
        return {
            "api": self.api,
            "provider_id": self.provider_id,
            "provider_type": self.provider_type,
            "config": self.config if with_config else {},
            "health": {"status": health.status, "message": health.message, **_breaker(health)},
        }


class ProviderRoutes:
    """Shows each caller the providers that it may read, and how they are configured if one of the rules
    `about_providers` says that it may: rules about everything are not meant for the addresses of the installation.
    """

    def __init__(
        self,
        entries: Sequence[ProviderEntry],
        about_providers: Container[str],
        resource_of: Callable[[str], Resource],
    ) -> None:
        """`about_providers` are the names of the rules about providers alone, such as `access_policy[3]`.

        `resource_of` returns what the policy is asked about for the canonical name of a model.
        """
        self._entries = tuple(entries)
        self._resource_of = resource_of
        self._about_providers = about_providers

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes that show providers."""
        asks = [(Action.READ, "provider")]
        return [
            ApiRoute("/v1/providers", self.list, asks=asks, name="providers.list"),
            AskingRoute("/v1/providers/{provider_id}", self.retrieve, asks=asks, name="providers.retrieve"),
            AskingRoute(
                "/v1/providers/{provider_id}/models",
                self.models,
                asks=asks,
                may_ask=[(Action.READ, "model")],
                name="providers.models.list",
            ),
        ]

    async def list(self, request: Request) -> Response:
        """Answer with the providers that the caller may read."""
        permits = await gate_of(request.scope).listed("provider", [entry.resource for entry in self._entries])
        found = {permit.resource.names[0]: self._shows_config(permit) for permit in permits}
        shown = (
            entry.shown(with_config=found[entry.provider_id]) for entry in self._entries if entry.provider_id in found
        )
        return JSONResponse({"data": await asyncio.gather(*shown)})

    async def retrieve(self, request: Request) -> Response:
        """Answer with one provider."""
        entry, permit = await self._readable(request)
        return JSONResponse(await entry.shown(with_config=self._shows_config(permit)))

    async def models(self, request: Request) -> Response:
        """Answer with the models that the provider has and may be asked for, if the caller may read them.

        Most of them are no models of this server, under the canonical names that they would have.
        """
        entry, _ = await self._readable(request)
        provider = entry.provider
        try:
            names = [] if provider.own is None else await provider.own.models()
        except ProviderFailed as failure:
            raise provider_error(failure) from None
        known = {f"{entry.provider_id}/{name}": name for name in names if provider.allows(name)}
        permits = await gate_of(request.scope).listed("model", [self._resource_of(name) for name in known])
        shown = [known[permit.resource.names[0]] for permit in permits]
        return JSONResponse({"object": "list", "data": [_model(name, entry.provider_id) for name in shown]})

    async def _readable(self, request: Request) -> tuple[ProviderEntry, Permit]:
        """Return the provider in the path; raises the 404 for one that the caller may not read."""
        provider_id = request.path_params["provider_id"]
        entry = next((entry for entry in self._entries if entry.provider_id == provider_id), None)
        # Of what isn't there the same is asked as of what is hidden: how long it takes must not tell.
        try:
            permit = await gate_of(request.scope).permit(Action.READ, _resource(provider_id))
        except AccessDenied:
            raise _not_found(provider_id) from None
        if entry is None:
            raise _not_found(provider_id)
        return entry, permit

    def _shows_config(self, permit: Permit) -> bool:
        return permit.decision.rule is not None and permit.decision.rule in self._about_providers


def _model(name: str, provider_id: str) -> dict[str, str]:
    return {"id": name, "object": "model", "owned_by": provider_id}


def _breaker(health: ProviderHealth) -> dict[str, str]:
    return {} if health.breaker is None else {"breaker": health.breaker}


def _resource(provider_id: str) -> Resource:
    return Resource("provider", (provider_id,), None, Origin.CONFIG)


def _not_found(provider_id: str) -> ApiError:
    message = f"the provider `{provider_id}` does not exist, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, message, code="provider_not_found", param="provider_id")
