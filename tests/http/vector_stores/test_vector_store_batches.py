"""Batches of files over HTTP, on both databases: counted exactly, cancelled, and listed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.callers import ALICE, BOB
from tests.support.registry_server import without_names
from tests.support.vector_server import Holding


def batch(kept: Holding, store: str, files: list[str], caller: str = ALICE) -> Any:
    """A new batch."""
    return kept.got("POST", f"/{store}/file_batches", {"file_ids": files}, caller)


def test_a_batch_is_made_shown_and_listed(kept: Holding) -> None:
    store, files = kept.made(), [kept.file() for _ in range(60)]
    made = batch(kept, store, files)
    assert made.items() >= {"object": "vector_store.files_batch", "vector_store_id": store}.items()
    assert made["file_counts"]["total"] == 60
    shown = kept.got("GET", f"/{store}/file_batches/{made['id']}")
    assert shown["file_counts"]["total"] == 60
    target = f"/{store}/file_batches/{made['id']}/files"
    kept.attached(store)
    assert kept.listed(f"{target}?order=asc&limit=100") == files
    assert kept.listed(f"{target}?limit=2&after={files[5]}") == [files[4], files[3]]
    assert len(kept.listed(f"/{store}/files?limit=100")) == 61


def test_files_have_what_each_of_them_is_given(kept: Holding) -> None:
    store, files = kept.made(), [kept.file() for _ in range(2)]
    static = {"type": "static", "static": {"max_chunk_size_tokens": 300, "chunk_overlap_tokens": 0}}
    each = [{"file_id": files[0], "attributes": {"a": 1}}, {"file_id": files[1], "chunking_strategy": static}]
    # What stands beside `files` counts for none of them.
    kept.got("POST", f"/{store}/file_batches", {"files": each, "attributes": {"b": 2}, "chunking_strategy": static})
    shown = kept.got("GET", f"/{store}/files/{files[0]}")
    assert (shown["attributes"], shown["chunking_strategy"] == static) == ({"a": 1}, False)
    assert kept.got("GET", f"/{store}/files/{files[1]}")["chunking_strategy"] == static
    both = {"file_ids": [kept.file()], "attributes": {"b": "c"}, "chunking_strategy": static}
    kept.got("POST", f"/{store}/file_batches", both)
    shown = kept.got("GET", f"/{store}/files/{both['file_ids'][0]}")
    assert (shown["attributes"], shown["chunking_strategy"]) == ({"b": "c"}, static)


def test_a_batch_counts_the_files_that_are_there_already_and_not_those_that_are_gone(kept: Holding) -> None:
    store = kept.made()
    first, second = kept.attached(store), kept.file()
    made = batch(kept, store, [first, second])
    assert made["file_counts"]["total"] == 2
    kept.got("DELETE", f"/{store}/files/{second}")
    counted = kept.got("GET", f"/{store}/file_batches/{made['id']}")["file_counts"]
    assert counted["total"] == 1 == sum(counted.values()) - 1
    assert kept.got("GET", f"/{store}")["file_counts"]["total"] == 1


def test_a_batch_belongs_to_its_store(kept: Holding) -> None:
    store, other = kept.made(), kept.made()
    made = batch(kept, store, [kept.file()])["id"]
    missing = made[:-1] + "-"
    for method, tail in (("GET", ""), ("POST", "/cancel"), ("GET", "/files")):
        answers = [
            without_names(kept.ask(method, f"/{place}/file_batches/{name}{tail}"), name)
            for place, name in ((other, made), (store, missing))
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
        assert kept.ask(method, f"/{store}/file_batches/{made}{tail}", None, BOB).status == 404


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "file_ids"),
    ({"file_ids": []}, "file_ids"),
    ({"files": []}, "files"),
    ({"file_ids": ["a"], "files": [{"file_id": "a"}]}, "file_ids"),
    ({"files": [{"file_id": "a"}], "attributes": 1}, "attributes"),
    ({"files": [{"file_id": "a"}], "chunking_strategy": "auto"}, "chunking_strategy"),
    ({"files": [{"file_id": "a"}, {"file_id": "a"}]}, "files[1].file_id"),
    ({"files": ["a"]}, "files[0]"),
    ({"files": [{"file_id": "a", "attributes": {"b": None}}]}, "files[0].attributes.b"),
    ({"files": [{"file_id": "a", "colour": 1}]}, "files[0].colour"),
    ({"file_ids": [str(number) for number in range(2001)]}, "file_ids"),
]


@pytest.mark.parametrize(("body", "place"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_body_is_refused_and_says_where(kept: Holding, body: dict[str, Any], place: str) -> None:
    answer = kept.ask("POST", f"/{kept.made()}/file_batches", body)
    assert (answer.status, answer.error["param"]) == (400, place)
