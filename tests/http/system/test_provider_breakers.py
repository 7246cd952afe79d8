"""Providers that keep failing, that are busy, or that can't be reached: what callers and operators see of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.metrics_page import measured
from tests.support.patience import PATIENCE
from tests.support.relay_server import ANSWER, Relaying, event, relaying, streamed, whole
from tests.support.scripted_provider import reset, sending, wait_until_left
from tests.support.serving import Answer

SETTINGS = "breaker: {failures: 3, pause: 1}, retries: 0"
BROKEN = {"error": {"message": "no"}}
OVERFLOW = {"error": {"message": "This model's maximum context length is 5 tokens", "code": "context_length_exceeded"}}
METRICS = 'server: {auth: {route_policy: [{permit: {paths: "*"}}]}}'


def refusing(status: int, document: object = None) -> bytes:
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return whole(BROKEN if document is None else document, head.encode())


@contextmanager
def served(folder: Path, settings: str = SETTINGS, models: str = "") -> Iterator[Relaying]:
    provider = f"provider_type: remote::vllm, config: {{url: URL, {settings}}}"
    with relaying(folder, provider, models=models, more=METRICS) as running:
        yield running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Relaying]:
    with served(tmp_path) as running:
        yield running


def state(running: Relaying) -> tuple[str, str, float]:
    """The state of the breaker, as readiness, the list of providers and the metrics say it."""
    caller = "Authorization: Bearer alice"
    ready = running.address.get("/v1/health/ready", caller).json["dependencies"]["provider:p"]["breaker"]
    [provider] = running.address.get("/v1/providers", caller).json["data"]
    return (
        ready,
        provider["health"]["breaker"],
        measured(running.address, caller).value("ostiary_provider_breaker_open", provider="p"),
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_keeps_failing_is_left_alone_and_tried_again(tmp_path: Path, stream: bool) -> None:
    # Long enough for all that is asked while it is open, on a busy machine too.
    with served(tmp_path, SETTINGS.replace("pause: 1", "pause: 2")) as running:
        _left_alone_and_tried_again(running, stream=stream)


def _left_alone_and_tried_again(running: Relaying, *, stream: bool) -> None:
    assert state(running) == ("closed", "closed", 0.0)
    running.answers(refusing(500))
    for caller in ("alice", "bob", "carol"):
        assert running.chat(caller, stream=stream).status == 502
    wait_for(running, "open")
    answer = running.chat("dora", stream=stream)
    assert (answer.status, answer.error["code"]) == (503, "provider_unavailable")
    assert "`p`" in answer.error["message"]
    assert (answer.headers["retry-after"] in ("1", "2"), answer.headers["x-should-retry"]) == (True, "true")
    assert len(chats(running)) == 3
    assert state(running) == ("open", "open", 1.0)
    [provider] = running.address.get("/v1/providers", "Authorization: Bearer alice").json["data"]
    assert (provider["health"]["status"], "breaker" in provider["health"]["message"]) == ("Error", True)
    page = measured(running.address, "Authorization: Bearer alice")
    assert page.value("ostiary_provider_breaker_openings_total", provider="p") == 1
    assert page.value("ostiary_provider_failures_total", provider="p", kind="paused") == 1
    running.answers(whole(ANSWER))
    assert any(retried(running).status == 200 for _ in range(80))
    assert state(running) == ("closed", "closed", 0.0)


def wait_for(running: Relaying, wanted: str) -> None:
    """Return when the breaker has this state, which a probe of the server decides."""
    for _ in range(300):
        ready = running.address.get("/v1/health/ready", "Authorization: Bearer alice").json
        if ready["dependencies"]["provider:p"]["breaker"] == wanted:
            return
        threading.Event().wait(0.02)
    raise AssertionError(state(running))


def chats(running: Relaying) -> list[str]:
    """The heads of the chats that the provider was asked for."""
    return [head for head, _ in running.far.asked if head.startswith("POST ")]


def retried(running: Relaying) -> Answer:
    """The answer to a request that waits as it is told to."""
    answer = running.chat("dora")
    if answer.status == 503:
        threading.Event().wait(0.1)
    return answer


def test_one_callers_failures_keep_no_other_from_the_provider(running: Relaying) -> None:
    running.answers(refusing(500))
    assert [running.chat("alice").status for _ in range(5)] == [502] * 3 + [503] * 2
    running.answers(whole(ANSWER))
    assert running.chat("bob").status == 200
    assert running.chat("alice").status == 503
    assert state(running) == ("closed", "closed", 0.0)


def test_callers_together_keep_no_other_from_a_provider_that_answers(running: Relaying) -> None:
    running.far.health = whole({"object": "list", "data": []})
    running.answers(refusing(500))
    for number in range(8):
        assert running.chat(f"colluder-{number}").status == 502
    # The probe that they cause says that the provider is well.
    for _ in range(100):
        if any(head.startswith("GET ") for head, _ in running.far.asked):
            break
        threading.Event().wait(0.02)
    assert any(head.startswith("GET ") for head, _ in running.far.asked)
    running.answers(whole(ANSWER))
    assert running.chat("bob").status == 200
    assert state(running) == ("closed", "closed", 0.0)


@pytest.mark.parametrize("health", [refusing(401), refusing(403), refusing(404)], ids=["401", "403", "404"])
def test_a_provider_that_lists_no_models_is_not_away(running: Relaying, health: bytes) -> None:
    running.far.health = health
    running.answers(refusing(500))
    assert [running.chat(f"u-{number}").status for number in range(6)] == [502] * 6
    assert state(running)[0] == "closed"


def test_the_probe_of_the_server_ends_a_pause(running: Relaying) -> None:
    running.answers(refusing(500))
    for caller in ("alice", "bob", "carol"):
        running.chat(caller)
    wait_for(running, "open")
    running.answers(whole(ANSWER))
    wait_for(running, "closed")
    assert chats(running) == []


BAD = [refusing(400), refusing(422), refusing(429), refusing(404), refusing(500, OVERFLOW), whole(OVERFLOW), whole([])]


@pytest.mark.parametrize("answer", BAD, ids=["400", "422", "429", "404", "500", "in its place", "odd"])
def test_bad_requests_open_nothing(running: Relaying, answer: bytes) -> None:
    running.answers(answer)
    statuses = {running.chat(caller).status for caller in ("alice", "bob", "carol") * 2}
    assert statuses <= {400, 429, 502}
    assert len(chats(running)) == 6
    assert state(running)[0] == "closed"


def test_requests_that_are_given_up_open_nothing(running: Relaying) -> None:
    body = json.dumps({"model": "p/m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer alice\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(6):
        running.far.play(wait_until_left)
        with socket.create_connection((running.address.host, running.address.port)) as connection:
            connection.sendall(head.encode() + body)
            assert running.far.arrived.wait(PATIENCE)
        assert running.far.left.wait(PATIENCE)
    running.answers(whole(ANSWER))
    assert running.chat("alice").status == 200


def test_a_stream_that_breaks_in_its_middle_counts(running: Relaying) -> None:
    said = {"id": "x", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "yes"}}]}

    def breaking(connection: socket.socket) -> None:
        connection.sendall(streamed(event(said))[:-5])
        threading.Event().wait(0.05)
        reset(connection)

    running.far.play(breaking)
    assert [running.chat("alice", stream=True).status for _ in range(4)] == [200] * 3 + [503]


def test_what_can_t_be_reached_is_tried_again_before_it_fails(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        provider = f"provider_type: remote::vllm, config: {{url: 'http://127.0.0.1:{port}', retries: 5}}"
        with relaying(tmp_path, provider) as running, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(running.chat)
            threading.Event().wait(0.2)
            taken.listen()
            connection, _ = taken.accept()
            with connection:
                connection.settimeout(PATIENCE)
                assert connection.recv(65536)
                sending(whole(ANSWER))(connection)
            assert answer.result(timeout=PATIENCE).status == 200


def test_connections_are_shared_by_callers_in_turn(tmp_path: Path) -> None:
    go_on, under_way, most = threading.Semaphore(0), [0], [0]

    def script(connection: socket.socket) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        assert go_on.acquire(timeout=PATIENCE)
        under_way[0] -= 1
        connection.sendall(whole(ANSWER))

    with served(tmp_path, "connections: {total: 3, each: 2}") as running, ThreadPoolExecutor(8) as pool:
        running.far.play(script)
        greedy = [pool.submit(running.chat, "alice") for _ in range(6)]
        while under_way[0] < 2:
            threading.Event().wait(0.01)
        other = pool.submit(running.chat, "bob")
        while under_way[0] < 3:
            threading.Event().wait(0.01)
        assert most[0] == 3
        go_on.release(7)
        assert {each.result(timeout=PATIENCE).status for each in (*greedy, other)} == {200}
        assert most[0] == 3


def test_where_one_is_paused_another_model_answers(tmp_path: Path) -> None:
    models = "- {model_id: e, provider_id: p, provider_model_id: e-1, fallback: [m]}"
    with served(tmp_path, SETTINGS, models) as running:
        running.answers(refusing(500))
        assert running.chat(model="e").status == 502
        assert [json.loads(body)["model"] for _, body in running.far.asked] == ["e-1", "far-m"]
