"""Embeddings of Titan, Nova and Cohere through the server, in front of the stub."""

from __future__ import annotations

import struct
from base64 import b64decode
from json import dumps
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig
from openai import OpenAI

from tests.support.bedrock_embeddings import numbers
from tests.support.bedrock_server import BY_KEY, BY_SIGNATURE, COHERE, TITAN, Chatting, chatting
from tests.support.bedrock_stub import IDENTITY, REGION, SECRET, TOKEN, bedrock
from tests.support.serving import Answer

PATH = "/v1/embeddings"
ALL = {"titan": 1024, "titan1": 1536, "picture": 1024, "cohere": 1024, "cohere4": 1536, "nova": 3072, "nova2": 3072}


def embed(running: Chatting, model: str, given: Any, **more: Any) -> Answer:
    return running.post(PATH, model=f"p/{model}", input=given, **more)


def vectors(answer: Answer) -> list[list[float]]:
    assert answer.status == 200, answer.body
    assert [each["index"] for each in answer.json["data"]] == [*range(len(answer.json["data"]))]
    return [each["embedding"] for each in answer.json["data"]]


def test_the_stub_is_what_boto3_takes_for_bedrock() -> None:
    with bedrock() as stub:
        client = boto3.client(
            "bedrock-runtime",
            region_name=REGION,
            endpoint_url=stub.url,
            aws_access_key_id=IDENTITY,
            aws_secret_access_key=SECRET,
            aws_session_token=TOKEN,
            config=BotoConfig(retries={"max_attempts": 1}),
        )
        answer = client.invoke_model(modelId=TITAN, body=dumps({"inputText": "a b"}), contentType="application/json")
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "2"
        with pytest.raises(client.exceptions.ValidationException, match="extraneous key"):
            client.invoke_model(modelId=TITAN, body=dumps({"inputText": "a", "texts": ["a"]}))
        with pytest.raises(client.exceptions.ValidationException, match="maximum item count: 96"):
            client.invoke_model(modelId=COHERE, body=dumps({"texts": ["a"] * 97, "input_type": "search_query"}))


@pytest.mark.parametrize("settings", [BY_KEY, BY_SIGNATURE])
def test_the_sdk_reads_both_forms_of_each_model(settings: str, tmp_path: Any) -> None:
    with (
        chatting(tmp_path, settings) as running,
        OpenAI(base_url=f"{running.address.url}/v1", api_key="alice", max_retries=0) as client,
    ):
        for model, size in ALL.items():
            # The SDK asks for base64 by itself.
            packed = client.embeddings.create(model=f"p/{model}", input=["one two", "three"])
            plain = client.embeddings.create(model=f"p/{model}", input=["one two", "three"], encoding_format="float")
            for found in (packed, plain):
                assert [each.embedding for each in found.data] == [numbers("one two", size), numbers("three", size)]
                assert (found.usage.prompt_tokens, found.usage.total_tokens) == (3, 3)


def test_base64_is_made_here(running: Chatting) -> None:
    [text] = vectors(embed(running, "titan", "word", encoding_format="base64"))
    assert isinstance(text, str)
    raw = b64decode(text, validate=True)
    assert [*struct.unpack(f"<{len(raw) // 4}f", raw)] == numbers("word", 1024)


@pytest.mark.parametrize(
    ("model", "size", "sent"),
    [
        ("titan", 256, {"dimensions": 256}),
        ("picture", 384, {"embeddingConfig": {"outputEmbeddingLength": 384}}),
        ("cohere4", 512, {"output_dimension": 512}),
        (
            "nova",
            384,
            {
                "singleEmbeddingParams": {
                    "embeddingPurpose": "GENERIC_INDEX",
                    "embeddingDimension": 384,
                    "text": {"truncationMode": "NONE", "value": "a"},
                }
            },
        ),
        ("titan1", 1536, {}),
        ("cohere", 1024, {}),
    ],
)
def test_dimensions_reach_a_model_under_its_own_name(
    running: Chatting, model: str, size: int, sent: dict[str, Any]
) -> None:
    assert [len(each) for each in vectors(embed(running, model, "a", dimensions=size))] == [size]
    own = {name: value for name, value in running.stub.body.items() if name in ("dimensions", *sent)}
    assert own == sent


