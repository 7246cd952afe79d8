"""The models of `server.auth`: authentication providers and issuers. `policy.parser` reads the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetPydanticSchema, SecretStr, Tag, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from policy.issuers import GITHUB
from server.config.base import StrictModel, chosen_by
from server.config.locations import (
    BaseUrl,
    FilePath,
    JwksUri,
    PlainHost,
    ReadableFile,
    SecretFile,
    TokenFile,
    encrypted,
)
from server.config.types import BearerToken, Secret, Switch, Text, one_of, refusal, whole_number

LONGEST_RECHECK_SECONDS: Final = 7 * 24 * 3600
LONGEST_BELIEF_SECONDS: Final = 3600
SHORTEST_NAME_KEY: Final = 32
LONGEST_LEEWAY_SECONDS: Final = 300
DEFAULT_LEEWAY_SECONDS: Final = 60

Recheck = Annotated[int, whole_number(0, LONGEST_BELIEF_SECONDS)]
"""Seconds for which a valid answer about a token is cached."""


def _twice(one: str, other: str) -> PydanticCustomError:
    sentence = f"`{one}` and `{other}` say the same twice"
    return refusal("one-or-the-other", sentence, "keep one of them", whole=True, below=(other,))


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SHORTEST_NAME_KEY:
        raise refusal("wrong-value", f"takes at least {SHORTEST_NAME_KEY} characters, made at random")
    return value


class JwksConfig(StrictModel):
    """The address of an issuer's keys.

    `token`, or the content of `token_file` at each reading, is the bearer token for that endpoint; `key_recheck_period`
    is in seconds.
    """

    uri: JwksUri
    token: BearerToken | None = None
    token_file: TokenFile | None = None
    key_recheck_period: Annotated[int, whole_number(1, LONGEST_RECHECK_SECONDS)] = 3600

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise _twice("token", "token_file")
        return self


class IntrospectionConfig(StrictModel):
    """The introspection endpoint (RFC 7662), and the client's credentials.

    A valid answer is cached for `recheck_period` seconds; 0 asks for every request. The client's secret, which may lie
    in `client_secret_file`, goes into the `Authorization` header, or with `send_secret_in_body` into the form.
    """

    url: BaseUrl
    client_id: Text
    client_secret: Secret | None = None
    client_secret_file: SecretFile | None = None
    send_secret_in_body: Switch = False
    recheck_period: Recheck = 60

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.client_secret is None and self.client_secret_file is None:
            hint = "or `client_secret_file`"
            raise refusal("missing-key", "`introspection` has no `client_secret`", hint, whole=True)
        if self.client_secret is not None and self.client_secret_file is not None:
            raise _twice("client_secret", "client_secret_file")
        return self


class AskedConfig(StrictModel):
    """The connection to a service that judges tokens.

    `tls_cafile` and `verify_tls` say how its certificate is verified. The hosts in `allow_http`, and this one, may be
    reached without encryption.
    """

    tls_cafile: ReadableFile | None = None
    verify_tls: Switch = True
    allow_http: tuple[PlainHost, ...] = ()

    def addresses(self) -> Mapping[tuple[str, ...], str]:
        """Return the service's addresses, by the paths of their fields."""
        return {}

    @model_validator(mode="after")
    def _only_named_hosts_in_plain(self) -> Self:
        for place, url in self.addresses().items():
            encrypted(url, self.allow_http, place)
        return self


class IssuerConfig(AskedConfig):
    """One issuer of tokens: signed with its published keys, or judged by its introspection endpoint, or either.

    With both, signed tokens are judged by the keys and all others by the endpoint. Without `audience`, the token's
    `aud` isn't checked. `claims_mapping` (claim → attribute) replaces the default as a whole; None is the default.
    With `split_claims`, a claim that is one text is a list with blanks between its values. Times in tokens may be
    `leeway` seconds off.
    """

    issuer: Text
    jwks: JwksConfig | None = None
    introspection: IntrospectionConfig | None = None
    audience: Text | None = None
    claims_mapping: dict[str, Text] | None = None
    split_claims: Switch = False
    leeway: Annotated[int, whole_number(0, LONGEST_LEEWAY_SECONDS)] = DEFAULT_LEEWAY_SECONDS

    def addresses(self) -> Mapping[tuple[str, ...], str]:
        """Return the endpoints of the keys and for introspection."""
        found: dict[tuple[str, ...], str] = {}
        if self.jwks is not None:
            found["jwks", "uri"] = self.jwks.uri
        if self.introspection is not None:
            found["introspection", "url"] = self.introspection.url
        return found


