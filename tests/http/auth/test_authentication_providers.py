"""Every kind of authentication provider from its configuration to an answer, against a real server of its kind."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from server.net import http_client
from server.wiring.authenticators import authenticator
from tests.support.authenticated_server import CONFIG, P1, guarded, models
from tests.support.failing_provider import upstream
from tests.support.identity_services import Asked, Service, private_ca, service
from tests.support.real_policy import decided, read
from tests.support.token_attacks import World
from tests.support.token_issuers import Signer, claims, jwk_set
from tests.support.token_issuers import answer as key_answer
from tests.support.token_server import issuing


def test_c17_p1_two_github_users(opa_binary: Path, tmp_path: Path) -> None:
    def github(asked: Asked) -> tuple[int, Any]:
        user = {"Bearer one": "user-1", "Bearer two": "user-2", "Bearer three": "user-3"}.get(
            asked.headers["authorization"]
        )
        if user is None:
            return 401, {"message": "Bad credentials"}
        return 200, {"login": user, "id": 1} if asked.target == "/user" else []

    with service(github) as api:
        provider = f"{{type: github_token, github_api_base_url: '{api.url}'}}"
        with guarded(provider, P1, opa_binary, tmp_path) as running:
            assert models(running, "one") == ["echo/model-1", "echo/model-2"]
            assert models(running, "two") == ["echo/model-1"]
            assert models(running, "three") == []
            assert models(running, "four") == 401
            assert models(running, None) == 401
            asked = len(api.asked)
            assert models(running, "one") == ["echo/model-1", "echo/model-2"]
            assert len(api.asked) == asked, "a good answer is remembered"


def test_c16_p2_service_accounts_reviewed_by_a_kubernetes_api_server(opa_binary: Path, tmp_path: Path) -> None:
    account = "system:serviceaccount:my-namespace:my-serviceaccount"

    def cluster(asked: Asked) -> tuple[int, Any]:
        if asked.headers["authorization"] != "Bearer sa-token":
            return 401, {"kind": "Status", "code": 401}
        user = {"username": account, "uid": "u-1", "groups": ["system:authenticated"]}
        return 201, {"kind": "SelfSubjectReview", "status": {"userInfo": user}}

    ca_file, context = private_ca(tmp_path)
    policy = f"""
        - permit:
            principal: {account}
            actions: [read]
            resource: model::model-1
        - permit:
            actions: [read]
            resource: model::model-2
          when: user with u-1 in uid_attr
"""
    with service(cluster, context) as api:
        provider = (
            f"{{type: kubernetes, api_server_url: '{api.url}', tls_cafile: '{ca_file}', verify_tls: true, "
            "claims_mapping: {username: roles, groups: roles, uid: uid_attr}}"
        )
        with guarded(provider, policy, opa_binary, tmp_path) as running:
            assert models(running, "sa-token") == ["echo/model-1", "echo/model-2"]
            assert models(running, "other") == 401


PRINTED = {
    "access_attributes": {
        "roles": ["admin", "user"],
        "teams": ["ml-team", "nlp-team"],
        "projects": ["llama-3", "project-x"],
        "namespaces": ["research"],
    },
    "message": "Authentication successful",
}
BY_ATTRIBUTES = """
        - permit: {actions: [read], resource: "model::model-1"}
          when: [user with admin in roles, user with nlp-team in teams, user with research in namespaces]
        - permit: {actions: [read], resource: "model::model-2"}
          when: user with project-x in projects