def test_long_lists_go_in_batches_and_come_back_in_order(running: Chatting) -> None:
    for model, count, batches in (("titan", 30, [1] * 30), ("nova", 20, [1] * 20), ("cohere4", 200, [8, 96, 96])):
        running.stub.asked.clear()
        texts = [f"text {number}" for number in range(count)]
        answer = embed(running, model, texts, dimensions=256)
        assert vectors(answer) == [numbers(text, 256) for text in texts]
        assert answer.json["usage"] == {"prompt_tokens": 2 * count, "total_tokens": 2 * count}
        assert sorted(len(body.get("texts", [0])) for _, body in running.stub.asked) == batches


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, "search_document"),
        ({"input_type": None}, "search_document"),
        ({"input_type": "query"}, "search_query"),
        ({"input_type": "passage"}, "search_document"),
        ({"input_type": "clustering"}, "clustering"),
    ],
)
def test_the_purpose_of_embeddings_is_told_to_cohere(running: Chatting, given: dict[str, Any], sent: str) -> None:
    running.stub.vectors.by_type = False
    vectors(embed(running, "cohere", "a", user="end-user", **given))
    assert running.stub.body == {"texts": ["a"], "input_type": sent, "embedding_types": ["float"]}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, "GENERIC_INDEX"),
        ({"input_type": "document"}, "GENERIC_INDEX"),
        ({"input_type": "search_query"}, "TEXT_RETRIEVAL"),
        ({"input_type": "classification"}, "CLASSIFICATION"),
        ({"input_type": "clustering"}, "CLUSTERING"),
    ],
)
def test_the_purpose_of_embeddings_is_told_to_nova(running: Chatting, given: dict[str, Any], sent: str) -> None:
    vectors(embed(running, "nova", "a", **given))
    asked = {"embeddingPurpose": sent, "text": {"truncationMode": "NONE", "value": "a"}}
    assert running.stub.body == {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked}


