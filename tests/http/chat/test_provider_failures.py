"""What a caller, the log and the metrics learn of a provider's failure, and which odd successes are none."""

from __future__ import annotations

import gzip
import logging
import re
import socket
import zlib
from collections.abc import Iterator
from json import dumps, loads
from time import monotonic, sleep
from typing import Any

import pytest

from tests.support.relay_server import (
    ANSWER,
    DONE,
    JSON_HEAD,
    STREAM_HEAD,
    Relaying,
    event,
    relaying,
    streamed,
    whole,
)
from tests.support.scripted_provider import framed, wait_until_left

SECRET = "words of the provider"
SAID = {"id": "x", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "yes"}}]}
OVERFLOW = {"error": {"message": "This model's maximum context length is 5 tokens", "code": "context_length_exceeded"}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    timeouts = "timeouts: {silence: 1}, breaker: {failures: 1000}, retries: 0"
    with relaying(
        tmp_path_factory.mktemp("failures"), f"provider_type: remote::vllm, config: {{url: URL, {timeouts}}}"
    ) as running:
        yield running


def refusing(status: int, *headers: str, body: Any = None) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nConnection: close\r\n{lines}"
    return whole({"error": {"message": SECRET}} if body is None else body, head.encode())


def events(body: bytes) -> list[Any]:
    found = [text.removeprefix(b"data: ") for text in body.split(b"\n\n")[:-1] if text != b": ping"]
    return [None if text == b"[DONE]" else loads(text) for text in found]


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 301, 308, 501])
@pytest.mark.parametrize("stream", [False, True])
def test_what_would_fail_again_is_not_tried_again(served: Relaying, status: int, stream: bool) -> None:
    served.answers(refusing(status))
    answer = served.chat(stream=stream)
    assert (answer.status, answer.headers["x-should-retry"], answer.error["code"]) == (502, "false", "server_error")
    assert SECRET.encode() not in answer.body


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 529])
def test_what_may_pass_may_be_tried_again(served: Relaying, status: int) -> None:
    served.answers(refusing(status))
    answer = served.chat()
    assert (answer.status, "x-should-retry" in answer.headers) == (502, False)


