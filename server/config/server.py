"""The models of `server`: address, TLS, CORS, quota, the decision log."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, SecretStr, Tag, model_validator
from pydantic_core import PydanticCustomError

from server.config.auth import AuthConfig
from server.config.base import StrictModel
from server.config.decision_log import DecisionLogSetting
from server.config.fairness import FairnessConfig
from server.config.locations import Host, ReadableFile
from server.config.metrics import MetricsConfig
from server.config.opa import OpaConfig
from server.config.provider_keys import ProviderKey
from server.config.quota import QuotaConfig
from server.config.sizes import size
from server.config.tool_groups import LEAST_MEMORY, MOST_MEMORY
from server.config.tracing import TracingConfig
from server.config.types import Switch, Text, refusal, scalar, switch, whole_number
from server.config.usage import UsageConfig
from server.net.linear_pattern import LinearPattern, NotLinear

LONGEST_PREFLIGHT_SECONDS: Final = 7 * 24 * 3600
MOST_DELEGATION: Final = 30 * 24 * 3600
"""Seconds for which a server acts for a caller after a request, at most."""

MOST_CONCURRENT: Final = 1_000_000
MOST_WORKERS: Final = 256
MOST_SEAL_KEYS: Final = 8
SHORTEST_SEAL_KEY: Final = 32
"""Characters."""

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@*\\A-Z]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Origins that no site has: a pattern that names its origins matches none of them.
_NOBODY: Final = (
    "https://a.invalid",
    "http://ostiary-probe.invalid",
    "https://ostiary-probe.invalid:8443",
    "http://192.0.2.1",
    "null",
)


def _origin(value: str) -> str:
    if value != "*" and not _ORIGIN.fullmatch(value):
        hint = "patterns go to `allow_origin_regex`" if "*" in value else ""
        raise refusal("wrong-value", "takes `*` or origins like `https://app.example.com`, without a path", hint)
    return value


def _token(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise refusal("wrong-value", "takes names that a header can carry")
    return value


def _pattern(value: str) -> str:
    try:
        LinearPattern(value)
    except NotLinear as error:
        hint = "with them a page could make the server busy for ever; write the pattern without them"
        raise refusal("wrong-value", f"takes a regular expression without {error}", hint) from error
    except (re.error, RecursionError, OverflowError) as error:
        raise refusal("wrong-value", "takes a regular expression, and this is none") from error
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise refusal("wrong-value", "takes addresses like `10.1.2.3`, or networks like `10.0.0.0/8`") from error


def _method(value: str) -> str:
    """Return the method as requests spell it, in capitals."""
    return _token(value).upper()


Token = Annotated[Text, AfterValidator(_token)]
"""The name of a header, or `*`."""


class CorsConfig(StrictModel):
    """The pages of other origins that may send requests.

    `allow_origin_regex` is matched against the whole origin, and decides alone where it is written and `allow_origins`
    isn't. `max_age` is in seconds. Credentials need origins that are named, one by one or by a pattern.
    """

    allow_origins: tuple[Annotated[Text, AfterValidator(_origin)], ...] = ("*",)
    allow_origin_regex: Annotated[Text, AfterValidator(_pattern)] | None = None
    allow_methods: tuple[Annotated[Text, AfterValidator(_method)], ...] = ("*",)
    allow_headers: tuple[Token, ...] = ("*",)
    allow_credentials: Switch = False
    expose_headers: tuple[Token, ...] = ()
    max_age: Annotated[int, whole_number(0, LONGEST_PREFLIGHT_SECONDS)] = 600

    @model_validator(mode="before")
    @classmethod
    def _pattern_alone(cls, data: Any) -> Any:
        """Make `allow_origins` empty for a pattern without it, even a pattern that is empty in this environment."""
        if isinstance(data, dict) and "allow_origin_regex" in data:
            return {"allow_origins": (), **data}
        return data

    @model_validator(mode="after")
    def _credentials_need_named_origins(self) -> Self:
        if not self.allow_credentials:
            return self
        if "*" in self.allow_origins:
            hint = "list them in `allow_origins`, which is `*` unless you do"
            raise refusal("credentials-for-all", "`allow_credentials` needs origins that are named", hint, whole=True)
        if self.allow_origin_regex and any(map(LinearPattern(self.allow_origin_regex).fullmatch, _NOBODY)):
            sentence = "`allow_credentials` needs origins that are named, and `allow_origin_regex` matches anybody's"
            raise refusal("credentials-for-all", sentence, "name a domain in it", whole=True)
        return self


def _long(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SHORTEST_SEAL_KEY:
        raise refusal("bad-token", f"takes keys of at least {SHORTEST_SEAL_KEY} characters")
    return value


SealKey = Annotated[ProviderKey, AfterValidator(_long)]
"""A key of seals, as a text or in a file."""


def _few_keys(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if len(value) > MOST_SEAL_KEYS:
        raise refusal("wrong-value", f"takes at most {MOST_SEAL_KEYS} keys")
    return value


def _cors_switch(value: object) -> object:
    try:
        return switch(value)
    except PydanticCustomError:
        given = scalar(value, "`true`, `false` or a mapping").described()
        hint = 'name the origins: `cors: {allow_origins: ["https://app.example.com"]}`'
        raise refusal("wrong-value", f"takes `true`, `false` or a mapping, not {given}", hint) from None


def _cors_kind(value: object) -> str:
    return "object" if isinstance(value, dict | CorsConfig) else "switch"


class ServerConfig(StrictModel):
    """The HTTP server.

    `host` and `port` are what it listens on; port 0 is any free one. `workers` processes share it. `tls_certfile` and
    `tls_keyfile` (PEM), both or neither, switch HTTPS on; `tls_cafile` asks clients for certificates. `cors` true
    admits pages from localhost, at any port. `decision_log` is `stdout` or the file, rotated or not, to which one JSON
    line per decision is appended. `tracing` is the collector to which spans go; without it none are made.
    `trusted_proxies` are believed about whom they forward for; no caller has more than `max_concurrent_requests`.
    `metrics` is a listener for Prometheus alone. `fairness` says which callers share what the server has, and `usage`
    what is counted of it. The first of `seal_keys` seals what clients keep for the server, and all of them open it;
    without any, the server makes one in its directory. For `max_delegation` seconds after a request the server acts for
    its caller in the background. `max_program_memory` bounds the memory that all programs of tools have together.
    """

    host: Host = "127.0.0.1"
    port: Annotated[int, whole_number(0, 65535)] = 8321
    workers: Annotated[int, whole_number(1, MOST_WORKERS)] = 1
    opa: OpaConfig = OpaConfig()
    tls_certfile: ReadableFile | None = None
    tls_keyfile: ReadableFile | None = None
    tls_cafile: ReadableFile | None = None
    cors: Annotated[
        Annotated[bool, BeforeValidator(_cors_switch), Tag("switch")] | Annotated[CorsConfig, Tag("object")],
        Discriminator(_cors_kind),
    ] = False
    auth: AuthConfig = AuthConfig()
    quota: QuotaConfig | None = None
    fairness: FairnessConfig = FairnessConfig()
    usage: UsageConfig = UsageConfig()
    trusted_proxies: tuple[Annotated[Text, AfterValidator(_network)], ...] = ()
    max_concurrent_requests: Annotated[int, whole_number(1, MOST_CONCURRENT)] | None = None
    tracing: TracingConfig | None = None
    decision_log: DecisionLogSetting = "stdout"
    metrics: MetricsConfig | None = None
    seal_keys: Annotated[tuple[SealKey, ...], AfterValidator(_few_keys)] = ()
    max_delegation: Annotated[int, whole_number(60, MOST_DELEGATION)] = 24 * 3600
    max_program_memory: Annotated[int, size(LEAST_MEMORY, MOST_MEMORY, "from 64MiB to 1024GiB")] | None = None
