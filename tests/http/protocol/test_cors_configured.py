"""Examples C13, K1 and K2, from the printed configuration to what a browser is told; hostile origins (case 43)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations

from server.wiring import application
from tests.support.application import AlwaysReady, ByToken
from tests.support.real_policy import read
from tests.support.serving import Address, Answer, serving
from tests.support.unsafe_policy import UnsafePermitAll

ALLOWED = "access-control-allow-origin"
BASE = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: m, provider_id: echo}
    server:
"""
C13 = """
      cors:
        allow_origins: ["https://myapp.com", "https://app.example.com"]
        allow_methods: ["GET", "POST", "PUT", "DELETE"]
        allow_headers: ["Content-Type", "Authorization"]
        allow_credentials: true
        max_age: 3600
"""
K2 = r"""
      cors:
        allow_origins: ["https://myapp.com", "https://staging.myapp.com"]
        allow_credentials: true
        allow_methods: ["GET", "POST", "PUT", "DELETE"]
        allow_headers: ["Content-Type", "Authorization"]
        allow_origin_regex: "https://.*\\.example\\.com" # Optional regex pattern
        expose_headers: ["X-Total-Count"]
        max_age: 86400
"""


@contextmanager
def configured(cors: str) -> Iterator[tuple[Address, UnsafePermitAll]]:
    """The server with that `cors`, and tokens."""
    enforcement = UnsafePermitAll()
    config = read(BASE + cors)
    app = application.build(config, enforcement, ByToken(), AlwaysReady())
    with serving(app, cors=application.cors(config.server.cors)) as address:
        yield address, enforcement


def preflight(address: Address, origin: str, method: str = "POST", headers: str = "authorization") -> Answer:
    lines = [f"Origin: {origin}", f"Access-Control-Request-Method: {method}"]
    return address.get("/v1/chat/completions", *lines, f"Access-Control-Request-Headers: {headers}", method="OPTIONS")


def listed(answer: Answer, name: str) -> set[str]:
    return {value.strip().lower() for value in answer.headers[f"access-control-{name}"].split(",")}


def test_k1_cors_true_is_localhost_at_any_port_and_nothing_else() -> None:
    with configured("      cors: true\n") as (address, enforcement):
        for origin in ("http://localhost", "http://localhost:3000", "https://localhost:8443"):
            for answer in (address.get("/v1/providers", f"Origin: {origin}"), preflight(address, origin)):
                assert answer.headers[ALLOWED] == origin
                assert "access-control-allow-credentials" not in answer.headers
            assert preflight(address, origin).status == 200
        for origin in ("http://127.0.0.1:3000", "https://example.com", "http://localhost.evil.com", "null"):
            assert ALLOWED not in address.get("/v1/providers", f"Origin: {origin}").headers
            assert preflight(address, origin).status == 400
        # A preflight needs no token, and is nothing that anybody is asked about.
        enforcement.asked.clear()
        assert preflight(address, "http://localhost").status == 200
        assert enforcement.asked == []


def test_c13_five_fields_as_listed_and_the_others_at_their_defaults() -> None:
    with configured(C13) as (address, _):
        for origin in ("https://myapp.com", "https://app.example.com"):
            allowed = preflight(address, origin)
            assert (allowed.status, allowed.headers[ALLOWED]) == (200, origin)
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert allowed.headers["access-control-max-age"] == "3600"
            assert listed(allowed, "allow-methods") == {"get", "post", "put", "delete"}
            assert {"content-type", "authorization"} <= listed(allowed, "allow-headers")
            assert "origin" in allowed.headers["vary"].lower()
            simple = address.get("/v1/providers", "Authorization: Bearer ann", f"Origin: {origin}")
            assert (simple.status, simple.headers[ALLOWED]) == (200, origin)
            assert "access-control-expose-headers" not in simple.headers
        assert preflight(address, "https://myapp.com", method="PATCH").status == 400
        assert preflight(address, "https://myapp.com", headers="x-other").status == 400
        assert preflight(address, "https://other.example.com").status == 400


def test_k2_each_of_the_seven_fields_is_what_its_row_says() -> None:
    with configured(K2) as (address, _):
        for origin in ("https://myapp.com", "https://staging.myapp.com", "https://a.example.com"):
            allowed = preflight(address, origin)
            assert (allowed.status, allowed.headers[ALLOWED]) == (200, origin)
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert allowed.headers["access-control-max-age"] == "86400"
            shown = address.get("/v1/providers", "Authorization: Bearer ann", f"Origin: {origin}")
            assert listed(shown, "expose-headers") == {"x-total-count"}


def test_k2_without_fields_the_defaults_hold() -> None:
    with configured("      cors: {}\n") as (address, _):
        allowed = preflight(address, "https://anybody.example", method="DELETE", headers="x-anything")
        assert (allowed.status, allowed.headers[ALLOWED]) == (200, "*")
        assert allowed.headers["access-control-max-age"] == "600"
        assert "access-control-allow-credentials" not in allowed.headers
        shown = address.get("/v1/providers", "Authorization: Bearer ann", "Origin: https://anybody.example")
        assert shown.headers[ALLOWED] == "*"
        assert "access-control-expose-headers" not in shown.headers


LOOKALIKES = (
    "null",
    "https://evil-example.com",
    "https://example.com",
    "https://a.example.com.evil.net",
    "https://a.example.com:8443.evil.net",
    "https://evil.net/https://a.example.com",
    "https://evil.net/.example.com",
    "https://evil.net#.example.com",
    "https://evil.net?.example.com",
    "https://user@evil.net@a.example.com",
    "https://evil.net\\.example.com",
    "https://myapp.com.evil.net",
    "https://evilmyapp.com",
    "http://myapp.com",
    "https://MYAPP.com",
    "https://myapp.com:8443",
    "https://myapp.com, https://evil.net",
    "https://evil.net, https://a.example.com",
    "*",
    "file://",
)


def test_case_43_no_origin_gets_in_that_only_looks_like_one_of_ours() -> None:
    with configured(K2) as (address, _):
        for origin in LOOKALIKES:
            refused = preflight(address, origin)
            assert refused.status == 400, origin
            answered = address.get("/v1/providers", "Authorization: Bearer ann", f"Origin: {origin}")
            for answer in (refused, answered):
                assert ALLOWED not in answer.headers, origin


def test_case_43_a_pattern_for_all_is_not_for_null() -> None:
    with configured("      cors: {allow_origins: [], allow_origin_regex: '.*'}\n") as (address, _):
        assert preflight(address, "https://anybody.example").headers[ALLOWED] == "https://anybody.example"
        assert ALLOWED not in preflight(address, "null").headers


def test_case_43_two_origins_in_one_request_are_none() -> None:
    with configured(K2) as (address, _):
        for origins in permutations(["Origin: https://evil.net", "Origin: https://myapp.com"]):
            answer = address.get("/v1/providers", *origins, "Authorization: Bearer ann")
            assert ALLOWED not in answer.headers
