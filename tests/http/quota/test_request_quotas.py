"""Quotas over HTTP, with a real OPA and a real store: who pays, when, and what a refusal looks like."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from policy.vocabulary import Principal
from server.quota.admission import FREE, ConcurrencyLimit, TooManyAtOnce, caller_of
from tests.support.application import ByToken
from tests.support.failing_provider import upstream
from tests.support.log_lines import VALIDATOR
from tests.support.patience import PATIENCE
from tests.support.quota_period import is_until_midnight, seconds_of
from tests.support.real_policy import decided
from tests.support.serving import Address, Answer

ALICE, BOB = "Authorization: Bearer alice", "Authorization: Bearer bob"
ECHO = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: open, provider_id: echo}
"""
Q1 = (
    ECHO
    + """
    server:
      quota:
        kvstore:
          type: sqlite
          db_path: FOLDER/quotas.db
        anonymous_max_requests: 3
        authenticated_max_requests: 1000
        period: day
"""
)
Q2 = (
    ECHO
    + """
    server:
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        route_policy:
        - permit: {paths: [/v1/health, /v1/version]}
        - forbid: {paths: /v1/providers*}
        - permit: {paths: "*"}
      trusted_proxies: [127.0.0.1]
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        anonymous_max_requests: 2
        authenticated_max_requests: 3
        period: day
"""
)


def models(address: Address, *headers: str) -> Answer:
    return address.get("/v1/models", *headers)


def statuses(address: Address, count: int, *headers: str) -> list[int]:
    return [models(address, *headers).status for _ in range(count)]


def test_probing_hidden_models_costs_the_quota(opa_binary: Path, tmp_path: Path) -> None:
    hidden = Q2.replace("FOLDER", str(tmp_path)).replace(
        "        route_policy:",
        '        access_policy: [{forbid: {actions: [read], resource: "model::*"}}]\n        route_policy:',
    )
    body = {"model": "open", "messages": [{"role": "user", "content": "x"}]}
    with decided(hidden, opa_binary, tmp_path, authenticator=ByToken()) as running:
        asked = [running.address.post("/v1/chat/completions", body, ALICE) for _ in range(4)]
        assert [answer.status for answer in asked] == [404, 404, 404, 429]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in asked] == ["2", "1", "0", "0"]
        probed = [running.address.get(f"/v1/models/{name}", BOB).status for name in ("open", "none", "echo/open", "x")]
        assert probed == [404, 404, 404, 429]


def test_q1_without_authentication_the_anonymous_number_holds_per_address(opa_binary: Path, tmp_path: Path) -> None:
    with decided(Q1.replace("FOLDER", str(tmp_path)), opa_binary, tmp_path, authenticator=None) as running:
        first = models(running.address)
        assert first.status == HTTPStatus.OK
        assert first.headers["x-ratelimit-limit-requests"] == "3"
        assert first.headers["x-ratelimit-remaining-requests"] == "2"
        assert is_until_midnight(seconds_of(first.headers["x-ratelimit-reset-requests"]))
        assert statuses(running.address, 2) == [200, 200]
        refused = models(running.address)
        assert refused.status == HTTPStatus.TOO_MANY_REQUESTS
        assert refused.error == {
            "message": "Quota exceeded",
            "type": "rate_limit_error",
            "param": None,
            "code": "insufficient_quota",
        }
        assert is_until_midnight(int(refused.headers["retry-after"]))
        assert refused.headers["x-should-retry"] == "false"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        # A forwarded address is nobody's word, and a token is none where there is no authentication.
        assert statuses(running.address, 1, "X-Forwarded-For: 192.0.2.1") == [429]
        assert statuses(running.address, 1, ALICE) == [429]
        assert running.address.post("/v1/chat/completions", {"model": "open", "messages": []}).status in (400, 429)
        for free in ("/v1/health", "/v1/health/ready", "/v1/version", "/metrics"):
            assert running.address.get(free).status == HTTPStatus.OK
        # Beside the routes that are free, the store holds nobody's address.
        with closing(sqlite3.connect(tmp_path / "quotas.db")) as database:
            [(key, requests)] = database.execute("SELECT key, requests FROM quota").fetchall()
        assert (len(key), requests) == (64, 3)


