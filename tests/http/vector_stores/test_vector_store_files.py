"""Files of vector stores over HTTP, on both databases: attached, listed, described and detached."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import Any

import pytest

from tests.support.callers import ADMIN, ALICE, BOB, READER
from tests.support.registry_server import without_names
from tests.support.vector_server import Holding

MISSING = "file-" + 48 * "0"
STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}}


def counts(kept: Holding, store: str, caller: str = ALICE) -> dict[str, int]:
    """The counts of a store's files that are not 0."""
    shown = kept.got("GET", f"/{store}", None, caller)["file_counts"]
    return {state: count for state, count in shown.items() if count}


def test_a_file_is_attached_shown_described_and_detached(kept: Holding) -> None:
    store, file_id = kept.made(), kept.file()
    attributes = {"team": "a'b\"c\\%_", "year": 2026, "open": True, "rate": 0.5}
    body = {"file_id": file_id, "attributes": attributes, "chunking_strategy": STATIC}
    made = kept.ask("POST", f"/{store}/files", body)
    assert made.headers["openai-poll-after-ms"]
    expected = {
        "id": file_id,
        "object": "vector_store.file",
        "vector_store_id": store,
        "last_error": None,
        "chunking_strategy": STATIC,
        "attributes": attributes,
    }
    assert made.json.items() >= expected.items()
    assert kept.got("GET", f"/{store}/files/{file_id}").items() >= expected.items()
    assert counts(kept, store)["total"] == 1
    changed = kept.got("POST", f"/{store}/files/{file_id}", {"attributes": {"team": "b"}})
    assert changed["attributes"] == {"team": "b"}
    assert kept.got("POST", f"/{store}/files/{file_id}", {"attributes": None})["attributes"] == {}
    removed = kept.got("DELETE", f"/{store}/files/{file_id}")
    assert removed == {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}
    assert counts(kept, store) == {}
    assert kept.ask("GET", f"/{store}/files/{file_id}").status == 404
    assert kept.ask("DELETE", f"/{store}/files/{file_id}").status == 404
    assert kept.listed(f"/{store}/files") == []
    assert kept.house.address.get(f"/v1/files/{file_id}", ALICE).status == 200


def test_the_sizes_of_the_servers_own_choice_are_shown(kept: Holding) -> None:
    store, file_id = kept.made(), kept.file()
    made = kept.got("POST", f"/{store}/files", {"file_id": file_id, "chunking_strategy": {"type": "auto"}})
    sizes = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}
    assert made["chunking_strategy"] == {"type": "static", "static": sizes}


def test_a_file_that_is_attached_many_times_at_once_is_there_once(kept: Holding) -> None:
    store, file_id = kept.made(), kept.file()
    with ThreadPoolExecutor(20) as pool:
        made = [*pool.map(lambda _: kept.ask("POST", f"/{store}/files", {"file_id": file_id}), range(20))]
    assert {answer.status for answer in made} == {200}
    assert len({(answer.json["id"], answer.json["created_at"]) for answer in made}) == 1
    assert counts(kept, store)["total"] == 1
    assert kept.listed(f"/{store}/files") == [file_id]


@pytest.mark.parametrize("caller", [ALICE, ADMIN])
def test_a_file_that_may_not_be_read_is_attached_no_more_than_one_that_there_is_not(kept: Holding, caller: str) -> None:
    store = kept.made()
    theirs = kept.file(caller=BOB) if caller == ALICE else MISSING
    for target, body, place in (
        (f"/{store}/files", lambda name: {"file_id": name}, "file_id"),
        (f"/{store}/file_batches", lambda name: {"file_ids": [kept.file(), name]}, "file_ids[1]"),
        (f"/{store}/file_batches", lambda name: {"files": [{"file_id": name}]}, "files[0].file_id"),
        ("", lambda name: {"file_ids": [name]}, "file_ids[0]"),
    ):
        answers = [without_names(kept.ask("POST", target, body(name), caller), name) for name in (theirs, MISSING)]
        assert answers[0] == answers[1]
        refused = kept.ask("POST", target, body(theirs), caller)
        assert (refused.status, refused.error["param"]) == (404, place)
    assert counts(kept, store) == {}


