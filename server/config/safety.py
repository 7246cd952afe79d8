"""The models of safety: the providers of shields, the shields, and the shield of requests that name none."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticUseDefault

from server.config.base import StrictModel
from server.config.bedrock import BedrockAccount
from server.config.llama_guard import VERSIONS
from server.config.providers import ProviderConfig, ProviderSettings
from server.config.shield_params import BEDROCK, KEYWORD, LLAMA_GUARD
from server.config.types import Anything, Text, one_of, refusal

LONGEST_ID: Final = 256
"""Bytes of the id of a shield in UTF-8."""

_CODES: Final = frozenset(code for version in VERSIONS.values() for code in version.categories)


def _short(value: str) -> str:
    if len(value.encode()) > LONGEST_ID:
        raise refusal("wrong-value", f"takes at most {LONGEST_ID} bytes")
    return value


def _codes(value: tuple[str, ...]) -> tuple[str, ...]:
    for code in value:
        if code not in _CODES:
            raise refusal("wrong-value", f"holds `{code}`, which is no category of any Llama Guard")
    return value


def _null_is_nothing(value: object) -> object:
    if value is None:
        raise PydanticUseDefault
    return value


ShieldId = Annotated[Text, AfterValidator(_short)]
"""The id of a shield."""


class LlamaGuardSettings(ProviderSettings):
    """`inline::llama-guard`: the codes of categories that all of its shields let pass."""

    excluded_categories: Annotated[tuple[Text, ...], AfterValidator(_codes)] = ()


class KeywordSettings(ProviderSettings):
    """`inline::keyword` has no settings; each shield has its own words."""


class LlamaGuardProvider(ProviderConfig):
    """Shields whose texts are judged by a model that is served here."""

    provider_type: Annotated[Literal["inline::llama-guard"], one_of(LLAMA_GUARD)]
    config: LlamaGuardSettings = LlamaGuardSettings()


class BedrockShields(ProviderConfig):
    """Guardrails of Amazon Bedrock, asked by ApplyGuardrail."""

    provider_type: Annotated[Literal["remote::bedrock"], one_of(BEDROCK)]
    config: BedrockAccount


class KeywordProvider(ProviderConfig):
    """Lists of words."""

    provider_type: Annotated[Literal["inline::keyword"], one_of(KEYWORD)]
    config: KeywordSettings = KeywordSettings()


class ShieldConfig(StrictModel):
    """A shield and the provider instance that has it.

    `provider_shield_id` is the provider's name for it: the model that judges, or the guardrail. Where one of the two
    ids is left out, it is the other. `provider_id` may be left out where there is one provider.
    """

    shield_id: ShieldId | None = None
    provider_id: Text | None = None
    provider_shield_id: ShieldId | None = None
    params: Annotated[dict[str, Anything], BeforeValidator(_null_is_nothing)] = Field(default_factory=dict)

    @property
    def identity(self) -> str:
        """The id by which requests and rules know it."""
        return self.shield_id or self.provider_shield_id or ""

    @property
    def resource_id(self) -> str:
        """The provider's name for it."""
        return self.provider_shield_id or self.identity


class SafetySettings(StrictModel):
    """The shield of moderations whose request names none; None means that each has to name one."""

    default_shield_id: ShieldId | None = None
