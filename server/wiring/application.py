"""Where a configuration becomes an application: the only place that names the concrete classes."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr
from starlette.applications import Starlette

from server.api.chat.routes import ChatCompletions
from server.api.chat.stored_routes import StoredChats
from server.api.conversations.items import Items
from server.api.conversations.routes import Conversations
from server.api.files.routes import Files
from server.api.models.catalogue import Catalogue, Model
from server.api.models.registered import RegisteredModels
from server.api.models.registration import ModelRegistry
from server.api.models.routes import Models
from server.api.prompts.routes import PromptVersions
from server.api.registry.routes import KINDS, Entries
from server.api.system.health import Health, Probe
from server.api.system.metrics import MetricsPage
from server.api.system.providers import ProviderEntry, Providers
from server.app import House, create_app
from server.authn import Authenticator
from server.authn.tally import Tallies
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.sink import Rotation
from server.authz.observer import Observer
from server.authz.opa.transport import OpaTransport
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.readiness import ReadinessProbe
from server.config import AuthConfig, Config, CorsConfig, ModelConfig, ProviderConfig
from server.config.decision_log import DecisionLogSetting, RotatedLog
from server.config.providers import EchoProvider, OllamaProvider, OpenAIProvider, VllmProvider
from server.http.cors import Cors, CorsPolicy
from server.http.open_streams import OpenStreams
from server.http.route_guard import EnforcementPoint
from server.inference.provider import Provider
from server.inference.providers.echo import Echo
from server.inference.providers.openai_compatible import OpenAICompatible
from server.json_input.reader import Reader
from server.net.tls import client_context
from server.process.startup import DecisionLogUnusable
from server.process.uvicorn_server import Ending
from server.telemetry.dependencies import Dependencies, Dependency
from server.telemetry.exposition import Exposition
from server.telemetry.gauges import Sample
from server.telemetry.metrics import Metrics
from server.telemetry.shared import SHARED_DIRECTORY
from server.wiring.authenticators import services
from server.wiring.lifespan import Opened, Resource, closed, started
from server.wiring.observed import ObservedAuthenticator, ObservedDecisions, ObservedProvider
from server.wiring.policy_engine import Plan, asking
from server.wiring.quotas import tolls
from server.wiring.rules_about import rules_about
from server.wiring.stores import Stores

if TYPE_CHECKING:
    from server.telemetry.spans import Tracing

_MASK: Final = "********"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """How one process is watched; `tracing` is None where there is no collector. `tallies` counts claims of tokens."""

    metrics: Metrics
    tracing: Tracing | None
    tallies: Tallies
    dependencies: Dependencies
    policy: Dependency
    decision_log: Dependency

    @property
    def observer(self) -> Observer:
        """What is told of every question and decision."""
        return ObservedDecisions(self.metrics, self.policy, self.decision_log)


@asynccontextmanager
async def decisions(plan: Plan, telemetry: Telemetry) -> AsyncIterator[tuple[PolicyEnforcementPoint, ReadinessProbe]]:
    """Who decides and logs each decision; all of it is closed with the context."""

    def decision_point(transport: OpaTransport, revision: str) -> PolicyDecisionPoint:
        return _decision_point(transport, revision, telemetry)

    async with asking(plan, decision_point) as (pdp, probe), AsyncExitStack() as stack:
        log = _decision_log(plan.config.server.decision_log)
        stack.push_async_callback(log.close)
        telemetry.metrics.watch(lambda: sample(pdp, log))
        telemetry.decision_log.probe = partial(_log_fault, log)
        yield PolicyEnforcementPoint(pdp, log), probe


def measured(config: Config) -> Telemetry:
    """What this process counts in, and its way to the collector if there is one."""
    release, to = version("ostiary"), config.server.tracing
    metrics = Metrics(release, os.environ.get(SHARED_DIRECTORY) if config.server.workers > 1 else None)
    dependencies = Dependencies()
    metrics.watch_dependencies(dependencies)
    policy = dependencies.add(Dependency("policy", needed=True, on_timer=False))
    log = dependencies.add(Dependency("decision_log", needed=True))
    tracing = None
    if to is not None:
        # Here and not above: whoever has no collector needn't wait for it to be imported.
        from server.telemetry.spans import Tracing

        tracing = Tracing(to.endpoint, to.service_name, release)
    return Telemetry(metrics, tracing, Tallies(metrics.claims), dependencies, policy, log)


async def _log_fault(log: DecisionLog) -> str | None:
    return "it can't be written" if log.is_failing else None


async def _policy_fault(probe: Probe) -> str | None:
    return (await probe.check()).reason


def _decision_point(transport: OpaTransport, revision: str, telemetry: Telemetry) -> PolicyDecisionPoint:
    if telemetry.tracing is None:
        return PolicyDecisionPoint(transport, revision, telemetry.observer)
    from server.wiring.traced import TracedDecisionPoint

    return TracedDecisionPoint(transport, revision, telemetry.observer, telemetry.tracing)


def sample(pdp: PolicyDecisionPoint, log: DecisionLog) -> Sample:
    """How things stand now."""
    return Sample(
        breaker_open=pdp.breaker_open,
        breaker_openings=pdp.breaker_openings,
        wanted_revision=pdp.expected_revision,
        live_revision=pdp.live_revision,
        log_lines_waiting=log.lines_waiting,
        log_write_failures=log.write_failures,
    )


def _decision_log(setting: DecisionLogSetting) -> DecisionLog:
    match setting:
        case RotatedLog(path=path, rotate_at=size, keep=keep):
            return _decision_file(path, Rotation(size, keep))
        case Path():
            return _decision_file(setting)
        case _:
            return DecisionLog.to_stdout()


def _decision_file(path: Path, rotation: Rotation | None = None) -> DecisionLog:
    try:
        return DecisionLog.to_file(path, rotation)
    except OSError as fault:
        raise DecisionLogUnusable(
            f"the decision log `{path}` can't be written: {fault.strerror}; choose another `server.decision_log`"
        ) from None


def build(
    config: Config,
    enforcement: EnforcementPoint,
    authenticator: Authenticator | None,
    probe: Probe,
    telemetry: Telemetry | None = None,
    ending: Ending | None = None,
    streams: OpenStreams | None = None,
) -> Starlette:
    """The application that `config` describes; it opens nothing until its lifespan begins.

    `authenticator` is None where authentication is not configured: then every caller is anonymous. `telemetry`
    is what the enforcement point counts in. `ending` tells the door when to take no more requests; None means never.
    `streams` is where the streams that are being sent can be ended.
    """
    telemetry = measured(config) if telemetry is None else telemetry
    reader, tracing = Reader(), telemetry.tracing
    streams = OpenStreams() if streams is None else streams
    telemetry.metrics.watch_streams(streams.count)
    dependencies = telemetry.dependencies
    telemetry.policy.probe = partial(_policy_fault, probe)
    if authenticator is not None:
        identity = dependencies.add(Dependency("identity", on_timer=False, every=10.0, hold=5.0))
        authenticator = ObservedAuthenticator(authenticator, identity, services(config.server.auth))
    entries = tuple(
        _entry(api, provider, reader, telemetry) for api, listed in config.providers.items() for provider in listed
    )
    inference = {entry.provider_id: entry.provider for entry in entries if entry.api == "inference"}
    paid = tolls(config, dependencies)
    stores = Stores(config, dependencies)
    telemetry.metrics.watch_writes(stores.chats.queue.waiting)
    models = tuple(map(_model, config.models))
    registered = RegisteredModels(stores.models, stores.model_names, {name for each in models for name in each.names})
    catalogue = Catalogue(models, inference, registered)
    resources: list[Resource] = [
        partial(closed, tracing),
        partial(closed, reader),
        partial(closed, authenticator),
        *([] if paid.quota is None else [paid.quota.running]),
        stores.running,
        *(partial(started, entry.provider) for entry in entries),
        telemetry.metrics.sampling,
        dependencies.watching,
    ]
    return create_app(
        House(
            enforcement=enforcement,
            authenticator=authenticator,
            cors=cors(config.server.cors),
            health=Health(probe, version("ostiary"), telemetry.tallies.never_found, dependencies),
            models=Models(catalogue, created=int(time.time())),
            providers=Providers(entries, rules_about(config.server.auth, "provider")),
            chat=ChatCompletions(catalogue, reader, streams, stores.chats),
            ending=Ending() if ending is None else ending,
            lifespan=Opened(resources),
            tolls=paid,
            collections=(
                Files(stores.file_store, config.storage.max_file_bytes),
                Conversations(
                    stores.conversations, Items(stores.items, stores.conversations, stores.files, reader), reader
                ),
                StoredChats(stores.chats, catalogue, reader),
                PromptVersions(stores.prompts, reader),
                ModelRegistry(catalogue, registered, inference.keys(), reader),
                *(Entries(kind, stores.entries[kind.type], reader) for kind in KINDS),
            ),
            metrics=telemetry.metrics,
            metrics_page=_metrics_page(config.server.auth, telemetry.metrics),
            spans=tracing,
        )
    )


def _metrics_page(auth: AuthConfig, metrics: Metrics) -> MetricsPage | None:
    """The page, where rules of the configuration say who may see it, or nobody is asked for a token.

    Without rules everybody with a token may use every route, and the page would be shown to all of them.
    """
    is_governed = auth.route_policy is not None or auth.provider_config is None
    return MetricsPage(Exposition(metrics)) if is_governed else None


def _entry(api: str, provider: ProviderConfig, reader: Reader, telemetry: Telemetry) -> ProviderEntry:
    settings, tracing = _masked(provider.config.model_dump()), telemetry.tracing
    name = provider.provider_id
    dependency = Dependency(f"provider:{name}", on_timer=False, every=10.0, hold=5.0, provider_id=name)
    made: Provider = ObservedProvider(_provider(provider, reader), telemetry.dependencies.add(dependency))
    if tracing is not None:
        from server.wiring.traced import TracedProvider

        made = TracedProvider(provider.provider_id, made, tracing)
    return ProviderEntry(api, provider.provider_id, provider.provider_type, settings, made)


def _provider(config: ProviderConfig, reader: Reader) -> Provider:
    match config:
        case EchoProvider():
            return Echo(reader)
        case OpenAIProvider(provider_id=name, config=settings):
            key = settings.api_key
        case VllmProvider(provider_id=name, config=settings):
            key = settings.api_token
        case OllamaProvider(provider_id=name, config=settings):
            key = None
        case _:
            raise ValueError(f"no class serves the provider type `{config.provider_type}`")
    url = settings.base_url
    secret = None if key is None else key.get_secret_value()
    tls = _tls(settings.tls_verify) if url.startswith("https:") else None
    # vLLM and Ollama are given by the address of the server, and speak OpenAI's API under `/v1`.
    return OpenAICompatible(name, url if url.endswith("/v1") else f"{url}/v1", secret, tls)


def _tls(verify: bool | Path) -> ssl.SSLContext:
    return client_context(verify if isinstance(verify, Path) else None, verify=verify is not False)


def _model(config: ModelConfig) -> Model:
    return Model(
        config.model_id, config.provider_id, config.provider_model_id, config.model_type, dict(config.metadata)
    )


def cors(config: bool | CorsConfig) -> Cors | None:
    """What pages of other origins are told; None where none may call."""
    if isinstance(config, CorsConfig):
        return Cors(CorsPolicy(**config.model_dump()))
    return Cors(CorsPolicy.localhost()) if config else None


def _masked(settings: Any) -> Any:
    """Settings as JSON can hold them, with a row of asterisks for each secret."""
    match settings:
        case SecretStr():
            return _MASK
        case Path():
            return str(settings)
        case dict():
            return {name: _masked(value) for name, value in settings.items()}
        case list() | tuple():
            return [_masked(value) for value in settings]
    return settings
