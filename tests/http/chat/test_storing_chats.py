"""Storing a chat on its way: what is asked before anything is spent, what the provider is told, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from server.storage import write_queue
from tests.support.callers import ALICE, BOB, READER
from tests.support.chats_server import CHATS, Chatting, chatting
from tests.support.failing_provider import TEXT, Upstream, upstream
from tests.support.stream_client import events


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, far: Upstream
) -> Iterator[Chatting]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with chatting(opa_binary, tmp_path_factory.mktemp("chats"), postgres, upstream=far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def forgotten(far: Upstream) -> None:
    far.forget()


def stored_ids(kept: Chatting) -> set[str]:
    return {row[0] for row in kept.rows(kept.chats)}


def test_the_provider_gets_the_body_to_the_byte_without_what_is_about_storing(kept: Chatting, far: Upstream) -> None:
    rest = '"messages": [{"role":"user","content":"\\u00e4 1e2"}] , "seed" : 1e2'
    rest += ',"metadata"  :{"a":"1"},"logit_bias":{"store":1}'
    answer = kept.ask("POST", CHATS, ALICE, f'{{ "store" : true , {rest}, "model":"far/m" }}'.encode())
    assert answer.status == 200, answer.body
    assert far.body == {
        "messages": [{"role": "user", "content": "ä 1e2"}],
        "seed": 100.0,
        "logit_bias": {"store": 1},
        "model": "m",
    }
    assert kept.ask("GET", f"{CHATS}/{answer.json['id']}").json["metadata"] == {"a": "1"}


def test_without_store_nothing_is_changed(kept: Chatting, far: Upstream) -> None:
    more = {"metadata": {"a": "1"}, "store": False}
    answer = kept.chat(model="far/m", **more)
    assert answer.json["id"] == "chatcmpl-1"
    assert (far.body["metadata"], far.body["store"]) == ({"a": "1"}, False)
    del more["store"]
    assert kept.chat(model="far/m", store=None, **more).json["id"] == "chatcmpl-1"
    assert far.body["store"] is None


def test_ids_are_ours_whatever_the_provider_calls_its_answers(kept: Chatting) -> None:
    answers = [kept.chat(caller, model="far/m").json for caller in (ALICE, BOB, ALICE)]
    assert len({answer["id"] for answer in answers}) == 3
    assert "chatcmpl-1" not in stored_ids(kept)
    for caller, answer in zip((ALICE, BOB, ALICE), answers, strict=True):
        shown = kept.ask("GET", f"{CHATS}/{answer['id']}", caller).json
        assert shown.pop("input_messages") == [{"role": "user", "content": "hi", "refusal": None}]
        assert shown == {**answer, "metadata": {}}
        assert (shown["model"], shown["choices"][0]["message"]["content"]) == ("far/m", "".join(TEXT))


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("model", ["far/m", "small"])
def test_a_stream_is_stored_when_its_last_event_comes(kept: Chatting, model: str, usage: bool) -> None:
    answer = kept.chat(model=model, stream=True, stream_options={"include_usage": usage}, text="hello big world")
    *chunks, done = events(answer.body)
    assert done is None
    assert len({chunk["id"] for chunk in chunks}) == 1
    shown = kept.ask("GET", f"{CHATS}/{chunks[0]['id']}").json
    content = "".join(TEXT) if model == "far/m" else "echo: hello big world"
    assert shown["choices"][0]["message"] == {"role": "assistant", "content": content, "refusal": None}
    assert shown["choices"][0]["finish_reason"] == "stop"
    assert shown["object"] == "chat.completion"
    assert ("usage" in shown) is (usage and model == "small")
    messages = kept.ask("GET", f"{CHATS}/{chunks[0]['id']}/messages").json["data"]
    assert [message["content"] for message in messages] == ["hello big world"]


def test_a_stream_is_the_same_to_the_byte_but_for_its_id(kept: Chatting) -> None:
    plain = kept.chat(model="far/m", stream=True, store=False)
    stored = kept.chat(model="far/m", stream=True)
    identity = events(stored.body)[0]["id"]
    assert stored.body.replace(identity.encode(), b"chatcmpl-1") == plain.body
    assert stored.body.count(identity.encode()) == plain.body.count(b"chatcmpl-1") == len(TEXT) + 2


@pytest.mark.parametrize("stream", [False, True])
def test_who_may_not_create_is_refused_before_anything_is_spent(kept: Chatting, far: Upstream, stream: bool) -> None:
    before = stored_ids(kept)
    answer = kept.chat(READER, model="far/m", stream=stream)
    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")
    assert far.asked == []
    assert kept.chat(READER, model="far/m", stream=stream, store=False).status == 200
    assert stored_ids(kept) == before


def test_a_model_that_may_not_be_read_is_a_missing_one_with_or_without_store(kept: Chatting) -> None:
    for model in ("secret", "nothing"):
        answer = kept.chat(model=model)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("stream", [False, True])
def test_no_policy_engine_no_answer_and_nothing_spent(
    kept: Chatting, far: Upstream, opa_binary: Path, tmp_path: Path, stream: bool
) -> None:
    with chatting(opa_binary, tmp_path, start=False, like=kept, upstream=far.url) as silent:
        answer = silent.chat(model="far/m", stream=stream)
    assert (answer.status, answer.error["code"]) == (503, "policy_unavailable")
    assert far.asked == []


def test_both_decisions_are_logged_under_the_request(kept: Chatting) -> None:
    answer = kept.chat()
    log = kept.house.log(answer.headers["x-request-id"])
    asked = [(line["action"], line["resource"]) for line in log if line.get("resource")]
    made = f"sql_record::chat_completions::{answer.json['id']}"
    assert asked == [("read", "model::echo/small-1"), ("create", made)]


def test_a_tool_call_in_a_stream_is_stored_whole(kept: Chatting) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    answer = kept.chat(stream=True, tools=tools, tool_choice="required", n=2)
    shown = kept.ask("GET", f"{CHATS}/{events(answer.body)[0]['id']}").json
    assert [choice["index"] for choice in shown["choices"]] == [0, 1]
    for choice in shown["choices"]:
        [call] = choice["message"]["tool_calls"]
        assert call["function"] == {"name": "weather", "arguments": "{}"}
        assert choice["finish_reason"] == "tool_calls"
        assert "index" not in call


def test_what_was_answered_before_the_end_is_there_after_it(
    opa_binary: Path, tmp_path: Path, far: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the writers here, so whatever is there was written when the server ended."""
    monkeypatch.setattr(write_queue, "WAIT_SECONDS", 0.0)
    with chatting(opa_binary, tmp_path, upstream=far.url) as first:
        made = [first.stored(text=str(number)) for number in range(50)]
    with chatting(opa_binary, tmp_path, like=first) as second:
        assert {row[0] for row in second.rows(second.chats)} == set(made)
        shown = second.ask("GET", f"{CHATS}/{made[-1]}/messages").json["data"]
        assert [message["content"] for message in shown] == ["49"]


