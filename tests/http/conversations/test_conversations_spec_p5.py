"""The spec's example P5 (multi-tenant isolation) over HTTP, as printed: one test for each of its rules.

Its last two rules are about `responses`, which this server does not serve: that route is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest
import yaml

from tests.support.callers import ALICE, BOB
from tests.support.conformance_files import conformance_files
from tests.support.conversations_server import NO_ITEM, NOBODYS, Talking, said, talking
from tests.support.serving import Answer


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def talk(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talking]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    [printed] = [file for file in conformance_files() if file.id == "spec-P5-isolation-by-owner"]
    policy = yaml.safe_load(printed.config)["server"]["auth"]["access_policy"]
    written = "\n" + indent(yaml.safe_dump(policy, sort_keys=False), " " * 8)
    with talking(opa_binary, tmp_path_factory.mktemp("p5"), postgres, policy=written) as running:
        yield running


def rules(talk: Talking, answer: Answer) -> list[tuple[str, str | None]]:
    """What was decided about the resources of a request, and by which rule."""
    log = talk.house.log(answer.headers["x-request-id"])
    return [(record["effect"], record["rule"]) for record in log if "resource" in record]


def test_any_authenticated_user_can_use_configured_models(talk: Talking) -> None:
    chat = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
    for caller in (ALICE, BOB):
        assert [model["id"] for model in talk.house.address.get("/v1/models", caller).json["data"]] == ["echo/llama"]
        answer = talk.house.address.post("/v1/chat/completions", chat, caller)
        assert (answer.status, rules(talk, answer)) == (200, [("permit", "access_policy[0]")])


def test_any_authenticated_user_can_upload_files(talk: Talking) -> None:
    for caller in (ALICE, BOB):
        file = talk.file(caller)
        [(owner,)] = talk.rows(f"SELECT owner_principal FROM openai_files WHERE id = '{file}'")  # noqa: S608 - ours
        assert owner == caller.rpartition(" ")[2]


def test_users_can_only_read_and_delete_their_own_files(talk: Talking) -> None:
    file = talk.file()
    own = talk.house.address.get(f"/v1/files/{file}", ALICE)
    assert (own.status, rules(talk, own)) == (200, [("permit", "access_policy[2]")])
    assert file in [each["id"] for each in talk.house.address.get("/v1/files", ALICE).json["data"]]
    assert file not in [each["id"] for each in talk.house.address.get("/v1/files", BOB).json["data"]]
    for method in ("GET", "DELETE"):
        assert talk.house.address.get(f"/v1/files/{file}", BOB, method=method).status == 404
    deleted = talk.house.address.get(f"/v1/files/{file}", ALICE, method="DELETE")
    assert (deleted.status, rules(talk, deleted)) == (200, [("permit", "access_policy[2]")])


def test_any_authenticated_user_can_create_conversations(talk: Talking) -> None:
    for caller in (ALICE, BOB):
        answer = talk.post("", {}, caller)
        assert (answer.status, rules(talk, answer)) == (200, [("permit", "access_policy[3]")])


def test_users_can_only_access_their_own_conversations(talk: Talking) -> None:
    conversation = talk.made()
    for method, body in (("GET", None), ("POST", {"metadata": {"a": "b"}}), ("DELETE", None)):
        foreign = talk.ask(method, f"/{conversation}", body, BOB)
        assert foreign.status == 404
        assert foreign.body.replace(conversation.encode(), b"X") == talk.ask(
            method, f"/{NOBODYS}", body, BOB
        ).body.replace(NOBODYS.encode(), b"X")
        own = talk.ask(method, f"/{conversation}", body)
        # A change is answered with the conversation, and so asks to read it too.
        asked = 2 if method == "POST" else 1
        assert (own.status, rules(talk, own)) == (200, [("permit", "access_policy[4]")] * asked)


def test_any_authenticated_user_can_create_items_in_conversations_of_their_own(talk: Talking) -> None:
    conversation = talk.made(BOB)
    with_items = talk.post("", {"items": [said("x")]}, ALICE)
    assert rules(talk, with_items) == [("permit", "access_policy[3]"), ("permit", "access_policy[5]")]
    added = talk.post(f"/{conversation}/items", {"items": [said("x")]}, BOB)
    assert (added.status, rules(talk, added)) == (200, [("permit", "access_policy[4]"), ("permit", "access_policy[5]")])
    before = talk.count()
    foreign = talk.post(f"/{conversation}/items", {"items": [said("x")]}, ALICE)
    missing = talk.post(f"/{NOBODYS}/items", {"items": [said("x")]}, ALICE)
    assert foreign.status == 404
    assert foreign.body.replace(conversation.encode(), NOBODYS.encode()) == missing.body
    assert talk.count() == before


def test_users_can_only_access_items_in_their_own_conversations(talk: Talking) -> None:
    conversation = talk.made()
    [item] = talk.added(conversation, "x")
    listed = talk.get(f"/{conversation}/items")
    assert ([each["id"] for each in listed.json["data"]], listed.json["has_more"]) == ([item], False)
    one = talk.get(f"/{conversation}/items/{item}")
    assert rules(talk, one) == [("permit", "access_policy[4]"), ("permit", "access_policy[6]")]
    for method, path in (("GET", "/items"), ("GET", f"/items/{item}"), ("DELETE", f"/items/{item}")):
        assert talk.ask(method, f"/{conversation}{path}", None, BOB).status == 404
    own = talk.made(BOB)
    for method in ("GET", "DELETE"):
        foreign, missing = (talk.ask(method, f"/{own}/items/{each}", None, BOB) for each in (item, NO_ITEM))
        assert foreign.body.replace(item.encode(), NO_ITEM.encode()) == missing.body
    removed = talk.delete(f"/{conversation}/items/{item}")
    asked = [*[("permit", "access_policy[4]")] * 2, ("permit", "access_policy[6]")]
    assert (removed.status, rules(talk, removed)) == (200, asked)


def test_without_a_token_nothing_is_created_or_read(talk: Talking) -> None:
    conversation = talk.made()
    for method, path, body in (("POST", "", {}), ("GET", f"/{conversation}", None), ("GET", f"/{NOBODYS}", None)):
        answer = talk.ask(method, path, body, "X-Nothing: x")
        assert answer.status in (401, 403, 404)
        assert (path, answer.status) != ("", 404)
