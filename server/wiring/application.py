"""Where a configuration becomes an application: the only place that names the concrete classes."""

from __future__ import annotations

import time
from functools import partial
from importlib.metadata import version

from starlette.applications import Starlette

from server.api.chat.routes import ChatCompletions
from server.api.chat.stored_routes import StoredChats
from server.api.conversations.items import Items
from server.api.conversations.routes import Conversations
from server.api.files.routes import Files
from server.api.models.catalogue import Catalogue
from server.api.models.model import Model
from server.api.models.registered import RegisteredModels
from server.api.models.registration import ModelRegistry
from server.api.models.routes import Models
from server.api.prompts.routes import PromptVersions
from server.api.registry.routes import KINDS, RegistryRoutes
from server.api.system.health import HealthRoutes
from server.api.system.metrics import MetricsPage
from server.api.system.providers import ProviderRoutes
from server.app import Components, create_app
from server.authn import Authenticator
from server.authz.readiness import ReadinessProbe
from server.authz.request_authorization import EnforcementPoint
from server.config import AuthConfig, Config, CorsConfig, ModelConfig
from server.http.cors import Cors, CorsPolicy
from server.http.drain_guard import Shutdown
from server.http.open_streams import OpenStreams
from server.json_input.reader import Reader
from server.telemetry.dependencies import Dependency
from server.telemetry.exposition import Exposition
from server.telemetry.metrics import Metrics
from server.wiring.authenticators import services
from server.wiring.decisions import Telemetry, measured
from server.wiring.lifespan import Lifespan, LifespanResource, closed, started
from server.wiring.observed import ObservedAuthenticator
from server.wiring.providers import _entry
from server.wiring.quotas import build_admission
from server.wiring.rules_about import rules_about
from server.wiring.stores import Stores


async def _policy_fault(probe: ReadinessProbe) -> str | None:
    return (await probe.check()).reason


def build(
    config: Config,
    enforcement: EnforcementPoint,
    authenticator: Authenticator | None,
    probe: ReadinessProbe,
    telemetry: Telemetry | None = None,
    ending: Shutdown | None = None,
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
    paid = build_admission(config, dependencies)
    stores = Stores(config, dependencies)
    telemetry.metrics.watch_writes(stores.chats.queue.waiting)
    models = tuple(map(_model, config.models))
    registered = RegisteredModels(stores.models, stores.model_names, {name for each in models for name in each.names})
    catalogue = Catalogue(models, inference, registered)
    resources: list[LifespanResource] = [
        partial(closed, tracing),
        partial(closed, reader),
        partial(closed, authenticator),
        *([] if paid.quota is None else [paid.quota.running]),
        stores.running,
        *(partial(started, entry.provider.connection) for entry in entries),
        telemetry.metrics.sampling,
        dependencies.watching,
    ]
    return create_app(
        Components(
            enforcement=enforcement,
            authenticator=authenticator,
            cors=cors(config.server.cors),
            health=HealthRoutes(probe, version("ostiary"), telemetry.tallies.never_found, dependencies),
            models=Models(catalogue, created=int(time.time())),
            providers=ProviderRoutes(entries, rules_about(config.server.auth, "provider")),
            chat=ChatCompletions(catalogue, reader, streams, stores.chats),
            ending=Shutdown() if ending is None else ending,
            lifespan=Lifespan(resources),
            admission=paid,
            collections=(
                Files(stores.file_store, config.storage.max_file_bytes),
                Conversations(
                    stores.conversations, Items(stores.items, stores.conversations, stores.files, reader), reader
                ),
                StoredChats(stores.chats, catalogue, reader),
                PromptVersions(stores.prompts, reader),
                ModelRegistry(catalogue, registered, inference.keys(), reader),
                *(RegistryRoutes(kind, stores.entries[kind.type], reader) for kind in KINDS),
            ),
            metrics=telemetry.metrics,
            metrics_page=_metrics_page(config.server.auth, telemetry.metrics),
            tracing=tracing,
        )
    )


def _metrics_page(auth: AuthConfig, metrics: Metrics) -> MetricsPage | None:
    """The page, where rules of the configuration say who may see it, or nobody is asked for a token.

    Without rules everybody with a token may use every route, and the page would be shown to all of them.
    """
    is_governed = auth.route_policy is not None or auth.provider_config is None
    return MetricsPage(Exposition(metrics)) if is_governed else None


def _model(config: ModelConfig) -> Model:
    return Model(
        config.model_id, config.provider_id, config.provider_model_id, config.model_type, dict(config.metadata)
    )


def cors(config: bool | CorsConfig) -> Cors | None:
    """What pages of other origins are told; None where none may call."""
    if isinstance(config, CorsConfig):
        return Cors(CorsPolicy(**config.model_dump()))
    return Cors(CorsPolicy.localhost()) if config else None