def test_the_body_in_the_database_is_the_answer(kept: Chatting) -> None:
    made = kept.stored(metadata={"a": "1"})
    body = loads(kept.column(kept.chats, "body", made))
    assert body.keys() == {"answer", "metadata"}
    assert body["metadata"] == {"a": "1"}
    assert body["answer"]["id"] == made
    assert kept.column(kept.chats, "facet", made) == "echo/small-1"


@pytest.mark.parametrize("stream", [False, True])
def test_another_server_on_the_same_database_knows_it_at_once(
    kept: Chatting, opa_binary: Path, tmp_path: Path, stream: bool
) -> None:
    with chatting(opa_binary, tmp_path, like=kept) as other:
        for number in range(20):
            answer = kept.chat(text=str(number), stream=stream)
            identity = (events(answer.body)[0] if stream else answer.json)["id"]
            assert other.ask("GET", f"{CHATS}/{identity}").json["id"] == identity


def test_a_list_of_large_answers_is_whole(kept: Chatting) -> None:
    frank = "Authorization: Bearer frank"
    made = [kept.stored(frank, text=f'"{number}" ü ' * 10_000, n=2) for number in range(6)]
    listed = kept.ask("GET", CHATS, frank).json
    assert [each["id"] for each in listed["data"]] == made
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (made[0], made[-1], False)
    assert listed["data"] == [kept.ask("GET", f"{CHATS}/{identity}", frank).json for identity in made]
