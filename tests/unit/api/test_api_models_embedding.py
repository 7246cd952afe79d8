"""Embeddings that the server asks for itself: in order, whole, and refused where a provider's answer is wrong."""

from __future__ import annotations

import asyncio
from array import array
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Principal, Route
from server.api.models import embedding
from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.models.embedding import Embedder, EmbeddingModel, _body
from server.api.models.model import Model
from server.api.models.registered import RegisteredModels
from server.api.models.reserved import ReservedNames
from server.authn.stamps import Stamps
from server.authz.request_authorization import Gate
from server.authz.request_context import RequestContext
from server.http.errors import ApiError
from server.http.open_streams import OpenStreams
from server.inference.provider import ChatRequest, Fault, Kind, Provider, ProviderFailed, Task
from server.inference.providers.echo import Echo
from server.inference.providers.echo_vectors import EchoVectors
from server.inference.providers.vector_answers import VectorRoom
from server.json_input.reader import Reader
from server.json_input.strict import parse_json
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.table import RecordTable
from server.storage.usage.tally import UsageTally
from server.storage.vectors.index import Vector
from tests.support.unsafe_policy import UnsafePermitAll

ANN = Principal("ann", "a")
MODEL = Model("v", "p", "v", "embedding", {})

Answer = Callable[[list[str]], Any]


