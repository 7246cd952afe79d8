"""Decisions of a real OPA, seen from outside: who gets what, in which order refusals come, and what they give away."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from tests.support.application import ByToken
from tests.support.failing_provider import Upstream, upstream
from tests.support.real_policy import Decided, decided
from tests.support.serving import like_any_other

CHAT = "/v1/chat/completions"
ALICE, BOB, ADMIN = ("Authorization: Bearer alice", "Authorization: Bearer bob", "Authorization: Bearer admin")

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::vllm, config: {url: "URL", api_token: provider-secret-canary}}
    models:
    - {model_id: open, provider_id: echo, provider_model_id: open-1}
    - {model_id: secret, provider_id: far, provider_model_id: secret-1}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - permit: {paths: [/v1/health, /v1/version]}
          description: canary-open-to-all
        - forbid: {paths: /v1/chat/completions}
          when: user with bob in roles
          description: canary-bob-does-not-chat
        - forbid: {paths: /v1/closed*}
          description: canary-closed
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::secret"}
          unless: user with admin in roles
          description: canary-secret
        - forbid: {actions: [read], resource: "provider::far"}
          unless: user with admin in roles
        - permit: {actions: [read], resource: "provider::far"}
          when: user with admin in roles
        - permit: {actions: [read]}
"""


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Decided, Upstream]]:
    folder = tmp_path_factory.mktemp("decisions")
    with (
        upstream() as server,
        decided(CONFIG.replace("URL", server.url), opa_binary, folder, authenticator=ByToken()) as house,
    ):
        yield house, server


@pytest.fixture(scope="module")
def house(running: tuple[Decided, Upstream]) -> Decided:
    return running[0]


@pytest.fixture
def server(running: tuple[Decided, Upstream]) -> Upstream:
    running[1].forget()
    return running[1]


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    """The same house, without OPA."""
    folder, text = tmp_path_factory.mktemp("silent"), CONFIG.replace("URL", "http://127.0.0.1:9")
    with decided(text, opa_binary, folder, authenticator=ByToken(), start=False) as house:
        yield house