def test_q2_each_principal_has_its_own_share_whatever_its_address(opa_binary: Path, tmp_path: Path) -> None:
    with decided(Q2.replace("FOLDER", str(tmp_path)), opa_binary, tmp_path, authenticator=ByToken()) as running:
        # Refused tokens and refused routes cost nothing.
        assert statuses(running.address, 5, "Authorization: Bearer bad") == [401] * 5
        assert [running.address.get("/v1/providers", ALICE).status for _ in range(5)] == [403] * 5
        assert statuses(running.address, 5) == [401] * 5
        shares = [
            models(running.address, ALICE, f"X-Forwarded-For: 192.0.2.{number}").headers[
                "x-ratelimit-remaining-requests"
            ]
            for number in range(3)
        ]
        assert shares == ["2", "1", "0"]
        assert statuses(running.address, 1, ALICE) == [429]
        assert statuses(running.address, 4, BOB) == [200, 200, 200, 429]
        over = models(running.address, ALICE)
        assert over.status == HTTPStatus.TOO_MANY_REQUESTS
        *permits, refusal = running.log(over.headers["x-request-id"])
        assert {record["effect"] for record in permits} == {"permit", "filter"}
        assert (refusal["kind"], refusal["effect"]) == ("quota", "limited")
        assert refusal["decision_id"] == permits[0]["decision_id"]


def test_q2_who_is_anonymous_behind_a_trusted_proxy_is_counted_by_the_forwarded_address(
    opa_binary: Path, tmp_path: Path
) -> None:
    text = Q1.replace("server:", "server:\n      trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]")
    with decided(text.replace("FOLDER", str(tmp_path)), opa_binary, tmp_path, authenticator=None) as running:

        def left(*forwarded: str) -> str:
            lines = [f"X-Forwarded-For: {value}" for value in forwarded]
            return models(running.address, *lines).headers["x-ratelimit-remaining-requests"]

        assert left("192.0.2.1") == "2"
        assert left("192.0.2.2") == "2"
        # What the caller wrote itself stands to the left of what the proxies wrote.
        assert left("203.0.113.9, 192.0.2.1, 10.1.2.3") == "1"
        assert left("203.0.113.8", "192.0.2.1") == "0"
        assert left("2001:db8::1") == "2"
        assert left("2001:db8::ffff") == "1"
        assert left("::ffff:192.0.2.2") == "1"
        # Where a proxy says nothing that is an address, the caller is the proxy.
        assert left("nonsense") == "2"
        assert left("192.0.2.9, nonsense") == "1"


def test_a_burst_gets_exactly_the_share(opa_binary: Path, tmp_path: Path) -> None:
    """Case 39: 60 requests at once at the last 20 units."""
    text = Q1.replace("FOLDER", str(tmp_path)).replace("anonymous_max_requests: 3", "anonymous_max_requests: 20")
    with decided(text, opa_binary, tmp_path, authenticator=None) as running, ThreadPoolExecutor(30) as many:
        found = list(many.map(lambda _: models(running.address).status, range(60)))
    assert sorted(found) == [200] * 20 + [429] * 40


def test_a_store_that_fails_is_unavailable_and_lets_no_request_in(opa_binary: Path, tmp_path: Path) -> None:
    with decided(Q1.replace("FOLDER", str(tmp_path)), opa_binary, tmp_path, authenticator=None) as running:
        with closing(sqlite3.connect(tmp_path / "quotas.db")) as database:
            database.execute("DROP TABLE quota")
            database.commit()
        refused = models(running.address)
        assert (refused.status, refused.error["code"]) == (503, "quota_unavailable")
        assert refused.headers["retry-after"] == "1"
        stopped = running.log(refused.headers["x-request-id"])[-1]
        VALIDATOR.validate(stopped)
        assert (stopped["kind"], stopped["effect"], stopped["limit"]) == ("quota", "unavailable", "server.quota")
        assert running.address.get("/v1/health").status == HTTPStatus.OK


def test_the_sdk_sees_a_used_up_share_as_a_rate_limit_and_asks_once(opa_binary: Path, tmp_path: Path) -> None:
    text = Q1.replace("FOLDER", str(tmp_path)).replace("anonymous_max_requests: 3", "anonymous_max_requests: 1")
    with decided(text, opa_binary, tmp_path, authenticator=None) as running:
        with openai.OpenAI(base_url=f"{running.address.url}/v1", api_key="none") as client:
            client.models.list()
            with pytest.raises(openai.RateLimitError) as refused:
                client.models.list()
        assert refused.value.code == "insufficient_quota"
        assert refused.value.response.headers["x-should-retry"] == "false"