@pytest.mark.parametrize(
    ("model", "given", "more", "param"),
    [
        ("titan", [1, 2], {}, "input"),
        ("cohere", [[1], [2]], {}, "input"),
        ("titan", ["a", "  "], {}, "input"),
        ("titan", "a", {"dimensions": 1023}, "dimensions"),
        ("titan1", "a", {"dimensions": 256}, "dimensions"),
        ("cohere", "a", {"dimensions": 512}, "dimensions"),
        ("cohere4", "a", {"dimensions": 384}, "dimensions"),
        ("cohere", "a", {"input_type": "image"}, "input_type"),
        ("cohere", "a", {"input_type": ["query"]}, "input_type"),
        ("nova", "a", {"dimensions": 512}, "dimensions"),
        ("nova", [[1]], {}, "input"),
        ("nova", "a", {"input_type": "IMAGE_RETRIEVAL"}, "input_type"),
        ("unknown", "a", {}, "model"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_it_is_asked(
    running: Chatting, model: str, given: Any, more: dict[str, Any], param: str
) -> None:
    answer = embed(running, model, given, **more)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
    assert running.stub.asked == []


@pytest.mark.parametrize(("model", "text"), [("titan", "a " * 9000), ("cohere", "a" * 2049), ("nova", "a" * 8193)])
def test_a_text_that_is_too_long_is_told_as_such(running: Chatting, model: str, text: str) -> None:
    answer = embed(running, model, ["short", text])
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded"), answer.body


@pytest.mark.parametrize("counts", [True, False])
def test_tokens_are_those_of_the_head(running: Chatting, counts: bool) -> None:
    running.stub.vectors.counts = counts
    told = embed(running, "titan", ["a b", "c"]).json["usage"]
    assert told == {"prompt_tokens": 3 * counts, "total_tokens": 3 * counts}


GOOD = dumps({"embedding": [0.5, 1.0]}).encode()


@pytest.mark.parametrize(
    ("model", "bodies"),
    [
        ("titan", [b""]),
        ("titan", [b"{}"]),
        ("titan", [b"[]"]),
        ("titan", [b'{"embedding": []}']),
        ("titan", [b'{"embedding": [0, 0]}']),
        ("titan", [b'{"embedding": "AAAA"}']),
        ("titan", [b'{"embedding": [1, "2"]}']),
        ("titan", [b'{"embedding": [1, NaN]}']),
        ("titan", [b'{"embedding": [1, 1e999]}']),
        ("titan", [b'{"embedding": [1, true]}']),
        ("titan", [b'{"embedding": [1' + b"0" * 400 + b"]}"]),
        ("titan", [dumps({"embedding": [0.5] * 3073}).encode()]),
        ("titan", [b'{"embedding": [0.5], "x": "' + b"x" * 400_000 + b'"}']),
        ("cohere", [b'{"embeddings": [[0.5]]}']),
        ("cohere", [b'{"embeddings": [[0.5], [0.5], [0.5]]}']),
        ("cohere", [b'{"embeddings": {"int8": [[1], [2]]}}']),
        ("cohere", [b'{"embeddings": {"float": 5}}']),
        ("cohere", [b'{"embeddings": [[0.5], [0.5, 0.5]]}']),
        ("titan", [GOOD, b'{"embedding": [0.5]}']),
        ("nova", [b'{"embeddings": [0.5, 1.0]}'] * 2),
        ("nova", [b'{"embeddings": [[0.5, 1.0]]}'] * 2),
        ("nova", [b'{"embeddings": []}'] * 2),
        ("nova", [b'{"embeddings": [{"embeddingType": "TEXT"}]}'] * 2),
        ("nova", [b'{"embeddings": [{"embedding": [1]}, {"embedding": [1]}]}'] * 2),
        ("nova", [b'{"embeddings": {"embedding": [1]}}'] * 2),
        ("nova", [dumps({"embeddings": [{"embedding": [0.5] * 3073}]}).encode()] * 2),
    ],
)
def test_odd_answers_fail_as_a_whole(running: Chatting, model: str, bodies: list[bytes]) -> None:
    running.stub.vectors.instead = bodies
    given = "a" if model == "titan" and len(bodies) == 1 else ["a", "b"]
    answer = embed(running, model, given)
    assert (answer.status, answer.error["code"]) == (502, "server_error"), answer.body


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ((429, "ThrottlingException", "secret-words"), 429, "rate_limit_exceeded"),
        ((400, "ServiceQuotaExceededException", "secret-words"), 429, "rate_limit_exceeded"),
        ((400, "ValidationException", "secret-words"), 400, None),
        ((403, "AccessDeniedException", "secret-words"), 502, "server_error"),
        ((404, "ResourceNotFoundException", "secret-words"), 502, "server_error"),
        ((503, "ServiceUnavailableException", "secret-words"), 502, "server_error"),
    ],
)
def test_refusals_are_of_our_kinds(
    running: Chatting, refusal: tuple[int, str, str], status: int, code: str | None
) -> None:
    running.stub.refusal = refusal
    for given in ("a", ["a"] * 20):
        answer = embed(running, "titan", given)
        assert (answer.status, answer.error["code"]) == (status, code), answer.body
        assert b"secret-words" not in answer.body


def test_large_answers_take_room_and_come_whole(running: Chatting) -> None:
    texts = [f"text {number} " + "word " * 20 for number in range(480)]
    answer = embed(running, "cohere4", texts, encoding_format="base64", dimensions=256)
    assert len(vectors(answer)) == 480
    assert answer.json["usage"]["total_tokens"] == 22 * 480
    alone = embed(running, "cohere4", texts[-1:], encoding_format="base64", dimensions=256)
    assert answer.json["data"][479]["embedding"] == alone.json["data"][0]["embedding"]


def test_a_body_of_many_megabytes_is_embedded(running: Chatting) -> None:
    texts = [f"{number} " + "é" * 150_000 for number in range(9)]
    answer = embed(running, "cohere4", texts, dimensions=256, encoding_format="base64")
    assert len(vectors(answer)) == 9
    assert running.stub.body["texts"] == texts


def test_a_large_refusal_names_its_place(running: Chatting) -> None:
    answer = embed(running, "cohere", ["word " * 400] * 60 + [" "])
    assert (answer.status, answer.error["param"], running.stub.asked) == (400, "input", [])
    assert "number 60" in answer.error["message"]


def test_a_list_takes_no_more_connections_than_a_caller_may_have(tmp_path: Any) -> None:
    with chatting(tmp_path, f"{BY_KEY}, connections: {{total: 2, each: 1}}") as running:
        assert len(vectors(embed(running, "titan", ["a"] * 12))) == 12


def test_a_provider_that_is_paused_is_not_asked(tmp_path: Any) -> None:
    with chatting(tmp_path, f"{BY_KEY}, breaker: {{failures: 3, pause: 60}}") as running:
        running.stub.refusal = (503, "ServiceUnavailableException", "down")
        statuses = [embed(running, "titan", "a").status for _ in range(5)]
        assert statuses[:3] == [502, 502, 502]
        assert len(running.stub.asked) == 3
