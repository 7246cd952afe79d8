"""Token introspection (RFC 7662): asking the issuer whether a token is good now."""

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
    """Where tokens can be asked about, and as which client; `in_body` sends the client's secret as a form field.

    The secret is given as it is, or by the file that holds it whenever a token is asked about.
    """

    url: str
    client_id: str
    client_secret: str | Path = field(repr=False)
    in_body: bool = False


class IntrospectionValidator:
    """Asks the introspection endpoint; `active` must be true, and what the answer claims must fit `rules`.

    The endpoint is the issuer's own, so an answer without `iss` speaks for `rules.issuer`; one without `aud` does not
    fit where an audience is configured. The principal is `sub`, or else `username`; its issuer is `iss`, or else the
    configured issuer, or else the endpoint's address.
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
        """Who the endpoint says it is; raises `AuthenticationFailed`, `ServiceFailed` and nothing else."""
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
        """The headers and the form fields that say which client asks."""
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
        # A time that is no number speaks of the token, not of the endpoint.
        check_times(claims, self._now(), self._rules.leeway)
        raise failure

    def _vouched(self, claims: dict[str, Any]) -> Validated:
        if claims.get("active") is not True:
            raise AuthenticationFailed("the token is not active")
        expires = check_times(claims, self._now(), self._rules.leeway)
        issuer = check_issuer_and_audience(claims, self._rules) or self._rules.issuer or self._url
        principal = Principal(subject_of(claims, "username"), issuer, self._mapping.attributes(claims))
        return Validated(principal, None if expires is None else expires + self._rules.leeway)
