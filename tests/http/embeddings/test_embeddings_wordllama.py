"""Embeddings of `inline::wordllama`, by the real model, through the openai client and the whole application."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from server.inference.providers import word_llama
from tests.support.real_policy import read
from tests.support.relay_server import serving_config
from tests.support.serving import Address

ROOT = Path(__file__).parents[3]
TOKEN = "Authorization: Bearer alice"
CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: words, provider_type: inline::wordllama}
    models:
    - {model_id: small, provider_id: words, model_type: embedding}
    - {model_id: half, provider_id: words, model_type: embedding, metadata: {embedding_dimension: 128}}
    - {model_id: chat, provider_id: words}
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: "FOLDER/records.db"}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("wordllama")
    with serving_config(read(CONFIG.replace("FOLDER", str(folder)))) as (made, _):
        yield made


@pytest.fixture(scope="module")
def client(address: Address) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


def embed(client: OpenAI, given: Any, **more: Any) -> list[list[float]]:
    made = client.embeddings.create(**{"model": "small", "input": given, **more})
    assert [each.index for each in made.data] == [*range(len(made.data))]
    return [each.embedding for each in made.data]


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_texts_of_one_meaning_are_near(client: OpenAI) -> None:
    bread, loaf, planet = embed(client, ["how to bake bread", "recipe for a loaf", "the rings of Saturn"])
    assert len(bread) == 256
    assert sqrt(near(bread, bread)) == pytest.approx(1, abs=1e-5)
    assert near(bread, loaf) > 0.3 > near(bread, planet)
    assert embed(client, "how to bake bread", encoding_format="float")[0] == pytest.approx(bread)


def test_the_numbers_are_those_of_the_package(client: OpenAI) -> None:
    import wordllama

    loaded = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    texts = ["hello there", "a much longer text, with more words in it, " * 200, "ünïcödé \U0001f600", " "]
    for ours, theirs in zip(embed(client, texts), loaded.embed(texts, norm=True), strict=True):
        assert ours == pytest.approx(theirs.tolist(), abs=1e-5)


def test_dimensions_cut_and_keep_the_length(client: OpenAI) -> None:
    [whole], [cut], [half] = embed(client, "a"), embed(client, "a", dimensions=64), embed(client, "a", model="half")
    length = sqrt(near(whole[:64], whole[:64]))
    assert cut == pytest.approx([number / length for number in whole[:64]], abs=1e-5)
    assert len(half) == 128
    with pytest.raises(openai.BadRequestError) as refused:
        embed(client, "a", dimensions=257)
    assert (refused.value.param, refused.value.code) == ("dimensions", "invalid_value")


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ([1, 2, 3], "input", "invalid_value"),
        ([[1, 2], [3]], "input", "invalid_value"),
        (["a", "b" * (word_llama.LONGEST + 1)], "input[1]", "context_length_exceeded"),
        ("é" * (word_llama.LONGEST // 2 + 1), "input", "context_length_exceeded"),
        (["a" * word_llama.LONGEST] * 9, "input", "invalid_value"),
    ],
)
def test_what_the_model_can_not_embed_is_refused(client: OpenAI, given: Any, param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        embed(client, given)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_as_much_as_is_allowed_is_embedded_in_order(client: OpenAI) -> None:
    long = "some words " * (word_llama.LONGEST // 11)
    one, other = embed(client, ["first", "last"])
    many = embed(client, ["first", *[long] * 7, *["x y z" * 4] * 500, "last"])
    assert many[0] == pytest.approx(one, abs=1e-6)
    assert many[-1] == pytest.approx(other, abs=1e-6)
    assert len(many) == 509


def test_usage_counts_the_models_tokens(address: Address) -> None:
    body = {"model": "small", "input": ["hello there", "hello"]}
    usage = address.post("/v1/embeddings", body, TOKEN).json["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == 3


def test_it_makes_embeddings_alone(address: Address) -> None:
    refused = address.post(
        "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "a"}]}, TOKEN
    )
    assert refused.status == 400
    assert refused.error["param"] == "model"


CUT = """
import asyncio, socket, sys

def refuse(*_args, **_more):
    print("the network was used")
    sys.exit(1)

from server.inference.provider import ChatRequest
from server.inference.providers.vector_answers import VectorRoom
from server.inference.providers.word_llama import WordLlamaVectors
from server.json_input.reader import Reader

assert not {"numpy", "tokenizers", "wordllama"} & sys.modules.keys()
socket.socket.connect = socket.socket.sendto = socket.getaddrinfo = refuse

async def main():
    words = WordLlamaVectors("words", Reader(), VectorRoom())
    made = await words.complete(ChatRequest("words/small", b'{"model": "small", "input": "hello"}'))
    print(len(b"".join(made)) > 256)

asyncio.run(main())
"""


def test_it_needs_no_network_and_loads_nothing_before_its_first_use(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CUT], capture_output=True, text=True, cwd=ROOT, env=environ, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert [*tmp_path.iterdir()] == []


def test_a_damaged_package_is_502_and_health_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "/secret/path"

    def fail() -> None:
        raise FileNotFoundError(name)

    monkeypatch.setattr(word_llama, "_load", fail)
    with serving_config(read(CONFIG.replace("FOLDER", str(tmp_path)))) as (address, _):
        for _ in range(2):
            answer = address.post("/v1/embeddings", {"model": "small", "input": "a"}, TOKEN)
            assert answer.status == 502
            assert answer.error["message"] == "the provider `words` can't load its model"
        found = address.get("/v1/health/ready", TOKEN).json["dependencies"]["provider:words"]
        assert found["state"] == "down"
    assert name not in caplog.text
    assert caplog.text.count("can't load its model: FileNotFoundError") == 1
