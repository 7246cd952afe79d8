"""`/v1/vector-io`: chunks that a caller puts in itself, in Llama Stack's forms, found by all who may read the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from json import loads
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.serving import Answer
from tests.support.vector_server import Holding, holding


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Holding]:
    """The server, whose index is open, on one database after the other."""
    with holding(opa_binary, tmp_path_factory.mktemp("vector-io"), postgres) as running:
        store, until = running.made(), time.monotonic() + 60
        while insert(running, store, {"content": "a"}).status == 503:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield running


def insert(kept: Holding, store: str, *chunks: Any, caller: str = ALICE, **more: Any) -> Answer:
    body = {"vector_db_id": store, "chunks": [{"metadata": {}, **each} for each in chunks], **more}
    return kept.house.address.ask("POST", "/v1/vector-io/insert", caller, body=body)


def put(kept: Holding, store: str, *chunks: Any, **more: Any) -> None:
    answer = insert(kept, store, *chunks, **more)
    assert (answer.status, answer.body) == (200, b"null"), answer.body


def query(kept: Holding, store: str, text: Any, caller: str = ALICE, **params: Any) -> Any:
    body = {"vector_store_id": store, "query": text, "params": {"max_chunks": 50, **params}}
    answer = kept.house.address.ask("POST", "/v1/vector-io/query", caller, body=body)
    assert answer.status == 200, answer.body
    assert len(answer.json["scores"]) == len(answer.json["chunks"])
    return answer.json


NO_METADATA = '{"metadata":{},"chunk_metadata":{},"mime_type":null}'


def size_of(text: str, identity: str, metadata: str = NO_METADATA) -> int:
    """The bytes that a chunk with a vector of 8 numbers counts for."""
    return len(text) + len(identity) + len(metadata) + 8 * 4


def texts(kept: Holding, store: str, text: str = "a b c", caller: str = ALICE, **params: Any) -> list[str]:
    return sorted(chunk["content"] for chunk in query(kept, store, text, caller, **params)["chunks"])


def test_what_was_put_in_is_found_as_it_was(kept: Holding) -> None:
    store = kept.made()
    metadata = {"document_id": "d1", "source": "here", "page": 7, "deep": {"a": [1, None]}}
    put(kept, store, {"content": "a blue bicycle", "metadata": metadata, "chunk_id": "c1"}, {"content": "numbers"})
    found = query(kept, store, "a blue bicycle", max_chunks=1)
    [chunk] = found["chunks"]
    assert (chunk["content"], chunk["chunk_id"], chunk["metadata"]) == ("a blue bicycle", "c1", metadata)
    assert (chunk["embedding_model"], chunk["embedding_dimension"]) == ("echo/words", 8)
    assert found["scores"] == [pytest.approx(1, abs=1e-4)]
    items = [{"type": "text", "text": "a blue"}, {"type": "text", "text": "bicycle"}]
    assert query(kept, store, items)["chunks"]
    assert texts(kept, store, "bicycle", mode="keyword") == ["a blue bicycle"]
    assert texts(kept, store, "bicycle", mode="hybrid", ranker={"type": "weighted", "alpha": 0.3}) == [
        "a blue bicycle",
        "numbers",
    ]


def test_a_chunk_takes_the_place_of_the_one_with_its_name(kept: Holding) -> None:
    store = kept.made()
    for content in ("first", "second", "second"):
        put(kept, store, {"content": content, "chunk_id": "c1", "metadata": {"document_id": "d"}})
    put(kept, store, {"content": "second", "chunk_id": "c1", "metadata": {"document_id": "other"}})
    assert texts(kept, store) == ["second", "second"]
    until = time.monotonic() + 60
    while (purge := kept.got("GET", f"/{store}")["purge"])["pending"]:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert purge["last_purged_at"] is not None
    assert texts(kept, store) == ["second", "second"]
    usage = kept.got("GET", f"/{store}")["usage_bytes"]
    assert usage == sum(
        size_of("second", "c1", NO_METADATA.replace("{}", f'{{"document_id":"{document}"}}', 1))
        for document in ("d", "other")
    )
    assert kept.got("GET", f"/{store}")["file_counts"]["total"] == 0
    assert kept.listed(f"/{store}/files") == []


def test_the_same_chunk_from_many_at_once_is_there_once(kept: Holding) -> None:
    store = kept.made()
    chunk = {"content": "the same", "metadata": {"document_id": "d"}}
    with ThreadPoolExecutor(8) as pool:
        statuses = {answer.status for answer in pool.map(lambda _: insert(kept, store, chunk), range(8))}
    assert statuses == {200}
    assert texts(kept, store) == ["the same"]
    metadata = NO_METADATA.replace("{}", '{"document_id":"d"}', 1)
    assert kept.got("GET", f"/{store}")["usage_bytes"] == size_of("the same", "x" * 32, metadata)


def test_vectors_may_come_with_the_chunks(kept: Holding) -> None:
    store = kept.made()
    vector = [1.0, *[0.0] * 7]
    put(
        kept, store, {"content": "mine", "embedding": vector, "embedding_model": "echo/words", "embedding_dimension": 8}
    )
    assert texts(kept, store) == ["mine"]
    for odd in ([1.0], [0.0] * 8, [1e-46] * 8, ["a"] * 8, [1e39] * 8, [True] * 8):
        refused = insert(kept, store, {"content": "even"}, {"content": "odd", "embedding": odd})
        assert (refused.status, refused.error["param"]) == (400, "chunks[1].embedding")
    assert insert(kept, store, {"content": "odd", "embedding": vector, "embedding_model": "other"}).status == 400
    assert texts(kept, store) == ["mine"]


def test_the_model_of_chunks_may_have_any_of_its_names(kept: Holding) -> None:
    vector = [1.0, *[0.0] * 7]
    store = kept.made(embedding_model="words")
    for name in ("words", "echo/words"):
        put(kept, store, {"content": name, "chunk_id": name, "embedding": vector, "embedding_model": name})
    assert texts(kept, store) == ["echo/words", "words"]
    # A store that was registered has the name that its maker gave.
    assert kept.registered("shared-names", embedding_model="words").status == 200
    put(kept, "shared-names", {"content": "a", "embedding": vector, "embedding_model": "echo/words"})
    for name in ("talk", "echo/talk", "none", ""):
        assert insert(kept, store, {"content": "a", "embedding": vector, "embedding_model": name}).status == 400


def test_a_name_of_a_model_that_the_caller_may_not_read_is_that_of_no_model(kept: Holding) -> None:
    assert kept.registered("shared-secret", ADMIN, embedding_model="secret").status == 200
    chunk = {"content": "a", "embedding": [1.0, *[0.0] * 7]}
    answers = [insert(kept, "shared-secret", {**chunk, "embedding_model": name}) for name in ("echo/secret", "none")]
    assert [answer.status for answer in answers] == [400, 400]
    assert answers[0].body == answers[1].body


def test_attributes_are_what_the_chunks_of_a_document_share(kept: Holding) -> None:
    store = kept.made()
    for document, year in (("d1", 1), ("d2", 2)):
        metadata = {"document_id": document, "year": year}
        put(
            kept, store, {"content": document, "metadata": metadata}, {"content": "b", "metadata": {**metadata, "x": 1}}
        )
    body = {"query": "a", "filters": {"type": "eq", "key": "year", "value": 2}}
    found = kept.got("POST", f"/{store}/search", body)["data"]
    assert sorted(each["content"][0]["text"] for each in found) == ["b", "d2"]
    assert {each["filename"] for each in found} == {"d2"}


@pytest.mark.parametrize("document", [{}, {"document_id": "d"}])
def test_a_filter_never_finds_a_chunk_that_lacks_the_attribute(kept: Holding, document: Any) -> None:
    store = kept.made()

    def found(user: str) -> list[str]:
        body = {"query": "a", "filters": {"type": "eq", "key": "user", "value": user}}
        return sorted(each["content"][0]["text"] for each in kept.got("POST", f"/{store}/search", body)["data"])

    one = {"chunk_id": "c1", "content": "of u1", "metadata": {**document, "user": "u1"}}
    put(kept, store, one)
    put(kept, store, {**one, "content": "again of u1"})
    assert found("u1") == ["again of u1"]
    put(kept, store, {"content": "of u2", "chunk_id": "c2", "metadata": {**document, "user": "u2"}})
    assert (found("u1"), found("u2")) == ([], [])
    put(kept, store, {**one, "metadata": {**document, "user": "u2"}})
    assert (found("u1"), found("u2")) == ([], [])
    both = [{**one, "chunk_id": name, "metadata": {**document, "user": "u2"}} for name in ("c1", "c2")]
    put(kept, store, *both)
    assert (found("u1"), found("u2")) == ([], ["of u1", "of u1"])


def test_each_caller_has_its_own_chunks_of_a_document(kept: Holding) -> None:
    assert kept.registered("shared-2").status == 200
    for caller, texts_ in ((ALICE, "alice's"), (BOB, "bob's"), (BOB, "bob's own")):
        put(kept, "shared-2", {"content": texts_, "chunk_id": "c", "metadata": {"document_id": "d"}}, caller=caller)
    assert texts(kept, "shared-2") == ["alice's", "bob's own"]
    rows = kept.run("SELECT owner_principal, body FROM \"TABLE_files\" WHERE parent = 'shared-2'")
    owned = {owner: loads(body) for owner, body in rows}
    metadata = NO_METADATA.replace("{}", '{"document_id":"d"}', 1)
    assert owned["alice"]["bytes"] == size_of("alice's", "c", metadata)
    assert owned["bob"]["bytes"] == size_of("bob's own", "c", metadata)


def test_who_may_not_change_the_store_puts_nothing_in(kept: Holding) -> None:
    store = kept.made()
    put(kept, store, {"content": "mine"})
    missing = insert(kept, "vs_missing", {"content": "theirs"}, caller=BOB)
    refused = insert(kept, store, {"content": "theirs"}, caller=BOB)
    assert (refused.status, missing.status) == (404, 404)
    body = {"vector_db_id": store, "query": "a"}
    assert kept.house.address.ask("POST", "/v1/vector-io/query", BOB, body=body).status == 404
    assert texts(kept, store) == ["mine"]


def test_what_is_put_in_is_seen_by_all_who_may_read_the_store(kept: Holding) -> None:
    assert kept.registered("shared-1").status == 200
    put(kept, "shared-1", {"content": "by bob"}, caller=BOB)
    assert texts(kept, "shared-1") == ["by bob"]


def test_an_expired_store_takes_nothing_in(kept: Holding) -> None:
    store = kept.made(expires_after={"anchor": "last_active_at", "days": 1})
    kept.last_used(store, 1)
    assert insert(kept, store, {"content": "late"}).error["code"] == "vector_store_expired"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "vector_db_id"),
        ({"vector_db_id": "a", "vector_store_id": "a"}, "vector_store_id"),
        ({"vector_db_id": 1}, "vector_db_id"),
        ({"vector_db_id": "a"}, "chunks"),
        ({"vector_db_id": "a", "chunks": []}, "chunks"),
        ({"vector_db_id": "a", "chunks": [{"content": "a"}] * 1001}, "chunks"),
        ({"vector_db_id": "a", "chunks": [1]}, "chunks[0]"),
        ({"vector_db_id": "a", "chunks": [{}]}, "chunks[0].content"),
        ({"vector_db_id": "a", "chunks": [{"content": " "}]}, "chunks[0].content"),
        ({"vector_db_id": "a", "chunks": [{"content": [{"type": "image"}]}]}, "chunks[0].content"),
        ({"vector_db_id": "a", "chunks": [{"content": "a", "metadata": []}]}, "chunks[0].metadata"),
        ({"vector_db_id": "a", "chunks": [{"content": "a", "chunk_id": "\0"}]}, "chunks[0].chunk_id"),
        ({"vector_db_id": "a", "chunks": [{"content": "a", "more": 1}]}, "chunks[0].more"),
        ({"vector_db_id": "a", "chunks": [{"content": "a"}], "ttl_seconds": 5}, "ttl_seconds"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(kept: Holding, body: Any, place: str) -> None:
    answer = kept.house.address.ask("POST", "/v1/vector-io/insert", ALICE, body=body)
    assert (answer.status, answer.error["param"]) == (400, place), answer.body


def test_chunks_that_are_too_large_together_are_refused(kept: Holding) -> None:
    answer = insert(kept, "a", *[{"content": "a" * 60_000}] * 20)
    assert answer.status == 413
    assert "divide them among requests" in answer.error["message"]


@pytest.mark.parametrize("large", [{"content": "a" * 66_000}, {"metadata": {"x": "é" * 33_000}}])
def test_a_chunk_that_is_too_large_is_refused(kept: Holding, large: Any) -> None:
    answer = insert(kept, "a", {"content": "b"}, {"content": "a", **large})
    assert (answer.status, answer.error["param"]) == (400, "chunks[1]")


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": "a", "params": 1}, "params"),
        ({"query": "a", "params": {"max_chunks": 51}}, "params.max_chunks"),
        ({"query": "a", "params": {"mode": "sql"}}, "params.mode"),
        ({"query": "a", "params": {"score_threshold": 2}}, "params.score_threshold"),
        ({"query": "a", "params": {"ranker": {"type": "x"}}}, "params.ranker"),
        ({"query": "a", "params": {"ranker": {"type": "rrf", "impact_factor": 0}}}, "params.ranker.impact_factor"),
        ({"query": "a", "params": {"filters": {}}}, "params.filters"),
    ],
)
def test_a_query_that_is_wrong_is_refused_at_its_place(kept: Holding, more: Any, place: str) -> None:
    answer = kept.house.address.ask("POST", "/v1/vector-io/query", ALICE, body={"vector_db_id": "a", **more})
    assert (answer.status, answer.error["param"]) == (400, place), answer.body
