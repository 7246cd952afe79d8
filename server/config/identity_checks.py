"""What no field can know by itself about those who vouch for callers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pydantic_core import PydanticCustomError

from policy.diagnostics import Findings
from server.config.fields import switch
from server.config.given import Given
from server.config.reading import PROVIDER_CONFIG, Path, Reading

_AUTH: Final = PROVIDER_CONFIG[:-1]
_OF_ONE_ISSUER: Final = ("jwks", "introspection", "issuer", "audience", "claims_mapping", "tls_cafile", "verify_tls")


def check_authentication(reading: Reading, findings: Findings) -> None:
    """Add to the findings what is wrong, or dangerous, about authentication as a whole."""
    auth, provider = reading.mapping(_AUTH), reading.mapping(PROVIDER_CONFIG)
    required: object = False
    with suppress(PydanticCustomError):
        required = isinstance(auth.get("require"), Given) and switch(auth["require"])
    if required and auth.get("provider_config") is None:
        message = "`require` asks for authentication, and no provider is configured in this environment"
        hint = "set the variable in `provider_config.type`, or write a `provider_config`"
        findings.error("authentication-required", reading.span((*_AUTH, "require")), message, hint)
    kind = provider.get("type")
    if isinstance(kind, Given) and kind.text == "oauth2_token":
        _issuers(reading, findings)


def _issuers(reading: Reading, findings: Findings) -> None:
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
        if isinstance(name, Given):
            span = reading.span(place)
            if name.text in lines:
                message = f"{name.described()} is the `issuer` in line {lines[name.text]} already"
                findings.error("duplicate-issuer", span, message, "list each issuer once")
            lines.setdefault(name.text, span.line)


def _issuer(path: Path, issuer: Mapping[str, object], place: Path, reading: Reading, findings: Findings) -> None:
    """`place` is where a warning about the issuer as a whole points to."""
    if issuer.get("jwks") is None and issuer.get("introspection") is None:
        of = "`provider_config`" if path == PROVIDER_CONFIG else "this issuer"
        hint = "write in `jwks` where the keys are, or in `introspection` where tokens can be asked about"
        findings.error("missing-key", reading.span(path), f"{of} has no `jwks`", hint)
    if issuer.get("audience") is None:
        message = "without `audience`, tokens that were made for other services are accepted"
        findings.warning("no-audience", reading.span(place), message, "set `audience`")
