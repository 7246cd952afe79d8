"""Conversations and their items over HTTP, on both databases: what comes back, and who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, READER, STRANGER
from tests.support.conversations_server import NO_ITEM, NOBODYS, Talking, said, talking
from tests.support.serving import like_any_other

CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}


@pytest.fixture(scope="module")
def talk(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Talking]:
    with talking(opa_binary, tmp_path_factory.mktemp("talk"), postgres) as running:
        yield running


def test_a_conversation_lives_and_dies(talk: Talking) -> None:
    made = talk.post("", {"metadata": {"topic": "demo"}})
    shown = made.json
    assert (made.status, shown) == (
        200,
        {"id": shown["id"], "object": "conversation", "created_at": shown["created_at"], "metadata": {"topic": "demo"}},
    )
    assert re.fullmatch("conv_[0-9a-f]{48}", shown["id"])
    assert talk.get(f"/{shown['id']}").json == shown
    changed = talk.post(f"/{shown['id']}", {"metadata": {"a": "b", "é": "😀"}})
    assert changed.json == {**shown, "metadata": {"a": "b", "é": "😀"}} == talk.get(f"/{shown['id']}").json
    assert talk.post(f"/{shown['id']}", {"metadata": None}).json["metadata"] == {}
    gone = talk.delete(f"/{shown['id']}")
    assert (gone.status, gone.json) == (200, {"id": shown["id"], "object": "conversation.deleted", "deleted": True})
    for again in (talk.get(f"/{shown['id']}"), talk.delete(f"/{shown['id']}")):
        assert (again.status, again.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"items": None}, {"items": [], "metadata": {}}])
def test_a_conversation_needs_nothing(talk: Talking, body: dict[str, Any]) -> None:
    made = talk.post("", body)
    assert (made.status, made.json["metadata"]) == (200, {})
    page = talk.get(f"/{made.json['id']}/items").json
    assert page == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


def test_items_come_back_in_order_as_openai_shows_them(talk: Talking) -> None:
    conversation = talk.made(items=[said("hello", id="msg_mine", status="in_progress", owner_principal="bob")])
    answer = talk.post(f"/{conversation}/items", {"items": [said("hi there", "assistant"), CALL]})
    listed = answer.json
    assert answer.status == 200
    assert (listed["object"], listed["has_more"], len(listed["data"])) == ("list", False, 2)
    assert (listed["first_id"], listed["last_id"]) == tuple(item["id"] for item in listed["data"])
    page = talk.get(f"/{conversation}/items?order=asc").json
    first, second, third = page["data"]
    assert [second, third] == listed["data"]
    assert first == {
        "id": first["id"],
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "hello"}],
    }
    assert second["content"] == [{"type": "output_text", "text": "hi there", "annotations": [], "logprobs": []}]
    assert third == {"id": third["id"], **CALL, "status": "completed"}
    assert re.fullmatch("msg_[0-9a-f]{48}", first["id"]) and re.fullmatch("fc_[0-9a-f]{48}", third["id"])
    for item in (first, second, third):
        assert talk.get(f"/{conversation}/items/{item['id']}").json == item
    assert talk.get(f"/{conversation}/items").json["data"] == [third, second, first]


def test_an_item_is_removed_and_the_conversation_is_the_answer(talk: Talking) -> None:
    conversation = talk.made(metadata={"a": "b"})
    one, two = talk.added(conversation, "one", "two")
    answer = talk.delete(f"/{conversation}/items/{one}")
    assert (answer.status, answer.json) == (200, talk.get(f"/{conversation}").json)
    assert [item["id"] for item in talk.get(f"/{conversation}/items").json["data"]] == [two]
    assert talk.delete(f"/{conversation}/items/{one}").status == 404


def test_items_go_with_their_conversation(talk: Talking) -> None:
    conversation, other = talk.made(), talk.made()
    talk.added(conversation, "one", "two")
    [kept] = talk.added(other, "three")
    before = talk.count()
    assert talk.delete(f"/{conversation}").status == 200
    assert talk.count() == (before[0] - 1, before[1] - 2)
    assert talk.get(f"/{other}/items/{kept}").status == 200


def test_pages_hold_everything_once_in_both_orders(talk: Talking) -> None:
    conversation = talk.made()
    ids = [identity for _ in range(3) for identity in talk.added(conversation, *(f"{n}" for n in range(7)))]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        for limit in (1, 4, 7, 20, 21, 22, 100):
            seen: list[str] = []
            query = f"?limit={limit}&order={order}"
            while True:
                page = talk.get(f"/{conversation}/items{query}").json
                assert len(page["data"]) == min(limit, len(ids) - len(seen))
                seen += [item["id"] for item in page["data"]]
                assert page["has_more"] is (len(seen) < len(ids))
                if not page["has_more"]:
                    break
                assert page["last_id"] == seen[-1]
                query = f"?limit={limit}&order={order}&after={page['last_id']}"
            assert seen == expected
    assert len(talk.get(f"/{conversation}/items").json["data"]) == 20
    backwards = talk.get(f"/{conversation}/items?order=asc&limit=2&before={ids[5]}").json
    assert ([item["id"] for item in backwards["data"]], backwards["has_more"]) == (ids[3:5], True)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        *[
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("limit=", "limit"),
        ],
        *[("limit=1&limit=2", "limit"), ("limit=%D9%A1", "limit"), ("limit=1e1", "limit"), ("order=up", "order")],
        *[("include=everything", "include"), ("include[]=message.output_text.logprobs&include[]=x", "include")],
        *[("after=", "after"), ("after=a&after=b", "after")],
    ],
)
def test_a_query_that_makes_no_sense_is_told_what(talk: Talking, query: str, param: str) -> None:
    answer = talk.get(f"/{talk.made()}/items?{query}")
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, "invalid_value")


def test_what_is_not_asked_for_is_not_included(talk: Talking) -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    spoken = {"type": "output_text", "text": "a", "logprobs": [{"token": "a"}]}
    items = [
        {"role": "user", "content": [picture]},
        {"type": "message", "role": "assistant", "content": [spoken]},
        {"type": "file_search_call", "queries": ["q"], "results": [{"text": "found"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "sealed"},
        {"type": "web_search_call", "action": {"type": "search", "query": "q", "sources": [{"url": "u"}]}},
        {"type": "code_interpreter_call", "container_id": "c", "code": "1", "outputs": [{"logs": "1"}]},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "u"}},
    ]
    conversation = talk.made(items=items)

    def shown(query: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = talk.get(f"/{conversation}/items?order=asc&{query}").json["data"]
        return data

    one, two, three, four, five, six, seven = shown("")
    assert one["content"] == [{"type": "input_image", "image_url": None, "detail": "auto"}]
    assert two["content"] == [{"type": "output_text", "text": "a", "logprobs": [], "annotations": []}]
    assert (three["results"], four["encrypted_content"], six["outputs"]) == (None, None, None)
    # These may not be null, so they are left out.
    assert five["action"] == {"type": "search", "query": "q"}
    assert seven["output"] == {"type": "computer_screenshot"}
    one, two, three, four, five, six, seven = shown(
        "include[]=message.input_image.image_url&include[]=message.output_text.logprobs"
        "&include=file_search_call.results,reasoning.encrypted_content&include=code_interpreter_call.outputs"
        "&include=web_search_call.action.sources&include=computer_call_output.output.image_url"
    )
    assert one["content"][0]["image_url"] == picture["image_url"]
    assert two["content"][0]["logprobs"] == [{"token": "a"}]
    assert (three["results"], four["encrypted_content"]) == ([{"text": "found"}], "sealed")
    assert (five["action"]["sources"], six["outputs"]) == ([{"url": "u"}], [{"logs": "1"}])
    assert seven["output"]["image_url"] == "u"
    assert talk.get(f"/{conversation}/items/{four['id']}").json["encrypted_content"] is None
    path = f"/{conversation}/items/{four['id']}?include[]=reasoning.encrypted_content"
    assert talk.get(path).json["encrypted_content"] == "sealed"
    added = talk.post(f"/{conversation}/items?include=reasoning.encrypted_content", {"items": [items[3]]})
    assert added.json["data"][0]["encrypted_content"] == "sealed"


BY_ID = [("GET", ""), ("HEAD", ""), ("POST", ""), ("DELETE", ""), ("GET", "/items"), ("POST", "/items")]
BODIES = {"": {"metadata": {}}, "/items": {"items": [said("x")]}}


@pytest.mark.parametrize(("method", "rest"), BY_ID)
def test_somebody_elses_conversation_is_like_none_at_all(talk: Talking, method: str, rest: str) -> None:
    conversation = talk.made()
    before = talk.count()
    body = BODIES[rest] if method == "POST" else None
    foreign = talk.ask(method, f"/{conversation}{rest}", body, BOB)
    missing = talk.ask(method, f"/{NOBODYS}{rest}", body, BOB)
    assert foreign.status == 404
    foreign_body = foreign.body.replace(conversation.encode(), NOBODYS.encode())
    assert like_any_other(foreign)[:2] == like_any_other(missing)[:2]
    assert foreign_body == missing.body
    assert talk.count() == before
    assert talk.get(f"/{conversation}").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("where", ["in its conversation", "in one of one's own"])
def test_somebody_elses_item_is_like_none_at_all(talk: Talking, method: str, where: str) -> None:
    theirs, own = talk.made(), talk.made(BOB)
    [item] = talk.added(theirs, "secret")
    conversation = own if where == "in one of one's own" else theirs
    foreign = talk.ask(method, f"/{conversation}/items/{item}", None, BOB)
    missing = talk.ask(method, f"/{conversation}/items/{NO_ITEM}", None, BOB)
    assert foreign.status == 404
    assert like_any_other(foreign)[:2] == like_any_other(missing)[:2]
    assert foreign.body.replace(item.encode(), NO_ITEM.encode()) == missing.body
    assert talk.get(f"/{theirs}/items/{item}").status == 200


@pytest.mark.parametrize("parameter", ["after", "before"])
def test_somebody_elses_cursor_is_like_none_at_all(talk: Talking, parameter: str) -> None:
    [item], own = talk.added(talk.made(), "secret"), talk.made(BOB)
    foreign = talk.get(f"/{own}/items?{parameter}={item}", BOB)
    missing = talk.get(f"/{own}/items?{parameter}={NO_ITEM}", BOB)
    assert foreign.status == missing.status == 404
    assert foreign.body.replace(item.encode(), NO_ITEM.encode()) == missing.body
    # One's own item of another conversation is no place in this one either.
    [elsewhere] = talk.added(talk.made(BOB), "mine", caller=BOB)
    assert talk.get(f"/{own}/items?{parameter}={elsewhere}", BOB).status == 404


def test_who_may_read_and_not_change_is_told_so(talk: Talking) -> None:
    conversation = talk.made()
    [item] = talk.added(conversation, "one")
    for path in ("", "/items", f"/items/{item}"):
        assert talk.get(f"/{conversation}{path}", READER).status == 200
    before = talk.count()
    for method, path, body in (
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("POST", "/items", {"items": [said("x")]}),
        ("DELETE", f"/items/{item}", None),
    ):
        answer = talk.ask(method, f"/{conversation}{path}", body, READER)
        assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions"), (method, path)
    assert talk.ask("DELETE", f"/{conversation}/items/{NO_ITEM}", None, READER).status == 403
    assert talk.ask("DELETE", f"/{NOBODYS}", None, READER).status == 404
    assert talk.post("", {}, READER).status == 403
    assert talk.post("", {"items": [said("x")]}, READER).status == 403
    assert talk.count() == before


def test_who_may_not_use_the_route_is_told_nothing_else(talk: Talking) -> None:
    conversation = talk.made()
    [item] = talk.added(conversation, "one")
    answers = [
        talk.ask(method, path, body, STRANGER)
        for method, path, body in (
            ("POST", "", {}),
            ("POST", "", {"items": 1}),
            ("POST", "", b"{"),
            ("GET", f"/{conversation}", None),
            ("GET", f"/{NOBODYS}", None),
            ("DELETE", f"/{conversation}", None),
            ("GET", f"/{conversation}/items?limit=0", None),
            ("GET", f"/{conversation}/items/{item}", None),
            ("DELETE", f"/{conversation}/items/{NO_ITEM}", None),
        )
    ]
    assert {(answer.status, answer.error["code"]) for answer in answers} == {(403, "insufficient_permissions")}


def test_without_the_policy_engine_nothing_is_answered_and_nothing_is_kept(
    opa_binary: Path, tmp_path: Path, postgres: str | None
) -> None:
    with talking(opa_binary, tmp_path, postgres, start=False) as silent:
        for method, path, body in (
            ("POST", "", {"items": [said("x")]}),
            ("GET", f"/{NOBODYS}", None),
            ("POST", f"/{NOBODYS}", {"metadata": {}}),
            ("DELETE", f"/{NOBODYS}", None),
            ("GET", f"/{NOBODYS}/items", None),
            ("POST", f"/{NOBODYS}/items", {"items": [said("x")]}),
            ("GET", f"/{NOBODYS}/items/{NO_ITEM}", None),
            ("DELETE", f"/{NOBODYS}/items/{NO_ITEM}", None),
        ):
            answer = silent.ask(method, path, body)
            assert (answer.status, answer.error["code"]) == (503, "policy_unavailable"), (method, path)
        assert silent.count() == (0, 0)


def test_the_log_names_both_the_conversation_and_the_item(talk: Talking) -> None:
    conversation = talk.made()
    [item] = talk.added(conversation, "one")
    answer = talk.delete(f"/{conversation}/items/{item}")
    log = talk.house.log(answer.headers["x-request-id"])
    logged = {(record.get("action"), record.get("resource")) for record in log}
    assert ("update", f"sql_record::openai_conversations::{conversation}") in logged
    assert ("delete", f"sql_record::conversation_items::{item}") in logged


def test_callers_are_compared_with_their_issuers_and_never_with_what_a_body_says(talk: Talking) -> None:
    body = {"metadata": {"owner_principal": "bob", "id": "conv_bob"}, "items": [said("x", owner="bob", tenant="bob")]}
    conversation = talk.made(**body)
    owners = "SELECT DISTINCT owner_principal, owner_issuer FROM {} WHERE {} = '{}'"
    assert talk.rows(owners.format("openai_conversations", "id", conversation)) == [("alice", "issuer")]
    assert talk.rows(owners.format("conversation_items", "parent", conversation)) == [("alice", "issuer")]
    [(kept,)] = talk.rows(f"SELECT body FROM conversation_items WHERE parent = '{conversation}'")  # noqa: S608 - ours
    assert "bob" not in kept
    for extra in ("id", "owner_principal", "created_at", "object", "status"):
        answer = talk.post("", {extra: "x"})
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unknown_parameter", extra)
    assert talk.get(f"/{conversation}", ALICE).status == 200
