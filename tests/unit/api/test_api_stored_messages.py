"""The stored forms of a chat's messages and of its answer, and what is shown of them."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

import pytest

from server.api.chat.body import MOST_KEPT, MOST_VALUES, read_chat
from server.api.chat.store import shown_answer, with_metadata
from server.api.chat.stored_messages import Messages, is_older, read_older, stored_messages
from server.json_input.strict import InvalidJson, Why, parse_json
from server.storage.records.body import Body

Json = dict[str, Any]

HOSTILE = '],[1]{"metadata":{"a":"b"}},"metadata":{é😀\\"'
MESSAGES: list[Json] = [
    {"role": "user", "content": HOSTILE},
    {"role": "user", "content": [{"type": "text", "text": HOSTILE}], "id": "mine"},
    {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": HOSTILE}}], HOSTILE: [[]]},
    {"role": "tool", "content": None},
]


def test_messages_are_shown_one_by_one() -> None:
    messages = Messages.read("chatcmpl-1", stored_messages(MESSAGES))
    shown = [loads(text) for text in messages.shown(range(len(messages)))]
    assert [message["id"] for message in shown] == [f"chatcmpl-1-{place}" for place in range(4)]
    assert [message["content"] for message in shown] == [HOSTILE, None, None, None]
    assert shown[1]["content_parts"] == MESSAGES[1]["content"]
    assert shown[2]["tool_calls"] == [{"id": "1", "type": "function", "function": {"name": HOSTILE, "arguments": ""}}]
    assert [loads(text) for text in messages.shown([2, 0])] == [shown[2], shown[0]]


def test_no_messages_are_shown_as_none() -> None:
    assert len(Messages.read("chatcmpl-1", stored_messages([]))) == 0


def test_messages_of_an_older_server_are_read_as_the_same() -> None:
    older = dumps({"messages": MESSAGES}, ensure_ascii=False).encode()
    assert is_older(older)
    stored = read_older(parse_json(older))["text"]
    assert stored == stored_messages(MESSAGES)
    assert not is_older(stored)


@pytest.mark.parametrize("answer", [{}, {"id": "x"}, {"choices": [{"text": HOSTILE, "metadata": {"a": "b"}}], "u": {}}])
@pytest.mark.parametrize("metadata", [{}, {"a": HOSTILE, HOSTILE: "1"}])
def test_an_answer_is_cut_from_its_text(answer: Json, metadata: dict[str, str]) -> None:
    body = Body.of({"answer": answer, "metadata": metadata})
    assert loads(shown_answer(body)) == {**answer, "metadata": metadata}
    changed = with_metadata(Body(body.text), {"new": HOSTILE})
    assert loads(shown_answer(changed)) == {**answer, "metadata": {"new": HOSTILE}}
    assert loads(changed.labels or "") == {"new": HOSTILE}
    assert changed.text == Body.of({"answer": answer, "metadata": {"new": HOSTILE}}).text


def test_a_text_of_another_shape_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no stored answer"):
        shown_answer(Body.of({"metadata": {}, "answer": {}}))


def chat(messages: list[Json]) -> Json:
    return read_chat(parse_json(dumps({"model": "m", "store": True, "messages": messages}).encode()))


def test_messages_of_too_many_values_are_refused_with_their_place() -> None:
    many = {"role": "user", "content": [0] * (MOST_VALUES // 2)}
    assert chat([many])["messages"]
    with pytest.raises(
        InvalidJson, match=r"`messages\[1\]` brings the values of `messages` to more than 100000"
    ) as fault:
        chat([many, many])
    assert (fault.value.param, fault.value.why) == ("messages[1]", Why.WRONG)


def test_messages_that_grow_when_they_are_shown_are_refused() -> None:
    small = {"role": ""}
    count = MOST_KEPT // 50
    assert len(dumps(small)) * count < 512 * 1024
    with pytest.raises(InvalidJson, match="take more than 900000 bytes") as fault:
        chat([small] * count)
    assert fault.value.why is Why.TOO_COMPLEX
