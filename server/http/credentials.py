"""The credential of a request: `Authorization`, or `x-api-key` of Anthropic's clients."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from starlette.types import Scope

from server.authn.bearer import api_key, bearer_token
from server.http.error_shapes import is_anthropics
from server.http.errors import ApiError

_API_KEY: Final = b"x-api-key"
_AUTHORIZATION: Final = b"authorization"


def check_credentials(scope: Scope) -> None:
    """Raise the 400 for a request with two credentials, even for equal ones: two readers could take either."""
    if not is_anthropics(scope):
        return
    names = [name for name, _ in scope["headers"] if name in (_API_KEY, _AUTHORIZATION)]
    if len(names) > 1:
        sentence = "send the token once, in `x-api-key` or in `Authorization`"
        raise ApiError(400, sentence, code="malformed_request")


def token_of(scope: Scope) -> str | None:
    """Return the token that a request presents, None if it has none; raises AuthenticationFailed for what is none."""
    token = bearer_token(scope["headers"])
    return api_key(scope["headers"]) if token is None and is_anthropics(scope) else token


def digest_of(scope: Scope) -> bytes | None:
    """Return the SHA-256 of a request's credential, None where it has none; one key has one, in either header."""
    value = _first(scope, _AUTHORIZATION)
    if value is None and is_anthropics(scope):
        key = _first(scope, _API_KEY)
        value = None if key is None else b"Bearer %b" % key
    return None if value is None else sha256(value).digest()


def _first(scope: Scope, header: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == header:
            first: bytes = value
            return first
    return None
