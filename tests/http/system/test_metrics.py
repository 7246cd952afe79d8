"""`/metrics`: what it counts, in which form, for whom, and that nothing of a client gets into it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from json import dumps
from pathlib import Path

import pytest

from server.telemetry.exposition import OPENMETRICS, TEXT, Exposition, media_type
from tests.support.application import ByToken, house
from tests.support.failing_policy import CONFIG, Doubted, in_doubt
from tests.support.failing_provider import upstream
from tests.support.metrics_page import Measured, measured
from tests.support.patience import PATIENCE
from tests.support.real_policy import decided
from tests.support.scripted_opa import REVISION, scripted_opa
from tests.support.serving import Address, serving

CHAT = {"model": "echo/llama3.2", "messages": [{"role": "user", "content": "canary-prompt"}]}


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving(house(authenticator=ByToken())) as running:
        yield running


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doubted]:
    folder = tmp_path_factory.mktemp("wired")
    with scripted_opa(folder / "s") as opa, in_doubt(opa.address, REVISION, folder) as running:
        yield running


def test_a_request_is_counted_under_its_template_method_and_status(address: Address) -> None:
    address.get("/v1/models/llama")
    address.get("/v1/models/canary-no-such-model")
    address.get("/v1/models/meta/llama", method="HEAD")
    address.get("/v1/models/llama", "Authorization: Bearer bad")
    page = measured(address)
    template = "/v1/models/{model_id}"

    def count(method: str, status: str) -> float:
        return page.value("ostiary_http_requests_total", route=template, method=method, status=status)

    assert (count("GET", "200"), count("GET", "404"), count("HEAD", "200"), count("GET", "401")) == (1, 1, 1, 1)
    assert page.value("ostiary_http_request_duration_seconds_count", route=template) == 4


@pytest.mark.parametrize(
    ("target", "method", "labels"),
    [
        ("/v1/canary-nothing", "GET", {"route": "none", "method": "GET", "status": "404"}),
        ("/v1/models", "DELETE", {"route": "/v1/models", "method": "DELETE", "status": "405"}),
        ("/v1/models", "PROPFIND", {"route": "/v1/models", "method": "other", "status": "405"}),
        ("/v1/files/canary%00", "GET", {"route": "none", "method": "GET", "status": "400"}),
    ],
)
def test_what_is_not_served_is_counted_without_a_word_of_the_client(
    address: Address, target: str, method: str, labels: dict[str, str]
) -> None:
    before = measured(address).value("ostiary_http_requests_total", **labels)
    address.get(target, method=method)
    assert measured(address).value("ostiary_http_requests_total", **labels) == before + 1


def test_no_path_name_model_or_token_becomes_a_label(address: Address) -> None:
    for target in ("/canary", "/v1/models/canary", "/v1/providers/canary?canary=canary", "/canary%0a"):
        address.get(target, "Authorization: Bearer canary", "User-Agent: canary", "X-Request-Id: canary")
    address.post("/v1/chat/completions", CHAT | {"model": "canary"}, "Authorization: Bearer canary")
    address.post("/v1/chat/completions", CHAT, "Authorization: Bearer canary")
    assert b"canary" not in address.get("/metrics").body


def test_decisions_and_questions_are_counted(wired: Doubted) -> None:
    before = measured(wired.address)
    for question in ("a route", "a route and a model", "a list of models"):
        assert wired.ask(question).status == 200
    after = measured(wired.address)

    def more(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    # The page itself is one more request, one more question and one more decision. A list is one question.
    assert more("ostiary_http_requests_total", status="200") == 4
    assert more("ostiary_decisions_total", kind="route", effect="permit") == 4
    assert more("ostiary_decisions_total", kind="resource", effect="permit") == 2
    assert more("ostiary_opa_question_duration_seconds_count") == 4
    assert more("ostiary_decisions_total", effect="deny") == 0
    assert more("ostiary_policy_unavailable_total") == 0


def test_every_reason_and_effect_is_there_before_it_happens(wired: Doubted) -> None:
    page = measured(wired.address)
    assert {"unreachable", "deadline", "malformed", "revision", "breaker", "decision_log"} <= {
        labels["reason"] for labels in page.labels("ostiary_policy_unavailable_total")
    }
    assert len(page.labels("ostiary_decisions_total")) == 8


def test_the_state_of_things_is_shown(wired: Doubted) -> None:
    page = measured(wired.address)
    assert page.labels("ostiary_policy_revision") == [
        {"state": "wanted", "revision": REVISION},
        {"state": "live", "revision": REVISION},
    ]
    (build,) = page.labels("ostiary_build_info")
    assert build["contract"] == "1" and build["version"]
    assert page.value("ostiary_opa_breaker_open") == 0
    assert page.value("ostiary_streams_open") == 0
    assert page.value("ostiary_decision_log_lines_waiting") >= 0
    assert page.value("ostiary_decision_log_write_failures_total") == 0
    assert page.value("process_resident_memory_bytes") > 10_000_000
    assert page.value("process_cpu_seconds_total") > 0
    assert page.value("process_open_fds") > 3


@pytest.mark.parametrize("accept", ["Accept: application/openmetrics-text", "Accept: text/plain", "X: y"])
def test_both_formats_say_the_same(wired: Doubted, accept: str) -> None:
    answer = wired.address.get("/metrics", accept)
    assert answer.headers["content-type"] == (OPENMETRICS if "openmetrics" in accept else TEXT)
    page = Measured(answer)
    assert page.value("ostiary_build_info") == 1
    assert answer.body.endswith(b"# EOF\n") == ("openmetrics" in accept)


def test_a_head_request_has_the_same_head_and_no_body(wired: Doubted) -> None:
    answer = wired.address.get("/metrics", "Accept: application/openmetrics-text", method="HEAD")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, OPENMETRICS, b"")
    assert int(answer.headers["content-length"]) > 1000


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", False),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0,*/*", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("application/openmetrics-text;q=nan", False),
        ("APPLICATION/OPENMETRICS-TEXT", True),
        (";;,,=;q=", False),
        ("application/openmetrics-text" + " " * 900, True),
        ("application/openmetrics-text," * 1000, False),
    ],
)
def test_the_client_chooses_the_format(accept: str, openmetrics: bool) -> None:
    assert media_type(accept) == (OPENMETRICS if openmetrics else TEXT)


POLICED = (
    CONFIG
    + """
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - permit: {paths: /metrics}
          when: user with prometheus in roles
        - permit: {paths: "/v1/*"}
