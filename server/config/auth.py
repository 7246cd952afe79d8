"""The shapes of `server.auth`: who vouches for callers. What the rules mean is `policy.parser`'s business."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetCoreSchemaHandler, GetPydanticSchema, Tag
from pydantic_core import CoreSchema

from server.config.fields import Secret, Switch, Text, not_yet, one_of, whole_number
from server.config.locations import BaseUrl, JwksUri, ReadableFile
from server.config.shape import Shape, chosen_by

LONGEST_RECHECK_SECONDS: Final = 7 * 24 * 3600


class JwksConfig(Shape):
    """Where the keys are that sign tokens. `token` is the bearer token for that endpoint; `key_recheck_period` is in
    seconds.
    """

    uri: JwksUri
    token: Secret | None = None
    key_recheck_period: Annotated[int, whole_number(1, LONGEST_RECHECK_SECONDS)] = 3600


class IntrospectionConfig(Shape):
    """Where tokens can be asked about (RFC 7662)."""

    url: BaseUrl
    client_id: Text
    client_secret: Secret


class OAuth2Config(Shape):
    """`oauth2_token`: tokens signed with published keys.

    Without `issuer` or `audience`, the token's `iss` or `aud` isn't compared. `claims_mapping` (claim → attribute)
    replaces the default as a whole; None is the default. `tls_cafile` and `verify_tls` are about the key endpoint.
    """

    type: Annotated[Literal["oauth2_token"], one_of("oauth2_token")]
    jwks: JwksConfig
    issuer: Text | None = None
    audience: Text | None = None
    claims_mapping: dict[str, Text] | None = None
    tls_cafile: ReadableFile | None = None
    verify_tls: Switch = True
    introspection: Annotated[IntrospectionConfig, not_yet("`introspection` is")] | None = None


class KubernetesConfig(Shape):
    """`kubernetes`: tokens that a Kubernetes API server reviews."""

    type: Annotated[Literal["kubernetes"], one_of("kubernetes"), not_yet("authentication by `kubernetes` is")]
    api_server_url: BaseUrl
    claims_mapping: dict[str, Text] | None = None
    tls_cafile: ReadableFile | None = None
    verify_tls: Switch = True


class GitHubConfig(Shape):
    """`github_token`: tokens that GitHub, or a GitHub Enterprise server, answers for."""

    type: Annotated[Literal["github_token"], one_of("github_token"), not_yet("authentication by `github_token` is")]
    github_api_base_url: BaseUrl = "https://api.github.com"
    claims_mapping: dict[str, Text] | None = None


class CustomConfig(Shape):
    """`custom`: tokens that an endpoint of the operator's own judges."""

    type: Annotated[Literal["custom"], one_of("custom"), not_yet("authentication by `custom` is")]
    endpoint: BaseUrl


_AuthProvider = Annotated[
    Annotated[CustomConfig, Tag("custom")]
    | Annotated[GitHubConfig, Tag("github_token")]
    | Annotated[KubernetesConfig, Tag("kubernetes")]
    | Annotated[OAuth2Config, Tag("oauth2_token")],
    chosen_by("type", "custom", "github_token", "kubernetes", "oauth2_token"),
]


def _any_provider(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    return handler(_AuthProvider)


ProviderOfIdentity = Annotated[OAuth2Config, GetPydanticSchema(_any_provider)]
"""What is left once the types that this version lacks are refused."""


class AuthConfig(Shape):
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
