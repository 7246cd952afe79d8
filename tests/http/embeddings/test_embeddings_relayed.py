"""Answers with embeddings of a provider: checked by value, put into order, and written in the form asked for."""

from __future__ import annotations

from collections.abc import Iterator
from gzip import compress
from json import dumps, loads
from typing import Any

import pytest

from tests.support.relay_server import JSON_HEAD, Relaying, relaying, whole
from tests.support.relayed_embeddings import (
    MODELS,
    PATH,
    USAGE,
    VECTORS,
    answering,
    embed,
    entries,
    packed,
    unpacked,
    vectors,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    with relaying(tmp_path_factory.mktemp("embeddings"), models=MODELS) as running:
        yield running


@pytest.mark.parametrize("sent_in_base64", [False, True])
@pytest.mark.parametrize("form", ["float", "base64", None, ...])
def test_both_forms_mean_the_same_whatever_the_provider_sends(
    server: Relaying, form: Any, sent_in_base64: bool
) -> None:
    server.answers(answering(entries(0, 1, in_base64=sent_in_base64)))
    answer = embed(server, ["a", "b"], **({} if form is ... else {"encoding_format": form}))
    found = vectors(answer)
    assert {type(each) for each in found} == {str if form == "base64" else list}
    assert [unpacked(each) if type(each) is str else each for each in found] == VECTORS[:2]
    assert {name: answer.json[name] for name in ("object", "model", "usage")} == {
        "object": "list",
        "model": "p/far-v",
        "usage": USAGE,
    }
    assert server.head.startswith("POST /v1/embeddings HTTP/1.1")
    assert server.body["model"] == "far-v"


def test_numbers_reach_the_caller_as_the_provider_wrote_them(server: Relaying) -> None:
    body = b'{"data": [{"index": 0, "embedding": [0.10, -1e-3,\n 12345678901234567890, 0]}], "usage": {}}'
    server.answers(whole(body))
    assert b"[0.10, -1e-3,\n 12345678901234567890, 0]" in embed(server, "a").body


def test_embeddings_are_put_into_the_order_of_the_inputs(server: Relaying) -> None:
    server.answers(answering(entries(2, 0, 1)))
    assert vectors(embed(server, ["a", "b", "c"])) == [VECTORS[1], VECTORS[2], VECTORS[0]]
    server.answers(answering(entries(None, None, None)))
    assert vectors(embed(server, ["a", "b", "c"])) == VECTORS[:3]


def with_vector(*given: Any) -> list[dict[str, Any]]:
    return [{"index": index, "embedding": vector} for index, vector in enumerate(given)]


NAN = packed([float("nan"), 1.0])
INFINITE = packed([1.0, float("-inf")])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (entries(0, 0, 1), "indices"),
        (entries(0, 1, 3), "indices"),
        (entries(1, 2, 3), "indices"),
        (entries(0, 1, -1), "indices"),
        (entries(0, None, 2), "indices"),
        (entries(0, 1), "2 embeddings for 3 inputs"),
        ([], "0 embeddings for 3 inputs"),
        (entries(0, 1, 2, 3), "more than 3 embeddings for 3 inputs"),
        (entries("0", "1", "2"), "something other than embeddings"),
        (entries(0.0, 1.0, 2.0), "something other than embeddings"),
        (entries(True, False, 2), "something other than embeddings"),
        (with_vector([1.0], [1.0, 2.0], [1.0]), "different lengths"),
        (with_vector([1.0], [], [1.0]), "empty embedding"),
        (with_vector([0.0], [1.0], [1.0]), "zeros alone"),
        (with_vector(packed([0.0, 0.0]), packed([1.0, 1.0]), packed([1.0, 1.0])), "zeros alone"),
        (with_vector(NAN, NAN, NAN), "NaN"),
        (with_vector(INFINITE, INFINITE, INFINITE), "NaN"),
        (with_vector([1e39], [1.0], [1.0]), "NaN"),
        (with_vector([10**400], [1.0], [1.0]), "NaN"),
        (with_vector("AAA", "AAA", "AAA"), "base64"),
        (with_vector("AAAA", "AAAA", "AAAA"), "base64"),
        (with_vector("?", "?", "?"), "base64"),
        (with_vector([True], [1.0], [1.0]), "no list of numbers"),
        (with_vector([None], [1.0], [1.0]), "no list of numbers"),
        (with_vector([[1.0]], [[1.0]], [[1.0]]), "no list of numbers"),
        (with_vector(None, None, None), "no list of numbers"),
        ({"a": 1}, "something other than embeddings"),
        (["a", "b", "c"], "something other than embeddings"),
        (None, "something other than embeddings"),
    ],
    ids=lambda given: given if type(given) is str else "",
)
@pytest.mark.parametrize("form", ["float", "base64"])
def test_what_can_not_be_told_to_be_right_is_502(server: Relaying, data: Any, sentence: str, form: str) -> None:
    server.answers(answering(data))
    answer = embed(server, ["a", "b", "c"], encoding_format=form)
    assert answer.status == 502
    assert sentence in answer.error["message"]
    assert answer.error["message"].startswith("the provider `p` answered with ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"index":0,"embedding":[NaN]}]}',
        b'{"data":[{"index":0,"embedding":[Infinity]}]}',
        b'{"data":[{"index":0,"embedding":[1e999]}]}',
        b'{"data":[{"index":0,"embedding":[1.0}]}',
        b'{"data":[{"index":0,"embedding":[1.0]}',
        b'{"data":[{"index":0,"embedding":[1.0]},,]}',
        b'{"data":[{"index":0,"embedding":[01]}]}',
        b'{"data":[{"index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":NaN}}',
        b'[{"index":0,"embedding":[1.0]}]',
        b"<html>",
        b"",
        b'{"data":[{"index":0,"embedding":[1.0]}]} {}',
        b'{"data":[{"index":0,"embedding":"\xff"}]}',
    ],
)
@pytest.mark.parametrize("form", ["float", "base64"])
def test_what_is_no_json_is_502_and_reaches_no_caller(server: Relaying, body: bytes, form: str) -> None:
    server.answers(whole(body))
    answer = embed(server, "a", encoding_format=form)
    assert answer.status == 502
    assert b"NaN" not in answer.body.replace(b"holds NaN", b"")


