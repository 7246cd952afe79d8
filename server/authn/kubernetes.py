"""The provider `kubernetes`: tokens reviewed by an API server (SelfSubjectReview, authentication.k8s.io/v1)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.attributes import ClaimsMapping
from server.authn.authenticator import AuthenticationFailed
from server.authn.caching import Validated
from server.authn.strict_json import read_object
from server.authn.token_rules import is_name
from server.net.http_client import ServiceClient, ServiceFailed

REVIEW_PATH: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

_REVIEW: Final = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
_NOBODY: Final = "system:anonymous"


class KubernetesValidator:
    """Asks the API server for the user of a token.

    The principal is `userInfo.username`, its issuer the API server's address; the claims are the members of `userInfo`:
    `username`, `uid`, `groups` and, by a path with dots, `extra`.
    """

    service: Final = "the Kubernetes API server"

    def __init__(self, api_server_url: str, mapping: ClaimsMapping, context: ssl.SSLContext) -> None:
        self._issuer = api_server_url
        self._url = api_server_url + REVIEW_PATH
        self._mapping = mapping
        self._exchange = ServiceClient(context)

    async def validate(self, token: str, request: Scope) -> Validated:
        """Return the user of the token; raise only `AuthenticationFailed` or `ServiceFailed`."""
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        reply = await self._exchange.send("POST", self._url, headers, _REVIEW)
        if reply.status in (401, 403):
            raise AuthenticationFailed("the Kubernetes API server does not accept the token")
        if reply.status not in (200, 201):
            raise ServiceFailed(f"the answer's status was {reply.status}")
        user = _user(reply.content)
        name = user.get("username")
        if not is_name(name) or name == _NOBODY:
            raise AuthenticationFailed("the Kubernetes API server names no user for the token")
        return Validated(Principal(name, self._issuer, self._mapping.attributes(user)))

    async def close(self) -> None:
        """Close every connection."""
        await self._exchange.close()


def _user(content: bytes) -> Mapping[str, Any]:
    try:
        status = read_object(content).get("status")
    except ValueError:
        status = None
    user = status.get("userInfo") if isinstance(status, dict) else None
    if not isinstance(user, dict):
        raise ServiceFailed("the answer is not a SelfSubjectReview")
    return user
