"""The bearer token of a request, from `Authorization: Bearer <token>`, or from `x-api-key` where a route takes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from server.authn.authenticator import AuthenticationFailed

_TOKEN: Final = rb"([A-Za-z0-9._~+/-]+=*)"
_KEY: Final = re.compile(_TOKEN)
_BEARER: Final = re.compile(rb"(?i:bearer) " + _TOKEN)
"""RFC 6750 section 2.1 with one space; a scheme's letters may be of either case (RFC 9110 section 11.1)."""


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token in `headers`, as ASGI gives them; None if there is no `Authorization` at all.

    Raises `AuthenticationFailed` for several such headers, another scheme and anything that isn't exactly one token.
    """
    credentials = [value for name, value in headers if name.lower() == b"authorization"]
    if not credentials:
        return None
    if len(credentials) > 1:
        raise AuthenticationFailed("the request has more than one `Authorization` header")
    matched = _BEARER.fullmatch(credentials[0])
    if matched is None:
        raise AuthenticationFailed("the `Authorization` header is not `Bearer`, one space and one token")
    return matched[1].decode("ascii")


def api_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the token in `x-api-key`; None if there is no such header.

    Raises `AuthenticationFailed` for several such headers, and for anything that isn't exactly one token.
    """
    keys = [value for name, value in headers if name.lower() == b"x-api-key"]
    if not keys:
        return None
    matched = _KEY.fullmatch(keys[0])
    if len(keys) > 1 or matched is None:
        raise AuthenticationFailed("the `x-api-key` header is not exactly one token")
    return matched[1].decode("ascii")
