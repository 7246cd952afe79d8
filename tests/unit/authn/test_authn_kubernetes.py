"""Tokens that a Kubernetes API server reviews: a real HTTPS server that speaks SelfSubjectReview."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.attributes import ClaimsMapping
from server.authn.caching import CachingAuthenticator
from server.authn.kubernetes import KubernetesValidator
from server.net.tls import client_context
from tests.support.identity_services import Asked, private_ca, service
from tests.support.token_issuers import ask

MAPPING = {"username": "roles", "groups": "roles", "uid": "uid_attr"}
ACCOUNT = "system:serviceaccount:llama-stack:llama-stack-auth"


def review(asked: Asked, **user: Any) -> tuple[int, Any]:
    """What an API server answers to a good token."""
    told = {"username": ACCOUNT, "uid": "8d1f", "groups": ["system:serviceaccounts", "system:authenticated"]} | user
    return 201, {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"userInfo": told},
    }


def identify(url: str, token: str, mapping: Mapping[str, str] = MAPPING, ca: Path | None = None) -> Principal:
    async def once() -> Principal:
        identity = CachingAuthenticator(
            KubernetesValidator(url, ClaimsMapping(mapping), client_context(ca, verify=True)), 60
        )
        try:
            return await ask(identity, token)
        finally:
            await identity.close()

    return asyncio.run(once())


def test_c16_a_service_account_is_reviewed_over_tls_with_a_private_ca(tmp_path: Path) -> None:
    ca_file, context = private_ca(tmp_path)
    with service(review, context) as cluster:
        principal = identify(cluster.url, "service-account-token", ca=ca_file)
        assert principal == Principal(
            ACCOUNT,
            cluster.url,
            {"roles": (ACCOUNT, "system:serviceaccounts", "system:authenticated"), "uid_attr": ("8d1f",)},
        )
        (asked,) = cluster.asked
        assert (asked.method, asked.target) == ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews")
        assert asked.headers["authorization"] == "Bearer service-account-token"
        assert json.loads(asked.body) == {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        with pytest.raises(IdentityUnavailable):
            identify(cluster.url, "service-account-token")
        assert len(cluster.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_the_api_server_refuses_is_refused(status: int) -> None:
    with (
        service(lambda asked: (status, {"kind": "Status", "status": "Failure"})) as cluster,
        pytest.raises(AuthenticationFailed, match="does not accept the token"),
    ):
        identify(cluster.url, "a-token")


@pytest.mark.parametrize("name", ["system:anonymous", "", " ", None, 5, "a\nb", "x" * 300])
def test_a_review_without_a_name_identifies_no_caller(name: object) -> None:
    with (
        service(lambda asked: review(asked, username=name)) as cluster,
        pytest.raises(AuthenticationFailed, match="names no user"),
    ):
        identify(cluster.url, "a-token")


@pytest.mark.parametrize(
    "reply",
    [
        (500, {}),
        (404, {}),
        (302, b""),
        (201, b"<html>"),
        (201, []),
        (201, {}),
        (201, {"status": {}}),
        (201, {"status": {"userInfo": "system:admin"}}),
        (201, b'{"status": {"userInfo": {"username": "a"}}, "status": {}}'),
    ],
)
def test_an_answer_that_says_nothing_certain_is_no_answer(reply: tuple[int, Any]) -> None:
    with service(lambda asked: reply) as cluster, pytest.raises(IdentityUnavailable):
        identify(cluster.url, "a-token")


def test_numbers_and_booleans_are_spelled_as_in_json() -> None:
    with service(lambda asked: review(asked, groups=["a", 5, True])) as cluster:
        assert identify(cluster.url, "a-token", {"groups": "teams"}).attributes == {"teams": ("a", "5", "true")}


@pytest.mark.parametrize("mark", [{"_claim_names": {"groups": "s"}}, {"hasgroups": True}, {"_claim_names": "groups"}])
def test_groups_that_are_elsewhere_refuse_the_token(mark: dict[str, Any]) -> None:
    with (
        service(lambda asked: review(asked, **mark)) as cluster,
        pytest.raises(AuthenticationFailed, match="in another place"),
    ):
        identify(cluster.url, "a-token")


def test_groups_that_are_no_list_of_texts_are_refused_rather_than_guessed() -> None:
    with service(lambda asked: review(asked, groups=["a", None])) as cluster:
        with pytest.raises(AuthenticationFailed, match="`groups`"):
            identify(cluster.url, "a-token")
        assert identify(cluster.url, "a-token", {"username": "roles"}).attributes == {"roles": (ACCOUNT,)}


def test_extra_claims_are_reached_by_their_path() -> None:
    extra = {"tenant": ["ml"], "authentication.kubernetes.io/pod-name": ["web-1"]}
    mapping = {"extra.tenant": "teams", "extra.authentication.kubernetes.io/pod-name": "pods"}
    with service(lambda asked: review(asked, extra=extra)) as cluster:
        assert identify(cluster.url, "a-token", mapping).attributes == {"teams": ("ml",), "pods": ("web-1",)}
