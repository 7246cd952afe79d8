"""Building of the provider that each entry of the configuration describes."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from server.api.system.providers import ProviderEntry
from server.config import ProviderConfig
from server.config.bedrock import BedrockAccount, BedrockInference, BedrockSettings
from server.config.local_models import LlamaCppProvider, WordLlamaProvider
from server.config.provider_keys import FileSecret
from server.config.providers import EchoProvider, InferenceSettings, RemoteSettings
from server.config.safety import BedrockShields
from server.inference.breaker import Breaker
from server.inference.members import MemberRules
from server.inference.one_prompt import OnePrompt
from server.inference.own_models import KeptModels
from server.inference.provider import ByTask, ChatModel, Provider, Task
from server.inference.providers.bedrock.client import REFUSED, Bedrock
from server.inference.providers.bedrock.guardrail import Guardrail
from server.inference.providers.bedrock.plan import ChatApi
from server.inference.providers.bedrock.vectors import BedrockVectors
from server.inference.providers.credentials import Credentials, KeyInHeader
from server.inference.providers.dialects import DIALECTS, OPENAI, Dialect
from server.inference.providers.echo import Echo
from server.inference.providers.echo_texts import EchoTexts
from server.inference.providers.echo_vectors import EchoVectors
from server.inference.providers.http_provider import Limits
from server.inference.providers.keys import FileKey, FixedKey, Key
from server.inference.providers.llama_cpp.client import CRASHES
from server.inference.providers.llama_cpp.process import AGAIN_SECONDS
from server.inference.providers.openai_compatible import OpenAICompatible
from server.inference.providers.vector_answers import VectorRoom
from server.inference.shared import SharedChat, chats
from server.json_input.reader import Reader
from server.net.tls import client_context
from server.safety.bedrock import GuardrailService
from server.telemetry.dependencies import Dependency
from server.wiring.decisions import Telemetry
from server.wiring.local_models import llama_cpp, word_llama
from server.wiring.observed_providers import Notes, observed
from server.wiring.vectors import VECTOR_IO, VectorIndexes

_MASK: Final = "********"


def _entry(
    api: str, provider: ProviderConfig, reader: Reader, room: VectorRoom, telemetry: Telemetry, workers: int
) -> ProviderEntry:
    settings, tracing = masked(provider.config.model_dump()), telemetry.tracing
    name = provider.provider_id
    dependency = Dependency(f"provider:{name}", on_timer=False, every=10.0, hold=5.0, provider_id=name)
    telemetry.dependencies.add(dependency)
    telemetry.metrics.watch_provider(name)
    quotes = isinstance(provider.config, RemoteSettings) and provider.config.log_messages
    breaker = _breaker(provider)
    notes = Notes(name, dependency, telemetry.metrics.provider_failed, breaker, quotes=quotes)
    served = replace(_provider(provider, reader, room, workers, breaker), kind=provider.provider_type)
    made = observed(served, dependency, notes)
    if isinstance(provider.config, InferenceSettings) and provider.config.allowed_models is not None:
        made = replace(made, allowed=frozenset(provider.config.allowed_models))
    if tracing is not None:
        from server.wiring.traced import TracedChat

        made = replace(made, chat=TracedChat(name, made.chat, tracing))
    return ProviderEntry(api, provider.provider_id, provider.provider_type, settings, made)


def index_entry(provider: ProviderConfig, vectors: VectorIndexes) -> ProviderEntry:
    """Return the entry of an index of vector stores."""
    settings = masked(provider.config.model_dump())
    made = vectors.provider(provider.provider_id)
    return ProviderEntry(VECTOR_IO, provider.provider_id, provider.provider_type, settings, made)


def guardrails_of(provider: BedrockShields) -> GuardrailService:
    """Return the guardrails of the account that a provider of shields names."""
    name, settings = provider.provider_id, provider.config
    tls = _tls(settings.tls_verify) if settings.address.startswith("https:") else None
    return GuardrailService(name, settings.address, _credentials(name, settings), tls, _limits(settings))


def _breaker(config: ProviderConfig) -> Breaker | None:
    """Return the breaker of a provider; None for one in this process.

    A model in a child process has its supervisor, which starts it again and until then refuses all at once. The breaker
    is for a caller whose requests end the child each time.
    """
    settings = config.config
    if isinstance(config, LlamaCppProvider):
        return Breaker(config.provider_id, CRASHES, AGAIN_SECONDS, for_callers_alone=True)
    if not isinstance(settings, RemoteSettings):
        return None
    return Breaker(config.provider_id, settings.breaker.failures, settings.breaker.pause)


def _shared(model: ChatModel, settings: RemoteSettings, breaker: Breaker | None) -> SharedChat:
    """Return the model with its connections shared by callers, none of whom waits for a provider that is paused."""
    share = chats(settings.connections.total, settings.connections.of_one)
    return SharedChat(model, share) if breaker is None else SharedChat(model, share, breaker.check_all)


def _provider(
    config: ProviderConfig, reader: Reader, room: VectorRoom, workers: int, breaker: Breaker | None
) -> Provider:
    match config:
        case EchoProvider(config=echo):
            service = Echo(reader)
            does = ByTask({Task.CHAT: service, Task.TEXT: EchoTexts(reader), Task.EMBEDDING: EchoVectors(reader, room)})
            rules = MemberRules(frozenset(echo.allow_members), is_local=True)
            return Provider(service, does, rules, does.tasks, counter=service)
        case LlamaCppProvider(config=in_file):
            return llama_cpp(config.provider_id, in_file, reader, workers)
        case WordLlamaProvider(config=packaged):
            return word_llama(config.provider_id, packaged, reader, room)
        case BedrockInference(config=bedrock):
            return _bedrock(config.provider_id, bedrock, reader, room, breaker)
        case ProviderConfig(config=RemoteSettings() as settings) if config.provider_type in DIALECTS:
            return _remote(config.provider_id, settings, DIALECTS[config.provider_type], room, breaker)
        case _:
            raise ValueError(f"no class serves the provider type `{config.provider_type}`")


def _remote(
    name: str, settings: RemoteSettings, dialect: Dialect, room: VectorRoom, breaker: Breaker | None
) -> Provider:
    url, key = dialect.url_of(settings.address), settings.key
    client = OpenAICompatible(
        name,
        url,
        None,
        _tls(settings.tls_verify) if url.startswith("https:") else None,
        dialect=dialect,
        limits=_limits(settings),
        query=settings.query,
        credentials=KeyInHeader(dialect, None if key is None else _key(name, key)),
        room=room,
    )
    allowed = frozenset(settings.allow_members)
    rules = MemberRules(allowed, False, dialect.refused, dialect.renamed, dialect.lacking_parts)
    model = OnePrompt(client) if dialect.one_prompt else client
    own = KeptModels(client.models) if dialect.lists_models else None
    shared = _shared(model, settings, breaker)
    return Provider(client, shared, rules, dialect.tasks, own=own, thoughts=dialect.thoughts)


def _bedrock(
    name: str, settings: BedrockSettings, reader: Reader, room: VectorRoom, breaker: Breaker | None
) -> Provider:
    guard = settings.guardrail
    client = Bedrock(
        name,
        settings.address,
        _credentials(name, settings),
        _tls(settings.tls_verify) if settings.address.startswith("https:") else None,
        reader=reader,
        chat_api=ChatApi(settings.chat_api),
        limits=_limits(settings),
        guardrail=None if guard is None else Guardrail(guard.identifier, guard.version, guard.allow_unread),
    )
    shared = _shared(ByTask({Task.CHAT: client, Task.TEXT: OnePrompt(client)}), settings, breaker)
    does: dict[Task, ChatModel] = {Task.CHAT: shared}
    if settings.chat_api != "openai":
        does[Task.TEXT] = shared
    if guard is None:
        # No guardrail reads what is embedded.
        does[Task.EMBEDDING] = BedrockVectors(client, shared, room)
    model = ByTask(does)
    return Provider(client, model, MemberRules(frozenset(settings.allow_members), False, REFUSED), model.tasks)


def _credentials(name: str, settings: BedrockAccount) -> Credentials:
    if settings.key is not None:
        return KeyInHeader(OPENAI, _key(name, settings.key))
    from server.inference.providers.bedrock.signature import AwsSignature, Keys

    identity, secret, token = settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
    keys = None
    if identity is not None and secret is not None:
        keys = Keys(_key(name, identity), _key(name, secret), None if token is None else _key(name, token))
    return AwsSignature(name, settings.region, keys, settings.profile_name)


def _key(name: str, key: SecretStr) -> Key:
    text = key.get_secret_value()
    return FileKey(name, key.path, text) if isinstance(key, FileSecret) else FixedKey(text)


def _limits(settings: RemoteSettings) -> Limits:
    timeouts = settings.timeouts
    return Limits(timeouts.connect, timeouts.silence, timeouts.total, settings.retries)


def _tls(verify: bool | Path) -> ssl.SSLContext:
    return client_context(verify if isinstance(verify, Path) else None, verify=verify is not False)


def masked(settings: Any) -> Any:
    """Return settings as JSON can hold them, with a row of asterisks for each secret."""
    match settings:
        case SecretStr():
            return _MASK
        case Path():
            return str(settings)
        case dict():
            return {name: masked(value) for name, value in settings.items()}
        case list() | tuple():
            return [masked(value) for value in settings]
    return settings
