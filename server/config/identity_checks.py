"""Checks across the fields of authentication providers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from policy.authentication import OLD_KEYS
from policy.source.diagnostics import Findings
from server.config.auth import IssuerConfig
from server.config.locations import ENCRYPT, UNENCRYPTED
from server.config.raw_value import RawValue
from server.config.tree import PROVIDER_CONFIG, Path, TreeReader
from server.config.types import switch
from server.net.plain_http import is_allowed, is_exposed

_AUTH: Final = PROVIDER_CONFIG[:-1]
_OF_ONE_ISSUER: Final = IssuerConfig.keys()
_ADDRESSES: Final = (
    ("jwks", "uri"),
    ("introspection", "url"),
    ("api_server_url",),
    ("github_api_base_url",),
    ("endpoint",),
)
"""The paths of addresses below a provider or an issuer."""


def check_authentication(reading: TreeReader, findings: Findings) -> None:
    """Add mistakes and dangers in the authentication settings as a whole to the findings."""
    auth, provider = reading.mapping(_AUTH), reading.mapping(PROVIDER_CONFIG)
    required: object = False
    with suppress(PydanticCustomError):
        required = isinstance(auth.get("require"), RawValue) and switch(auth["require"])
    if required and auth.get("provider_config") is None and not any(key in auth for key in OLD_KEYS):
        message = "`require` asks for authentication, and no provider is configured in this environment"
        hint = "set the variable in `provider_config.type`, or write a `provider_config`"
        findings.error("authentication-required", reading.span((*_AUTH, "require")), message, hint)
    for path, asked in ((PROVIDER_CONFIG, provider), *reading.entries((*PROVIDER_CONFIG, "issuers"))):
        _unencrypted(path, asked, reading, findings)
    kind = provider.get("type")
    if isinstance(kind, RawValue) and kind.text == "oauth2_token":
        _issuers(reading, findings)


def _issuers(reading: TreeReader, findings: Findings) -> None:
    provider = reading.mapping(PROVIDER_CONFIG)
    listed = list(reading.entries((*PROVIDER_CONFIG, "issuers")))
    if not listed:
        _issuer(PROVIDER_CONFIG, provider, (*PROVIDER_CONFIG, "type"), reading, findings)
        return
    for key in _OF_ONE_ISSUER:
        if key in provider:
            message = f"`{key}` has no effect beside `issuers`"
            findings.error("misplaced-key", reading.span((*PROVIDER_CONFIG, key)), message, "move it into one of them")
    lines: dict[str, int] = {}
    for path, issuer in listed:
        place = (*path, "issuer") if "issuer" in issuer else path
        _issuer(path, issuer, place, reading, findings)
        name = issuer.get("issuer")
        if isinstance(name, RawValue):
            span = reading.span(place)
            if name.text in lines:
                message = f"{name.described()} is the `issuer` in line {lines[name.text]} already"
                findings.error("duplicate-issuer", span, message, "list each issuer once")
            lines.setdefault(name.text, span.line)


def _issuer(path: Path, issuer: Mapping[str, object], place: Path, reading: TreeReader, findings: Findings) -> None:
    """Report mistakes of one issuer; `place` is the place of a warning about the issuer as a whole."""
    if issuer.get("jwks") is None and issuer.get("introspection") is None:
        of = "`provider_config`" if path == PROVIDER_CONFIG else "this issuer"
        hint = "write in `jwks` where the keys are, or in `introspection` where tokens can be asked about"
        findings.error("missing-key", reading.span(path), f"{of} has no `jwks`", hint)
    if issuer.get("audience") is None:
        message = "without `audience`, tokens that were made for other services are accepted"
        findings.warning("no-audience", reading.span(place), message, "set `audience`")


def _unencrypted(path: Path, asked: Mapping[str, object], reading: TreeReader, findings: Findings) -> None:
    """Report addresses without encryption for tokens or keys: an error, or a warning where they are allowed."""
    listed = asked.get("allow_http")
    allowed = [host.text for host in listed if isinstance(host, RawValue)] if isinstance(listed, tuple) else []
    used: set[str] = set()
    for below in _ADDRESSES:
        place = (*path, *below)
        # An issuer of several stands in a list, in which the reading finds nothing by its path.
        url: object = asked
        for key in below:
            url = url.get(key) if isinstance(url, dict) else None
        if not isinstance(url, RawValue) or not _is_exposed(url.text):
            continue
        span, field = reading.span(place), f"`{below[-1]}`"
        used.add(urlsplit(url.text).hostname or "")
        if not is_allowed(url.text, allowed):
            findings.error("bad-url", span, f"{field} {UNENCRYPTED}", ENCRYPT)
            continue
        message = f"{field} is not encrypted: who listens or answers in between can take over every caller"
        findings.warning("unencrypted", span, message, "keep `allow_http` for networks of your own")
    for index, host in enumerate(allowed):
        if host.lower() not in used:
            message = f"`allow_http[{index}]` is the host of no address here that starts with `http://`"
            findings.warning("unused-host", reading.span((*path, "allow_http", index)), message, "leave it out")


def _is_exposed(text: str) -> bool:
    try:
        return is_exposed(text)
    except ValueError:
        return False  # no URL at all, which its field reports
