"""Cutting and renaming a provider's events, however they arrive."""

from __future__ import annotations

from itertools import pairwise
from json import dumps, loads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inference.events import MAX_EVENT, EventRelay
from server.inference.provider import DONE


def chunk(content: str, model: str = "upstream", separators: tuple[str, str] = (",", ":")) -> bytes:
    document = {"id": "x", "model": model, "choices": [{"index": 0, "delta": {"content": content}}]}
    return dumps(document, separators=separators).encode()


def event(payload: bytes, newline: bytes = b"\n") -> bytes:
    return b"data: " + payload + 2 * newline


def relayed(pieces: list[bytes], model_id: str = "p/m") -> tuple[bytes, bool]:
    """What comes out up to the end of the stream, and whether there was one."""
    relay = EventRelay(model_id)
    out = b""
    for piece in pieces:
        if not relay.done:
            out += relay.feed(piece)
    return out, relay.done


def broken_after(data: bytes) -> bytes:
    relay = EventRelay("p/m")
    out = relay.feed(data)
    assert relay.broken and not relay.done
    return out


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=6),
    st.lists(st.integers(0, 2_000), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.text(min_size=1, max_size=8),
)
def test_every_split_of_a_stream_gives_the_same_events_with_the_canonical_name(
    texts: list[str], places: list[int], newline: bytes, separators: tuple[str, str], model: str
) -> None:
    whole = b"".join([event(chunk(text, model, separators), newline) for text in texts]) + event(b"[DONE]", newline)
    cuts = sorted({0, len(whole), *(place % len(whole) for place in places)})
    out, done = relayed([whole[start:end] for start, end in pairwise(cuts)], "p/ü")
    *events, last, rest = out.split(b"\n\n")
    assert done and last == b"data: [DONE]" and rest == b""
    documents = [loads(found.removeprefix(b"data: ")) for found in events]
    assert [document["model"] for document in documents] == ["p/ü"] * len(texts)
    assert [document["choices"][0]["delta"]["content"] for document in documents] == texts


def test_an_event_is_passed_on_when_it_is_whole_and_not_before() -> None:
    relay = EventRelay("p/m")
    whole = event(chunk("a"))
    assert relay.feed(whole[:-1]) == b""
    assert relay.feed(whole[-1:]).endswith(b"\n\n")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_events_that_come_a_byte_at_a_time_are_the_same_events(newline: bytes, mark: bytes) -> None:
    whole = mark + event(chunk("a"), newline) + b": wait" + 2 * newline + event(chunk("b"), newline)
    whole += event(b"[DONE]", newline)
    out, done = relayed([whole[at : at + 1] for at in range(len(whole))])
    assert (out, done) == relayed([whole])
    named = [event(chunk(text).replace(b"upstream", b"p/m")) for text in "ab"]
    assert out == named[0] + b": ping\n\n" + named[1] + DONE


@pytest.mark.parametrize(
    "form",
    [
        b'{"id" :  "x","model":"NAME","choices":[{"delta":{"content":"b"}}]}',
        b'{"choices":[],"model":"NAME","usage":{"total_tokens":1}}',
        b'{"usage":null,"x":{"model":"upstream","error":null},"model":"NAME","choices":[{"model":"upstream"}]}',
        b'{"id":"x","model":"NAME","choices":[{"delta":{"content":"\\"model\\":\\"upstream\\""},"error":null}]}',
        b'{"choices":[{"delta":{}}],"id":"x","model":"NAME"}',
    ],
)
def test_only_the_name_changes_in_a_chunk(form: bytes) -> None:
    sent, renamed = form.replace(b"NAME", b"upstream"), form.replace(b"NAME", b"p/m")
    for before in (chunk("a"), sent):
        out, _ = relayed([event(before), event(sent), event(sent)])
        assert out.endswith(event(renamed) * 2)


def test_a_chunk_without_a_name_gets_one() -> None:
    out, _ = relayed([event(chunk("a")), event(b'{"choices":[]}')])
    assert out.endswith(event(b'{"model":"p/m","choices":[]}'))


def test_a_text_that_looks_like_the_member_is_left_alone() -> None:
    tricky = '"model":"upstream"'
    out, _ = relayed([event(chunk("a")), event(chunk(tricky))])
    document = loads(out.split(b"\n\n")[1].removeprefix(b"data: "))
    assert (document["choices"][0]["delta"]["content"], document["model"]) == (tricky, "p/m")


def test_a_chunk_under_another_name_gets_the_canonical_one_too() -> None:
    out, _ = relayed([event(chunk("a")), event(chunk("b", "other")), event(b'{"choices":[]}')])
    assert [loads(found[6:])["model"] for found in out.split(b"\n\n")[:-1]] == ["p/m"] * 3


def test_data_of_several_lines_is_one_payload() -> None:
    out, _ = relayed([b'event: x\ndata: {"choices":\ndata:[]}\n\n'])
    assert loads(out.removeprefix(b"data: ")) == {"choices": [], "model": "p/m"}


def test_comments_become_pings_and_nothing_follows_the_end() -> None:
    out, done = relayed([b": waiting for secrets\n\n", event(b"[DONE]"), event(chunk("late"))])
    assert out.startswith(b": ping\n\n" + DONE)
    assert done
    assert b"secrets" not in out


@pytest.mark.parametrize(
    "payload",
    [b"nonsense", b"[]", b'"text"', b'{"error":{"message":"key sk-1 is wrong"}}', b"[" * 100_000, b'{"choices":'],
)
def test_what_is_no_chunk_breaks_the_stream(payload: bytes) -> None:
    assert broken_after(event(payload)) == b""
    assert broken_after(event(chunk("a")) + event(payload) + event(chunk("b"))).count(b"data: ") == 1


def test_an_error_inside_a_chunk_that_names_the_model_breaks_the_stream() -> None:
    broken_after(event(chunk("a")) + event(b'{"model":"upstream","error":{"message":"secret"}}'))


def test_an_event_without_an_end_is_not_collected_for_ever() -> None:
    relay = EventRelay("p/m")
    for _ in range(MAX_EVENT // 4096):
        relay.feed(b"data: x\n" * 512)
    assert not relay.broken
    assert relay.is_heavy
    relay.feed(b"x")
    assert relay.broken


@pytest.mark.parametrize(("held", "last"), [(b"data: [DONE]", DONE), (b"data: [DONE]\n", DONE), (b"data: {", b"")])
def test_an_answer_that_closes_behind_its_last_line_is_whole_if_that_is_the_end(held: bytes, last: bytes) -> None:
    relay = EventRelay("p/m")
    relay.feed(event(chunk("a")) + held)
    assert (relay.finish(), relay.done) == (last, last == DONE)
