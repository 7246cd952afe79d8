"""Files over HTTP, on both databases: who may do what, what everybody else sees of it, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import ALICE, BOB, READER, STRANGER
from tests.support.files_server import FILES, Keeping, form_of, keeping
from tests.support.serving import like_any_other

NOWHERE = "file-" + "0" * 48
BY_ID = [("GET", ""), ("HEAD", ""), ("GET", "/content"), ("HEAD", "/content"), ("DELETE", "")]


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Keeping]:
    with keeping(opa_binary, tmp_path_factory.mktemp("files"), postgres) as running:
        yield running


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Keeping]:
    """The same without OPA."""
    with keeping(opa_binary, tmp_path_factory.mktemp("silent"), postgres, start=False) as running:
        yield running


def test_a_file_comes_back_as_it_was_sent(kept: Keeping) -> None:
    content = bytes(range(256)) * 300
    answer = kept.upload(form_of(content, "raw ünï.bin", "fine-tune"))
    assert answer.status == 200
    shown = answer.json
    assert shown == {
        "id": shown["id"],
        "object": "file",
        "bytes": len(content),
        "created_at": shown["created_at"],
        "filename": "raw ünï.bin",
        "purpose": "fine-tune",
        "status": "processed",
    }
    assert kept.get(f"/{shown['id']}").json == shown
    fetched = kept.get(f"/{shown['id']}/content")
    assert (fetched.status, fetched.body) == (200, content)
    assert fetched.headers["content-disposition"] == (
        "attachment; filename=\"raw _n_.bin\"; filename*=UTF-8''raw%20%C3%BCn%C3%AF.bin"
    )
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert (shown["id"], "alice") in kept.rows()
    assert kept.rows("_claims") == []


def test_head_answers_like_get_without_the_bytes(kept: Keeping) -> None:
    path = f"/{kept.kept(b'x' * 1000)}/content"
    whole, head = kept.get(path), kept.get(path, method="HEAD")
    assert head.headers.keys() == whole.headers.keys()
    assert like_any_other(head)[:2] == like_any_other(whole)[:2]
    assert head.body == b""


def test_deleting_takes_record_and_bytes(kept: Keeping) -> None:
    made = kept.kept()
    assert made in kept.on_disk()
    answer = kept.get(f"/{made}", method="DELETE")
    assert (answer.status, answer.json) == (200, {"id": made, "object": "file", "deleted": True})
    assert made not in kept.on_disk()
    assert made not in dict(kept.rows())
    assert kept.rows("_claims") == []
    assert kept.get(f"/{made}", method="DELETE").status == 404


@pytest.mark.parametrize(("method", "part"), BY_ID)
def test_what_another_has_is_what_no_caller_has(kept: Keeping, method: str, part: str) -> None:
    made = kept.kept(b"canary-of-alice")
    foreign, missing = (kept.get(f"/{identity}{part}", BOB, method) for identity in (made, NOWHERE))
    assert foreign.status == 404
    assert like_any_other(foreign, made) == like_any_other(missing, NOWHERE)
    assert kept.get(f"/{made}").status == 200


def test_who_may_read_but_not_change_is_told_so(kept: Keeping) -> None:
    made = kept.kept()
    assert kept.get(f"/{made}", READER).status == 200
    assert kept.get(f"/{made}/content", READER).body == b"hello"
    refused = kept.get(f"/{made}", READER, "DELETE")
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert kept.get(f"/{made}").status == 200
    assert made in kept.on_disk()


def test_who_may_not_create_is_refused_and_leaves_nothing(kept: Keeping) -> None:
    before = kept.on_disk()
    refused = kept.upload(form_of(b"x"), READER)
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert kept.on_disk() == before


@pytest.mark.parametrize(("method", "part"), [("GET", ""), *((method, f"/{NOWHERE}{part}") for method, part in BY_ID)])
def test_a_closed_route_is_closed_whatever_is_behind_it(kept: Keeping, method: str, part: str) -> None:
    assert kept.get(part, STRANGER, method).status == 403


def test_a_closed_route_takes_no_upload(kept: Keeping) -> None:
    assert kept.upload(form_of(b"x"), STRANGER).status == 403


def test_an_anonymous_caller_is_asked_for_a_token(kept: Keeping) -> None:
    assert kept.house.address.get(FILES).status == 401
    assert kept.house.address.post(FILES, form_of(b"x"), kind="multipart/form-data; boundary=x").status == 401


@pytest.mark.parametrize(("method", "part"), [("GET", ""), *((method, f"/{NOWHERE}{part}") for method, part in BY_ID)])
def test_without_a_decision_there_is_no_answer(silent: Keeping, method: str, part: str) -> None:
    answer = silent.get(part, ALICE, method)
    assert answer.status == 503
    assert method == "HEAD" or answer.error["code"] == "policy_unavailable"


def test_without_a_decision_nothing_is_kept(silent: Keeping) -> None:
    answer = silent.upload(form_of(b"x" * 100_000))
    assert (answer.status, answer.error["code"]) == (503, "policy_unavailable")
    assert silent.on_disk() == []
    assert silent.rows() == silent.rows("_claims") == []


def test_a_list_has_ones_own_in_pages(kept: Keeping) -> None:
    caller = "Authorization: Bearer carol"
    made = [kept.kept(caller=caller, purpose="batch" if number % 2 else "vision") for number in range(5)]
    kept.kept(caller=BOB)
    everything = kept.get("", caller).json
    assert [entry["id"] for entry in everything["data"]] == made[::-1]
    assert (everything["object"], everything["has_more"]) == ("list", False)
    assert (everything["first_id"], everything["last_id"]) == (made[4], made[0])
    first = kept.get("?limit=2&order=asc", caller).json
    assert ([entry["id"] for entry in first["data"]], first["has_more"]) == (made[:2], True)
    rest = kept.get(f"?limit=3&order=asc&after={first['last_id']}", caller).json
    assert ([entry["id"] for entry in rest["data"]], rest["has_more"]) == (made[2:], False)
    narrowed = kept.get("?purpose=batch", caller).json
    assert [entry["id"] for entry in narrowed["data"]] == [made[3], made[1]]
    empty = kept.get("?purpose=evals", caller).json
    assert empty == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


def test_a_cursor_that_one_may_not_see_is_a_missing_one(kept: Keeping) -> None:
    made = kept.kept()
    foreign, missing = (kept.get(f"?after={identity}", BOB) for identity in (made, NOWHERE))
    assert (foreign.status, missing.status) == (404, 404)
    assert foreign.body.replace(made.encode(), NOWHERE.encode()) == missing.body


@pytest.mark.parametrize("cursor", ["%00", "file-%00", "%ff", "x" * 1500, "'%20OR%201=1", "%F0%9F%98%80"])
def test_a_cursor_that_is_no_id_is_a_missing_one(kept: Keeping, cursor: str) -> None:
    assert kept.get(f"?after={cursor}").status == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=10001", "limit=x", "limit=1&limit=2", "order=up", "purpose=theft", "after="]
)
def test_a_wrong_query_is_refused(kept: Keeping, query: str) -> None:
    answer = kept.get(f"?{query}")
    assert (answer.status, answer.error["param"]) == (400, query.partition("=")[0])


def test_a_file_says_when_it_ends(kept: Keeping) -> None:
    shown = kept.upload(form_of(b"x", expires_after="3600")).json
    assert shown["expires_at"] == shown["created_at"] + 3600
    assert kept.get(f"/{shown['id']}").json == shown


@pytest.mark.parametrize("purpose", ["assistants", "batch", "evals", "fine-tune", "user_data", "vision"])
def test_a_batch_file_ends_after_thirty_days_and_others_last(kept: Keeping, purpose: str) -> None:
    shown = kept.upload(form_of(b"x", purpose=purpose)).json
    assert shown.get("expires_at") == (shown["created_at"] + 30 * 86400 if purpose == "batch" else None)
    assert kept.get(f"/{shown['id']}").json == shown
    # What the upload says of its end wins.
    said = kept.upload(form_of(b"x", purpose=purpose, expires_after="7200")).json
    assert said["expires_at"] == said["created_at"] + 7200


def test_a_file_whose_time_is_over_is_gone_for_everyone(kept: Keeping) -> None:
    made = kept.kept(expires_after="3600")
    kept.run(f"UPDATE {kept.table} SET expires_at = created_at WHERE id = '{made}'")  # noqa: S608 - the test's own
    for caller in (ALICE, READER):
        for method, part in BY_ID:
            assert kept.get(f"/{made}{part}", caller, method).status == 404
        assert made not in [entry["id"] for entry in kept.get("", caller).json["data"]]
        assert kept.get(f"?after={made}", caller).status == 404


def test_a_path_says_all_of_its_methods(kept: Keeping) -> None:
    assert kept.get("", method="DELETE").headers["allow"] == "GET, HEAD, POST"
    assert kept.house.address.post(f"{FILES}/{NOWHERE}", {}, ALICE).headers["allow"] == "DELETE, GET, HEAD"
