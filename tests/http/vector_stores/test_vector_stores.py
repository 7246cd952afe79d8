"""Vector stores over HTTP, on both databases: what is made, changed and removed, and what others see of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from server.api.vector_stores.store_record import DAY_SECONDS
from tests.support.callers import ADMIN, ALICE, BOB, READER, STRANGER
from tests.support.registry_server import without_names
from tests.support.vector_server import Holding

EMPTY = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}


def test_a_store_is_made_shown_changed_and_removed(kept: Holding) -> None:
    body = {"name": "notes", "description": "of mine", "metadata": {"a": "b"}}
    began = int(time.time())
    made = kept.got("POST", "", {**body, "expires_after": {"anchor": "last_active_at", "days": 7}})
    assert made.items() >= {**body, "object": "vector_store", "status": "completed", "usage_bytes": 0}.items()
    assert made["file_counts"] == EMPTY
    assert made["expires_after"] == {"anchor": "last_active_at", "days": 7}
    assert made["expires_at"] == made["last_active_at"] + 7 * DAY_SECONDS
    assert made["last_active_at"] >= began
    assert made["purge"] == {"pending": False, "last_purged_at": None}
    assert (made["embedding_model"], made["embedding_dimension"]) == ("echo/words", 8)
    assert kept.got("GET", f"/{made['id']}") == made
    assert made in kept.got("GET", "")["data"]
    changed = kept.got("POST", f"/{made['id']}", {"name": "others", "metadata": None})
    assert changed["name"] == "others"
    assert changed["metadata"] == {}
    assert changed["description"] == "of mine"
    assert changed["expires_after"] == made["expires_after"]
    ended = kept.got("POST", f"/{made['id']}", {"expires_after": None, "name": None})
    assert "expires_after" not in ended
    assert (ended["expires_at"], ended["name"]) == (None, "")
    removed = kept.got("DELETE", f"/{made['id']}")
    assert removed == {"id": made["id"], "object": "vector_store.deleted", "deleted": True}
    for method in ("GET", "POST", "DELETE"):
        assert kept.ask(method, f"/{made['id']}", {} if method == "POST" else None).status == 404
    assert made["id"] not in kept.listed("")


@pytest.mark.parametrize("body", [None, {}])
def test_a_store_needs_nothing(kept: Holding, body: Any) -> None:
    made = kept.got("POST", "", body)
    assert (made["name"], made["metadata"], made["embedding_model"]) == ("", {}, "echo/words")


def test_a_store_says_and_keeps_the_index_that_it_was_made_in(kept: Holding) -> None:
    made = kept.got("POST", "", {})
    registered = kept.registered("an-index-of-its-own").json
    assert made["provider_id"] == registered["provider_id"] == "lancedb"
    assert kept.got("GET", f"/{made['id']}")["provider_id"] == "lancedb"


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", {"name": "b"}), ("DELETE", None)])
def test_the_store_of_another_is_as_one_that_there_is_not(kept: Holding, method: str, body: Any) -> None:
    made = kept.made()
    missing = made[:-1] + "-"
    answers = [without_names(kept.ask(method, f"/{name}", body, BOB), name) for name in (made, missing)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert made not in kept.listed("", BOB)
    assert kept.got("GET", f"/{made}")["name"] == ""


def test_who_may_read_a_store_and_not_change_it_is_told_so(kept: Holding) -> None:
    made = kept.made()
    assert kept.got("GET", f"/{made}", None, READER)["id"] == made
    for method, body in (("POST", {"name": "b"}), ("DELETE", None)):
        assert kept.ask(method, f"/{made}", body, READER).status == 403
    assert kept.ask("POST", "", {}, READER).status == 403
    assert kept.ask("GET", "", None, STRANGER).status == 403


def test_stores_are_listed_in_full_pages(kept: Holding) -> None:
    caller = "Authorization: Bearer carol"
    made = [kept.made(caller) for _ in range(5)]
    assert kept.listed("", caller) == made[::-1]
    assert kept.listed("?order=asc&limit=2", caller) == made[:2]
    page = kept.got("GET", f"?limit=2&after={made[3]}", None, caller)
    assert [each["id"] for each in page["data"]] == [made[2], made[1]]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (made[2], made[1], True)
    assert kept.listed(f"?limit=2&before={made[1]}", caller) == [made[3], made[2]]
    assert kept.ask("GET", f"?after={kept.made(BOB)}", None, caller).status == 404
    assert kept.ask("GET", "?limit=101", None, caller).status == 400


def test_a_store_is_made_with_a_model_that_its_maker_may_read(kept: Holding) -> None:
    made = kept.got("POST", "", {"embedding_model": "words", "embedding_dimension": 8})
    assert (made["embedding_model"], made["embedding_dimension"]) == ("echo/words", 8)
    hidden, missing = (kept.ask("POST", "", {"embedding_model": name}) for name in ("echo/secret", "echo/nothing"))
    assert without_names(hidden, "echo/secret") == without_names(missing, "echo/nothing")
    assert (hidden.status, hidden.error["param"]) == (404, "embedding_model")
    assert kept.ask("POST", "", {"embedding_model": "secret"}, ADMIN).status == 200
    talk = kept.ask("POST", "", {"embedding_model": "talk"})
    assert (talk.status, talk.error["param"]) == (400, "embedding_model")
    other = kept.ask("POST", "", {"embedding_model": "words", "embedding_dimension": 9})
    assert (other.status, other.error["param"]) == (400, "embedding_dimension")
    provider = kept.ask("POST", "", {"provider_id": "echo"})
    assert (provider.status, provider.error["param"]) == (400, "provider_id")


def test_the_model_of_a_store_never_changes(kept: Holding) -> None:
    made = kept.made()
    for member, value in (("embedding_model", "words"), ("embedding_dimension", 8), ("provider_id", "x")):
        answer = kept.ask("POST", f"/{made}", {member: value})
        assert (answer.status, answer.error["param"]) == (400, member)


DAYS = {"expires_after": {"anchor": "last_active_at", "days": 1}}


def test_a_store_expires_after_its_last_use(kept: Holding) -> None:
    made, file_id = kept.made(**DAYS), kept.file()
    older = int(time.time()) - DAY_SECONDS
    kept.last_used(made, older)
    shown = kept.got("GET", f"/{made}")
    assert (shown["status"], shown["expires_at"]) == ("expired", older + DAY_SECONDS)
    assert shown in kept.got("GET", "?limit=100")["data"]
    refused = kept.ask("POST", f"/{made}/files", {"file_id": file_id})
    assert (refused.status, refused.error["code"]) == (400, "vector_store_expired")
    assert kept.ask("POST", f"/{made}/file_batches", {"file_ids": [file_id]}).status == 400
    assert kept.got("POST", f"/{made}", {"name": "late"})["status"] == "expired"
    assert kept.house.address.get(f"/v1/files/{file_id}", ALICE).status == 200
    back = kept.got("POST", f"/{made}", DAYS)
    assert back["status"] == "completed"
    assert back["expires_at"] >= int(time.time()) + DAY_SECONDS - 10


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": 1}, "name"),
    ({"name": "a" * 257}, "name"),
    ({"name": "a\0"}, "name"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"file_ids": "file-1"}, "file_ids"),
    ({"file_ids": ["file-1", "file-1"]}, "file_ids[1]"),
    ({"file_ids": ["f"] * 501}, "file_ids"),
    ({"file_ids": ["file-" + 48 * "0"]}, "file_ids[0]"),
    ({"expires_after": {"anchor": "created_at", "days": 1}}, "expires_after.anchor"),
    ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
    ({"expires_after": {"anchor": "last_active_at", "days": True}}, "expires_after.days"),
    ({"chunking_strategy": "auto"}, "chunking_strategy"),
    ({"chunking_strategy": {"type": "auto", "static": {}}}, "chunking_strategy.static"),
    ({"embedding_dimension": 1.5}, "embedding_dimension"),
    ({"embedding_model": ""}, "embedding_model"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("body", "place"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_body_is_refused_and_says_where(kept: Holding, body: dict[str, Any], place: str) -> None:
    answer = kept.ask("POST", "", body, "Authorization: Bearer dora")
    assert (answer.status, answer.error["param"]) == (404 if place == "file_ids[0]" else 400, place)
    assert kept.listed("", "Authorization: Bearer dora") == []
