"""Building of the application that a configuration describes, from the concrete classes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from typing import Final

from starlette.applications import Starlette

from server.api.chat.files import ChatFiles
from server.api.chat.routes import ChatCompletions
from server.api.chat.stored_routes import StoredChats
from server.api.completions.routes import Completions
from server.api.conversations.items import Items
from server.api.conversations.routes import Conversations
from server.api.embeddings.routes import Embeddings
from server.api.files.routes import Files
from server.api.messages.routes import MessageRoutes
from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.models.model import Model
from server.api.models.registered import RegisteredModels
from server.api.models.registration import ModelRegistry
from server.api.models.reserved import ReservedNames
from server.api.models.routes import Models
from server.api.prompts.routes import PromptVersions
from server.api.registry.routes import KINDS, RegistryRoutes
from server.api.responses.answering import Endings
from server.api.responses.asking import AskedTurns
from server.api.responses.background.callers import Callers
from server.api.responses.server_tools.file_search import KIND as FILE_SEARCH
from server.api.responses.server_tools.file_search import FileSearches
from server.api.responses.server_tools.tool import ServerTools
from server.api.system.health import HealthRoutes
from server.api.system.inspect import InspectRoutes
from server.api.system.metrics import MetricsPage
from server.api.system.providers import ProviderEntry, ProviderRoutes
from server.api.tools.registry import GROUP, ToolGroups
from server.api.tools.routes import ToolRoutes
from server.api.usage.routes import UsageRoutes
from server.app import Components, RouteGroup, create_app
from server.authn import Authenticator
from server.authn.pseudonyms import kept_key
from server.authn.seals import Seals
from server.authn.stamps import Stamps
from server.authz.readiness import ReadinessProbe
from server.authz.request_authorization import EnforcementPoint
from server.config import AuthConfig, Config, CorsConfig, ModelConfig
from server.config.batches import batch_settings
from server.config.home import home
from server.http.cors import Cors, CorsPolicy
from server.http.deferred import DeferredRequests
from server.http.drain_guard import Shutdown
from server.http.open_streams import OpenStreams
from server.inference.provider import Task
from server.inference.providers.vector_answers import VectorRoom
from server.json_input.reader import Reader
from server.storage.usage.report import UsageReports
from server.telemetry.dependencies import Dependency
from server.telemetry.exposition import Exposition
from server.telemetry.metrics import Metrics
from server.wiring.authenticators import services
from server.wiring.batches import BatchServices
from server.wiring.decisions import Telemetry, measured
from server.wiring.ingestion import VectorWork
from server.wiring.lifespan import Lifespan, LifespanResource, closed, started
from server.wiring.observed import ObservedAuthenticator
from server.wiring.providers import _entry, guardrails_of, index_entry, masked
from server.wiring.quotas import build_admission
from server.wiring.responses import ResponseServices
from server.wiring.rules_about import rules_about
from server.wiring.safety import SAFETY, SafetyProviders, build_shields, safety_routes
from server.wiring.stores import Stores
from server.wiring.tool_groups import file_search_group, group_records, tool_sources
from server.wiring.tools import TOOL_RUNTIME, ToolServers, tool_entries
from server.wiring.vector_stores import vector_store_routes
from server.wiring.vectors import VectorIndexes

_TASKS: Final = {
    "/v1/chat/completions": Task.CHAT,
    "/v1/completions": Task.TEXT,
    "/v1/embeddings": Task.EMBEDDING,
    "/v1/messages": Task.CHAT,
    "/v1/responses": Task.CHAT,
}
"""The routes that ask providers, with what they ask them for."""


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
    """Build the application that `config` describes; it opens nothing until its lifespan begins.

    `authenticator` is None where authentication is not configured: then every caller is anonymous. `telemetry`
    holds the counters of the enforcement point. `ending` is set when no more requests may be taken; None means never.
    `streams` ends the streams that are being sent.
    """
    telemetry = measured(config) if telemetry is None else telemetry
    reader, tracing = Reader(config.server.workers), telemetry.tracing
    endings = Endings(telemetry.metrics.tools.called)
    streams = OpenStreams() if streams is None else streams
    telemetry.metrics.watch_streams(streams.count)
    dependencies = telemetry.dependencies
    telemetry.policy.probe = partial(_policy_fault, probe)
    if authenticator is not None:
        identity = dependencies.add(Dependency("identity", on_timer=False, every=10.0, hold=5.0))
        authenticator = ObservedAuthenticator(authenticator, identity, services(config.server.auth))
    room = VectorRoom()
    vectors = VectorIndexes(config, dependencies)
    guards = SafetyProviders(config, guardrails_of, telemetry.metrics.shields.checked)
    entries = (
        *(
            _entry(api, provider, reader, room, telemetry, config.server.workers)
            if api == "inference"
            else index_entry(provider, vectors)
            for api, listed in config.providers.items()
            if api not in ("agents", "batches", SAFETY, TOOL_RUNTIME)  # the server itself runs the first two
            for provider in listed
        ),
        *guards.entries(masked),
        *tool_entries(config, masked),
    )
    inference = {entry.provider_id: entry.provider for entry in entries if entry.api == "inference"}
    paid = build_admission(config, dependencies)
    stores = Stores(config, dependencies)
    tool_servers = ToolServers(config, reader, stores.approvals, stores.entries[GROUP])
    telemetry.metrics.watch_writes(stores.chats.queue.waiting)
    telemetry.metrics.watch_usage(stores.tally.totals)
    models = _models(config.models)
    reserved = ReservedNames([name for each in models for name in each.names], inference.keys())
    registered = RegisteredModels(stores.models, stores.model_names, reserved)
    catalogue = Catalogue(models, inference, registered)
    asking = Asking(catalogue, reader, streams, Stamps(lambda: kept_key(home())), stores.tally)
    shields = build_shields(config, guards, stores, asking, catalogue)
    others = stores.entries.keys() - {"shield", GROUP}
    deferred = DeferredRequests(enforcement, paid, requires_token=authenticator is not None)
    vector_work = VectorWork(stores, vectors, asking, catalogue, deferred, dependencies, telemetry.metrics)
    items = Items(stores.items, stores.conversations, stores.files, reader)
    files = ChatFiles(stores.file_store)
    turns, seals = AskedTurns(asking, files, reader), Seals(partial(_seal_keys, config))
    found = FileSearches(stores.vector_stores, vector_work.search, file_search_group(config))
    searches = {FILE_SEARCH: found} if vectors.ids else {}
    queues = (stores.response_queue.records, stores.batch_queue.records)
    callers = Callers(stores.response_callers, queues, deferred.shown, config.server.max_delegation)
    responses = ResponseServices(
        stores,
        catalogue,
        asking,
        turns,
        items,
        seals,
        reader,
        endings,
        ServerTools({**searches, **tool_servers.kinds}),
        streams,
        deferred,
        telemetry.metrics,
        callers,
        config.server.max_delegation,
    )
    batches = BatchServices(
        stores,
        callers,
        deferred,
        reader,
        telemetry.metrics,
        config.server.max_delegation,
        batch_settings(config.providers),
    )
    resources: list[LifespanResource] = [
        partial(closed, tracing),
        partial(closed, reader),
        partial(closed, authenticator),
        *([] if paid.quota is None else [paid.quota.running]),
        stores.running,
        vectors.running,
        tool_servers.sessions.running,
        endings.running,
        *(partial(started, entry.provider.connection) for entry in entries),
        vector_work.running,
        responses.background.running,
        batches.worker.running,
        telemetry.metrics.sampling,
        dependencies.watching,
    ]
    # Paths are compared in this order: the route of most requests comes first.
    groups: list[RouteGroup] = [
        ChatCompletions(asking, stores.chats, files),
        *responses.making,
        MessageRoutes(asking, files, reader),
        Completions(asking),
        Embeddings(asking),
        HealthRoutes(probe, version("ostiary"), telemetry.tallies.never_found, dependencies),
        *_metrics_page(config.server.auth, telemetry.metrics),
        Models(catalogue, created=int(time.time())),
        InspectRoutes({path: _types(entries, task) for path, task in _TASKS.items()}),
        ProviderRoutes(entries, rules_about(config.server.auth, "provider"), catalogue.resource_of),
        Files(stores.file_store, config.storage.max_file_bytes),
        Conversations(stores.conversations, items, reader),
        StoredChats(stores.chats, catalogue, reader),
        *responses.stored,
        batches.routes,
        PromptVersions(stores.prompts, reader),
        UsageRoutes(UsageReports(stores.usage)),
        ModelRegistry(catalogue, registered, inference.keys(), reader),
        *safety_routes(shields, guards, stores, reader),
        *(RegistryRoutes(kind, stores.entries[kind.type], reader) for kind in KINDS if kind.type in others),
        ToolGroups(stores.entries[GROUP], group_records(config), tool_servers.registering, reader),
        ToolRoutes(stores.entries[GROUP], tool_sources(config, tool_servers.sessions, tool_servers.providers)),
        *vector_store_routes(config, stores, catalogue, vectors, vector_work, reader, endings),
    ]
    app = create_app(
        Components(
            groups=groups,
            enforcement=enforcement,
            authenticator=authenticator,
            cors=cors(config.server.cors),
            ending=Shutdown() if ending is None else ending,
            lifespan=Lifespan(resources),
            metrics=telemetry.metrics,
            tracing=tracing,
            admission=paid,
        )
    )
    batches.work.through(app)
    return app


def _types(entries: Iterable[ProviderEntry], task: Task) -> list[str]:
    """Return the types of the providers that are asked for a task."""
    return sorted({entry.provider_type for entry in entries if task in entry.provider.tasks})


def _metrics_page(auth: AuthConfig, metrics: Metrics) -> list[RouteGroup]:
    """Return the page, where rules of the configuration say which callers may see it, or authentication is off; else
    nothing.

    Without rules, every caller with a token may use every route, and could see the page.
    """
    is_governed = auth.route_policy is not None or auth.provider_config is None
    return [MetricsPage(Exposition(metrics))] if is_governed else []


def _models(configured: Iterable[ModelConfig]) -> tuple[Model, ...]:
    """Return the models of the configuration; those that they name are known by their canonical names."""
    canonical = {name: each.names[0] for each in configured for name in each.names}
    return tuple(
        Model(
            each.model_id,
            each.provider_id,
            each.provider_model_id,
            each.model_type,
            dict(each.metadata),
            fallback=tuple(canonical[name] for name in each.fallback),
            weights={canonical[name]: weight for name, weight in each.weights.items()},
            aliases=each.aliases,
        )
        for each in configured
    )


def _seal_keys(config: Config) -> list[bytes]:
    """Return the keys of seals: those of the configuration, or one that is made once in the user's directory."""
    keys = [key.get_secret_value().encode() for key in config.server.seal_keys]
    return keys or [kept_key(home(), "seal-key")]


def cors(config: bool | CorsConfig) -> Cors | None:
    """Return the CORS headers for pages of other origins; None where no other origin may call."""
    if isinstance(config, CorsConfig):
        return Cors(CorsPolicy(**config.model_dump()))
    return Cors(CorsPolicy.localhost()) if config else None