class OAuth2Config(IssuerConfig):
    """`oauth2_token`: tokens of one issuer, or of each in the list `issuers`.

    Without an `issuer`, the token's `iss` isn't checked.
    """

    type: Annotated[Literal["oauth2_token"], one_of("oauth2_token")]
    issuer: Text | None = None  # type: ignore[assignment]  # one issuer may go without a name, several may not
    issuers: tuple[IssuerConfig, ...] = ()


class KubernetesConfig(AskedConfig):
    """`kubernetes`: tokens that a Kubernetes API server reviews."""

    type: Annotated[Literal["kubernetes"], one_of("kubernetes")]
    api_server_url: BaseUrl
    claims_mapping: dict[str, Text] | None = None
    recheck_period: Recheck = 60

    def addresses(self) -> Mapping[tuple[str, ...], str]:
        """Return the one address."""
        return {("api_server_url",): self.api_server_url}


class GitHubConfig(AskedConfig):
    """`github_token`: tokens of GitHub, or of a GitHub Enterprise server."""

    type: Annotated[Literal["github_token"], one_of("github_token")]
    github_api_base_url: BaseUrl = GITHUB
    claims_mapping: dict[str, Text] | None = None
    recheck_period: Recheck = 60

    def addresses(self) -> Mapping[tuple[str, ...], str]:
        """Return the one address."""
        return {("github_api_base_url",): self.github_api_base_url}


class CustomConfig(AskedConfig):
    """`custom`: tokens that an endpoint of the operator judges.

    A caller without a name gets a hash of its token with `name_key`; several servers need the same key.
    """

    type: Annotated[Literal["custom"], one_of("custom")]
    endpoint: BaseUrl
    name_key: Annotated[Secret, AfterValidator(_long_enough)] | None = None
    recheck_period: Recheck = 60

    def addresses(self) -> Mapping[tuple[str, ...], str]:
        """Return the one address."""
        return {("endpoint",): self.endpoint}


class ApiKeyConfig(StrictModel):
    """`api_key`: keys that `ostiary key create` made, in the SQLite file `db_path` (default: the user's own)."""

    type: Annotated[Literal["api_key"], one_of("api_key")]
    db_path: FilePath | None = None
    recheck_period: Recheck = 5


_AuthProvider = Annotated[
    Annotated[ApiKeyConfig, Tag("api_key")]
    | Annotated[CustomConfig, Tag("custom")]
    | Annotated[GitHubConfig, Tag("github_token")]
    | Annotated[KubernetesConfig, Tag("kubernetes")]
    | Annotated[OAuth2Config, Tag("oauth2_token")],
    chosen_by("type", "api_key", "custom", "github_token", "kubernetes", "oauth2_token"),
]


def _any_provider(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    return handler(_AuthProvider)


# A union that a discriminator chooses from can't be hashed, as `… | None` below needs it.
ProviderOfIdentity = Annotated[
    ApiKeyConfig | CustomConfig | GitHubConfig | KubernetesConfig | OAuth2Config, GetPydanticSchema(_any_provider)
]
"""An authentication provider, chosen by `type`."""


class AuthConfig(StrictModel):
    """`server.auth`.

    `provider_config` None: authentication is off, which `require` forbids. `access_policy`, `route_policy` and
    `guardrails` hold nodes of the file, unread.
    """

    provider_config: ProviderOfIdentity | None = None
    access_policy: Any = Field(default=None, repr=False)
    route_policy: Any = Field(default=None, repr=False)
    guardrails: Any = Field(default=None, repr=False)
    lenient_patterns: Switch = False
    require: Switch = False
