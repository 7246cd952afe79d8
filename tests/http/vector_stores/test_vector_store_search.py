"""Searches of vector stores over HTTP: texts of attached files are found by callers who may read them, and shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, READER
from tests.support.registry_server import without_names
from tests.support.vector_server import Holding, holding

MISSING = "file-" + 48 * "0"


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holding]:
    """The server over SQLite; the laws about searches run on both databases."""
    with holding(opa_binary, tmp_path_factory.mktemp("searches")) as running:
        yield running


def taken_in(kept: Holding, store: str, text: str, caller: str = ALICE, **members: Any) -> str:
    """The id of a file with that text, once its text is in the store."""
    file_id = kept.file(text.encode(), caller)
    kept.got("POST", f"/{store}/files", {"file_id": file_id, **members}, caller)
    until = time.monotonic() + 60
    while (found := kept.got("GET", f"/{store}/files/{file_id}", None, caller))["status"] == "in_progress":
        assert time.monotonic() < until, found
        time.sleep(0.05)
    assert found["status"] == "completed", found
    return file_id


def found(kept: Holding, store: str, query: str, caller: str = ALICE, **members: Any) -> list[str]:
    """The files of what a search finds."""
    page = kept.got("POST", f"/{store}/search", {"query": query, **members}, caller)
    return [hit["file_id"] for hit in page["data"]]


def test_the_text_of_a_file_is_found_and_shown(kept: Holding) -> None:
    store = kept.made()
    bicycle = taken_in(kept, store, "a blue bicycle", attributes={"kind": "thing"})
    taken_in(kept, store, "the weather of tomorrow")
    page = kept.got("POST", f"/{store}/search", {"query": "a blue bicycle", "max_num_results": 1})
    assert page["object"] == "vector_store.search_results.page"
    assert page["search_query"] == ["a blue bicycle"]
    assert (page["has_more"], page["next_page"]) == (False, None)
    [hit] = page["data"]
    assert hit.pop("score") == pytest.approx(1, abs=1e-4)
    assert hit == {
        "file_id": bicycle,
        "filename": "notes.txt",
        "attributes": {"kind": "thing"},
        "content": [{"type": "text", "text": "a blue bicycle"}],
    }
    content = kept.got("GET", f"/{store}/files/{bicycle}/content")
    assert content == {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": "a blue bicycle"}],
        "has_more": False,
        "next_page": None,
    }
    shown = kept.got("GET", f"/{store}")
    assert shown["file_counts"]["completed"] == 2
    assert shown["usage_bytes"] > 0
    assert shown["status"] == "completed"
    kept.got("DELETE", f"/{store}/files/{bicycle}")
    assert bicycle not in found(kept, store, "a blue bicycle")
    assert kept.ask("GET", f"/{store}/files/{bicycle}/content").status == 404


def test_files_are_found_by_their_attributes_and_words(kept: Holding) -> None:
    store = kept.made()
    old = taken_in(kept, store, "apples and pears", attributes={"year": 2020})
    new = taken_in(kept, store, "apples and plums", attributes={"year": 2026})
    newer = {"type": "gt", "key": "year", "value": 2020}
    assert found(kept, store, "apples", filters=newer) == [new]
    assert {*found(kept, store, "apples")} == {old, new}
    assert found(kept, store, "pears", search_mode="keyword") == [old]
    both = {"hybrid_search": {"embedding_weight": 1, "text_weight": 1}}
    assert {*found(kept, store, "plums", ranking_options=both)} == {old, new}
    several = {"query": ["apples and pears", "apples and plums"], "ranking_options": {"score_threshold": 0.9}}
    assert {hit["file_id"] for hit in kept.got("POST", f"/{store}/search", several)["data"]} == {old, new}


def test_no_caller_finds_texts_of_files_that_are_not_theirs_to_read(kept: Holding) -> None:
    store = "shared-search"
    assert kept.registered(store, "Authorization: Bearer admin").status == 200
    mine = taken_in(kept, store, "a secret of mine")
    theirs = taken_in(kept, store, "a secret of theirs", BOB)
    assert found(kept, store, "a secret of theirs") == [mine]
    assert found(kept, store, "a secret of mine", BOB) == [theirs]
    assert {*found(kept, store, "a secret", READER)} == {mine, theirs}
    answers = [without_names(kept.ask("GET", f"/{store}/files/{name}/content"), name) for name in (theirs, MISSING)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    own = kept.made()
    missing = own[:-1] + "-"
    searches = [
        without_names(kept.ask("POST", f"/{name}/search", {"query": "a"}, BOB), name) for name in (own, missing)
    ]
    assert searches[0] == searches[1]
    assert searches[0][0] == 404


def test_a_search_is_a_use_and_an_expired_store_is_not_searched(kept: Holding) -> None:
    store = kept.made(expires_after={"anchor": "last_active_at", "days": 1})
    now = int(time.time())
    kept.last_used(store, now - 3600)
    assert found(kept, store, "anything") == []
    assert kept.got("GET", f"/{store}")["last_active_at"] >= now
    kept.last_used(store, now - 86_400)
    refused = kept.ask("POST", f"/{store}/search", {"query": "anything"})
    assert (refused.status, refused.error["code"]) == (400, "vector_store_expired")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "query"),
    ({"query": ""}, "query"),
    ({"query": []}, "query"),
    ({"query": [1]}, "query"),
    ({"query": ["a"] * 9}, "query"),
    ({"query": "a" * 20_000}, "query"),
    ({"query": "a", "max_num_results": 0}, "max_num_results"),
    ({"query": "a", "max_num_results": 51}, "max_num_results"),
    ({"query": "a", "rewrite_query": "yes"}, "rewrite_query"),
    ({"query": "a", "search_mode": "magic"}, "search_mode"),
    ({"query": "a", "filters": []}, "filters"),
    ({"query": "a", "filters": {"type": "eq", "key": "a"}}, "filters.value"),
    ({"query": "a", "ranking_options": {"ranker": "best"}}, "ranking_options.ranker"),
    ({"query": "a", "ranking_options": {"score_threshold": 1.5}}, "ranking_options.score_threshold"),
    ({"query": "a", "ranking_options": {"score_threshold": True}}, "ranking_options.score_threshold"),
    ({"query": "a", "ranking_options": {"hybrid_search": {}}}, "ranking_options.hybrid_search.embedding_weight"),
    ({"query": "a", "colour": 1}, "colour"),
]


@pytest.mark.parametrize(("body", "place"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_search_is_refused_and_says_where(kept: Holding, body: dict[str, Any], place: str) -> None:
    answer = kept.ask("POST", f"/{kept.made()}/search", body)
    assert (answer.status, answer.error["param"]) == (400, place)