"""
)


def test_the_policy_says_who_sees_it(opa_binary: Path, tmp_path: Path) -> None:
    text = POLICED.replace("LOG", str(tmp_path / "unused"))
    with decided(text, opa_binary, tmp_path, authenticator=ByToken()) as running:
        unknown = running.address.get("/metrics")
        assert (unknown.status, unknown.headers["www-authenticate"]) == (401, "Bearer")
        assert running.address.get("/metrics", "Authorization: Bearer bad").status == 401
        assert running.address.get("/metrics", "Authorization: Bearer somebody").status == 403
        page = measured(running.address, "Authorization: Bearer prometheus")
        assert page.value("ostiary_http_requests_total", route="/metrics", status="401") == 2
        assert page.value("ostiary_http_requests_total", route="/metrics", status="403") == 1
        assert running.address.get("/metrics", "Authorization: Bearer prometheus", method="POST").status == 405


FAR = CONFIG.replace(
    "{provider_id: echo, provider_type: inline::echo}",
    '{provider_id: far, provider_type: remote::vllm, config: {url: "URL"}}',
).replace(
    "- {model_id: m, provider_id: echo}",
    "- {model_id: gated, provider_id: far}\n    - {model_id: sleepy, provider_id: far}",
)


def chat_with(model: str, **more: object) -> bytes:
    """A whole request."""
    body = dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **more}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it holds at some time from now on."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_stream_is_open_as_long_as_it_is_sent(tmp_path: Path) -> None:
    with (
        scripted_opa(tmp_path / "s") as opa,
        upstream() as server,
        in_doubt(opa.address, REVISION, tmp_path, text=FAR.replace("URL", server.url)) as running,
    ):
        with socket.create_connection((running.address.host, running.address.port), timeout=PATIENCE) as client:
            client.sendall(chat_with("gated", stream=True))
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            assert eventually(lambda: running.metric("ostiary_streams_open") == 1)
        assert eventually(lambda: running.metric("ostiary_streams_open") == 0)


def test_a_client_that_goes_before_its_answer_is_counted_as_gone(tmp_path: Path) -> None:
    with (
        scripted_opa(tmp_path / "s") as opa,
        upstream() as server,
        in_doubt(opa.address, REVISION, tmp_path, text=FAR.replace("URL", server.url)) as running,
    ):
        with socket.create_connection((running.address.host, running.address.port), timeout=PATIENCE) as client:
            client.sendall(chat_with("sleepy"))
            assert server.arrived.wait(PATIENCE)
        gone = {"route": "/v1/chat/completions", "method": "POST", "status": "499"}
        assert eventually(lambda: running.metric("ostiary_http_requests_total", **gone) == 1)


@pytest.mark.alone
def test_who_asks_all_the_time_waits_and_others_do_not(address: Address) -> None:
    """What a page costs is bounded, and each page tells of every request that was answered before it was asked for."""
    with ThreadPoolExecutor(16) as many:
        began = time.monotonic()
        asking = [many.submit(address.get, "/metrics") for _ in range(200)]
        slowest = 0.0
        while not all(each.done() for each in asking):
            before = time.monotonic()
            assert address.get("/v1/version").status == 200
            slowest = max(slowest, time.monotonic() - before)
        took = time.monotonic() - began
    assert {each.result().status for each in asking} == {200}
    # 16 at a time share a page: were each of the 200 rendered at the steady rate, it would take 50 seconds.
    assert took < 20
    assert slowest < 0.5
    before_one_more = measured(address).value("ostiary_http_requests_total", route="/v1/version")
    address.get("/v1/version")
    assert measured(address).value("ostiary_http_requests_total", route="/v1/version") == before_one_more + 1


def test_requests_that_wait_for_a_page_keep_no_probe_of_their_address_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.fairness.places.LAPSE_SECONDS", 60.0)
    go_on = threading.Event()

    def page(_: Exposition, kind: str) -> bytes:
        go_on.wait(PATIENCE)
        return kind.encode()

    monkeypatch.setattr(Exposition, "page", page)
    with serving(house(authenticator=ByToken())) as running, ThreadPoolExecutor(16) as many:
        pages = [many.submit(running.get, "/metrics") for _ in range(16)]
        try:
            assert running.get("/v1/version").status == 200
            assert not any(each.done() for each in pages)
        finally:
            go_on.set()
        assert {each.result().status for each in pages} == {200}
