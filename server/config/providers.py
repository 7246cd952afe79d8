"""Provider instances that this version serves: an id, a type and that type's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr

from server.config.base import StrictModel
from server.config.locations import BaseUrl, readable_file
from server.config.provider_keys import ProviderKey
from server.config.provider_limits import BreakerConfig, ConnectionLimit, Connections, Timeouts
from server.config.types import Switch, Text, one_of, refusal, scalar, switch, whole_number

MOST_MODELS: Final = 1000
"""Models that one provider may be allowed by name."""

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


def _not_too_many(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > MOST_MODELS:
        raise refusal("wrong-value", f"takes at most {MOST_MODELS} names")
    return value


def some_value(value: object) -> object:
    """Refuse an empty place, or a variable that gives nothing, where a value restricts and its absence does not."""
    if value is None:
        raise refusal("missing-value", "needs a value", "leave it out for no restriction")
    return value


AllowedMembers = Annotated[tuple[Text, ...], AfterValidator(_few)]
"""Members of bodies, or paths such as `metadata.tags`, that reach the provider as they came; `*` is any."""


class ProviderSettings(StrictModel):
    """The `config` of a provider instance."""


class ProviderConfig(StrictModel):
    """One provider instance. `provider_id` is unique within its API and holds no `/`."""

    provider_id: Annotated[Text, AfterValidator(_without_slash)]
    provider_type: str
    config: ProviderSettings


class InferenceSettings(ProviderSettings):
    """The settings of every provider that answers chats.

    `allowed_models` are the provider's names of the models that it may be asked for; None allows all.
    """

    allow_members: AllowedMembers = ()
    allowed_models: Annotated[
        Annotated[tuple[Text, ...], AfterValidator(_not_too_many)] | None, BeforeValidator(some_value)
    ] = None


class EchoSettings(InferenceSettings):
    """`inline::echo` has no settings of its own."""


class RemoteSettings(InferenceSettings):
    """The settings of every provider that is reached over HTTP; with `log_messages`, its errors go to the log."""

    tls_verify: TlsVerify = True
    timeouts: Timeouts = Timeouts()
    connections: ConnectionLimit = Connections()
    retries: Annotated[int, whole_number(0, 5)] = 2
    breaker: BreakerConfig = BreakerConfig()
    log_messages: Switch = False

    @property
    def address(self) -> str | None:
        """The base URL, where the file says one or there is a default."""
        raise NotImplementedError

    @property
    def key(self) -> SecretStr | None:
        """The credential of each request."""
        return None

    @property
    def query(self) -> Mapping[str, str]:
        """The query of each request."""
        return {}


class KeyedSettings(RemoteSettings):
    """A service that takes an `api_key`."""

    api_key: ProviderKey | None = None

    @property
    def key(self) -> SecretStr | None:
        """The credential of each request."""
        return self.api_key


class OpenAISettings(KeyedSettings):
    """`remote::openai`. Without `api_key`, requests carry none."""

    base_url: BaseUrl = "https://api.openai.com/v1"

    @property
    def address(self) -> str:
        """The base URL."""
        return self.base_url


class VllmSettings(RemoteSettings):
    """`remote::vllm`. The file must say `url` or `base_url`, with or without `/v1` at its end."""

    base_url: BaseUrl = Field(validation_alias=AliasChoices("url", "base_url"))
    api_token: ProviderKey | None = None

    @property
    def address(self) -> str:
        """The base URL."""
        return self.base_url

    @property
    def key(self) -> SecretStr | None:
        """The credential of each request."""
        return self.api_token


class OllamaSettings(RemoteSettings):
    """`remote::ollama`. The file may say `url` or `base_url`, with or without `/v1` at its end."""

    base_url: BaseUrl = Field(default="http://localhost:11434", validation_alias=AliasChoices("url", "base_url"))

    @property
    def address(self) -> str:
        """The base URL."""
        return self.base_url


class HostedSettings(KeyedSettings):
    """A service with an address of its own, which `base_url` or `url` replaces."""

    base_url: BaseUrl | None = Field(default=None, validation_alias=AliasChoices("base_url", "url"))
    api_key: ProviderKey | None = Field(default=None, validation_alias=AliasChoices("api_key", "api_token"))

    @property
    def address(self) -> str | None:
        """The base URL; None for the service's own."""
        return self.base_url


class PlacedSettings(KeyedSettings):
    """A service whose address is different for each customer: `base_url`, `url` or `api_base`."""

    base_url: BaseUrl = Field(validation_alias=AliasChoices("base_url", "url", "api_base"))
    api_key: ProviderKey | None = Field(default=None, validation_alias=AliasChoices("api_key", "api_token"))
    api_version: Text | None = None

    @property
    def address(self) -> str:
        """The base URL."""
        return self.base_url

    @property
    def query(self) -> Mapping[str, str]:
        """The version, where there is one."""
        return {} if self.api_version is None else {"api-version": self.api_version}


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


HOSTED: Final = (
    "remote::anthropic",
    "remote::cerebras",
    "remote::deepseek",
    "remote::fireworks",
    "remote::gemini",
    "remote::groq",
    "remote::llama-openai-compat",
    "remote::mistral",
    "remote::nvidia",
    "remote::openrouter",
    "remote::sambanova",
    "remote::together",
)
"""Types of services with one address."""

PLACED: Final = ("remote::azure", "remote::databricks", "remote::passthrough")
"""Types of services whose address the file must say."""


class HostedProvider(ProviderConfig):
    """A service that speaks OpenAI's protocol in a dialect of its own."""

    provider_type: Annotated[str, one_of(*HOSTED)]
    config: HostedSettings = HostedSettings()


class PlacedProvider(ProviderConfig):
    """Such a service, or a gateway, at an address of the customer's."""

    provider_type: Annotated[str, one_of(*PLACED)]
    config: PlacedSettings