class Answering(Echo):
    """Answers with the entries that a test makes of the texts, and keeps the texts."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(Reader())
        self.answer = answer
        self.asked: list[list[str]] = []

    async def complete(self, request: ChatRequest) -> list[bytes]:  # type: ignore[override]
        self.asked.append(loads(request.payload)["input"])
        return [dumps({"data": self.answer(self.asked[-1])}).encode()]


def packed(*numbers: float) -> str:
    return b64encode(array("f", numbers).tobytes()).decode()


def entry(index: int, *numbers: float) -> dict[str, Any]:
    return {"index": index, "embedding": packed(*(numbers or (index + 1.0, 2.0)))}


def embedded(
    provider: Echo | EchoVectors,
    texts: list[str],
    model: Model = MODEL,
    found: list[EmbeddingModel] | None = None,
    other: Echo | None = None,
) -> list[Vector]:
    """The embeddings of these texts; the model is added to `found`. `other` makes those of the model `q/w`."""

    async def work() -> list[Vector]:
        database = SqliteDatabase(Path("never-opened.db"))
        registered = RegisteredModels(
            RecordTable(database, "models"), RecordTable(database, "names"), ReservedNames((), ())
        )
        providers = {"p": provider, "q": provider if other is None else other}
        served = {
            name: Provider(Echo(Reader()), each, tasks=frozenset({Task.EMBEDDING})) for name, each in providers.items()
        }
        catalogue = Catalogue([model, Model("w", "q", "w", "embedding", {})], served, registered)
        asking = Asking(catalogue, Reader(), OpenStreams(), Stamps(lambda: bytes(32)), UsageTally())
        embedder = Embedder(asking, catalogue)
        route = Route("POST", "/v1/vector_stores/vs_1/search")
        gate = Gate(UnsafePermitAll(), RequestContext("req_1", ANN), route, requires_token=True)
        known = await embedder.model(gate, "v")
        if found is not None:
            found.append(known)
        return await embedder.embed(gate, known, texts)

    return asyncio.run(work())


def test_each_text_has_its_own_vector_across_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_TEXTS", 2)
    vectors = embedded(EchoVectors(Reader(), VectorRoom()), ["A", "Z", "B", "A", 'quote " \\ \n é \ud800'])
    assert len(vectors) == 5
    assert vectors[0] == vectors[3]
    assert len({tuple(vector) for vector in vectors}) == 4


@pytest.mark.parametrize(
    ("numbers", "size", "expected"), [(8, 10**6, [2, 2, 1]), (10**6, 4, [1, 1, 1, 1, 1]), (10**6, 6, [2, 2, 1])]
)
def test_requests_are_bounded_by_numbers_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch, numbers: int, size: int, expected: list[int]
) -> None:
    monkeypatch.setattr(embedding, "MOST_NUMBERS", numbers)
    monkeypatch.setattr(embedding, "MOST_BYTES", size)
    far = Answering(lambda texts: [entry(index, 1.0, 2.0, 3.0, 4.0) for index in range(len(texts))])
    assert len(embedded(far, ["abc"] * 5, replace(MODEL, metadata={"embedding_dimension": 4}))) == 5
    assert [len(texts) for texts in far.asked] == expected


@pytest.mark.parametrize("members", [{"fallback": ("q/w",)}, {"weights": {"q/w": 1}}])
def test_no_other_model_makes_vectors_for_a_store(members: Any) -> None:
    other = Answering(lambda texts: [entry(index) for index in range(len(texts))])
    mine = Answering(lambda texts: [entry(index, 3.0, 4.0) for index in range(len(texts))])
    naming = replace(MODEL, **members)
    assert [[*vector] for vector in embedded(mine, ["a"], naming, other=other)] == [[3.0, 4.0]]

    def away(_: list[str]) -> Any:
        raise ProviderFailed(Fault.PROVIDER, "there is no connection", kind=Kind.UNREACHABLE, unsent=True)

    for answer in (away, lambda _: []):
        with pytest.raises(ProviderFailed):
            embedded(Answering(answer), ["a"], naming, other=other)
    assert not other.asked


def test_vectors_go_by_index() -> None:
    far = Answering(lambda texts: [entry(index) for index in (2, 0, 1)])
    assert [vector[0] for vector in embedded(far, ["a", "b", "c"])] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "answer",
    [
        [entry(0), entry(0)],
        [entry(0)],
        [entry(0), entry(1), entry(2)],
        [entry(0), entry(1, float("nan"), 1.0)],
        [entry(0), entry(1, float("inf"), 1.0)],
        [entry(0), entry(1, 0.0, 0.0)],
        [entry(0), entry(1, 1.0, 2.0, 3.0)],
        [entry(0), {"index": 1, "embedding": ""}],
        [entry(0), {"index": 1, "embedding": "no base64"}],
        [entry(0), {"index": 1, "embedding": [1.0, 2.0]}],
        [entry(0), {"embedding": packed(1.0, 2.0)}],
        [entry(0), None],
        None,
        {},
    ],
)
def test_an_answer_that_is_wrong_yields_nothing(answer: Any) -> None:
    with pytest.raises(ProviderFailed) as caught:
        embedded(Answering(lambda _: answer), ["a", "b"])
    assert caught.value.hopeless
    assert caught.value.message.startswith("the provider of the embedding model answered with ")


def test_other_dimensions_than_the_configuration_says_are_refused() -> None:
    model = replace(MODEL, metadata={"embedding_dimension": 3})
    with pytest.raises(ProviderFailed, match="2 numbers an embedding, where the configuration says 3"):
        embedded(Answering(lambda _: [entry(0)]), ["a"], model)


def test_a_text_longer_than_the_model_reads_is_refused() -> None:
    model = EmbeddingModel(MODEL, None, 10, None)
    with pytest.raises(ApiError) as caught:
        model.check("x" * 41)
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
    assert "11 tokens" in caught.value.message
    assert "at most 10" in caught.value.message
    model.check("x" * 40)
    EmbeddingModel(MODEL, None, None, None).check("x" * 10**6)


def test_the_model_says_what_the_configuration_says() -> None:
    found = list[EmbeddingModel]()
    described = replace(MODEL, metadata={"embedding_dimension": 2, "context_length": 512})
    embedded(Answering(lambda _: [entry(0)]), ["a"], described, found)
    assert [(each.name, each.dimensions, each.most_tokens) for each in found] == [("p/v", 2, 512)]


def test_a_model_that_chats_is_refused() -> None:
    with pytest.raises(ApiError, match="makes no embeddings"):
        embedded(Answering(lambda _: [entry(0)]), ["a"], replace(MODEL, kind="llm"))


def test_the_body_that_is_built_is_the_one_that_is_read() -> None:
    raw, body = _body('p/"v"', ["a", 'b"é'])
    document = parse_json(raw)
    assert document.members == {"model": 'p/"v"', "encoding_format": "base64", "input": ["a", 'b"é']}
    assert document.span("model") == (body.start, body.end)
    assert loads(body.naming(raw, "own"))["model"] == "own"
