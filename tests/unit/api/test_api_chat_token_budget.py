"""What a chat may cost before it is asked, and what of its body is changed for a provider, by value."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

import pytest

from server.api.chat.body import ChatBody, chat_body, read_chat
from server.api.chat.cost import read_costed_chat
from server.api.models.request_body import Cost
from server.inference.members import MemberRules
from server.json_input.strict import InvalidJson, parse_json

Json = dict[str, Any]

# `role`, `user` and `content` take 15 bytes.
PROMPT = [{"role": "user", "content": "x" * 385}]
TOKENS = 101
"""Of the prompt: 100 of four bytes each, and one."""


def body(**more: Any) -> Json:
    return {"model": "m", "messages": PROMPT, **more}


def cost(**more: Any) -> Cost:
    found = parsed(dumps(body(**more)).encode()).cost
    assert found is not None
    return found


def parsed(raw: bytes) -> ChatBody:
    """The body as it comes back from a worker process, through JSON."""
    told = read_costed_chat(parse_json(raw))
    kept = {name: told.pop(name) for name in ("messages",) if name in told}  # bytes cross as they are
    return chat_body(**loads(dumps(told)), **kept)


@pytest.mark.parametrize(
    ("more", "least", "most"),
    [
        ({}, TOKENS + 1, TOKENS + 1000),
        ({"n": 3}, TOKENS + 1, TOKENS + 3000),
        ({"max_tokens": 50}, TOKENS + 50, TOKENS + 50),
        ({"max_tokens": 50, "n": 3}, TOKENS + 150, TOKENS + 150),
        ({"max_tokens": 50, "max_completion_tokens": 70, "n_predict": 60}, TOKENS + 70, TOKENS + 70),
        ({"max_tokens": 90, "max_completion_tokens": 70}, TOKENS + 90, TOKENS + 90),
        ({"n_predict": 5, "max_tokens": None}, TOKENS + 5, TOKENS + 5),
        ({"tools": ["y" * 400]}, TOKENS + 101, TOKENS + 1100),
        ({"functions": [{"z" * 400: None}]}, TOKENS + 101, TOKENS + 1100),
        ({"response_format": {"schema": "é" * 197}}, TOKENS + 101, TOKENS + 1100),
        ({"user": "w" * 400}, TOKENS + 1, TOKENS + 1000),
        ({"max_tokens": 10**12}, 10**9, 10**9),
        ({"n": 10**12}, TOKENS + 1, 10**9),
    ],
)
def test_a_chat_costs_its_prompt_and_what_it_may_answer(more: Json, least: int, most: int) -> None:
    assert (cost(**more).least, cost(**more).most) == (least, most)


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_what_is_no_text_costs_a_thousand_tokens_each(kind: str) -> None:
    part = {"type": kind, kind: {"data": "x" * 100_000}}
    found = cost(messages=[{"role": "user", "content": [part, part]}])
    plain = cost(messages=[{"role": "user", "content": []}])
    assert (found.least - plain.least, found.most - plain.most) == (2000, 2000)


@pytest.mark.parametrize("name", ["n", "max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "100", True, [], {}])
def test_a_number_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidJson) as refused:
        cost(**{name: value})
    assert (refused.value.param, refused.value.code) == (name, "invalid_value")


@pytest.mark.parametrize("name", ["N", "Max_Tokens", "MAX_COMPLETION_TOKENS", "Tools", "Model", "Stream"])
def test_a_member_in_another_spelling_is_refused(name: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        cost(**{name: 1})
    assert (refused.value.param, refused.value.code) == (name, "invalid_value")


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"Include_Usage": True}, "stream_options.Include_Usage"),
        ({"include_usage": 1}, "stream_options.include_usage"),
        ({"include_usage": "true"}, "stream_options.include_usage"),
    ],
)
def test_a_wish_for_usage_that_can_be_read_in_two_ways_is_refused(options: Json, place: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        cost(stream=True, stream_options=options)
    assert refused.value.param == place


def sent(asked: Json) -> Json:
    """What a provider is sent for a body."""
    raw = dumps(asked).encode()
    found = parsed(raw)
    edits = found.edits(MemberRules(), lambda name, _value: name)
    asking = () if found.asking is None else (found.asking,)
    return dict(loads(found.naming(raw, "upstream", *edits, *asking)))


@pytest.mark.parametrize(
    ("more", "options"),
    [
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        ({"stream": True, "stream_options": {}}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": False, "x": 1}}, {"include_usage": True, "x": 1}),
        ({"stream": True, "stream_options": {"include_usage": None}}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": True, "x": 1}}, {"include_usage": True, "x": 1}),
        ({"stream": False, "stream_options": {"include_usage": False}}, {"include_usage": False}),
    ],
)
def test_a_stream_is_asked_for_its_usage_and_nothing_else_is_changed(more: Json, options: Json) -> None:
    assert sent(body(**more)) == body(**more) | {"model": "upstream", "stream_options": options}


def test_what_is_no_stream_is_asked_for_nothing() -> None:
    assert sent(body(stream=False)) == body(stream=False, model="upstream")
    assert sent(body()) == body(model="upstream")


def test_a_provider_is_not_asked_to_store_and_does_not_see_the_metadata() -> None:
    asked = body(store=True, metadata={"team": "ml"}, stream=True)
    assert sent(asked) == body(stream=True, model="upstream", stream_options={"include_usage": True})
    assert sent(body(store=True, metadata=None)) == body(model="upstream")


@pytest.mark.parametrize(("size", "is_read"), [(512 * 1024, True), (512 * 1024 + 1, False)])
def test_a_chat_that_is_to_be_stored_has_512_kilobytes_and_no_more(size: int, is_read: bool) -> None:
    bare = len(dumps(body(store=True, x="")))
    for store in (True, False):
        raw = dumps(body(store=store, x="x" * (size - bare - (not store)))).encode()
        assert len(raw) == size
        if is_read or not store:
            assert read_chat(parse_json(raw))["model"] == "m"
        else:
            with pytest.raises(InvalidJson, match=r"may have 524288 bytes and no more"):
                read_chat(parse_json(raw))
