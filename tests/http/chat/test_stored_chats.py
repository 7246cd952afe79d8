"""Stored chats over HTTP on both databases: the answers, their messages, pages of them, and changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.callers import ALICE, BOB, READER
from tests.support.chats_server import CHATS, Chatting, chatting
from tests.support.serving import Answer

NOWHERE = "chatcmpl-" + "0" * 48


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Chatting]:
    with chatting(opa_binary, tmp_path_factory.mktemp("chats"), postgres) as running:
        yield running


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [each["id"] for each in answer.json["data"]]


def everything(kept: Chatting, caller: str, query: str) -> list[str]:
    """The ids on all pages of a list."""
    found: list[str] = []
    page = kept.ask("GET", f"{CHATS}?{query}", caller).json
    while page["has_more"]:
        found += [each["id"] for each in page["data"]]
        page = kept.ask("GET", f"{CHATS}?{query}&after={page['last_id']}", caller).json
    return found + [each["id"] for each in page["data"]]


def test_a_stored_chat_is_what_was_answered_and_its_metadata(kept: Chatting) -> None:
    answer = kept.chat(text="hello there", metadata={"team": "blau"})
    asked = [{"role": "user", "content": "hello there", "refusal": None}]
    shown = {**answer.json, "metadata": {"team": "blau"}, "input_messages": asked}
    assert shown["id"].startswith("chatcmpl-") and len(shown["id"]) == len(NOWHERE)
    assert kept.ask("GET", f"{CHATS}/{shown['id']}").json == shown
    head = kept.ask("HEAD", f"{CHATS}/{shown['id']}")
    assert (head.status, head.body) == (200, b"")
    assert (shown["id"], "alice", "issuer") in kept.rows(kept.chats)


@pytest.mark.parametrize("store", [False, None, ...])
def test_what_is_not_to_be_stored_leaves_no_row(kept: Chatting, store: Any) -> None:
    before = kept.rows(kept.chats), kept.rows(f"{kept.chats}_messages")
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "metadata": {"a": "b"}}
    answer = kept.ask("POST", CHATS, ALICE, body if store is ... else {**body, "store": store})
    assert answer.status == 200
    assert kept.ask("GET", f"{CHATS}/{answer.json['id']}").status == 404
    assert (kept.rows(kept.chats), kept.rows(f"{kept.chats}_messages")) == before


def test_the_messages_come_as_clients_know_them(kept: Chatting) -> None:
    parts = [{"type": "text", "text": "what's this?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    messages = [
        {"role": "system", "content": "be brief", "name": "boss"},
        {"role": "user", "content": parts, "id": "mine", "content_parts": "mine"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
    ]
    made = kept.stored(messages=messages)
    answer = kept.ask("GET", f"{CHATS}/{made}/messages").json
    assert answer == {
        "object": "list",
        "data": [
            {**messages[0], "id": f"{made}-0", "content_parts": None, "refusal": None},
            {"role": "user", "id": f"{made}-1", "content": None, "content_parts": parts, "refusal": None},
            {**messages[2], "id": f"{made}-2", "content": None, "content_parts": None, "refusal": None},
        ],
        "first_id": f"{made}-0",
        "last_id": f"{made}-2",
        "has_more": False,
    }


def test_messages_are_paged(kept: Chatting) -> None:
    made = kept.stored(messages=[{"role": "user", "content": str(number)} for number in range(30)])

    def texts(query: str) -> tuple[list[str], bool]:
        page = kept.ask("GET", f"{CHATS}/{made}/messages{query}").json
        return [each["content"] for each in page["data"]], page["has_more"]

    numbers = [str(number) for number in range(30)]
    assert texts("") == (numbers[:20], True)
    assert texts(f"?after={made}-19") == (numbers[20:], False)
    assert texts("?limit=100") == (numbers, False)
    assert texts(f"?order=desc&limit=3&after={made}-29") == (["28", "27", "26"], True)
    assert texts(f"?order=desc&after={made}-2") == (["1", "0"], False)
    assert texts(f"?after={made}-29") == ([], False)


@pytest.mark.parametrize("cursor", ["ID-30", "ID-", "ID", "ID--1", "ID-01", "ID-1 ", "x-0", "ID-9999999999", "ID-٣"])
def test_a_cursor_that_is_no_message_of_the_chat_is_a_missing_one(kept: Chatting, cursor: str) -> None:
    made = kept.stored()
    wrong = cursor.replace("ID", made)

    answer = kept.ask("GET", f"{CHATS}/{made}/messages?after={quote(wrong)}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


def test_lists_are_of_ones_own_oldest_first_in_full_pages(kept: Chatting) -> None:
    carol, dave = "Authorization: Bearer carol", "Authorization: Bearer dave"
    mine, others = [], []
    for number in range(5):
        mine.append(kept.stored(carol, text=str(number)))
        others.append(kept.stored(dave))
    assert everything(kept, carol, "limit=2") == everything(kept, carol, "limit=100") == mine
    assert everything(kept, carol, "limit=2&order=desc") == mine[::-1]
    first = kept.ask("GET", f"{CHATS}?limit=2", carol).json
    assert (first["object"], first["first_id"], first["last_id"], first["has_more"]) == ("list", mine[0], mine[1], True)
    assert kept.ask("GET", f"{CHATS}?after={mine[-1]}", carol).json == {
        "object": "list",
        "data": [],
        "first_id": "",
        "last_id": "",
        "has_more": False,
    }
    assert set(mine + others) <= set(everything(kept, READER, "limit=100"))


def test_lists_are_narrowed_by_model_and_metadata(kept: Chatting) -> None:
    erin = "Authorization: Bearer erin"
    odd = "k'\"[]% ü"
    one = kept.stored(erin, metadata={"a": "1", odd: "x"})
    two = kept.stored(erin, model="other", metadata={"a": "1", "b": "2"})
    three = kept.stored(erin, model="echo/other-1")

    def found(query: str) -> list[str]:
        return ids(kept.ask("GET", f"{CHATS}?{query}", erin))

    assert found("model=other") == found("model=echo/other") == found("model=echo/other-1") == [two, three]
    assert found("model=nothing") == found("model=%00") == found("model=other%00") == []
    assert found("metadata[a]=1") == found("metadata%5Ba%5D=1") == [one, two]
    assert found("metadata[a]=1&metadata[b]=2") == found("metadata[a]=1&model=other") == [two]
    assert found("metadata[a]=2") == found("metadata[c]=1") == found("metadata[a]=") == []
    assert found(f"metadata[{quote(odd)}]=x") == [one]
    assert found("metadata[a'%20OR%20'1'%3D'1]=1") == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=", "after"),
        ("model=a&model=b", "model"),
        ("metadata[a]=1&metadata[a]=2", "metadata"),
        ("metadata[]=1", "metadata"),
        ("metadata=1", "metadata"),
        ("metadata[a=1", "metadata"),
        ("metadata[a'%20OR%20'1'='1]=1", "metadata"),
        ("metadata[a]=%00", "metadata.a"),
        (f"metadata[{'k' * 65}]=1", "metadata"),
        (f"metadata[k]={'v' * 513}", "metadata.k"),
        ("&".join(f"metadata[{number}]=1" for number in range(17)), "metadata"),
    ],
)
def test_a_query_that_is_wrong_is_refused_with_its_place(kept: Chatting, query: str, param: str) -> None:
    answer = kept.ask("GET", f"{CHATS}?{query}")
    assert (answer.status, answer.error["param"]) == (400, param)


def test_metadata_is_replaced_and_nothing_else(kept: Chatting) -> None:
    made = kept.stored(metadata={"a": "1", "b": "2"})
    before = kept.ask("GET", f"{CHATS}/{made}").json
    answer = kept.ask("POST", f"{CHATS}/{made}", ALICE, {"metadata": {"c": "3"}})
    assert answer.json == {**before, "metadata": {"c": "3"}} == kept.ask("GET", f"{CHATS}/{made}").json
    assert made not in ids(kept.ask("GET", f"{CHATS}?metadata[a]=1&limit=100"))
    assert made in everything(kept, ALICE, "metadata[c]=3")
    assert kept.ask("POST", f"{CHATS}/{made}", ALICE, {"metadata": None}).json["metadata"] == {}
    assert kept.ask("GET", f"{CHATS}/{made}/messages").json["data"][0]["content"] == "hi"


@pytest.mark.parametrize(
    "body",
    [
        {"owner_principal": "bob"},
        {"metadata": {}, "owner_principal": "bob"},
        {"metadata": {}, "id": NOWHERE},
        {"metadata": {}, "created": 1},
        {"metadata": {}, "access_attributes": {}},
        {"metadata": {}, "choices": []},
        {},
        {"metadata": 1},
        {"metadata": {"a": 1}},
        {"metadata": {"a": "x\0"}},
        {"metadata": {"": "x"}},
        {"metadata": {"k" * 65: "x"}},
        {"metadata": {"a": "x" * 513}},
        {"metadata": {str(number): "x" for number in range(17)}},
        [],
        "text",
    ],
    ids=str,
)
def test_nothing_but_metadata_can_be_changed(kept: Chatting, body: Any) -> None:
    made = kept.stored(metadata={"a": "1"})
    before = kept.column(kept.chats, "body", made)
    assert kept.ask("POST", f"{CHATS}/{made}", ALICE, body).status == 400
    assert kept.column(kept.chats, "body", made) == before
    assert (made, "alice", "issuer") in kept.rows(kept.chats)


def test_what_a_request_says_about_its_record_is_not_believed(kept: Chatting) -> None:
    claims = {
        "id": NOWHERE,
        "owner_principal": "bob",
        "owner_issuer": "issuer",
        "access_attributes": {"roles": ["bob"]},
        "created_at": 1,
        "created": 1,
        "object": "list",
        "answer": {"id": NOWHERE},
    }
    made = kept.stored(**claims, metadata={"owner_principal": "bob", "id": NOWHERE})
    assert made != NOWHERE
    assert (made, "alice", "issuer") in kept.rows(kept.chats)
    assert kept.ask("GET", f"{CHATS}/{made}", BOB).status == 404
    shown = kept.ask("GET", f"{CHATS}/{made}").json
    assert (shown["id"], shown["object"], shown["created"] > 1) == (made, "chat.completion", True)


def test_a_stored_chat_is_shown_with_the_messages_that_it_answers(kept: Chatting) -> None:
    dana = "Authorization: Bearer dana"
    parts = [{"type": "text", "text": ',"content_parts":null'}, {"type": "text", "text": "b"}]
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": 'say "hi" \\ ,"content_parts":null'},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x" * 20_000},
    ]
    made = kept.stored(dana, messages=messages)
    [listed] = [one for one in kept.ask("GET", f"{CHATS}?limit=100", dana).json["data"] if one["id"] == made]
    for shown in (kept.ask("GET", f"{CHATS}/{made}", dana).json, listed):
        found = shown["input_messages"]
        assert [{name: one.get(name) for name in asked} for one, asked in zip(found, messages, strict=True)] == messages
        assert not any("content_parts" in one or "id" in one for one in found)
        assert (shown["object"], shown["metadata"]) == ("chat.completion", {})


def test_a_page_ends_where_its_messages_are_too_many_and_says_so(kept: Chatting) -> None:
    greta = "Authorization: Bearer greta"
    made = [kept.stored(greta, text="x" * 500_000) for _ in range(10)]
    found, after = [], ""
    for _ in range(10):
        page = kept.ask("GET", f"{CHATS}?limit=100{after}", greta).json
        assert 0 < len(page["data"]) < 10
        found += [one["id"] for one in page["data"]]
        after = f"&after={page['last_id']}"
        if not page["has_more"]:
            break
    assert found == made
    back = kept.ask("GET", f"{CHATS}?limit=100&before={made[-1]}", greta).json
    assert back["data"][-1]["id"] == made[-2]
    assert back["has_more"] and len(back["data"]) < 9