@pytest.mark.parametrize("status", [429, 503, 529, 500])
@pytest.mark.parametrize(
    ("headers", "seconds", "milliseconds"),
    [
        (["Retry-After: 7"], "7", None),
        (["Retry-After: 0.25"], "1", "250"),
        (["retry-after-ms: 1500"], "2", "1500"),
        (["retry-after-ms: 2000", "Retry-After: 9"], "2", None),
        (["Date: Mon, 30 Nov 2026 03:00:00 GMT", "Retry-After: Mon, 30 Nov 2026 03:00:20 GMT"], "20", None),
        (["Date: Mon, 30 Nov 2026 03:00:00 GMT", "Retry-After: Mon, 30 Nov 2026 02:00:20 GMT"], "0", None),
        (["Retry-After: soon"], None, None),
        (["Retry-After: -1"], None, None),
        (["Retry-After: 1e3"], None, None),
        (["Retry-After: 99999999"], None, None),
        (["retry-after-ms: x", "Retry-After: 3"], "3", None),
    ],
)
def test_a_hint_to_wait_reaches_the_caller(
    served: Relaying, status: int, headers: list[str], seconds: str | None, milliseconds: str | None
) -> None:
    served.answers(refusing(status, *headers))
    answer = served.chat()
    assert answer.headers.get("retry-after") == seconds
    assert answer.headers.get("retry-after-ms") == milliseconds


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        (OVERFLOW, 400, "context_length_exceeded"),
        ({"error": {"message": "prompt too long; exceeded max context length by 1 tokens"}}, 400, None),
        ({"error": {"message": SECRET, "code": "content_filter"}}, 400, "content_filter"),
        ({"error": {"message": SECRET, "type": "invalid_request_error"}}, 400, None),
        ({"object": "error", "message": SECRET, "code": 400, "type": "BadRequestError"}, 400, None),
        ({"error": {"message": SECRET, "code": 429}}, 429, "rate_limit_exceeded"),
        ({"error": {"message": SECRET, "code": "insufficient_quota"}}, 429, "insufficient_quota"),
        ({"error": {"message": SECRET, "code": 502}}, 502, "server_error"),
        ({"error": SECRET}, 502, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_in_the_place_of_an_answer_is_a_status(
    served: Relaying, told: Any, status: int, code: str | None, stream: bool
) -> None:
    served.answers(streamed(b": wait\n\n", event(told)) if stream else whole(told))
    answer = served.chat(stream=stream)
    if "exceeded max context" in dumps(told):
        code = "context_length_exceeded"
    assert (answer.status, answer.error["code"]) == (status, code)
    assert SECRET.encode() not in answer.body


def test_a_refusal_in_the_middle_keeps_its_code(served: Relaying) -> None:
    served.answers(streamed(event(SAID), event(OVERFLOW)))
    answer = served.chat(stream=True)
    first, last = events(answer.body)
    assert (answer.status, first["choices"][0]["delta"]) == (200, {"content": "yes"})
    assert (last["error"]["code"], last["error"]["type"]) == ("context_length_exceeded", "invalid_request_error")


def packed(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.compress(body)
    raw = zlib.compressobj(wbits=-15)
    return zlib.compress(body) if coding == "zlib" else raw.compress(body) + raw.flush()


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("kind", [None, "text/plain", "application/json", "text/event-stream", "application/x-any"])
@pytest.mark.parametrize("coding", [None, "gzip", "zlib", "deflate"])
@pytest.mark.parametrize("form", ["whole", "stream", "whole for a stream"])
def test_success_in_another_dress_is_success(
    served: Relaying, status: int, kind: str | None, coding: str | None, form: str
) -> None:
    if (form == "whole for a stream") and kind == "text/event-stream":
        return
    body = event(SAID) + DONE if form == "stream" else dumps(ANSWER).encode()
    lines = [f"HTTP/1.1 {status} Fine", "Connection: close"]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"Content-Encoding: {'gzip' if coding == 'gzip' else 'deflate'}"] if coding else []
    head = ("\r\n".join(lines) + "\r\n").encode()
    served.answers(whole(packed(body, coding) if coding else body, head))
    answer = served.chat(stream=form != "whole")
    assert answer.status == 200, answer.body
    if form == "whole":
        assert answer.json["choices"] == ANSWER["choices"]
        return
    *chunks, done = events(answer.body)
    assert done is None
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == "yes"
    assert {one["model"] for one in chunks} == {"p/far-m"}


@pytest.mark.parametrize("last", [b"data:[DONE]", b"data: [DONE]", b"data:[DONE]\n", b"data: [DONE] \r\n\r\n"])
def test_the_end_may_lack_its_blank_line(served: Relaying, last: bytes) -> None:
    served.answers(streamed(event(SAID), last))
    assert events(served.chat(stream=True).body)[-1] is None


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"<html>", JSON_HEAD.replace(b"application/json", b"text/html")),
        whole(b"", JSON_HEAD),
        whole(b"x" * 100, JSON_HEAD.replace(b"Connection", b"Content-Encoding: br\r\nConnection")),
        whole(b"x" * 100, JSON_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")),
        whole(
            gzip.compress(dumps(ANSWER).encode())[:-9], JSON_HEAD.replace(b"Conn", b"Content-Encoding: gzip\r\nConn")
        ),
        whole(b'{"choices":[],"x":NaN}'),
        whole(b'{"choices":[}'),
        whole([ANSWER]),
        b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_answer_is_one_clear_error(served: Relaying, answer: bytes, stream: bool) -> None:
    served.answers(answer)
    found = served.chat(stream=stream)
    assert (found.status, found.error["code"]) == (502, "server_error")


def test_a_bomb_is_given_up_at_the_limit_of_an_answer(served: Relaying) -> None:
    bomb = gzip.compress(b'{"choices":["' + b" " * 200_000_000)
    served.answers(whole(bomb, JSON_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")))
    assert "more than" in served.chat().error["message"]


BREAKING = {
    "broken answer": streamed(event(SAID), event(b"nonsense")),
    "error in an answer": streamed(event(SAID), event({"error": {"message": SECRET, "code": 500}})),
    "unreachable": STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed(event(SAID)) + b"zz\r\n",
    "status": refusing(500),
    "refused": refusing(400),
    "busy": refusing(429),
}


def counted(served: Relaying, kind: str) -> float:
    page = served.telemetry.metrics.text().decode()
    found = re.search(rf'^ostiary_provider_failures_total{{kind="{kind}",provider="p"}} (\S+)$', page, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about providers; on a busy machine there may be others, about a slow database."""
    return [record.getMessage() for record in caplog.records if record.name == "ostiary.inference"]


@pytest.mark.parametrize("kind", BREAKING)
def test_each_failure_is_one_line_and_one_more_in_the_metrics(
    served: Relaying, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ostiary.inference")
    before = counted(served, kind)
    served.answers(BREAKING[kind])
    answer = served.chat(stream=True)
    until = monotonic() + 5
    while not told(caplog) and monotonic() < until:
        sleep(0.01)
    [line] = told(caplog)
    assert line.startswith(f"{answer.headers['x-request-id']}: provider p, model p/far-m: {kind}")
    assert SECRET not in line
    assert counted(served, kind) == before + 1


def test_silence_is_a_failure_after_the_time_of_the_configuration(
    served: Relaying, caplog: pytest.LogCaptureFixture
) -> None:
    served.far.asked.clear()
    served.far.play(wait_until_left)
    started = monotonic()
    answer = served.chat()
    assert (answer.status, 0.9 < monotonic() - started < 5) == (502, True)
    assert "silent" in caplog.text


def test_a_provider_that_never_ends_is_given_up_after_the_time_of_the_configuration(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def dripping(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(framed(event(SAID)))
            sleep(0.05)

    provider = "provider_type: remote::vllm, config: {url: URL, timeouts: {total: 1}}"
    with relaying(tmp_path_factory.mktemp("total"), provider) as running:
        running.far.play(dripping)
        *chunks, last = events(running.chat(stream=True).body)
        assert len(chunks) > 3
        assert "did not end its answer in time" in last["error"]["message"]


@pytest.mark.parametrize("logs", ["true", "false"])
def test_the_providers_words_are_logged_where_the_operator_wants_them(
    tmp_path_factory: pytest.TempPathFactory, logs: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ostiary.inference")
    words = f"{SECRET}\r\n\x1b[31m2026 ERROR forged\u2028 line " + "x" * 1000
    provider = f"provider_type: remote::vllm, config: {{url: URL, log_messages: {logs}}}"
    with relaying(tmp_path_factory.mktemp("words"), provider) as running:
        running.answers(refusing(400, body={"error": {"message": words}}))
        answer = running.chat()
        assert SECRET.encode() not in answer.body
        [line] = told(caplog)
        assert (SECRET in line) == (logs == "true")
        assert len(line) < 500
        assert line.isprintable()


def test_large_chunks_make_no_other_wait(served: Relaying) -> None:
    large = {**SAID, "choices": [{"index": 0, "delta": {"content": "x" * 5_000_000}}]}
    served.answers(streamed(event(large), DONE))
    first, done = events(served.chat(stream=True).body)
    assert (len(first["choices"][0]["delta"]["content"]), done) == (5_000_000, None)


def test_a_chunk_that_is_too_large_and_very_many_chunks(served: Relaying) -> None:
    served.far.play(
        lambda peer: [peer.sendall(part) for part in (STREAM_HEAD + b"\r\ndata: ", *[b"x" * 1_000_000] * 20)] and None
    )
    answer = served.chat(stream=True)
    assert (answer.status, answer.error["code"]) == (502, "server_error")
    served.far.play(lambda peer: peer.sendall(STREAM_HEAD + b"\r\n" + event(SAID) * 30_000 + DONE))
    *chunks, done = events(served.chat(stream=True).body)
    assert (len(chunks), done) == (30_000, None)