def test_dimensions_are_passed_on_and_held(server: Relaying) -> None:
    server.answers(answering(entries(0)))
    assert vectors(embed(server, "a", dimensions=3)) == VECTORS[:1]
    assert server.body["dimensions"] == 3
    answer = embed(server, "a", dimensions=2)
    assert (answer.status, answer.error["param"]) == (400, "dimensions")
    assert "3 numbers, not of 2" in answer.error["message"]


def test_usage_is_that_of_the_provider(server: Relaying) -> None:
    for told, shown in (
        (
            {"prompt_tokens": 3, "total_tokens": 4, "cost": {"x": 1}},
            {"prompt_tokens": 3, "total_tokens": 4, "cost": {"x": 1}},
        ),
        ({"prompt_tokens": 3}, {"prompt_tokens": 3, "total_tokens": 3}),
        (None, {"prompt_tokens": 0, "total_tokens": 0}),
        ({"prompt_tokens": "3"}, {"prompt_tokens": 0, "total_tokens": 0}),
    ):
        server.answers(answering(entries(0), usage=told))
        assert embed(server, "a").json["usage"] == shown


def refusal(status: int, message: str, **more: Any) -> bytes:
    head = JSON_HEAD.replace(b"200 OK", b"%d No" % status)
    return whole({"error": {"message": message, **more}}, head)


def test_refusals_say_what_is_wrong(server: Relaying) -> None:
    server.answers(refusal(400, "This model's maximum context length is 8192 tokens, you requested 10000"))
    answer = embed(server, "a")
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    server.answers(refusal(400, "does not support matryoshka", param="dimensions"))
    answer = embed(server, "a", dimensions=2)
    assert (answer.status, answer.error["param"]) == (400, "dimensions")
    server.answers(refusal(429, "slow down"))
    assert embed(server, "a").status == 429
    server.answers(whole({"error": {"message": "no", "code": 400}}))
    assert embed(server, "a").status == 400
    server.answers(whole({"object": "error", "message": "no"}))
    assert embed(server, "a").status == 502


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_provider_without_embeddings_is_told_as_one(server: Relaying, status: int) -> None:
    server.answers(refusal(status, "Not Found"))
    answer = embed(server, "a")
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert "makes no embeddings" in answer.error["message"]
    server.answers(refusal(404, "the model `far-v` does not exist", code="model_not_found"))
    assert embed(server, "a").status == 502


def test_each_kind_of_model_does_its_own(server: Relaying) -> None:
    answer = server.address.post(PATH, {"model": "p/m", "input": "a"}, "Authorization: Bearer alice")
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert answer.error["message"] == "the model `p/m` makes no embeddings; it chats"
    answer = server.chat(model="p/v")
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert answer.error["message"] == "the model `p/v` does not chat; it makes embeddings"


def large(size: int, count: int, form: str) -> bytes:
    vector = [((place * 7919) % 1000 - 499.5) / 1000 for place in range(size)]
    value = dumps(packed(vector) if form == "base64" else vector).encode()
    each = [b'{"object":"embedding","index":%d,"embedding":%b}' % (index, value) for index in range(count)]
    return b'{"object":"list","data":[%b],"usage":{"prompt_tokens":9,"total_tokens":9}}' % b",".join(each)


@pytest.mark.parametrize(("sent", "asked"), [("float", "base64"), ("base64", "base64"), ("base64", "float")])
def test_a_large_answer_is_converted_too(server: Relaying, sent: str, asked: str) -> None:
    server.answers(whole(large(3072, 256, sent)))
    body = {"model": "p/v", "input": ["a"] * 256, "encoding_format": asked}
    answer = server.address.ask("POST", PATH, "Authorization: Bearer alice", body=body, timeout=60)
    assert answer.status == 200, answer.body[:300]
    data = loads(answer.body)["data"]
    assert len(data) == 256
    last = data[-1]["embedding"]
    wanted = unpacked(packed([((place * 7919) % 1000 - 499.5) / 1000 for place in range(3072)]))
    assert (unpacked(last) if asked == "base64" else last) == wanted


def test_a_packed_answer_is_unpacked(server: Relaying) -> None:
    head = JSON_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    server.answers(whole(compress(large(3072, 64, "float")), head))
    body = {"model": "p/v", "input": ["a"] * 64, "encoding_format": "base64"}
    answer = server.address.ask("POST", PATH, "Authorization: Bearer alice", body=body, timeout=60)
    assert len(vectors(answer)) == 64


def test_an_answer_beyond_the_bound_is_refused_by_its_length(server: Relaying) -> None:
    server.answers(JSON_HEAD + b"Content-Length: 167772161\r\n\r\n" + b'{"data":[' + b" " * 2_000_000)
    answer = embed(server, "a")
    assert answer.status == 502
    assert "167772160 bytes" in answer.error["message"]
