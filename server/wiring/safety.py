"""Building of the shields that a configuration describes, and of those that callers register."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.safety.guarding import guard_of
from server.api.safety.registry import ShieldRegistry
from server.api.safety.routes import SafetyRoutes
from server.api.safety.shields import KIND, ConfiguredShield, Shields
from server.api.system.providers import ProviderEntry
from server.app import RouteGroup
from server.config import Config, ProviderConfig
from server.config.llama_guard import DEFAULT, guessed
from server.config.safety import BedrockShields, KeywordProvider, LlamaGuardProvider
from server.config.shield_params import (
    BadParams,
    Common,
    bedrock_params,
    check_identity,
    guard_params,
    keyword_params,
)
from server.fairness.shares import FairShares
from server.inference.provider import ByTask, Connection, HealthStatus, Provider, ProviderHealth
from server.json_input.reader import Reader
from server.safety.bedrock import BedrockGuardrail, GuardrailService
from server.safety.keyword import Keywords
from server.safety.llama_guard.guard import LlamaGuard
from server.safety.running import CHECKS, Note, RunningShield
from server.safety.shield import Direction, Shield
from server.storage.records.record import Json
from server.wiring.shield_records import provider_of
from server.wiring.stores import Stores

SAFETY: Final = "safety"

REGISTERED: Final = "(registered)"
"""The name in metrics of all shields that callers have registered."""

_log: Final = logging.getLogger("ostiary.safety")


class SafetyProviders:
    """The providers of shields of a configuration: they make shields, and are shown beside other providers.

    `guardrails` builds the service of an account of Bedrock, and `note` counts what comes of checks.
    """

    def __init__(self, config: Config, guardrails: Callable[[BedrockShields], GuardrailService], note: Note) -> None:
        self._listed = {provider.provider_id: provider for provider in config.providers.get(SAFETY, ())}
        self._services = {
            name: guardrails(provider)
            for name, provider in self._listed.items()
            if isinstance(provider, BedrockShields)
        }
        self._shares = {name: FairShares(CHECKS) for name in self._listed}
        self._note = note

    @property
    def ids(self) -> tuple[str, ...]:
        """The `provider_id` of each."""
        return tuple(self._listed)

    def entries(self, masked: Callable[[object], Mapping[str, object]]) -> Iterator[ProviderEntry]:
        """Yield the entry of each; `masked` hides what is secret in its settings."""
        for name, provider in self._listed.items():
            connection: Connection = self._services.get(name) or _Here()
            made = Provider(connection, ByTask({}), tasks=frozenset())
            settings = dict(masked(provider.config.model_dump()))
            yield ProviderEntry(SAFETY, name, provider.provider_type, settings, made)

    def configured(self, identity: str, provider_id: str, resource_id: str, params: Json) -> RunningShield:
        """Return a shield of the configuration, whose checks no other shield's take the place of."""
        shield, common = self._made(self._listed[provider_id], identity, resource_id, params)
        return RunningShield(identity, shield, common, note=self._note)

    def registered(self, identity: str, provider_id: str | None, resource_id: str, params: Json) -> RunningShield:
        """Return a shield that a caller has registered; those of one provider share its checks. Raises BadParams."""
        if provider_id not in self._listed:
            raise BadParams("provider_id", "names no provider of shields of this server")
        shield, common = self._made(self._listed[provider_id], identity, resource_id, params)
        # Its name may be of any length, and metrics have a series for each.
        return RunningShield(identity, shield, common, self._shares[provider_id], self._note_registered)

    def _note_registered(self, _shield: str, direction: Direction, outcome: str) -> None:
        self._note(REGISTERED, direction, outcome)

    def _made(self, provider: ProviderConfig, identity: str, resource_id: str, params: Json) -> tuple[Shield, Common]:
        check_identity(provider.provider_type, resource_id)
        match provider:
            case LlamaGuardProvider(config=settings):
                given = guard_params(params, settings.excluded_categories)
                taxonomy = given.taxonomy or self._taxonomy(identity, resource_id)
                given.check_excluded(taxonomy)
                writes = given.transport == "completions"
                return LlamaGuard(resource_id, taxonomy, given.excluded, writes_prompts=writes), given.common
            case BedrockShields():
                guardrail = bedrock_params(params)
                service = self._services[provider.provider_id]
                made = BedrockGuardrail(service, resource_id, guardrail.version, grounding=guardrail.grounding)
                return made, guardrail.common
            case KeywordProvider():
                words = keyword_params(params)
                return Keywords(words.categories, whole_words=words.whole_words), words.common
            case _:
                raise ValueError(f"no class serves the provider type `{provider.provider_type}`")

    def _taxonomy(self, identity: str, model: str) -> str:
        found = guessed(model)
        how = "as the name of its model says" if found else "since the name of its model tells no version"
        taxonomy = found or DEFAULT
        _log.info("the shield `%s` has the categories of `%s`, %s", identity, taxonomy, how)
        return taxonomy


def build_shields(
    config: Config, providers: SafetyProviders, stores: Stores, asking: Asking, catalogue: Catalogue
) -> Shields:
    """Return the shields of a configuration, and the way to those that callers register."""
    configured = {
        shield.identity: ConfiguredShield(
            shield.resource_id,
            providers.configured(shield.identity, provider_of(config, shield), shield.resource_id, dict(shield.params)),
        )
        for shield in config.shields
    }
    default = config.safety.default_shield_id
    shields = Shields(configured, default, stores.entries[KIND], providers.registered, asking, catalogue)
    asking.shield(partial(guard_of, shields))
    return shields


def safety_routes(shields: Shields, providers: SafetyProviders, stores: Stores, reader: Reader) -> list[RouteGroup]:
    """Return the routes of shields."""
    registry = ShieldRegistry(stores.entries[KIND], shields.names, providers.ids, providers.registered, reader)
    return [SafetyRoutes(shields, reader), registry]


class _Here:
    """The connection of a provider that is in this process."""

    async def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def health(self) -> ProviderHealth:
        """Return that it is there."""
        return ProviderHealth(HealthStatus.OK)