def chat(model: str = "open", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


def test_each_caller_sees_the_models_that_it_may_read(house: Decided) -> None:
    def shown(who: str) -> list[str]:
        return [model["id"] for model in house.address.get("/v1/models", who).json["data"]]

    assert shown(ALICE) == ["echo/open-1"]
    assert shown(ADMIN) == ["echo/open-1", "far/secret-1"]


def test_each_caller_sees_the_providers_that_it_may_read_and_none_their_secrets(
    house: Decided, server: Upstream
) -> None:
    shown = house.address.get("/v1/providers", ALICE).json["data"]
    assert [provider["provider_id"] for provider in shown] == ["echo"]
    assert server.asked == []
    answer = house.address.get("/v1/providers", ADMIN)
    far = answer.json["data"][1]
    assert far == {
        "api": "inference",
        "provider_id": "far",
        "provider_type": "remote::vllm",
        "config": {
            "base_url": server.url,
            "api_token": "********",
            "tls_verify": True,
            "allow_members": [],
            "allowed_models": None,
            "timeouts": {"connect": 10, "silence": 300, "total": 3600},
            "connections": {"total": 4096, "each": None},
            "retries": 2,
            "breaker": {"failures": 5, "pause": 30},
            "log_messages": False,
        },
        "health": {"status": "OK", "message": "", "breaker": "closed"},
    }
    assert house.address.get("/v1/providers/far", ADMIN).json == far
    assert b"secret-canary" not in answer.body


@pytest.mark.parametrize("name", ["secret", "far/secret", "far/secret-1", "far%2Fsecret-1"])
def test_an_unreadable_model_is_a_missing_one(house: Decided, server: Upstream, name: str) -> None:
    hidden = house.address.get(f"/v1/models/{name}", ALICE)
    missing = house.address.get(f"/v1/models/{name.replace('secret', 'absent')}", ALICE)
    plain = name.replace("%2F", "/")
    status, headers, body = like_any_other(missing)
    headers["content-length"] = str(len(body))
    assert like_any_other(hidden) == (status, headers, body.replace(b"absent", b"secret"))
    assert hidden.status == 404
    assert house.address.post(CHAT, chat(plain), ALICE).body == hidden.body
    assert house.address.post(CHAT, chat(plain, stream=True), ALICE).body == hidden.body
    assert server.asked == []


def test_an_unreadable_provider_is_a_missing_one(house: Decided) -> None:
    hidden, missing = house.address.get("/v1/providers/far", ALICE), house.address.get("/v1/providers/faq", ALICE)
    assert hidden.status == 404
    assert like_any_other(hidden)[2] == like_any_other(missing)[2].replace(b"faq", b"far")
    assert like_any_other(hidden)[1] == like_any_other(missing)[1]


def test_who_may_read_a_model_may_chat_with_it(house: Decided, server: Upstream) -> None:
    answer = house.address.post(CHAT, chat("secret"), ADMIN)
    assert (answer.status, answer.json["model"]) == (200, "far/secret-1")
    assert server.body["model"] == "secret-1"
    assert server.headers["Authorization"] == "Bearer provider-secret-canary"


BODIES = {
    "broken": b"{",
    "no object": b"[]",
    "ambiguous": b'{"model":"a","model":"b"}',
    "missing model": dumps(chat("absent")).encode(),
    "unreadable model": dumps(chat("secret")).encode(),
    "good": dumps(chat()).encode(),
    "too large": b" " * 11_000_000,
}


@pytest.mark.parametrize("raw", BODIES.values(), ids=BODIES)
def test_a_refused_route_is_refused_whatever_the_body(house: Decided, server: Upstream, raw: bytes) -> None:
    answer = house.address.post(CHAT, raw, BOB)
    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")
    assert house.address.post(CHAT, raw).status == 401
    assert server.asked == []


def test_a_refused_route_is_refused_whatever_the_kind_of_body(house: Decided) -> None:
    assert house.address.post(CHAT, chat(), BOB, kind="text/plain").status == 403
    assert house.address.post(CHAT, chat(), ALICE, kind="text/plain").status == 415


@pytest.mark.parametrize("path", ["/v1/closed", "/v1/closed/x", "/v1/closedness"])
def test_an_unknown_path_is_judged_before_it_is_missed(house: Decided, path: str) -> None:
    assert house.address.get(path, ALICE).status == 403
    assert house.address.get(path).status == 401
    assert house.address.get("/v1/nothing", ALICE).status == 404
    assert house.address.get("/v1/nothing").status == 401


@pytest.mark.parametrize("target", ["/v1/closed/", "/v1/%63losed", "/v1/closed?x=1", "/v1/closed///"])
def test_a_forbidden_path_is_forbidden_in_every_spelling(house: Decided, target: str) -> None:
    assert house.address.get(target, ALICE).status == 403


def test_a_method_that_does_not_exist_is_judged_before_it_is_refused(house: Decided) -> None:
    assert house.address.get("/v1/closed", ALICE, method="DELETE").status == 403
    assert house.address.get("/v1/models", ALICE, method="DELETE").status == 405
    assert house.address.get("/v1/models", method="DELETE").status == 401


def test_a_stranger_is_asked_for_a_token_and_not_for_a_body(house: Decided) -> None:
    answer = house.address.post(CHAT, b"{")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    assert house.address.exchange(head.encode()).startswith(b"HTTP/1.1 401")


def test_health_and_version_are_open_to_strangers(house: Decided) -> None:
    assert house.address.get("/v1/health").json == {"status": "OK"}
    assert house.address.get("/v1/version").json == {"version": "0.1.0"}
    assert house.address.get("/v1/health", method="HEAD").status == 200


@pytest.mark.parametrize("who", [BOB, None])
def test_a_refusal_names_its_decision_and_nothing_of_the_policy(house: Decided, who: str | None) -> None:
    answer = house.address.post(CHAT, chat(), *([] if who is None else [who]))
    named = [
        record["effect"]
        for record in house.log(answer.headers["x-request-id"])
        if record["decision_id"] in answer.error["message"]
    ]
    assert named == ["deny"]
    said = answer.body.decode()
    assert not any(word in said for word in ("canary", "route_policy", "config.yaml", "bob"))


def test_a_chat_costs_one_question(house: Decided) -> None:
    answer = house.address.post(CHAT, chat(), ALICE)
    records = house.log(answer.headers["x-request-id"])
    assert len({record["decision_id"] for record in records}) == 1
    assert {record["effect"] for record in records} == {"permit"}


def test_readiness_is_a_report_for_those_who_may_use_the_route(house: Decided) -> None:
    answer = house.address.get("/v1/health/ready", ALICE)
    assert answer.status == 200
    # Nobody is at the address of the identity provider in this configuration.
    assert answer.json["status"] in ("ready", "degraded")
    assert answer.json["authentication"] == "configured"
    policy = answer.json["policy"]
    assert policy["wanted_revision"] == policy["live_revision"]
    assert policy["age_seconds"] >= 0
    assert policy["reason"] is None
    assert house.address.get("/v1/health/ready").status == 401


@pytest.mark.parametrize("who", [ALICE, None])
@pytest.mark.parametrize(
    "target",
    ["/v1/health", "/v1/version", "/v1/models", "/v1/models/open", "/v1/providers", "/v1/nothing", "/v1/closed"],
)
def test_without_an_answer_from_the_policy_nothing_is_answered(silent: Decided, target: str, who: str | None) -> None:
    answer = silent.address.get(target, *([] if who is None else [who]))
    assert (answer.status, answer.error["code"], answer.error["type"]) == (503, "policy_unavailable", "server_error")
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")


@pytest.mark.parametrize("body", [chat(), chat("absent"), chat("secret"), chat(stream=True), {}])
def test_without_an_answer_from_the_policy_no_chat_begins(silent: Decided, body: dict[str, Any]) -> None:
    answer = silent.address.post(CHAT, body, ALICE)
    assert (answer.status, answer.error["code"]) == (503, "policy_unavailable")


def test_without_an_answer_from_the_policy_readiness_says_why(silent: Decided) -> None:
    answer = silent.address.get("/v1/health/ready", ALICE)
    assert answer.status == 503
    assert answer.json["status"] == "unavailable"
    assert answer.json["policy"]["live_revision"] is None
    assert "opa" in answer.json["policy"]["reason"]
    assert silent.address.get("/v1/health/ready").error["code"] == "policy_unavailable"


def test_with_authentication_off_everyone_is_let_in_and_readiness_says_so(opa_binary: Path, tmp_path: Path) -> None:
    text = """
        version: 2
        apis: [inference]
        providers:
          inference: [{provider_id: echo, provider_type: inline::echo}]
        models: [{model_id: m, provider_id: echo}]
        server:
          auth:
            route_policy:
            - permit: {paths: ["/v1/health*", /v1/models]}
    """
    with decided(text, opa_binary, tmp_path, authenticator=None) as house:
        ready = house.address.get("/v1/health/ready")
        assert (ready.status, ready.json["authentication"]) == (200, "off")
        assert [model["id"] for model in house.address.get("/v1/models", ALICE).json["data"]] == ["echo/m"]
        refused = house.address.post(CHAT, chat("m"))
        assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
        assert "www-authenticate" not in refused.headers


def test_readiness_names_no_provider_that_the_caller_may_not_read(house: Decided) -> None:
    def named(who: str) -> set[str]:
        found = house.address.get("/v1/health/ready", who).json["dependencies"]
        return {name for name in found if name.startswith("provider:")}

    assert named(ALICE) == {"provider:echo"}
    assert named(ADMIN) == {"provider:echo", "provider:far"}
    assert "quota" not in house.address.get("/v1/health/ready", ALICE).json["dependencies"]


def test_readiness_without_decisions_names_no_provider(silent: Decided) -> None:
    answer = silent.address.get("/v1/health/ready", ADMIN)
    assert answer.status == 503
    assert not [name for name in answer.json["dependencies"] if name.startswith("provider:")]
    assert answer.json["dependencies"]["policy"]["state"] == "down"
