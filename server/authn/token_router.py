"""Routing of tokens to several authenticators, by form and by issuer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.authenticator import AuthenticationFailed, Authenticator
from server.authn.strict_json import decode_base64url, read_object
from server.authn.verify import MAX_TOKEN_LENGTH

_PAYLOAD: Final = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")


class TokenRouter:
    """Sends a JWT to the authenticator of its `iss`, and any other token to the introspection endpoint.

    `signed` holds authenticators by issuer, the one for any issuer under None. The unverified claim only chooses the
    authenticator, which then checks the token; a refused token isn't tried with another one.
    """

    def __init__(self, signed: Mapping[str | None, Authenticator], opaque: Authenticator | None) -> None:
        self._signed = dict(signed)
        self._opaque = opaque

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """Return the principal of `token`; raise only `AuthenticationFailed`, `IdentityUnavailable` or `NoRoom`."""
        return await self._judge(token).authenticate(token, request)

    async def close(self) -> None:
        """Close every connection."""
        for judge in {*self._signed.values(), self._opaque}:
            if judge is not None:
                await judge.close()

    def _judge(self, token: str) -> Authenticator:
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationFailed(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
        payload = _PAYLOAD.fullmatch(token)
        if payload is None:
            if self._opaque is None:
                raise AuthenticationFailed("the token can't be read as a signed JWT")
            return self._opaque
        anybody = self._signed.get(None)
        if anybody is not None:
            return anybody
        named = self._signed.get(_issuer(payload[1]))
        if named is None:
            raise AuthenticationFailed("the token comes from an issuer that is not known here")
        return named


def _issuer(payload: str) -> str:
    try:
        issuer = read_object(decode_base64url(payload)).get("iss")
    except ValueError:
        issuer = None
    if not isinstance(issuer, str):
        raise AuthenticationFailed("the token names no issuer")
    return issuer
