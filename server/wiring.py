"""Where a configuration becomes an application: the only place that names the concrete classes."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from starlette.applications import Starlette

from server.api.chat import ChatCompletions
from server.api.cors import CorsPolicy
from server.api.health import Health, Probe
from server.api.models import Models
from server.api.providers import ProviderEntry, Providers
from server.app import House, create_app
from server.authn import Authenticator
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authz.control_plane import ControlPlane
from server.authz.decision_log import DecisionLog
from server.authz.opa_process import OpaProcess
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.readiness import Authentication, ReadinessProbe
from server.authz.runtime_directory import RuntimeDirectory
from server.authz.transport import OpaTransport, UnixAddress
from server.config import AuthConfig, Config, CorsConfig, ModelConfig, ProviderConfig
from server.config.edge import STDOUT
from server.config.providers import EchoProvider, OllamaProvider, OpenAIProvider, VllmProvider
from server.guards import EnforcementPoint
from server.inference.catalogue import Catalogue, Model
from server.inference.echo import Echo
from server.inference.openai_compatible import OpenAICompatible
from server.inference.provider import Provider

_MASK: Final = "********"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served: the configuration, the bundle's file and revision, the OPA to run, who vouches."""

    config: Config
    bundle: Path
    revision: str
    opa: Path
    authenticator: Authenticator | None


def authenticator(config: AuthConfig) -> Authenticator | None:
    """Who turns tokens into principals; None where authentication is not configured."""
    provider = config.provider_config
    if provider is None:
        return None
    token = provider.jwks.token
    mapping = {} if provider.claims_mapping is None else {"claims_mapping": provider.claims_mapping}
    return OAuth2Authenticator(
        OAuth2Settings(
            jwks_uri=provider.jwks.uri,
            issuer=provider.issuer,
            audience=provider.audience,
            jwks_token=None if token is None else token.get_secret_value(),
            key_recheck_seconds=provider.jwks.key_recheck_period,
            tls_cafile=provider.tls_cafile,
            verify_tls=provider.verify_tls,
            **mapping,
        )
    )


@asynccontextmanager
async def decisions(
    plan: Plan, directory: RuntimeDirectory
) -> AsyncIterator[tuple[PolicyEnforcementPoint, ReadinessProbe]]:
    """OPA as a child process with the plan's bundle, and who asks it; all of it ends with the context.

    Raises OpaStartFailed.
    """
    address = UnixAddress(directory.socket)
    state = Authentication.OFF if plan.authenticator is None else Authentication.CONFIGURED
    async with AsyncExitStack() as stack:
        transport = OpaTransport(address)
        stack.callback(transport.close)
        pdp = PolicyDecisionPoint(transport, plan.revision)
        control = ControlPlane(address)
        stack.push_async_callback(control.close)
        probe = ReadinessProbe(pdp, control, state)
        opa = OpaProcess(plan.opa, plan.bundle, directory, probe)
        await opa.start()
        stack.push_async_callback(opa.stop)
        log = _decision_log(plan.config.server.decision_log)
        stack.push_async_callback(log.close)
        yield PolicyEnforcementPoint(pdp, log), probe


def _decision_log(sink: Path | str) -> DecisionLog:
    return DecisionLog.to_stdout() if sink == STDOUT else DecisionLog.to_file(Path(sink))


def build(
    config: Config, enforcement: EnforcementPoint, authenticator: Authenticator | None, probe: Probe
) -> Starlette:
    """The application that `config` describes; it opens nothing until its lifespan begins.

    `authenticator` is None where authentication is not configured: then every caller is anonymous.
    """
    entries = tuple(_entry(api, provider) for api, listed in config.providers.items() for provider in listed)
    inference = {entry.provider_id: entry.provider for entry in entries if entry.api == "inference"}
    catalogue = Catalogue(map(_model, config.models), inference)
    return create_app(
        House(
            enforcement=enforcement,
            authenticator=authenticator,
            cors=_cors(config.server.cors),
            health=Health(probe, version("ostiary")),
            models=Models(catalogue, created=int(time.time())),
            providers=Providers(entries),
            chat=ChatCompletions(catalogue),
            lifespan=_Lifespan([entry.provider for entry in entries]),
        )
    )


class _Lifespan:
    """Starts the providers in the event loop that serves, and closes them when it stops."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    @asynccontextmanager
    async def __call__(self, app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as started:
            for provider in self._providers:
                await provider.start()
                started.push_async_callback(provider.close)
            yield


def _entry(api: str, provider: ProviderConfig) -> ProviderEntry:
    settings = _masked(provider.config.model_dump())
    return ProviderEntry(api, provider.provider_id, provider.provider_type, settings, _provider(provider))


def _provider(config: ProviderConfig) -> Provider:
    match config:
        case EchoProvider():
            return Echo()
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
    """Made once for each provider: reading the certificates takes longer than a request."""
    context = ssl.create_default_context(cafile=verify if isinstance(verify, Path) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _model(config: ModelConfig) -> Model:
    return Model(
        config.model_id, config.provider_id, config.provider_model_id, config.model_type, dict(config.metadata)
    )


def _cors(config: bool | CorsConfig | None) -> CorsPolicy | None:
    if isinstance(config, CorsConfig):
        return CorsPolicy(**config.model_dump())
    return CorsPolicy.localhost() if config else None


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
