"""Tokens that an issuer is asked about (RFC 7662): a real server."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import parse_qs

import pytest

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.attributes import ClaimsMapping
from server.authn.caching import CachingAuthenticator
from server.authn.introspection import IntrospectionSettings, IntrospectionValidator
from server.authn.token_rules import TokenRules
from server.net.tls import client_context
from tests.support.identity_services import Asked, service
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, ask

OPAQUE = "opaque"
MAPPING = ClaimsMapping({"realm_access.roles": "roles", "scope": "scopes"})
ACTIVE = {
    "active": True,
    "sub": "user-1",
    "iss": ISSUER,
    "aud": [AUDIENCE, "account"],
    "exp": NOW + 300,
    "nbf": NOW - 300,
    "iat": NOW - 300,
    "client_id": "web",
    "username": "somebody",
    "scope": "openid profile",
    "realm_access": {"roles": ["developer"]},
}


def active(**changes: Any) -> dict[str, Any]:
    """A good answer with `changes`; a change to `...` takes the member away."""
    return {name: value for name, value in (ACTIVE | changes).items() if value is not ...}


def identify(
    url: str,
    rules: TokenRules = TokenRules(ISSUER, AUDIENCE),  # noqa: B008 - frozen
    in_body: bool = False,
    token: str = OPAQUE,
) -> Principal:
    settings = IntrospectionSettings(url, "ostiary:1", "s€cret", in_body)
    context = client_context(None, verify=True)

    async def once() -> Principal:
        validator = IntrospectionValidator(settings, rules, MAPPING, context, now=lambda: NOW)
        identity = CachingAuthenticator(validator, 60, now=lambda: NOW)
        try:
            return await ask(identity, token)
        finally:
            await identity.close()

    return asyncio.run(once())


def test_an_active_token_is_its_subject_and_the_client_authenticates_itself() -> None:
    with service(lambda asked: (200, ACTIVE)) as endpoint:
        assert identify(f"{endpoint.url}/introspect", token="opaque+/=") == Principal(
            "user-1", ISSUER, {"roles": ("developer",), "scopes": ("openid", "profile")}
        )
        (asked,) = endpoint.asked
        assert (asked.method, asked.target) == ("POST", "/introspect")
        assert parse_qs(asked.body.decode()) == {"token": ["opaque+/="], "token_type_hint": ["access_token"]}
        scheme, _, pair = asked.headers["authorization"].partition(" ")
        assert (scheme, base64.b64decode(pair)) == ("Basic", b"ostiary%3A1:s%E2%82%ACcret")


def test_the_secret_may_go_into_the_form() -> None:
    with service(lambda asked: (200, ACTIVE)) as endpoint:
        identify(endpoint.url, in_body=True)
        form = parse_qs(endpoint.asked[0].body.decode())
        assert (form["client_id"], form["client_secret"]) == (["ostiary:1"], ["s€cret"])
        assert "authorization" not in endpoint.asked[0].headers


@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"active": ...},
        {"exp": NOW - 120},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": NOW + 300},
        {"iss": "https://other.example"},
        {"iss": [ISSUER]},
        {"iss": ISSUER + "/"},
        {"aud": "other"},
        {"aud": ...},
        {"aud": [5]},
        {"sub": ""},
        {"sub": 5},
        {"sub": ..., "username": ...},
        {"realm_access": {"roles": {"admin": True}}},
        {"_claim_names": {"realm_access": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x.example"}}},
        {"realm_access": {"_claim_names": {"roles": "src1"}}},
        {"_claim_names": ["realm_access"]},
    ],
)
def test_anything_but_an_active_token_for_this_service_is_refused(changes: dict[str, Any]) -> None:
    with service(lambda asked: (200, active(**changes))) as endpoint, pytest.raises(AuthenticationFailed):
        identify(endpoint.url)


TIMES = ("exp", "nbf", "iat")
WHOLE = {"active": "true", "sub": '"user-1"', "aud": '"ostiary"', "exp": str(NOW + 300)}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(
    "time",
    ["1e400", "-1e400", "NaN", "Infinity", "9" * 5_000, "1e300", "-1", "-0.5", "true", '"1"', "null", "[1]", "{}"],
)
def test_a_time_that_is_none_refuses_the_token_and_blames_no_service(name: str, time: str) -> None:
    members = WHOLE | {name: time}
    body = "{" + ",".join(f'"{member}":{value}' for member, value in members.items()) + "}"
    with (
        service(lambda asked: (200, body.encode())) as endpoint,
        pytest.raises(AuthenticationFailed, match=f"`{name}` is not a number of seconds since 1970"),
    ):
        identify(endpoint.url)


@pytest.mark.parametrize("times", [{"exp": NOW + 0.5}, {"exp": 1.9e9}, {"nbf": NOW - 0.5}, {"iat": 1.7e9}])
def test_a_time_may_have_a_fraction_or_an_exponent(times: dict[str, float]) -> None:
    with service(lambda asked: (200, active(**times))) as endpoint:
        assert identify(endpoint.url).id == "user-1"


def test_another_number_that_is_none_is_no_answer() -> None:
    answer = b'{"active":true,"sub":"u","aud":"ostiary","x":NaN}'
    with service(lambda asked: (200, answer)) as endpoint, pytest.raises(IdentityUnavailable):
        identify(endpoint.url)


def test_the_endpoint_speaks_for_its_own_issuer() -> None:
    with service(lambda asked: (200, active(iss=...))) as endpoint:
        assert identify(endpoint.url).issuer == ISSUER
        assert identify(endpoint.url, TokenRules(None, None)).issuer == endpoint.url
    with service(lambda asked: (200, active(sub=...))) as endpoint:
        assert identify(endpoint.url).id == "somebody"


@pytest.mark.parametrize("reply", [(401, {}), (500, {}), (302, b""), (200, b"<html>"), (200, []), (200, b'"active"')])
def test_an_endpoint_that_does_not_answer_is_no_refusal(reply: tuple[int, Any]) -> None:
    def answer(asked: Asked) -> tuple[int, Any]:
        return reply

    with service(answer) as endpoint:
        with pytest.raises(IdentityUnavailable) as failure:
            identify(endpoint.url)
        assert "s€cret" not in str(failure.value)
