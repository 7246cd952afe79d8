"""The models of `apis` and `providers`: the APIs that the server offers, and their provider instances."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetPydanticSchema, Tag
from pydantic_core import CoreSchema, core_schema

from server.config.agents import AgentsProvider
from server.config.api_names import SERVED_APIS, about_api, about_missing, is_missing
from server.config.base import StrictModel, chosen_by
from server.config.batches import BatchesProvider
from server.config.bedrock import BedrockInference
from server.config.local_models import LlamaCppProvider, WordLlamaProvider
from server.config.providers import (
    EchoProvider,
    HostedProvider,
    OllamaProvider,
    OpenAIProvider,
    PlacedProvider,
    ProviderConfig,
    VllmProvider,
)
from server.config.raw_value import RawValue
from server.config.safety import BedrockShields, KeywordProvider, LlamaGuardProvider
from server.config.tool_runtime import MCP, ToolRuntimeProvider
from server.config.types import refusal, text, unknown_choice
from server.config.vector_io import FaissProvider, LanceProvider


def _api(value: object) -> object:
    word = str(text(value))
    if is_missing(word):
        raise refusal("not-available", about_api(word), whole=True)
    if word not in SERVED_APIS and isinstance(value, RawValue):
        raise unknown_choice(value, SERVED_APIS)
    return word


ApiName = Annotated[str, BeforeValidator(_api)]
"""The name of an API that this version serves."""


def needs(api: str, what: str) -> BeforeValidator:
    """Return a validator that refuses `what`, an entry of a list, while the API that it needs isn't served."""

    def refuse_it(value: object) -> object:
        if is_missing(api):
            raise refusal("not-available", about_missing(api, what), whole=True)
        return value

    return BeforeValidator(refuse_it)


InferenceProvider = Annotated[
    Annotated[EchoProvider, Tag("inline::echo")]
    | Annotated[LlamaCppProvider, Tag("inline::llama-cpp")]
    | Annotated[WordLlamaProvider, Tag("inline::wordllama")]
    | Annotated[HostedProvider, Tag("remote::anthropic")]
    | Annotated[PlacedProvider, Tag("remote::azure")]
    | Annotated[BedrockInference, Tag("remote::bedrock")]
    | Annotated[HostedProvider, Tag("remote::cerebras")]
    | Annotated[PlacedProvider, Tag("remote::databricks")]
    | Annotated[HostedProvider, Tag("remote::deepseek")]
    | Annotated[HostedProvider, Tag("remote::fireworks")]
    | Annotated[HostedProvider, Tag("remote::gemini")]
    | Annotated[HostedProvider, Tag("remote::groq")]
    | Annotated[HostedProvider, Tag("remote::llama-openai-compat")]
    | Annotated[HostedProvider, Tag("remote::mistral")]
    | Annotated[HostedProvider, Tag("remote::nvidia")]
    | Annotated[OllamaProvider, Tag("remote::ollama")]
    | Annotated[OpenAIProvider, Tag("remote::openai")]
    | Annotated[HostedProvider, Tag("remote::openrouter")]
    | Annotated[PlacedProvider, Tag("remote::passthrough")]
    | Annotated[HostedProvider, Tag("remote::sambanova")]
    | Annotated[HostedProvider, Tag("remote::together")]
    | Annotated[VllmProvider, Tag("remote::vllm")],
    chosen_by(
        "provider_type",
        "inline::echo",
        "inline::llama-cpp",
        "inline::wordllama",
        "remote::anthropic",
        "remote::azure",
        "remote::bedrock",
        "remote::cerebras",
        "remote::databricks",
        "remote::deepseek",
        "remote::fireworks",
        "remote::gemini",
        "remote::groq",
        "remote::llama-openai-compat",
        "remote::mistral",
        "remote::nvidia",
        "remote::ollama",
        "remote::openai",
        "remote::openrouter",
        "remote::passthrough",
        "remote::sambanova",
        "remote::together",
        "remote::vllm",
    ),
]
"""A provider of inference, chosen by `provider_type`."""


VectorIoProvider = Annotated[
    Annotated[FaissProvider, Tag("inline::faiss")] | Annotated[LanceProvider, Tag("inline::lancedb")],
    chosen_by("provider_type", "inline::faiss", "inline::lancedb"),
]
"""A provider of the indexes of vector stores, chosen by `provider_type`."""


SafetyProvider = Annotated[
    Annotated[KeywordProvider, Tag("inline::keyword")]
    | Annotated[LlamaGuardProvider, Tag("inline::llama-guard")]
    | Annotated[BedrockShields, Tag("remote::bedrock")],
    chosen_by("provider_type", "inline::keyword", "inline::llama-guard", "remote::bedrock"),
]
"""A provider of shields, chosen by `provider_type`."""


def _at_most_one(value: tuple[AgentsProvider, ...]) -> tuple[AgentsProvider, ...]:
    if len(value) > 1:
        raise refusal("wrong-value", "takes one provider, since the server has one place for responses")
    return value


def _one_runner(value: tuple[BatchesProvider, ...]) -> tuple[BatchesProvider, ...]:
    if len(value) > 1:
        raise refusal("wrong-value", "takes one provider, since the server itself runs all batches")
    return value


def _one_of_each(value: tuple[ProviderConfig, ...]) -> tuple[ProviderConfig, ...]:
    servers = [each.provider_type == MCP for each in value]
    if sum(servers) > 1:
        raise refusal("wrong-value", f"takes one `{MCP}`, which has the hosts of all servers of tools")
    if len(servers) - sum(servers) > 1:
        raise refusal("wrong-value", "takes one search of files, since each request says where it searches")
    return value


class _Providers(StrictModel):
    """One field for each API that takes providers."""

    inference: tuple[InferenceProvider, ...] = ()
    vector_io: tuple[VectorIoProvider, ...] = ()
    safety: tuple[SafetyProvider, ...] = ()
    tool_runtime: Annotated[tuple[ToolRuntimeProvider, ...], AfterValidator(_one_of_each)] = ()
    agents: Annotated[tuple[AgentsProvider, ...], AfterValidator(_at_most_one)] = ()
    batches: Annotated[tuple[BatchesProvider, ...], AfterValidator(_one_runner)] = ()


def _by_api(providers: _Providers) -> dict[str, tuple[ProviderConfig, ...]]:
    return {api: getattr(providers, api) for api in _Providers.model_fields if api in providers.model_fields_set}


def _schema(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    as_it_is = core_schema.plain_serializer_function_ser_schema(dict)
    return core_schema.no_info_after_validator_function(_by_api, handler(_Providers), serialization=as_it_is)


ProvidersConfig = Annotated[dict[str, tuple[ProviderConfig, ...]], GetPydanticSchema(_schema)]
"""Provider instances by API, those of an API in the order of the file; each API admits its own provider types."""