"""


def test_c18_an_endpoint_of_ones_own_as_printed(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    with service(lambda asked: (200, PRINTED)) as endpoint:
        provider = f"{{type: custom, endpoint: '{endpoint.url}/validate'}}"
        with guarded(provider, BY_ATTRIBUTES, opa_binary, tmp_path) as running:
            assert models(running, "any-token") == ["echo/model-1", "echo/model-2"]
    (asked,) = endpoint.asked
    assert asked.target == "/validate"
    assert b'"path":"/v1/models"' in asked.body
    assert b'"authorization"' not in asked.body


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (lambda asked: (401, {}), 401),
        (lambda asked: (403, {}), 401),
        (lambda asked: (500, {}), 503),
        (lambda asked: (302, b"", {"location": "http://127.0.0.1:1/"}), 503),
        (lambda asked: (200, b"<html></html>"), 503),
        (lambda asked: (200, {"access_attributes": {"roles": "admin"}}), 503),
        (lambda asked: (200, b"x" * 300_000), 503),
    ],
)
def test_case_17_a_refusal_is_401_and_anything_odd_503_with_a_wait(
    reply: Callable[[Asked], Any],
    status: int,
    opa_binary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    with service(reply) as endpoint:
        provider = f"{{type: custom, endpoint: '{endpoint.url}'}}"
        with guarded(provider, BY_ATTRIBUTES, opa_binary, tmp_path) as running:
            assert models(running, "a-token") == status
            answer = running.address.get("/v1/models", "Authorization: Bearer another-token")
            if status == 503:
                assert answer.error["code"] == "identity_unavailable"
                assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
            else:
                assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_an_unreachable_service_is_503_and_served_again_once_it_is_back(opa_binary: Path, tmp_path: Path) -> None:
    answers: list[tuple[int, Any]] = [(500, {})]
    with service(lambda asked: answers[-1]) as endpoint:
        provider = f"{{type: custom, endpoint: '{endpoint.url}', name_key: '{'k' * 32}'}}"
        with guarded(provider, BY_ATTRIBUTES, opa_binary, tmp_path) as running:
            assert models(running, "a-token") == 503
            answers.append((200, PRINTED))
            assert models(running, "a-token") == ["echo/model-1", "echo/model-2"]


def test_introspection_decides_about_opaque_tokens(opa_binary: Path, tmp_path: Path) -> None:
    def endpoint(asked: Asked) -> tuple[int, Any]:
        assert asked.headers["authorization"] == f"Basic {base64.b64encode(b'client:secret').decode()}"
        good = parse_qs(asked.body.decode())["token"] == ["opaque"]
        return 200, {"active": True, "sub": "user-2", "aud": "ostiary", "exp": 4_000_000_000} if good else {
            "active": False
        }

    with service(endpoint) as issuer:
        provider = (
            "{type: oauth2_token, issuer: 'https://issuer.example', audience: ostiary, introspection: "
            f"{{url: '{issuer.url}/introspect', client_id: client, client_secret: secret}}}}"
        )
        with guarded(provider, P1, opa_binary, tmp_path) as running:
            assert models(running, "opaque") == ["echo/model-1"]
            assert [models(running, "other") for _ in range(3)] == [401] * 3
            assert len(issuer.asked) == 2


def test_t1_one_tls_context_for_each_outbound_endpoint_made_once(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []
    initialise = ssl.SSLContext.__new__

    def counting(cls: type[ssl.SSLContext], *arguments: object, **options: object) -> ssl.SSLContext:
        made.append(initialise(cls, *arguments, **options))
        return made[-1]

    ca_file, context = private_ca(tmp_path)
    endpoint: Service
    with service(lambda asked: (200, {"principal": "user-1"}), context) as endpoint, upstream(context) as far:
        monkeypatch.setattr(ssl.SSLContext, "__new__", counting)
        provider = (
            f"{{type: custom, endpoint: '{endpoint.url}', tls_cafile: '{ca_file}', name_key: '{'k' * 32}', "
            "recheck_period: 0}"
        )
        text = CONFIG.replace("PROVIDER", provider).replace("POLICY", P1)
        vllm = f'{{url: "{far.url}", tls_verify: "{ca_file}"}}'
        text = text.replace("provider_type: inline::echo", f"provider_type: remote::vllm, config: {vllm}")
        with decided(text, opa_binary, tmp_path, authenticator=authenticator(read(text).server.auth)) as running:
            body = {"model": "model-1", "messages": [{"role": "user", "content": "x"}]}
            for number in range(5):
                bearer = f"Authorization: Bearer token-{number}"
                assert running.address.post("/v1/chat/completions", body, bearer).status == 200
        assert (len(endpoint.asked), len(far.asked)) == (5, 5)
        # One for the endpoint that judges tokens, one for the provider of models.
        assert len(made) == 2


def test_case_17_an_endpoint_that_is_slow_is_unavailable_and_holds_no_other_up(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_SECONDS", 1.0)
    with service(lambda asked: (200, PRINTED)) as endpoint, ThreadPoolExecutor(1) as another:
        provider = f"{{type: custom, endpoint: '{endpoint.url}', name_key: '{'k' * 32}'}}"
        with guarded(provider, BY_ATTRIBUTES, opa_binary, tmp_path) as running:
            assert models(running, "known") == ["echo/model-1", "echo/model-2"]
            endpoint.go_on.clear()
            slow = another.submit(models, running, "slow")
            while len(endpoint.asked) < 2:
                assert models(running, "known") == ["echo/model-1", "echo/model-2"]
            assert slow.result() == 503
            endpoint.go_on.set()


@pytest.fixture(scope="module")
def issuer_and_attacker() -> World:
    return World(Signer.rsa("rsa-1"), Signer.ec("ec-1"), Signer.rsa("new"))


@pytest.mark.parametrize("kid", ["new", None])
def test_i3_i5_a_new_key_is_found_as_soon_as_the_keys_can_be_read_and_until_then_it_is_503(
    kid: str | None, issuer_and_attacker: World, opa_binary: Path, tmp_path: Path
) -> None:
    world = issuer_and_attacker
    with issuing(world, opa_binary, tmp_path) as issued:
        assert issued.status(world.rsa.token()) == 200
        assert issued.status(Signer.ec("made-up").token()) == 401
        new = world.attacker.jwk(kid=... if kid is None else kid)
        issued.keys.content = jwk_set(new if kid is None else world.rsa, new)
        issued.keys.behaviour = lambda handler: key_answer(handler, 503, b"")
        bearer = f"Authorization: Bearer {world.attacker.token(kid=... if kid is None else kid)}"
        for _ in range(3):
            answer = issued.running.address.get("/v1/models", bearer)
            assert (answer.status, answer.error["code"]) == (503, "identity_unavailable")
            assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
        issued.keys.behaviour = issued.keys.publish
        issued.clock.seconds += 1
        assert issued.running.address.get("/v1/models", bearer).status == 200


def test_i6_a_key_whose_name_is_null_shuts_no_caller_out(
    issuer_and_attacker: World, opa_binary: Path, tmp_path: Path
) -> None:
    world = issuer_and_attacker
    with issuing(world, opa_binary, tmp_path) as issued:
        for odd in (None, 5, ""):
            issued.keys.content = jwk_set(world.rsa.jwk(kid=odd), world.ec)
            issued.clock.seconds += 600
            assert issued.status(world.ec.token()) == 200
            assert issued.status(world.rsa.token(kid=...)) == 200
            assert issued.status(world.rsa.token(claims(jti=str(odd)))) == 401
