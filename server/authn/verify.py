"""Verification of JWTs as RFC 8725 requires; python-jose checks one signature with one key and one algorithm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.authn.authenticator import AuthenticationFailed
from server.authn.keys import ALGORITHMS, MAX_KID_LENGTH, KeySet
from server.authn.strict_json import decode_base64url, is_plain, read_object
from server.authn.token_rules import TokenRules, check_issuer_and_audience, check_times, subject_of

MAX_TOKEN_LENGTH: Final = 16 * 1024

_THREE_SEGMENTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TYPES: Final = frozenset({"jwt", "at+jwt"})


class KeyNotFound(AuthenticationFailed):
    """Raised if only the token's key is missing from the set; the issuer may have published it since.

    The token names a key that isn't in the set, or names none and no single key fits it.
    """


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token that was valid when it was verified; `expires` in seconds since 1970, `issuer` None without `iss`."""

    subject: str
    issuer: str | None
    expires: float
    claims: Mapping[str, Any]


def verify(token: str, rules: TokenRules, keys: KeySet, now: float) -> VerifiedToken:
    """Return the claims of `token` if it is valid at `now` (seconds since 1970).

    A token with `kid` is checked with a key of that name only, one without with any; exactly one distinct key must fit
    its `alg`. Keys and addresses in the token itself (`jwk`, `jku`, `x5c`, `x5u`) are ignored. Raises only
    `KeyNotFound`, where other keys could verify the token, and `AuthenticationFailed` for every other fault.
    """
    try:
        return _verify(token, rules, keys, now)
    except AuthenticationFailed:
        raise
    except Exception:  # noqa: BLE001 - whatever a forged token provokes is a refusal, never a server error
        refusal = AuthenticationFailed("the token can't be read as a signed JWT")
    raise refusal  # raised outside the handler: the cause could quote the token


def _verify(token: str, rules: TokenRules, keys: KeySet, now: float) -> VerifiedToken:
    if len(token) > MAX_TOKEN_LENGTH:
        raise AuthenticationFailed(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
    segments = _THREE_SEGMENTS.fullmatch(token)
    if segments is None:
        raise AuthenticationFailed("the token is not three base64url segments joined by dots")
    header, payload, signature = map(decode_base64url, segments.groups())
    kid, algorithm = _named_key(read_object(header))
    doubt = _doubt(kid, algorithm, keys, token[: segments.end(2)].encode("ascii"), signature)
    # The claims come first: an invalid token must not cause the keys to be read again.
    verified = _check_claims(read_object(payload), rules, now)
    if doubt is not None:
        raise doubt
    return verified


def _named_key(header: dict[str, Any]) -> tuple[str | None, str]:
    """Return the `kid`, None where there is none, and the `alg`."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise AuthenticationFailed("the token's `typ` is neither `JWT` nor `at+jwt`")
    if "crit" in header or "b64" in header:
        raise AuthenticationFailed("the token asks for extensions that are not supported")
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise AuthenticationFailed(f"the token's `alg` is not one of {', '.join(sorted(ALGORITHMS))}")
    if "kid" in header and not is_plain(kid, MAX_KID_LENGTH):
        raise AuthenticationFailed("the token's `kid` is not the name of a key")
    return kid, algorithm


def _doubt(kid: str | None, algorithm: str, keys: KeySet, signed: bytes, signature: bytes) -> KeyNotFound | None:
    """Return None for a valid signature, or a reason that other keys could remove; raise for any other reason."""
    if not keys.named(kid):
        return KeyNotFound("the token names a key that its issuer doesn't publish")
    candidates = keys.fitting(kid, algorithm)
    if not candidates:
        return KeyNotFound("the token's `alg` is not one that its key is for")
    if len(candidates) > 1:
        return KeyNotFound("the token doesn't single out one of its issuer's keys")
    if candidates[0].verify(signed, signature):
        return None
    sentence = "the token's signature doesn't fit its issuer's key"
    if kid is not None:
        raise AuthenticationFailed(sentence)
    return KeyNotFound(sentence)


def _check_claims(claims: dict[str, Any], rules: TokenRules, now: float) -> VerifiedToken:
    expires = check_times(claims, now, rules.leeway)
    if expires is None:
        raise AuthenticationFailed("the token has no `exp`")
    issuer = check_issuer_and_audience(claims, rules)
    if rules.issuer is not None and issuer is None:
        raise AuthenticationFailed("the token comes from another issuer")
    return VerifiedToken(subject_of(claims), issuer, expires, claims)
