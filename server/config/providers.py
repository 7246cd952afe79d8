"""Provider instances that this version serves: an id, a type and that type's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from server.config.base import StrictModel
from server.config.locations import BaseUrl, readable_file
from server.config.types import BearerToken, Text, one_of, refusal, scalar, switch

_MOST_ALLOWED: Final = 32


def _tls_verify(value: object) -> object:
    if isinstance(value, bool | Path):
        return value
    given = scalar(value, "`true`, `false` or the path of a file")
    says_whether = isinstance(given.literal, bool) or given.text.lower() in ("true", "false")
    return switch(given) if says_whether else readable_file(given)


TlsVerify = Annotated[bool | Path, BeforeValidator(_tls_verify)]
"""True: the system's CA certificates; a path: that file of CA certificates; false: any certificate is accepted."""


def _without_slash(value: str) -> str:
    if "/" in value:
        raise refusal("wrong-value", "takes no `/`, which separates it from the model in a model's name")
    return value


def _few(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > _MOST_ALLOWED:
        raise refusal("wrong-value", f"takes at most {_MOST_ALLOWED} names")
    return value


AllowedMembers = Annotated[tuple[Text, ...], AfterValidator(_few)]
"""Members of bodies, or paths such as `moderation.model`, that reach the provider as they came; `*` is any."""


class ProviderSettings(StrictModel):
    """The `config` of a provider instance."""


class InferenceSettings(ProviderSettings):
    """The settings of every provider that answers chats."""

    allow_members: AllowedMembers = ()


class ProviderConfig(StrictModel):
    """One provider instance. `provider_id` is unique within its API and holds no `/`."""

    provider_id: Annotated[Text, AfterValidator(_without_slash)]
    provider_type: str
    config: ProviderSettings


class EchoSettings(InferenceSettings):
    """`inline::echo` has no settings of its own."""


class OpenAISettings(InferenceSettings):
    """`remote::openai`. Without `api_key`, requests carry none."""

    api_key: BearerToken | None = None
    base_url: BaseUrl = "https://api.openai.com/v1"
    tls_verify: TlsVerify = True


class VllmSettings(InferenceSettings):
    """`remote::vllm`. The file must say `url` or `base_url`, with or without `/v1` at its end."""

    base_url: BaseUrl = Field(validation_alias=AliasChoices("url", "base_url"))
    api_token: BearerToken | None = None
    tls_verify: TlsVerify = True


class OllamaSettings(InferenceSettings):
    """`remote::ollama`. The file may say `url` or `base_url`, with or without `/v1` at its end."""

    base_url: BaseUrl = Field(default="http://localhost:11434", validation_alias=AliasChoices("url", "base_url"))
    tls_verify: TlsVerify = True


class EchoProvider(ProviderConfig):
    """A deterministic provider for first runs and tests: it answers with the text of the request."""

    provider_type: Annotated[Literal["inline::echo"], one_of("inline::echo")]
    config: EchoSettings = EchoSettings()


class OpenAIProvider(ProviderConfig):
    """OpenAI, or any server that speaks its protocol."""

    provider_type: Annotated[Literal["remote::openai"], one_of("remote::openai")]
    config: OpenAISettings = OpenAISettings()


class VllmProvider(ProviderConfig):
    """A vLLM server."""

    provider_type: Annotated[Literal["remote::vllm"], one_of("remote::vllm")]
    config: VllmSettings


class OllamaProvider(ProviderConfig):
    """An Ollama server."""

    provider_type: Annotated[Literal["remote::ollama"], one_of("remote::ollama")]
    config: OllamaSettings = OllamaSettings()
