"""Token introspection (RFC 7662): the issuer says whether a token is active."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.attributes import ClaimsMapping
from server.authn.authenticator import AuthenticationFailed
from server.authn.caching import Validated
from server.authn.strict_json import read_object
from server.authn.token_rules import TokenRules, check_issuer_and_audience, check_times, subject_of
from server.local_files.secrets import UnusableSecret, read_secret
from server.net.http_client import ServiceClient, ServiceFailed


@dataclass(frozen=True, slots=True)
class IntrospectionSettings:
    """The introspection endpoint and the client's credentials; `in_body` sends the secret as a form field.

    The secret is given as text, or as a file that is read for each request.
    """

    url: str
    client_id: str
    client_secret: str | Path = field(repr=False)
    in_body: bool = False


class IntrospectionValidator:
    """Asks the introspection endpoint; `active` must be true, and the claims of the answer must fit `rules`.

    The endpoint is the issuer's own, so an answer without `iss` counts as from `rules.issuer`; one without `aud` is
    refused where an audience is configured. The principal is `sub`, or else `username`; its issuer is `iss`, or else
    the configured issuer, or else the endpoint's address.
    """

    service: Final = "the introspection endpoint"

    def __init__(
        self,
        settings: IntrospectionSettings,
        rules: TokenRules,
        mapping: ClaimsMapping,
        context: ssl.SSLContext,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = settings.url
        self._rules = rules
        self._mapping = mapping
        self._client = settings
        self._exchange = ServiceClient(context)
        self._now = now

    async def validate(self, token: str, request: Scope) -> Validated:
        """Return the caller that the endpoint names; raise only `AuthenticationFailed` or `ServiceFailed`."""
        headers, proof = await self._credentials()
        form = urlencode({"token": token, "token_type_hint": "access_token", **proof}).encode("ascii")
        reply = await self._exchange.send("POST", self._url, headers, form)
        if reply.status != 200:
            # 401 here is about this server's own client id and secret, not about the token.
            raise ServiceFailed(f"the answer's status was {reply.status}")
        return self._vouched(self._claims(reply.content))

    async def close(self) -> None:
        """Close every connection."""
        await self._exchange.close()

    async def _credentials(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers and the form fields that authenticate the client."""
        client, secret = self._client, self._client.client_secret
        if isinstance(secret, Path):
            try:
                secret = await asyncio.to_thread(read_secret, secret, for_header=False)
            except UnusableSecret as unusable:
                raise ServiceFailed(f"the `client_secret_file` `{client.client_secret}` {unusable}") from None
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if client.in_body:
            return headers, {"client_id": client.client_id, "client_secret": secret}
        # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote(client.client_id, safe='')}:{quote(secret, safe='')}"
        return headers | {"authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}, {}

    def _claims(self, content: bytes) -> dict[str, Any]:
        try:
            return read_object(content)
        except ValueError:
            failure = ServiceFailed("the answer is not a JSON object")
        try:
            claims = read_object(content, finite=False)
        except ValueError:
            raise failure from None
        # A time that is no number is the token's fault, not the endpoint's.
        check_times(claims, self._now(), self._rules.leeway)
        raise failure

    def _vouched(self, claims: dict[str, Any]) -> Validated:
        if claims.get("active") is not True:
            raise AuthenticationFailed("the token is not active")
        expires = check_times(claims, self._now(), self._rules.leeway)
        issuer = check_issuer_and_audience(claims, self._rules) or self._rules.issuer or self._url
        principal = Principal(subject_of(claims, "username"), issuer, self._mapping.attributes(claims))
        return Validated(principal, None if expires is None else expires + self._rules.leeway)
