"""Which origins may call: what browsers are told, and that a preflight needs no token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.http.cors import CorsPolicy
from tests.support.application import ByToken, house
from tests.support.serving import Address, serving
from tests.support.unsafe_policy import UnsafePermitAll

ALLOWED = "access-control-allow-origin"
EXPLICIT = CorsPolicy(
    allow_origins=("https://myapp.com", "https://staging.myapp.com"),
    allow_origin_regex=r"https://.*\.example\.com",
    allow_methods=("GET", "POST"),
    allow_headers=("Authorization", "X-Mine"),
    allow_credentials=True,
    expose_headers=("X-Total-Count",),
    max_age=86400,
)
ANYONE = CorsPolicy(("*",), None, ("*",), ("*",), False, (), 600)


@pytest.fixture(scope="module")
def local(enforcement: UnsafePermitAll) -> Iterator[Address]:
    with serving(house(cors=CorsPolicy.localhost(), authenticator=ByToken(), enforcement=enforcement)) as running:
        yield running


@pytest.fixture(scope="module")
def explicit() -> Iterator[Address]:
    with serving(house(cors=EXPLICIT)) as running:
        yield running


@pytest.fixture(scope="module")
def anyone() -> Iterator[Address]:
    with serving(house(cors=ANYONE)) as running:
        yield running


@pytest.mark.parametrize(
    "origin", ["http://localhost", "http://localhost:3000", "https://localhost:8443", "https://localhost"]
)
def test_a_page_from_this_machine_may_call_at_any_port(local: Address, origin: str) -> None:
    answer = local.get("/v1/models", f"Origin: {origin}")
    assert answer.headers[ALLOWED] == origin
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost.evil.com",
        "http://evil-localhost",
        "http://localhost:3000.evil.com",
        "http://localhost:",
        "http://localhost:123456",
        "http://user@localhost",
        "http://127.0.0.1",
        "file://localhost",
        "http://LOCALHOST.evil",
        "https://example.com",
    ],
)
def test_no_other_page_may(local: Address, origin: str) -> None:
    answer = local.get("/v1/models", f"Origin: {origin}")
    assert ALLOWED not in answer.headers
    assert "Origin" in answer.headers["vary"]
    preflight = local.get("/v1/models", f"Origin: {origin}", "Access-Control-Request-Method: GET", method="OPTIONS")
    assert preflight.status == 400
    assert "origin" in preflight.error["message"]
    assert ALLOWED not in preflight.headers


def test_a_preflight_needs_no_token_and_asks_no_policy(local: Address, enforcement: UnsafePermitAll) -> None:
    enforcement.asked.clear()
    preflight = local.get(
        "/v1/chat/completions",
        "Origin: http://localhost:3000",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type,x-stainless-lang",
        method="OPTIONS",
    )
    assert preflight.status == 200
    assert preflight.headers[ALLOWED] == "http://localhost:3000"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "x-stainless-lang" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-max-age"] == "600"
    assert preflight.headers["x-request-id"].startswith("req_")
    assert enforcement.asked == []


def test_a_page_can_read_the_errors_that_it_gets(local: Address) -> None:
    origin = "Origin: http://localhost:3000"
    for answer in (local.get("/v1/models", origin, "Authorization: Bearer bad"), local.get("/v1/nothing", origin)):
        assert answer.status in (401, 404)
        assert answer.headers[ALLOWED] == "http://localhost:3000"


@pytest.mark.parametrize("origin", ["https://myapp.com", "https://staging.myapp.com", "https://a.b.example.com"])
def test_each_field_is_what_it_says(explicit: Address, origin: str) -> None:
    answer = explicit.get("/v1/models", f"Origin: {origin}")
    assert answer.headers[ALLOWED] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-expose-headers"] == "X-Total-Count"
    preflight = explicit.get(
        "/v1/models",
        f"Origin: {origin}",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-mine",
        method="OPTIONS",
    )
    assert preflight.status == 200
    assert preflight.headers["access-control-max-age"] == "86400"
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"


@pytest.mark.parametrize("lines", [("DELETE", "x-mine"), ("GET", "x-other")])
def test_a_method_or_header_that_is_not_listed_is_refused(explicit: Address, lines: tuple[str, str]) -> None:
    method, header = lines
    preflight = explicit.get(
        "/v1/models",
        "Origin: https://myapp.com",
        f"Access-Control-Request-Method: {method}",
        f"Access-Control-Request-Headers: {header}",
        method="OPTIONS",
    )
    assert (preflight.status, preflight.error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("origin", ["https://evil-example.com", "https://example.com", "https://a.example.com.evil"])
def test_a_pattern_is_matched_against_the_whole_origin(explicit: Address, origin: str) -> None:
    assert ALLOWED not in explicit.get("/v1/models", f"Origin: {origin}").headers


def test_every_origin_gets_a_star_where_all_may_call(anyone: Address) -> None:
    answer = anyone.get("/v1/models", "Origin: https://anything.example")
    assert answer.headers[ALLOWED] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_without_cors_no_origin_is_told_anything() -> None:
    with serving(house()) as address:
        answer = address.get("/v1/models", "Origin: http://localhost:3000")
        assert not any(name.startswith("access-control") for name in answer.headers)
        options = address.get(
            "/v1/models", "Origin: http://localhost", "Access-Control-Request-Method: GET", method="OPTIONS"
        )
        assert options.status == 405
