"""A page can read every answer, refusals above all; a pattern alone decides; headers of OpenAI's clients may come."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from server.config import CorsConfig
from server.http.protocol import MAX_HEADER_LINES
from tests.http.protocol.test_cors_configured import ALLOWED, BASE, C13, K2, configured, listed, preflight
from tests.support.application import ByToken
from tests.support.real_policy import decided, read
from tests.support.serving import Address, parsed

PAGE, OTHER = "https://a.example.com", "https://evil.net"
LIMITED = r"""
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: m, provider_id: echo}
    server:
      cors: {allow_origin_regex: 'https://[a-z]+\.example\.com'}
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        route_policy:
        - forbid: {paths: /v1/providers*}
        - permit: {paths: "*"}
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        anonymous_max_requests: 1000
        authenticated_max_requests: 100
        period: day
"""


@pytest.fixture(scope="module")
def limited(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("limited")
    with decided(LIMITED.replace("FOLDER", str(folder)), opa_binary, folder, authenticator=ByToken()) as running:
        yield running.address


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("silent")
    text = LIMITED.replace("FOLDER", str(folder))
    with decided(text, opa_binary, folder, authenticator=ByToken(), start=False) as running:
        yield running.address


def raw(target: str = "/v1/models", *headers: str, version: str = "HTTP/1.1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} {version}", "Host: here", *headers, "", ""]).encode()


def check_told(address: Address, request: bytes, status: int) -> None:
    """Pages of the allowed origin, and no others, can read the answer to `request`, where `ORIGIN` stands."""
    for origin, allowed in ((PAGE, PAGE), (OTHER, None), ("null", None)):
        answer = parsed(address.exchange(request.replace(b"ORIGIN", origin.encode())))
        assert answer.status == status, answer.body
        assert answer.headers.get(ALLOWED) == allowed
        assert "Origin" in answer.headers["vary"]
        assert answer.error["message"]


ORIGIN, JSON = "Origin: ORIGIN", "Content-Type: application/json"
TOKEN = "Authorization: Bearer ann"


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, raw("/v1/models/../x", ORIGIN)),
        (400, raw("/v1/models%00", ORIGIN)),
        (400, raw("/v1//models", ORIGIN)),
        (400, raw("/v1/models", ORIGIN, "Host: there")),
        (400, raw("/v1/models", ORIGIN, "Content-Type: a", "Content-Type: b")),
        (400, raw("/v1/models?" + "&" * 1000, ORIGIN)),
        (400, raw("/v1/models", ORIGIN, "X: " + "x" * 32_768)),
        (400, raw("/" + "x" * 3000, ORIGIN)),
        (400, raw("http://here/v1/models", ORIGIN)),
        (400, raw("/v1/models#x", ORIGIN)),
        (400, raw("/v1/models", ORIGIN, "X: y", "no colon")),
        (400, raw("/v1/models", ORIGIN, "X: a\x01b")),
        (400, raw("/v1/models", ORIGIN, *["X: y"] * MAX_HEADER_LINES)),
        (400, raw("/v1/chat/completions", ORIGIN, "Transfer-Encoding: gzip", method="POST")),
        (401, raw("/v1/models", ORIGIN, "Authorization: Bearer bad")),
        (401, raw("/v1/models", ORIGIN, "Authorization: Basic x")),
        (401, raw("/v1/models", ORIGIN)),
        (403, raw("/v1/providers", ORIGIN, TOKEN)),
        (404, raw("/v1/nothing", ORIGIN, TOKEN)),
        (404, raw("/v1/models/none", ORIGIN, TOKEN)),
        (405, raw("/v1/chat/completions", ORIGIN, TOKEN, method="DELETE")),
        (413, raw("/v1/chat/completions", ORIGIN, TOKEN, JSON, "Content-Length: 99999999", method="POST")),
        (415, raw("/v1/chat/completions", ORIGIN, TOKEN, "Content-Length: 0", method="POST")),
        (503, raw("/v1/models", ORIGIN, "Authorization: Bearer down")),
    ],
)
def test_a_page_can_read_every_refusal(limited: Address, status: int, request_: bytes) -> None:
    check_told(limited, request_, status)


def test_a_page_can_read_that_its_quota_is_used(limited: Address) -> None:
    for _ in range(101):
        limited.get("/v1/models", "Authorization: Bearer greedy")
    check_told(limited, raw("/v1/models", ORIGIN, "Authorization: Bearer greedy"), 429)


def test_a_page_can_read_that_there_is_no_decision(silent: Address) -> None:
    check_told(silent, raw("/v1/models", ORIGIN, TOKEN), 503)


def test_a_page_can_read_what_is_refused_before_a_head_is_whole(limited: Address) -> None:
    """The origin is known where its line and another one came before what is wrong; else the answer is for no page."""
    known = parsed(limited.exchange(raw("/v1/models", f"Origin: {PAGE}", "X: y", "no colon")))
    assert known.headers[ALLOWED] == PAGE
    unknown = parsed(limited.exchange(raw("/v1/models", "no colon", f"Origin: {PAGE}")))
    assert ALLOWED not in unknown.headers
    twice = parsed(limited.exchange(raw("/v1/models", f"Origin: {OTHER}", f"Origin: {PAGE}", "no colon")))
    assert ALLOWED not in twice.headers
    assert [known.status, unknown.status, twice.status] == [400, 400, 400]


def test_an_answer_to_no_page_says_that_origins_matter(limited: Address) -> None:
    for answer in (limited.get("/v1/models", TOKEN), limited.get("/v1/models/../x"), limited.get("http://a/")):
        assert answer.headers["vary"] == "Origin"
        assert ALLOWED not in answer.headers


def test_a_malformed_preflight_is_refused_like_any_other_request(limited: Address) -> None:
    asked = (f"Origin: {PAGE}", "Access-Control-Request-Method: GET")
    answer = limited.get("/v1/models/../x", *asked, method="OPTIONS")
    assert (answer.status, answer.error["code"], answer.headers[ALLOWED]) == (400, "malformed_request", PAGE)


@pytest.mark.parametrize(
    ("cors", "allowed"),
    [
        (r"{allow_origin_regex: 'https://.*\.example\.com'}", {PAGE: PAGE, OTHER: None}),
        (r"{allow_origin_regex: 'https://.*\.example\.com', allow_credentials: true}", {PAGE: PAGE, OTHER: None}),
        (r"{allow_origins: [], allow_origin_regex: 'https://.*\.example\.com'}", {PAGE: PAGE, OTHER: None}),
        (f"{{allow_origins: ['{OTHER}'], allow_origin_regex: '{PAGE}'}}", {PAGE: PAGE, OTHER: OTHER}),
        (r"{allow_origins: ['*'], allow_origin_regex: 'https://.*\.example\.com'}", {PAGE: "*", OTHER: "*"}),
        ("{allow_origin_regex: '${env.PAGES:=}'}", {PAGE: None, OTHER: None}),
        ("{allow_origin_regex: }", {PAGE: None, OTHER: None}),
        ("{allow_origin_regex: '${env.PAGES:+https://a.*}'}", {PAGE: "*", OTHER: "*"}),
        ("{allow_origins: []}", {PAGE: None, OTHER: None}),
        ("{}", {PAGE: "*", OTHER: "*"}),
        ("{max_age: 5}", {PAGE: "*", OTHER: "*"}),
    ],
)
def test_a_pattern_alone_decides(cors: str, allowed: dict[str, str | None]) -> None:
    with configured(f"      cors: {cors}\n") as (address, _):
        for origin, told in allowed.items():
            asked = preflight(address, origin)
            assert (asked.status, asked.headers.get(ALLOWED)) == (200 if told else 400, told)
            for answer in (
                address.get("/v1/providers", f"Origin: {origin}"),
                address.get("/v1/models/../x", f"Origin: {origin}"),
                address.get("http://here/", f"Origin: {origin}"),
            ):
                assert answer.headers.get(ALLOWED) == told
                if told == "*":
                    assert "access-control-allow-credentials" not in answer.headers


def test_a_shape_that_is_made_in_python_means_the_same() -> None:
    assert CorsConfig(allow_origin_regex="https://a").allow_origins == ()
    assert CorsConfig(allow_origin_regex="https://a", allow_origins=("https://b",)).allow_origins == ("https://b",)
    assert CorsConfig().allow_origins == ("*",)


@pytest.mark.parametrize("methods", ["[get, Post]", "[GET, POST]", "[gEt, pOST]"])
def test_methods_are_listed_in_any_case(methods: str) -> None:
    with configured(f"      cors: {{allow_methods: {methods}}}\n") as (address, _):
        for method in ("GET", "POST"):
            allowed = preflight(address, PAGE, method=method)
            assert (allowed.status, allowed.headers["access-control-allow-methods"]) == (200, "GET, POST")
        assert preflight(address, PAGE, method="DELETE").status == 400


def sent_by_openai() -> list[str]:
    """Every request header that OpenAI's client for Python sends by itself, but for those that the lists name."""
    with openai.OpenAI(api_key="sk-x", organization="o", project="p", base_url="http://here.invalid") as client:
        own = {name.lower() for name in client.default_headers}
    return sorted(own - {"authorization", "content-type", "accept"})