@pytest.mark.parametrize("target", ["files", "file_batches"])
def test_who_may_not_change_a_store_attaches_nothing(kept: Holding, target: str) -> None:
    store, file_id = kept.made(), kept.file(caller=BOB)
    body = {"file_id": file_id} if target == "files" else {"file_ids": [file_id]}
    missing = store[:-1] + "-"
    answers = [without_names(kept.ask("POST", f"/{name}/{target}", body, BOB), name) for name in (store, missing)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert kept.ask("POST", f"/{store}/{target}", body, READER).status == 403
    assert counts(kept, store) == {}


def test_who_may_not_change_a_store_changes_none_of_its_files(kept: Holding) -> None:
    store = kept.made()
    target = f"/{store}/files/{kept.attached(store)}"
    assert kept.ask("GET", target, None, READER).status == 200
    assert kept.ask("POST", target, {"attributes": {"a": 1}}, READER).status == 403
    assert kept.ask("DELETE", target, None, READER).status == 403
    assert kept.got("GET", target)["attributes"] != {"a": 1}


def test_files_of_others_in_a_shared_store_look_missing(kept: Holding) -> None:
    store = f"shared-{token_hex(4)}"
    assert kept.registered(store, ADMIN).status == 200
    mine = [kept.attached(store) for _ in range(3)]
    theirs = [kept.attached(store, BOB) for _ in range(30)]
    mine += [kept.attached(store) for _ in range(2)]
    assert kept.listed(f"/{store}/files") == mine[::-1]
    assert kept.listed(f"/{store}/files?order=asc&limit=4") == mine[:4]
    page = kept.got("GET", f"/{store}/files?limit=2&after={mine[4]}")
    assert [each["id"] for each in page["data"]] == [mine[3], mine[2]]
    assert page["has_more"]
    assert kept.listed(f"/{store}/files?limit=2&before={mine[0]}") == [mine[2], mine[1]]
    assert not kept.got("GET", f"/{store}/files?limit=5")["has_more"]
    for method, body in (("GET", None), ("POST", {"attributes": {}}), ("DELETE", None)):
        answers = [
            without_names(kept.ask(method, f"/{store}/files/{name}", body), name) for name in (theirs[0], MISSING)
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
    assert kept.ask("GET", f"/{store}/files?after={theirs[0]}").status == 404
    assert counts(kept, store)["total"] == 35


def test_a_deleted_file_is_in_no_store_any_more(kept: Holding) -> None:
    store = kept.made()
    first, second = kept.attached(store), kept.attached(store)
    kept.deleted(first)
    assert kept.listed(f"/{store}/files") == [second]
    assert kept.ask("GET", f"/{store}/files/{first}").status == 404


def test_a_new_store_has_the_files_that_it_is_made_with(kept: Holding) -> None:
    files = [kept.file() for _ in range(30)]
    store = kept.made(file_ids=files, chunking_strategy=STATIC)
    assert kept.listed(f"/{store}/files?order=asc&limit=100") == files
    assert kept.got("GET", f"/{store}/files/{files[7]}")["chunking_strategy"] == STATIC
    assert counts(kept, store)["total"] == 30


def test_a_list_is_narrowed_by_state(kept: Holding) -> None:
    store = kept.made()
    files = [kept.attached(store) for _ in range(2)]
    kept.run(f"UPDATE \"TABLE_files\" SET facet = 'failed', version = version + 1 WHERE parent = '{store}'")  # noqa: S608 - the test's own
    assert kept.listed(f"/{store}/files?filter=failed&order=asc") == files
    assert kept.listed(f"/{store}/files?filter=cancelled") == []
    assert counts(kept, store) == {"failed": 2, "total": 2}
    assert kept.ask("GET", f"/{store}/files?filter=done").status == 400
    # One that has failed begins anew, and is still there once.
    again = kept.got("POST", f"/{store}/files", {"file_id": files[0], "attributes": {"a": 1}})
    assert (again["attributes"], again["last_error"]) == ({"a": 1}, None)
    assert counts(kept, store)["total"] == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "file_id"),
    ({"file_id": 1}, "file_id"),
    ({"file_id": "f", "attributes": []}, "attributes"),
    ({"file_id": "f", "attributes": {"a": None}}, "attributes.a"),
    ({"file_id": "f", "attributes": {"a": [1]}}, "attributes.a"),
    ({"file_id": "f", "attributes": {"a": "b" * 513}}, "attributes.a"),
    ({"file_id": "f", "attributes": {"a": "b\0"}}, "attributes.a"),
    ({"file_id": "f", "attributes": {"a": 2**60}}, "attributes.a"),
    ({"file_id": "f", "attributes": {"a" * 65: 1}}, "attributes"),
    ({"file_id": "f", "attributes": {"": 1}}, "attributes"),
    ({"file_id": "f", "attributes": {str(n): n for n in range(17)}}, "attributes"),
    ({"file_id": "f", "chunking_strategy": {"type": "static"}}, "chunking_strategy.static"),
    (
        {
            "file_id": "f",
            "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 99, "chunk_overlap_tokens": 0}},
        },
        "chunking_strategy.static.max_chunk_size_tokens",
    ),
    (
        {
            "file_id": "f",
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51},
            },
        },
        "chunking_strategy.static.chunk_overlap_tokens",
    ),
]


@pytest.mark.parametrize(("body", "place"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_body_is_refused_and_says_where(kept: Holding, body: dict[str, Any], place: str) -> None:
    answer = kept.ask("POST", f"/{kept.made()}/files", body)
    assert (answer.status, answer.error["param"]) == (400, place)
