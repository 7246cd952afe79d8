"""Cutting and renaming a provider's events, however they arrive."""

from __future__ import annotations

from itertools import pairwise
from json import dumps, loads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inference.events import DONE, MAX_EVENT, EventRelay


def chunk(content: str, model: str = "upstream", separators: tuple[str, str] = (",", ":")) -> bytes:
    document = {"id": "x", "model": model, "choices": [{"index": 0, "delta": {"content": content}}]}
    return dumps(document, separators=separators).encode()


def event(payload: bytes, newline: bytes = b"\n") -> bytes:
    return b"data: " + payload + 2 * newline


def relayed(pieces: list[bytes], model_id: str = "p/m") -> tuple[bytes, bool]:
    relay = EventRelay(model_id)
    return b"".join([relay.feed(piece) for piece in pieces]), relay.done


def broken_after(data: bytes) -> bytes:
    relay = EventRelay("p/m")
    out = relay.feed(data)
    assert relay.broken and not relay.done
    return out


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=6),
    st.lists(st.integers(0, 2_000), max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
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


def test_only_the_name_changes_in_a_chunk_that_spells_it_as_the_first_did() -> None:
    odd = chunk("b").replace(b'"id":', b'"id" :  ')
    out, _ = relayed([event(chunk("a")), event(odd)])
    assert event(odd.replace(b'"upstream"', b'"p/m"')) in out


def test_a_text_that_looks_like_the_member_is_left_alone() -> None:
    tricky = '"model":"upstream"'
    out, _ = relayed([event(chunk("a")), event(chunk(tricky))])
    document = loads(out.split(b"\n\n")[1].removeprefix(b"data: "))
    assert (document["choices"][0]["delta"]["content"], document["model"]) == (tricky, "p/m")


def test_a_chunk_under_another_name_gets_the_canonical_one_too() -> None:
    out, _ = relayed([event(chunk("a")), event(chunk("b", "other")), event(b'{"choices":[]}')])
    assert [loads(found[6:])["model"] for found in out.split(b"\n\n")[:-1]] == ["p/m"] * 3


def test_data_of_several_lines_is_one_payload() -> None:
    out, _ = relayed([b'event: x\ndata: {"a":\ndata:1}\n\n'])
    assert loads(out.removeprefix(b"data: ")) == {"a": 1, "model": "p/m"}


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
    for _ in range(MAX_EVENT // 1000):
        relay.feed(b"x" * 1000)
    assert not relay.broken
    relay.feed(b"x" * 1000)
    assert relay.broken
