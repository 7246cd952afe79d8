"""No identity service can send a token elsewhere: redirects are answers, and are never followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from server.authn import IdentityUnavailable
from server.authn.caching import CachingAuthenticator, Validator
from server.authn.custom import CustomValidator
from server.authn.github import GitHubValidator
from server.authn.introspection import IntrospectionSettings, IntrospectionValidator
from server.authn.kubernetes import KubernetesValidator
from server.authn.token_rules import TokenRules
from server.net.http_client import ServiceClient, ServiceReply
from server.net.tls import client_context
from tests.support.identity_services import Asked, service
from tests.support.token_issuers import NOW, ask

ELSEWHERE = "/elsewhere"
YES: dict[str, Any] = {
    "active": True,
    "sub": "ann",
    "exp": NOW + 300,
    "login": "ann",
    "id": 1,
    "message": "yes",
    "access_attributes": {"roles": ["admin"]},
    "kind": "SelfSubjectReview",
    "status": {"userInfo": {"username": "ann", "groups": ["admins"], "uid": "1"}},
}
"""An answer that would let the caller in, whichever validator reads it."""

CONTEXT = client_context(None, verify=True)
VALIDATORS: dict[str, Callable[[str], Validator]] = {
    "custom": lambda url: CustomValidator(url, str, CONTEXT),
    "github": lambda url: GitHubValidator(url, {"login": "roles"}, CONTEXT),
    "kubernetes": lambda url: KubernetesValidator(url, {"username": "roles"}, CONTEXT),
    "introspection": lambda url: IntrospectionValidator(
        IntrospectionSettings(url, "id", "secret", False),
        TokenRules(None, None),
        {"sub": "roles"},
        CONTEXT,
        lambda: NOW,
    ),
}
STATUSES = (301, 302, 303, 307, 308)


def redirecting(status: int) -> Callable[[Asked], tuple[int, Any, dict[str, str]]]:
    def reply(asked: Asked) -> tuple[int, Any, dict[str, str]]:
        return (200, YES, {}) if asked.target == ELSEWHERE else (status, YES, {"Location": ELSEWHERE})

    return reply


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_exchange_hands_a_redirect_back(method: str, status: int) -> None:
    async def once(url: str) -> ServiceReply:
        exchange = ServiceClient(CONTEXT)
        try:
            return await exchange.send(
                method, url, {"authorization": "Bearer token"}, b"body" if method == "POST" else None
            )
        finally:
            await exchange.close()

    with service(redirecting(status)) as peer:
        assert asyncio.run(once(f"{peer.url}/asked")).status == status
        assert [asked.target for asked in peer.asked] == ["/asked"]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", VALIDATORS)
def test_no_validator_believes_a_redirect(kind: str, status: int) -> None:
    async def once(url: str) -> None:
        identity = CachingAuthenticator(VALIDATORS[kind](url), 60, now=lambda: NOW)
        try:
            await ask(identity, "token")
        finally:
            await identity.close()

    with service(redirecting(status)) as peer:
        with pytest.raises(IdentityUnavailable):
            asyncio.run(once(peer.url))
        assert [asked.target for asked in peer.asked if asked.target == ELSEWHERE] == []
        assert len(peer.asked) == 1
