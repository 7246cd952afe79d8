"""Every shape in which providers send their answers becomes the one that clients know."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

import pytest

from server.inference.answers.event_relay import EventRelay
from server.inference.answers.plain import NotAnAnswer, ToldError
from server.inference.answers.whole import shaped_answer, streamed_answer
from server.inference.provider import DONE

Json = dict[str, Any]

FIRST = {"index": 0, "delta": {"role": "assistant", "content": "a"}}


def raw(document: Any) -> bytes:
    return document if isinstance(document, bytes) else dumps(document).encode()


def relay_of(*chunks: Any, answer_id: str | None = None) -> tuple[EventRelay, list[Json]]:
    """A relay that has got these chunks, and what has come out of it."""
    relay, out = EventRelay("p/m", answer_id), b""
    relay.take(b"".join(b"data: %b\n\n" % raw(chunk) for chunk in chunks))
    while relay.has_more and not (relay.done or relay.broken):
        out += relay.pass_on()
    return relay, [loads(event[6:]) for event in out.split(b"\n\n") if event.startswith(b"data: {")]


def shaped(*chunks: Any, answer_id: str | None = None) -> list[Json]:
    """The chunks that come out, none of which breaks the stream."""
    relay, found = relay_of(*chunks, b"[DONE]", answer_id=answer_id)
    assert relay.done and not relay.broken
    return found


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {"total_tokens": 3}, "choices": None},
        {"usage": {"total_tokens": 3}},
        {"id": "", "model": "", "object": "", "created": 0, "choices": []},
        {"choices": [None]},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"delta": {}}]},
        {"choices": [{"index": None, "delta": {}, "finish_reason": ""}]},
        {"choices": [{"index": "0", "delta": {}, "logprobs": "x"}]},
        {"choices": [{"content_filter_offsets": {}, "index": 0, "content_filter_results": {}}]},
        {"choices": [], "prompt_filter_results": [{}]},
        {"choices": [], "error": None},
        {"choices": [], "error": {}},
        {"choices": [], "error": ""},
        {"choices": [], "usage": "none"},
        {"choices": [{"index": 0, "delta": {"tool_calls": None}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": []}}]},
        {"choices": [{"index": 0, "delta": {"role": "assistant"}}]},
        {"choices": [{"index": 0, "delta": {"role": None, "content": None}}]},
        {},
    ],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_an_odd_chunk_ends_no_stream(odd: Json, is_first: bool) -> None:
    good = {"id": "far", "created": 7, "model": "m", "choices": [FIRST]}
    chunks = [odd, good] if is_first else [good, odd]
    found = shaped(*chunks)
    assert len(found) == 2
    assert len({chunk["id"] for chunk in found}) == 1
    for chunk in found:
        assert (chunk["model"], chunk["object"], chunk["created"] > 0) == ("p/m", "chat.completion.chunk", True)
        assert "error" not in chunk
        assert chunk.get("usage") in (None, {"total_tokens": 3})
        for choice in chunk["choices"]:
            assert (type(choice["index"]), type(choice["delta"])) == (int, dict)
            assert choice["finish_reason"] is None
            assert choice.get("logprobs") is None


def test_the_first_id_is_that_of_every_chunk() -> None:
    chunks = [{"id": identity, "choices": []} for identity in ("one", "", "two", None, 5)]
    assert {chunk["id"] for chunk in shaped(*chunks)} == {"one"}
    assert {chunk["id"] for chunk in shaped(*chunks, answer_id="ours")} == {"ours"}
    [made] = {chunk["id"] for chunk in shaped({"id": "", "choices": []}, {"id": "late", "choices": []})}
    assert made.startswith("chatcmpl-")


def test_a_role_comes_once() -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]} for text in "abc"]
    assert [chunk["choices"][0]["delta"] for chunk in shaped(*chunks)] == [
        {"role": "assistant", "content": "a"},
        {"content": "b"},
        {"content": "c"},
    ]


def called(*deltas: Any) -> list[list[Json]]:
    """The pieces of calls in each chunk."""
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": pieces}}]} for pieces in deltas]
    return [chunk["choices"][0]["delta"].get("tool_calls", []) for chunk in shaped(*chunks)]


def whole_call(name: str, **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, "arguments": "{}"}, **more}


@pytest.mark.parametrize("in_one_chunk", [True, False])
@pytest.mark.parametrize(
    "calls",
    [
        [whole_call("a", index=0, id="x"), whole_call("b", index=0, id="y")],
        [whole_call("a", index=0, id="x"), whole_call("a", index=0, id="y")],
        [whole_call("a", id="x"), whole_call("b", id="y")],
        [whole_call("a", index=0), whole_call("b", index=0)],
        [whole_call("a"), whole_call("b")],
        [whole_call("a", index=3, id="x"), whole_call("b", index=7, id="y")],
        [whole_call("a", index=None, id="x"), whole_call("b", index="1", id="y")],
    ],
)
def test_parallel_calls_stay_apart_however_they_are_numbered(calls: list[Json], in_one_chunk: bool) -> None:
    found = called(calls) if in_one_chunk else called(*([call] for call in calls))
    pieces = [piece for chunk in found for piece in chunk]
    assert [piece["index"] for piece in pieces] == [0, 1]
    assert [piece["function"]["name"] for piece in pieces] == [call["function"]["name"] for call in calls]
    identities = [piece["id"] for piece in pieces]
    assert len(set(identities)) == 2 and all(identities)
    assert all(given.get("id") in (None, identity) for given, identity in zip(calls, identities, strict=True))


def test_what_providers_repeat_of_a_call_is_not_said_twice() -> None:
    piece = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "1"}}
    again = called([dict(piece, function=dict(piece["function"]))], [piece], [{"index": 0, "function": {"name": ""}}])
    assert again == [
        [{"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "1"}}],
        [{"index": 0, "function": {"arguments": "1"}}],
        [{"index": 0, "function": {}}],
    ]


def test_a_call_gets_what_it_lacks_and_arguments_are_a_text() -> None:
    [[piece]] = called([{"function": {"name": "f", "arguments": {"a": 1}}}])
    assert piece.pop("id").startswith("call_")
    assert piece == {"index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


@pytest.mark.parametrize("end", [b"[DONE]", {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}])
def test_a_call_without_a_name_breaks_the_stream(end: Any) -> None:
    nameless = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "x", "function": {}}]}}]}
    relay, _ = relay_of(nameless, end)
    assert relay.broken and not relay.done


def test_a_content_in_parts_is_a_text_and_a_thought() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]
    [chunk] = shaped({"choices": [{"index": 0, "delta": {"content": parts}}]})
    assert chunk["choices"][0]["delta"] == {"content": "so", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    "told",
    [
        {"error": {"message": "no"}},
        {"error": "no"},
        {"object": "error", "message": "no", "code": 400},
        {"type": "error", "message": "no"},
        {"detail": "no"},
        {"message": "no", "code": 500},
        {"id": "x", "choices": [FIRST], "error": {"code": 502}},
    ],
)
def test_an_error_is_known_in_each_form(told: Json) -> None:
    relay, found = relay_of({"choices": [FIRST]}, told)
    assert (relay.broken, relay.told, len(found)) == (True, told, 1)
    with pytest.raises(ToldError):
        shaped_answer(raw(told), "p/m", None)


CONTENT = b'{"id":"x","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"TEXT"}}]}'


@pytest.mark.parametrize(
    "inside",
    [
        b'"},"x":{"y":"',
        b'a" "b',
        b"\\x",
        b"\\u12g4",
        b"\x01",
        b"\xff",
        b"\\",
        b'","content":"b',
        b'"}}],"error":{"message":"secret"},"z":[{"d":{"c":"',
        b'"}}],"model":"other","z":[{"d":{"c":"',
    ],
)
def test_broken_json_between_known_ends_is_not_passed_on(inside: bytes) -> None:
    """The chunks in front teach the relay the form of those that it passes on unread."""
    known = [CONTENT.replace(b"TEXT", text) for text in (b"a", b"b", b"c")]
    relay, found = relay_of(*known, CONTENT.replace(b"TEXT", inside))
    if relay.broken:
        assert len(found) == 3
    else:
        assert (found[-1]["model"], "error" in found[-1]) == ("p/m", False)
        [*_, last] = found
        alone = shaped(CONTENT.replace(b"TEXT", inside))[0]
        assert {**last, "id": "", "created": 0} == {**alone, "id": "", "created": 0}


@pytest.mark.parametrize("inside", [b"", b"\\n", b'\\"', "ü".encode(), b"\\ud83d", b"\\/", b"x" * 3000, b"x" * 5000])
def test_what_is_passed_on_unread_is_what_would_be_read(inside: bytes) -> None:
    known = [CONTENT.replace(b"TEXT", text) for text in (b"a", b"b", inside, b"c")]
    texts = [chunk["choices"][0]["delta"]["content"] for chunk in shaped(*known)]
    assert texts == ["a", "b", loads(b'"%b"' % inside), "c"]


def test_a_text_that_comes_again_in_disguise_is_the_one_that_counts() -> None:
    twice = [CONTENT.replace(b'"TEXT"', b'"%b","c\\u006fntent":"a"' % text) for text in (b"a", b"b", b"c")]
    assert [chunk["choices"][0]["delta"] for chunk in shaped(*twice)] == [{"content": "a"}] * 3


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused_whole_and_in_a_stream(name: str) -> None:
    chunk = b'{"choices":[{"index":0,"delta":{"content":"b"},"logprobs":{"content":[{"logprob":%b}]}}]}' % name.encode()
    relay, _ = relay_of({"choices": [FIRST]}, chunk)
    assert relay.broken
    with pytest.raises(NotAnAnswer):
        shaped_answer(chunk, "p/m", None)
    large = chunk[:-1] + b',"pad":"' + b"x" * 300_000 + b'"}'
    assert relay_of(large)[0].broken
    with pytest.raises(NotAnAnswer):
        shaped_answer(large, "p/m", None)


def test_a_number_that_is_too_large_is_null() -> None:
    assert shaped({"choices": []}, b'{"choices":[],"x":1e999}')[1]["x"] is None


WHOLE = {
    "choices": [
        {
            "message": {"content": "a", "tool_calls": [{"function": {"name": "f", "arguments": None}}]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"total_tokens": 3},
}


def test_a_whole_answer_gets_what_it_lacks() -> None:
    answer = loads(b"".join(shaped_answer(raw(WHOLE), "p/m", None)))
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-") and answer["created"] > 0
    [choice] = answer["choices"]
    assert (choice["index"], choice["message"]["role"]) == (0, "assistant")
    [call] = choice["message"]["tool_calls"]
    assert call.pop("id").startswith("call_")
    assert call == {"type": "function", "function": {"name": "f", "arguments": ""}}


@pytest.mark.parametrize("calls", [[{"function": {}}], [{"id": "x"}], ["x"], [{"function": {"name": ""}}]])
def test_a_whole_answer_with_a_call_without_a_name_is_none(calls: Any) -> None:
    with pytest.raises(NotAnAnswer):
        shaped_answer(raw({"choices": [{"message": {"tool_calls": calls}}]}), "p/m", None)


@pytest.mark.parametrize("with_usage", [False, True])
def test_an_answer_in_one_piece_is_told_as_a_stream(with_usage: bool) -> None:
    *events, done = streamed_answer(raw(WHOLE), "p/m", "ours", with_usage=with_usage)
    assert done == DONE
    first, last, *usage = [loads(event[6:]) for event in events]
    assert first["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert last["choices"][0]["finish_reason"] == "tool_calls"
    assert [one["usage"] for one in usage] == ([{"total_tokens": 3}] if with_usage else [])
    assert {one["object"] for one in (first, last, *usage)} == {"chat.completion.chunk"}