def test_a_caller_has_no_more_requests_under_way_than_it_may(opa_binary: Path, tmp_path: Path) -> None:
    with upstream() as server:
        text = ECHO.replace(
            "- {model_id: open, provider_id: echo}",
            "- {model_id: open, provider_id: echo}\n    - {model_id: gated, provider_id: far}",
        ).replace(
            "- {provider_id: echo, provider_type: inline::echo}",
            "- {provider_id: echo, provider_type: inline::echo}\n"
            f'      - {{provider_id: far, provider_type: remote::vllm, config: {{url: "{server.url}"}}}}',
        )
        text += """
    server:
      max_concurrent_requests: 1
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        access_policy: [{permit: {actions: [read]}}]
"""
        with decided(text, opa_binary, tmp_path, authenticator=ByToken()) as running:
            body: dict[str, Any] = {"model": "gated", "messages": [{"role": "user", "content": "x"}], "stream": True}
            url, alice = f"{running.address.url}/v1/chat/completions", {"Authorization": "Bearer alice"}
            with httpx.stream("POST", url, json=body, headers=alice, timeout=PATIENCE) as under_way:
                assert under_way.status_code == HTTPStatus.OK
                refused = models(running.address, ALICE)
                assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
                assert refused.headers["x-should-retry"] == "true"
                (stopped,) = running.log(refused.headers["x-request-id"])
                VALIDATOR.validate(stopped)
                assert (stopped["kind"], stopped["effect"], stopped["principal"]) == ("quota", "limited", "alice")
                assert (stopped["limit"], stopped["most"]) == ("server.max_concurrent_requests", 1)
                assert stopped["decision_id"] is None
                assert models(running.address, BOB).status == HTTPStatus.OK
                for path in FREE:
                    assert running.address.get(path, ALICE).status != HTTPStatus.TOO_MANY_REQUESTS, path
                server.go_on.set()
                under_way.read()
            for _ in range(100):
                if models(running.address, ALICE).status == HTTPStatus.OK:
                    break
            else:
                raise AssertionError("the place was not given back")


def test_a_place_is_given_back_whatever_happens() -> None:
    concurrency, principal = ConcurrencyLimit(1), Principal("a", "issuer")
    with pytest.raises(RuntimeError), concurrency.passing(caller_of(principal, "192.0.2.1")):
        with pytest.raises(TooManyAtOnce), concurrency.passing(caller_of(principal, "192.0.2.2")):
            pass
        with concurrency.passing(caller_of(Principal("a", "other issuer"), "192.0.2.1")):
            raise RuntimeError
    with concurrency.passing(caller_of(principal, "192.0.2.1")):
        pass


BY_ROLE = (
    ECHO
    + """
    server:
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        authenticated_max_requests: 1
        limits:
        - when: user with alice in roles
          max_requests: 3
          description: alice pays for more
        - unless: user with carol not in roles
          max_requests: 2
        - when: user with alice in roles
          max_requests: 1000
        period: day
"""
)


def test_the_policy_names_the_limit_of_a_role_and_the_first_that_applies_holds(
    opa_binary: Path, tmp_path: Path
) -> None:
    with decided(BY_ROLE.replace("FOLDER", str(tmp_path)), opa_binary, tmp_path, authenticator=ByToken()) as running:
        assert models(running.address, ALICE).headers["x-ratelimit-limit-requests"] == "3"
        assert statuses(running.address, 3, ALICE) == [200, 200, 429]
        assert statuses(running.address, 2, BOB) == [200, 429]
        assert statuses(running.address, 3, "Authorization: Bearer carol") == [200, 200, 429]
        body = {"model": "open", "messages": [{"role": "user", "content": "x"}]}
        spent = running.address.post("/v1/chat/completions", body, ALICE)
        assert spent.status == 429
        fresh = running.address.post("/v1/chat/completions", body, "Authorization: Bearer dave")
        assert (fresh.status, fresh.headers["x-ratelimit-limit-requests"]) == (200, "1")
