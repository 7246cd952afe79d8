"""The models of `apis` and `providers`: the APIs that the server offers, and their provider instances."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetPydanticSchema, Tag
from pydantic_core import CoreSchema, core_schema

from server.config.base import StrictModel, chosen_by
from server.config.bedrock import BedrockInference
from server.config.later_providers import AgentsProvider, BedrockProvider, FaissProvider, LlamaGuardProvider
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
from server.config.types import refusal, text, unknown_choice

SERVED_APIS: Final = ("inference",)
"""The APIs that this version serves."""

_LATER_APIS: Final = ("agents", "safety", "vector_io")


def _api(value: object) -> object:
    word = text(value)
    if word in _LATER_APIS:
        raise refusal("not-available", f"`{word}` is not available in this version", whole=True)
    if word not in SERVED_APIS and isinstance(value, RawValue):
        raise unknown_choice(value, (*SERVED_APIS, *_LATER_APIS))
    return word


ApiName = Annotated[Literal["inference"], BeforeValidator(_api)]
"""The name of an API that this version serves."""

_InferenceProvider = Annotated[
    Annotated[EchoProvider, Tag("inline::echo")]
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
_VectorProvider = Annotated[Annotated[FaissProvider, Tag("inline::faiss")], chosen_by("provider_type", "inline::faiss")]
_SafetyProvider = Annotated[
    Annotated[BedrockProvider, Tag("remote::bedrock")] | Annotated[LlamaGuardProvider, Tag("inline::llama-guard")],
    chosen_by("provider_type", "inline::llama-guard", "remote::bedrock"),
]
_AgentsProvider = Annotated[
    Annotated[AgentsProvider, Tag("inline::builtin")], chosen_by("provider_type", "inline::builtin")
]


class _Providers(StrictModel):
    agents: tuple[_AgentsProvider, ...] = ()
    inference: tuple[_InferenceProvider, ...] = ()
    safety: tuple[_SafetyProvider, ...] = ()
    vector_io: tuple[_VectorProvider, ...] = ()


def _by_api(providers: _Providers) -> dict[str, tuple[ProviderConfig, ...]]:
    return {api: getattr(providers, api) for api in _Providers.model_fields if api in providers.model_fields_set}


def _schema(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    as_it_is = core_schema.plain_serializer_function_ser_schema(dict)
    return core_schema.no_info_after_validator_function(_by_api, handler(_Providers), serialization=as_it_is)


ProvidersConfig = Annotated[dict[str, tuple[ProviderConfig, ...]], GetPydanticSchema(_schema)]
"""Provider instances by API, those of an API in the order of the file; each API admits its own provider types."""