def of_node() -> list[str]:
    names = ["lang", "package-version", "os", "arch", "runtime", "runtime-version", "retry-count", "timeout"]
    return ["user-agent", *(f"x-stainless-{name}" for name in [*names, "helper-method", "custom-poll-interval"])]


@pytest.mark.parametrize("cors", [C13, K2])
def test_the_headers_that_openais_clients_send_may_come_beside_those_that_are_listed(cors: str) -> None:
    with configured(cors) as (address, _):
        own = ["openai-organization", "openai-project", "openai-beta"]
        anthropics = ["anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"]
        for names in (sent_by_openai(), of_node(), own, anthropics):
            asked = ["authorization", "content-type", *names]
            allowed = preflight(address, "https://myapp.com", headers=", ".join(asked))
            assert allowed.status == 200, allowed.body
            assert {*asked} <= listed(allowed, "allow-headers")
        for other in (
            "x-stainless",
            "x-stainless-",
            "x-stainless-a b",
            "x-other",
            "xx-stainless-os",
            "cookie",
            "anthropic-x",
            "x-api-key",
        ):
            assert preflight(address, "https://myapp.com", headers=f"authorization,{other}").status == 400
        assert preflight(address, OTHER, headers="x-stainless-os").status == 400


def test_a_preflight_names_each_header_once_and_repeats_nothing_odd() -> None:
    with configured(C13) as (address, _):
        allowed = preflight(address, "https://myapp.com", headers="X-Stainless-OS, x-stainless-os,,x-stainless-os")
        names = [name.strip().lower() for name in allowed.headers["access-control-allow-headers"].split(",")]
        assert names.count("x-stainless-os") == 1
        assert re.fullmatch("[a-z, -]+", ", ".join(names))


def test_the_defaults_of_the_object_are_those_of_the_specification() -> None:
    cors = read(BASE + "      cors: {}\n").server.cors
    assert isinstance(cors, CorsConfig)
    assert cors.model_dump() == {
        "allow_origins": ("*",),
        "allow_origin_regex": None,
        "allow_methods": ("*",),
        "allow_headers": ("*",),
        "allow_credentials": False,
        "expose_headers": (),
        "max_age": 600,
    }


def test_no_origin_makes_others_wait() -> None:
    """Python's own engine takes 15 seconds for this one, and twice as long for each further letter."""
    with configured("      cors: {allow_origin_regex: 'https?://([a-z0-9]+-?)+[.]example[.]com'}\n") as (address, _):
        for letters in (26, 300, 20_000):
            began = time.perf_counter()
            refused = preflight(address, f"http://{'a' * letters}!")
            assert (refused.status, refused.headers.get(ALLOWED)) == (400, None)
            assert time.perf_counter() - began < 2.0
        assert preflight(address, "http://a-b-c.example.com").headers[ALLOWED] == "http://a-b-c.example.com"
