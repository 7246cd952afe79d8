"""A request's trace goes in, on to OPA and the provider, and out to a collector, with nothing of its content."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Anonymous
from server.authz.contract.errors import PolicyUnavailable
from server.authz.contract.question import ListQuestion
from server.authz.opa.transport import OpaTransport
from server.telemetry.spans import Tracing
from server.wiring.traced import TracedDecisionPoint
from tests.support.failing_policy import CONFIG, Doubted, in_doubt
from tests.support.failing_provider import Upstream, upstream
from tests.support.otlp_collector import Collector, Received, collector
from tests.support.scripted_opa import REVISION, ScriptedOpa, reply, scripted_opa
from tests.support.serving import Answer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
SENT = ("traceparent: " + PARENT, "tracestate: congo=t61rcWkgMzE")

FAR = CONFIG.replace(
    "{provider_id: echo, provider_type: inline::echo}",
    '{provider_id: far, provider_type: remote::vllm, config: {url: "URL"}}',
).replace("{model_id: m, provider_id: echo}", "{model_id: MODEL, provider_id: far, provider_model_id: PROVIDER_MODEL}")
EXPORTED = FAR + "      tracing: {endpoint: COLLECTOR, service_name: the-door}\n"


@contextmanager
def running(folder: Path, text: str, model: str = "plain") -> Iterator[tuple[Doubted, ScriptedOpa, Upstream]]:
    """The server between an OPA and a provider; `model` says how the provider behaves."""
    with scripted_opa(folder / "s") as opa, upstream() as server:
        text = text.replace("URL", server.url).replace("PROVIDER_MODEL", model).replace("MODEL", "the-model")
        with in_doubt(opa.address, REVISION, folder, text=text) as house:
            yield house, opa, server


@pytest.fixture
def passed_on(tmp_path: Path) -> Iterator[tuple[Doubted, ScriptedOpa, Upstream]]:
    with running(tmp_path, FAR) as parts:
        yield parts


def chat(house: Doubted, *headers: str, **more: Any) -> Answer:
    body = {"model": "the-model", "messages": [{"role": "user", "content": "canary-prompt"}], **more}
    return house.address.post("/v1/chat/completions", body, *headers)


def header(head: bytes, name: str) -> str | None:
    lines = head.decode("ascii").split("\r\n")
    found = [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name}: ")]
    assert len(found) <= 1
    return found[0] if found else None


def test_a_trace_goes_on_unchanged_to_opa_and_to_the_provider(
    passed_on: tuple[Doubted, ScriptedOpa, Upstream],
) -> None:
    house, opa, server = passed_on
    answer = chat(house, *SENT)
    assert answer.status == 200
    assert header(opa.heads[-1], "traceparent") == PARENT
    assert header(opa.heads[-1], "tracestate") is None
    sent = {name.lower(): value for name, value in server.headers.items()}
    assert sent["traceparent"] == PARENT
    assert sent["tracestate"] == "congo=t61rcWkgMzE"
    assert sent["x-request-id"] == answer.headers["x-request-id"]


def test_without_a_trace_nothing_is_added(passed_on: tuple[Doubted, ScriptedOpa, Upstream]) -> None:
    house, opa, server = passed_on
    chat(house, *SENT)
    chat(house)
    assert header(opa.heads[-1], "traceparent") is None
    assert not {"traceparent", "tracestate", "x-request-id"} & {name.lower() for name in server.headers}


@pytest.mark.parametrize("bad", [PARENT.upper(), f"00-{'0' * 32}-{SPAN}-01", "canary", f"{PARENT}%0d%0aX-Canary: 1"])
def test_no_text_of_a_client_reaches_opa_in_a_header(
    passed_on: tuple[Doubted, ScriptedOpa, Upstream], bad: str
) -> None:
    house, opa, server = passed_on
    assert chat(house, f"traceparent: {bad}", "tracestate: canary=1").status == 200
    assert header(opa.heads[-1], "traceparent") is None
    assert all(b"canary" not in head.lower() for head in opa.heads)
    assert "canary" not in str(server.headers).lower()


@pytest.fixture
def spans() -> Iterator[Collector]:
    with collector() as receiving:
        yield receiving


def by_name(received: list[Received]) -> dict[str, Received]:
    found = {span.name: span for span in received}
    assert len(found) == len(received), received
    return found


def test_a_request_is_exported_with_its_question_and_its_call(tmp_path: Path, spans: Collector) -> None:
    with running(tmp_path, EXPORTED.replace("COLLECTOR", spans.url)) as (house, opa, server):
        answer = chat(house, *SENT, "Authorization: Bearer canary-token", "User-Agent: canary-agent")
        assert answer.status == 200
        asked, called = header(opa.heads[-1], "traceparent"), {k.lower(): v for k, v in server.headers.items()}
    # The end of the server has flushed them.
    found = by_name(spans.until(3))
    request, question, call = (
        found[name] for name in ("POST /v1/chat/completions", "policy decision", "chat far/plain")
    )
    assert spans.paths == {"/v1/traces"}
    assert {span.trace_id for span in found.values()} == {TRACE}
    assert (request.parent_id, question.parent_id, call.parent_id) == (SPAN, request.span_id, request.span_id)
    assert (request.kind, question.kind, call.kind) == (2, 3, 3)
    assert asked == f"00-{TRACE}-{question.span_id}-01"
    assert (called["traceparent"], called["tracestate"]) == (f"00-{TRACE}-{call.span_id}-01", "congo=t61rcWkgMzE")
    assert request.attributes == {
        "ostiary.request_id": answer.headers["x-request-id"],
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
    }
    assert question.attributes == {
        "ostiary.question": "route resource",
        "ostiary.effect": "permit",
        "ostiary.policy.revision": REVISION,
    }
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "far",
        "gen_ai.request.model": "far/plain",
    }
    assert request.resource["service.name"] == "the-door"
    assert all(b"canary" not in body for body in spans.raw)


@pytest.mark.parametrize("sent", ["traceparent: canary", "X: y"])
def test_a_request_without_a_proper_trace_begins_one(tmp_path: Path, spans: Collector, sent: str) -> None:
    with running(tmp_path, EXPORTED.replace("COLLECTOR", spans.url)) as (house, _opa, _server):
        assert chat(house, sent).status == 200
    found = by_name(spans.until(3))
    assert found["POST /v1/chat/completions"].parent_id == ""
    assert len({span.trace_id for span in found.values()}) == 1


def test_a_client_that_does_not_sample_is_not_exported(tmp_path: Path, spans: Collector) -> None:
    with running(tmp_path, EXPORTED.replace("COLLECTOR", spans.url)) as (house, opa, _server):
        assert chat(house, f"traceparent: 00-{TRACE}-{SPAN}-00").status == 200
        assert (header(opa.heads[-1], "traceparent") or "").startswith(f"00-{TRACE}-")
    assert spans.spans == []


def test_a_stream_is_a_span_until_its_last_piece(tmp_path: Path, spans: Collector) -> None:
    with running(tmp_path, EXPORTED.replace("COLLECTOR", spans.url)) as (house, _opa, _server):
        assert chat(house, stream=True).body.endswith(b"data: [DONE]\n\n")
    found = by_name(spans.until(4))
    assert found["stream far/plain"].parent_id == found["POST /v1/chat/completions"].span_id


def test_failures_are_marked_with_their_kind_alone(tmp_path: Path, spans: Collector) -> None:
    with running(tmp_path, EXPORTED.replace("COLLECTOR", spans.url), model="status-500") as (house, opa, _server):
        assert chat(house).status == 502

        async def odd(right: dict[str, Any], writer: asyncio.StreamWriter) -> None:
            writer.write(reply(b'{"result":"canary"}'))

        opa.fault = odd
        assert house.address.get("/v1/models/canary").status == 503
    received = spans.until(5)
    assert {span.name: span.attributes["error.type"] for span in received if span.error} == {
        "POST /v1/chat/completions": "502",
        "chat far/status-500": "provider",
        "policy decision": "malformed",
        "GET /v1/models/{model_id}": "503",
    }
    assert all(b"canary" not in body for body in spans.raw)


def test_a_list_is_one_span_however_long_it_is(tmp_path: Path, spans: Collector) -> None:
    with running(tmp_path, EXPORTED.replace("COLLECTOR", spans.url)) as (house, _opa, _server):
        assert house.address.get("/v1/models").status == 200
    found = by_name(spans.until(2))
    assert found.keys() == {"GET /v1/models", "policy decisions"}
    assert found["policy decisions"].attributes == {"ostiary.question": "route resources", "ostiary.questions": 2}


def test_the_question_for_a_filter_is_a_span_too(tmp_path: Path, spans: Collector) -> None:
    async def ask(opa: ScriptedOpa) -> None:
        tracing, transport = Tracing(spans.url, "ostiary", "1.2.3"), OpaTransport(opa.address)
        pdp = TracedDecisionPoint(transport, REVISION, None, tracing)
        await pdp.filter(ListQuestion(Anonymous(), Action.READ, "file"))
        transport.close()
        with pytest.raises(PolicyUnavailable):
            await pdp.filter(ListQuestion(Anonymous(), Action.READ, "file"))
        await tracing.close()

    with scripted_opa(tmp_path / "s") as opa:
        asyncio.run(ask(opa))
    answered, failed = spans.until(2)
    assert (answered.attributes["ostiary.effect"], answered.attributes["ostiary.policy.revision"]) == (
        "filter",
        REVISION,
    )
    assert (failed.error, failed.attributes["error.type"]) == (True, "closed")


@pytest.mark.parametrize("ill", ["gone", "failing", "silent"])
def test_an_ill_collector_costs_no_request_and_no_end(tmp_path: Path, ill: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, collector() as failing:
        failing.status = 503
        port = mute.getsockname()[1]
        if ill == "gone":
            mute.close()
        url = failing.url if ill == "failing" else f"http://127.0.0.1:{port}"
        with running(tmp_path, EXPORTED.replace("COLLECTOR", url)) as (house, _opa, _server):
            assert chat(house).status == 200
            ended = time.monotonic()
        assert time.monotonic() - ended < 15


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    code = "import server.process.serving, server.process.worker, sys; print('opentelemetry' in str(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
