"""Checks of the registered claims that RFC 7519 and RFC 7662 share: times, issuer, audience, subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from server.authn.authenticator import AuthenticationFailed
from server.authn.strict_json import is_plain

LEEWAY_SECONDS: Final = 60
MAX_SUBJECT_LENGTH: Final = 256
MAX_ISSUER_LENGTH: Final = 1024
LATEST_TIME: Final = 253_402_300_799
"""The last second of the year 9999; a later `exp` is a mistake or a forgery."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The required claims of a token beyond its signature; None: that claim isn't checked.

    Without an `audience`, a token that the issuer made for any other service is accepted here too. Its times may be
    `leeway` seconds off, as the clocks of two machines are.
    """

    issuer: str | None
    audience: str | None
    leeway: int = LEEWAY_SECONDS


def check_times(claims: Mapping[str, Any], now: float, leeway: int) -> float | None:
    """Return `exp`, in seconds since 1970, or None; raise `AuthenticationFailed` unless it, `nbf` and `iat` fit
    `now`.
    """
    expires = _time(claims, "exp")
    if expires is not None and expires + leeway <= now:
        raise AuthenticationFailed("the token has expired")
    for name in ("nbf", "iat"):
        starts = _time(claims, name)
        if starts is not None and starts - leeway > now:
            raise AuthenticationFailed(f"the token's `{name}` lies in the future")
    return expires


def check_issuer_and_audience(claims: Mapping[str, Any], rules: TokenRules) -> str | None:
    """Return `iss`, or None; raise `AuthenticationFailed` for a wrong issuer or audience."""
    issuer = claims.get("iss")
    if "iss" in claims and not is_plain(issuer, MAX_ISSUER_LENGTH):
        raise AuthenticationFailed("the token's `iss` is not the name of an issuer")
    if rules.issuer is not None and issuer not in (None, rules.issuer):
        raise AuthenticationFailed("the token comes from another issuer")
    if rules.audience is not None and rules.audience not in _audiences(claims):
        raise AuthenticationFailed("the token is meant for another audience")
    return issuer


def subject_of(claims: Mapping[str, Any], *names: str) -> str:
    """Return the name of the token's subject: `sub`, or else the first of `names` that is present."""
    claimed = next((name for name in ("sub", *names) if name in claims), "sub")
    subject = claims.get(claimed)
    if not is_name(subject):
        raise AuthenticationFailed(f"the token's `{claimed}` is not the name of a subject")
    return subject


def is_name(value: object) -> TypeGuard[str]:
    """Return whether `value` can name a principal: 1 to 256 plain characters, not all of them blanks."""
    return is_plain(value, MAX_SUBJECT_LENGTH) and not value.isspace()


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2): any number, also with a fraction or an exponent."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_TIME:
        raise AuthenticationFailed(f"the token's `{name}` is not a number of seconds since 1970, up to the year 9999")
    return value


def _audiences(claims: Mapping[str, Any]) -> list[Any]:
    audience = claims.get("aud", [])
    audiences: list[Any] = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(one, str) for one in audiences):
        raise AuthenticationFailed("the token's `aud` is neither a text nor a list of texts")
    return audiences
