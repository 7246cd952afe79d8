"""Token introspection (RFC 7662): asking the issuer whether a token is good now."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.authenticator import AuthenticationFailed
from server.authn.claims import ClaimsMapping
from server.authn.exchange import Exchange, ExchangeFailed
from server.authn.registered_claims import TokenRules, check_issuer_and_audience, check_times, subject_of
from server.authn.remembered import Vouched
from server.authn.strict import read_object


@dataclass(frozen=True, slots=True)
class IntrospectionSettings:
    """Where tokens can be asked about, and as which client; `in_body` sends the client's secret as a form field."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
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
        self._headers = {"content-type": "application/x-www-form-urlencoded"}
        self._form = {"token_type_hint": "access_token"}
        if settings.in_body:
            self._form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        else:
            # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote(settings.client_id, safe='')}:{quote(settings.client_secret, safe='')}"
            self._headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
        self._exchange = Exchange(context)
        self._now = now

    async def validate(self, token: str, request: Scope) -> Vouched:
        """Who the endpoint says it is; raises `AuthenticationFailed`, `ExchangeFailed` and nothing else."""
        form = urlencode({"token": token, **self._form}).encode("ascii")
        reply = await self._exchange.send("POST", self._url, self._headers, form)
        if reply.status != 200:
            # 401 here is about this server's own client id and secret, not about the token.
            raise ExchangeFailed(f"the answer's status was {reply.status}")
        return self._vouched(self._claims(reply.content))

    async def close(self) -> None:
        """Close every connection."""
        await self._exchange.close()

    def _claims(self, content: bytes) -> dict[str, Any]:
        try:
            return read_object(content)
        except ValueError:
            failure = ExchangeFailed("the answer is not a JSON object")
        try:
            claims = read_object(content, finite=False)
        except ValueError:
            raise failure from None
        check_times(claims, self._now())  # a time that is no number speaks of the token, not of the endpoint
        raise failure

    def _vouched(self, claims: dict[str, Any]) -> Vouched:
        if claims.get("active") is not True:
            raise AuthenticationFailed("the token is not active")
        expires = check_times(claims, self._now())
        issuer = check_issuer_and_audience(claims, self._rules) or self._rules.issuer or self._url
        principal = Principal(subject_of(claims, "username"), issuer, self._mapping.attributes(claims))
        return Vouched(principal, expires)
