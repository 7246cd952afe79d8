"""`GET /v1/providers` and `GET /v1/providers/{provider_id}`."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from policy.vocabulary import Action, Origin, Resource
from server.authz.permit import AccessDenied, Permit
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import ApiError
from server.http.request_state import gate_of
from server.inference.provider import Provider, ProviderHealth


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

    def __init__(self, entries: Sequence[ProviderEntry], about_providers: Container[str]) -> None:
        """`about_providers` are the names of the rules about providers alone, such as `access_policy[3]`."""
        self._entries = tuple(entries)
        self._about_providers = about_providers

    def routes(self) -> Sequence[ApiRoute]:
        """The routes that show providers."""
        asks = [(Action.READ, "provider")]
        return [
            ApiRoute("/v1/providers", self.list, asks=asks, name="providers.list"),
            AskingRoute("/v1/providers/{provider_id}", self.retrieve, asks=asks, name="providers.retrieve"),
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
        provider_id = request.path_params["provider_id"]
        entry = next((entry for entry in self._entries if entry.provider_id == provider_id), None)
        # Of what isn't there the same is asked as of what is hidden: how long it takes must not tell.
        try:
            permit = await gate_of(request.scope).permit(Action.READ, _resource(provider_id))
        except AccessDenied:
            raise _not_found(provider_id) from None
        if entry is None:
            raise _not_found(provider_id)
        return JSONResponse(await entry.shown(with_config=self._shows_config(permit)))

    def _shows_config(self, permit: Permit) -> bool:
        return permit.decision.rule is not None and permit.decision.rule in self._about_providers


def _breaker(health: ProviderHealth) -> dict[str, str]:
    return {} if health.breaker is None else {"breaker": health.breaker}


def _resource(provider_id: str) -> Resource:
    return Resource("provider", (provider_id,), None, Origin.CONFIG)


def _not_found(provider_id: str) -> ApiError:
    message = f"the provider `{provider_id}` does not exist, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, message, code="provider_not_found", param="provider_id")
