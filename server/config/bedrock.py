"""The settings of `remote::bedrock`, some of which stand in the variables that AWS's own tools read."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environ
from importlib.util import find_spec
from itertools import chain
from typing import Annotated, Final, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, model_validator

from policy.source.diagnostics import Findings
from server.config.base import StrictModel
from server.config.locations import BaseUrl
from server.config.provider_keys import ProviderKey
from server.config.providers import ProviderConfig, RemoteSettings
from server.config.raw_value import UNRESOLVED, RawValue, Section
from server.config.shield_params import GUARDRAIL, GUARDRAIL_VERSION
from server.config.tree import Path, Tree, TreeReader
from server.config.types import Switch, Text, one_of, refusal, refuse, text

BEDROCK: Final = "remote::bedrock"

_EXTRA: Final = "ostiary[bedrock]"
_REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z]{1,16}){1,3}-[0-9]{1,2}")
_REGION_KEYS: Final = ("region", "region_name", "aws_region")
_KEY_KEYS: Final = ("api_key", "api_token", "aws_bearer_token_bedrock")
_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_BEARER_VARIABLE: Final = "AWS_BEARER_TOKEN_BEDROCK"
_SIGNING: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "profile_name", "aws_profile")


def _region(value: object) -> object:
    region = text(value)
    if isinstance(value, RawValue) and not _REGION.fullmatch(value.text):
        refuse(value, "a region of AWS such as `us-east-1`")
    return region


def _guardrail_id(value: object) -> object:
    given = text(value)
    if isinstance(value, RawValue) and not GUARDRAIL.fullmatch(value.text):
        refuse(value, "the id of a guardrail, of small letters and digits, or its ARN")
    return given


def _guardrail_version(value: object) -> object:
    # YAML reads most versions as numbers.
    if isinstance(value, RawValue) and type(value.literal) is int:
        value = RawValue(value.text, value.text, value.variables)
    given = text(value)
    if isinstance(value, RawValue) and not GUARDRAIL_VERSION.fullmatch(value.text):
        refuse(value, "a number from 1, or `DRAFT`")
    return given


class GuardrailSettings(StrictModel):
    """A guardrail of Bedrock that reads every chat and completion. What it can't read is refused, unless told here."""

    identifier: Annotated[str, BeforeValidator(_guardrail_id)] = Field(
        validation_alias=AliasChoices("id", "identifier", "guardrail_identifier", "guardrailIdentifier")
    )
    version: Annotated[str, BeforeValidator(_guardrail_version)] = Field(
        validation_alias=AliasChoices("version", "guardrail_version", "guardrailVersion")
    )
    allow_unread: Switch = False


def _said(value: object) -> object:
    """Refuse an empty place: a guardrail that is written down must be one."""
    if value is None:
        raise refusal("missing-value", "needs an `id` and a `version`", "leave it out for a provider without one")
    return value


class BedrockAccount(RemoteSettings):
    """An account and a region. Without a key and credentials, those of the machine's environment sign the requests."""

    region: Annotated[str, BeforeValidator(_region)] = Field(validation_alias=AliasChoices(*_REGION_KEYS))
    base_url: BaseUrl | None = Field(
        default=None, validation_alias=AliasChoices("base_url", "url", "endpoint", "endpoint_url")
    )
    api_key: ProviderKey | None = Field(default=None, validation_alias=AliasChoices(*_KEY_KEYS))
    aws_access_key_id: ProviderKey | None = None
    aws_secret_access_key: ProviderKey | None = None
    aws_session_token: ProviderKey | None = None
    profile_name: Text | None = Field(default=None, validation_alias=AliasChoices("profile_name", "aws_profile"))

    @property
    def address(self) -> str:
        """The endpoint of the region, unless the file says another one."""
        if self.base_url is not None:
            return self.base_url
        return f"https://bedrock-runtime.{self.region}.amazonaws.com{'.cn' if self.region.startswith('cn-') else ''}"

    @property
    def key(self) -> SecretStr | None:
        """The bearer key of each request."""
        return self.api_key


class BedrockSettings(BedrockAccount):
    """`remote::bedrock` for models."""

    chat_api: Annotated[Literal["auto", "openai", "converse"], one_of("auto", "openai", "converse")] = "auto"
    guardrail: Annotated[GuardrailSettings | None, BeforeValidator(_said)] = Field(
        default=None, validation_alias=AliasChoices("guardrail", "guardrail_config", "guardrailConfig")
    )

    @model_validator(mode="after")
    def _guardrail_is_asked(self) -> Self:
        if self.guardrail is not None and self.chat_api == "openai":
            sentence = "`chat_api: openai` leads past the guardrail, whose answers are told apart in Converse alone"
            raise refusal("one-or-the-other", sentence, "leave `chat_api` out", whole=True, below=("chat_api",))
        return self


class BedrockInference(ProviderConfig):
    """Models of Amazon Bedrock."""

    provider_type: Annotated[Literal["remote::bedrock"], one_of(BEDROCK)]
    config: BedrockSettings


def take_from_environment(reading: TreeReader, environ: Environ[str, str], findings: Findings) -> None:
    """Complete the settings of each Bedrock, for models and for shields, by the region and the bearer key of the
    environment.

    Reports settings without a region, two kinds of credentials, and requests to be signed without the means for it.
    """
    of_models, of_shields = (reading.entries(("providers", api)) for api in ("inference", "safety"))
    for path, provider in chain(of_models, of_shields):
        kind = provider.get("provider_type")
        if isinstance(kind, RawValue) and kind.text == BEDROCK:
            config = provider.setdefault("config", Section())
            reading.places.setdefault((*path, "config"), reading.places[*path, "provider_type"])
            if isinstance(config, dict):
                _complete((*path, "config"), config, reading, environ, findings)


def _complete(
    path: Path, config: dict[str, Tree], reading: TreeReader, environ: Environ[str, str], findings: Findings
) -> None:
    for key in (*_REGION_KEYS, *_KEY_KEYS, *_SIGNING):
        if config.get(key, "") is None:
            del config[key]
    place = reading.places[path]
    if config.keys().isdisjoint(_REGION_KEYS):
        reading.places[*path, "region"] = place
        config["region"] = _from(environ, *_REGION_VARIABLES) or UNRESOLVED
        if config["region"] is UNRESOLVED:
            message = f"`{BEDROCK}` has no region"
            hint = "write `region` into `config`, or set `AWS_REGION` or `AWS_DEFAULT_REGION`"
            findings.error("missing-region", reading.span(path), message, hint)
    signs = [key for key in _SIGNING if key in config]
    keys = [key for key in _KEY_KEYS if key in config]
    bearer = _from(environ, _BEARER_VARIABLE)
    if keys and signs:
        message = f"`{keys[0]}` and `{signs[0]}` are two kinds of credentials"
        findings.error("two-credentials", reading.span((*path, signs[0])), message, "leave one of them out")
    elif not keys and not signs and bearer is not None:
        reading.places[*path, "api_key"] = place
        config["api_key"] = bearer
    elif not keys and find_spec("botocore") is None:
        message = f"`{BEDROCK}` signs its requests by the extra `bedrock`, which is not installed"
        findings.error("missing-extra", reading.span(path), message, f"install `{_EXTRA}`, or give an `api_key`")
    _check_pair(path, config, reading, findings)


def _check_pair(path: Path, config: dict[str, Tree], reading: TreeReader, findings: Findings) -> None:
    identity, *others = _SIGNING[:3]
    pair = (identity, others[0])
    for key in _SIGNING[:3]:
        lacking = next((other for other in pair if other != key and other not in config), None)
        if key in config and lacking is not None:
            message = f"`{key}` needs `{lacking}` beside it"
            findings.error(
                "half-a-pair", reading.span((*path, key)), message, "leave both out to use the machine's own"
            )
            return


def _from(environ: Environ[str, str], *names: str) -> RawValue | None:
    return next((RawValue(environ[name], environ[name], (name,)) for name in names if environ.get(name)), None)
