"""Cutting and renaming a provider's events, however they arrive."""

from __future__ import annotations

from itertools import pairwise
from json import dumps, loads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inference.answers.event_relay import MAX_EVENT, EventRelay
from server.inference.answers.model_name import QUICK, SMALL
from server.inference.provider import DONE

KIND = "chat.completion.chunk"


def chunk(content: str, model: str = "upstream", separators: tuple[str, str] = (",", ":")) -> bytes:
    document = {"id": "x", "model": model, "choices": [{"index": 0, "delta": {"content": content}}]}
    return dumps(document, separators=separators).encode()


def event(payload: bytes, newline: bytes = b"\n") -> bytes:
    return b"data: " + payload + 2 * newline


def fed(relay: EventRelay, data: bytes) -> bytes:
    """What comes out for it, in all its steps."""
    relay.take(data)
    out = relay.pass_on()
    while relay.has_more and not (relay.done or relay.broken):
        out += relay.pass_on()
    return out


def relayed(pieces: list[bytes], model_id: str = "p/m") -> tuple[bytes, bool]:
    """What comes out up to the end of the stream, and whether there was one."""
    relay = EventRelay(model_id)
    out = b""
    for piece in pieces:
        if not relay.done:
            out += fed(relay, piece)
    return out, relay.done


def broken_after(data: bytes) -> bytes:
    relay = EventRelay("p/m")
    out = fed(relay, data)
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
    assert fed(relay, whole[:-1]) == b""
    assert fed(relay, whole[-1:]).endswith(b"\n\n")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_events_that_come_a_byte_at_a_time_are_the_same_events(newline: bytes, mark: bytes) -> None:
    whole = mark + event(chunk("a"), newline) + b": wait" + 2 * newline + event(chunk("b"), newline)
    whole += event(b"[DONE]", newline)
    out, done = relayed([whole[at : at + 1] for at in range(len(whole))])
    assert (out, done) == relayed([whole])
    first, ping, second, *end = out.split(b"\n\n")
    assert (ping, end) == (b": ping", [b"data: [DONE]", b""])
    assert [loads(found[6:])["choices"][0]["delta"]["content"] for found in (first, second)] == ["a", "b"]


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
def test_what_a_chunk_holds_is_passed_on_under_our_name(form: bytes) -> None:
    sent = form.replace(b"NAME", b"upstream")
    for before in (chunk("a"), sent):
        out, _ = relayed([event(before), event(sent), event(sent)])
        for found in out.split(b"\n\n")[1:3]:
            shown, given = loads(found[6:]), loads(sent)
            assert (shown["id"], shown["model"], shown["object"]) == (
                "x" if before != sent else shown["id"],
                "p/m",
                KIND,
            )
            for theirs, ours in zip(given.pop("choices"), shown["choices"], strict=True):
                assert ours.items() >= theirs.items()
            assert shown.items() >= {**given, "model": "p/m"}.items()


def test_a_chunk_without_a_name_gets_one() -> None:
    out, _ = relayed([event(chunk("a")), event(b'{"choices":[]}')])
    assert loads(out.split(b"\n\n")[1][6:]).items() >= {"id": "x", "model": "p/m", "choices": []}.items()


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
    assert loads(out.removeprefix(b"data: ")).items() >= {"choices": [], "model": "p/m"}.items()


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


@pytest.mark.parametrize("before", [b"", event(chunk("a")), event(chunk("a")) * 3])
@pytest.mark.parametrize(
    "told",
    [
        b'{"id":"x","model":"upstream","choices":[],"error":{"message":"secret"}}',
        b'{"id":"x","model":"upstream","choices":[{"index":0,"delta":{"content":"b"}}],"error":{"message":"secret"}}',
        b'{"id":"x","model":"upstream","choices":[], "error" : "secret"}',
        b'{"id":"x","model":"upstream","choices":[],"\\u0065rror":{"message":"secret"}}',
        b'{"error":{"message":"secret"},"id":"x","model":"upstream","choices":[]}',
    ],
)
def test_an_error_in_a_chunk_of_the_known_form_breaks_the_stream(before: bytes, told: bytes) -> None:
    """The chunks before it teach the relay the form, by which later chunks are passed on unparsed."""
    assert b"secret" not in broken_after(before + event(told))


def test_an_event_without_an_end_is_not_collected_for_ever() -> None:
    relay = EventRelay("p/m")
    for _ in range(MAX_EVENT // 4096):
        fed(relay, b"data: x\n" * 512)
    assert not relay.broken
    fed(relay, b"x")
    assert relay.broken


@pytest.mark.parametrize(("held", "last"), [(b"data: [DONE]", DONE), (b"data: [DONE]\n", DONE), (b"data: {", b"")])
def test_an_answer_that_closes_behind_its_last_line_is_whole_if_that_is_the_end(held: bytes, last: bytes) -> None:
    relay = EventRelay("p/m")
    fed(relay, event(chunk("a")) + held)
    assert (relay.finish(), relay.done) == (last, last == DONE)


@pytest.mark.parametrize("size", [1, SMALL])
def test_data_in_several_lines_becomes_one_line_that_can_hold_no_field_of_an_event(size: int) -> None:
    text = b'{"choices":[{"delta":{"content":"' + b"a" * size + b'"}}],\ndata:"x":"NEXT"}'
    out, _ = relayed([b"data: " + text.replace(b"NEXT", b"1") + b"\n\n"])
    assert out.count(b"\n") == 2
    assert loads(out.removeprefix(b"data: "))["x"] == "1"
    torn = b'data: {"choices":[{"delta":{"content":"' + b"a" * size + b'\ndata: event: evil\ndata: data: {}"}}]}\n\n'
    assert b"\nevent:" not in relayed([torn])[0]


def test_a_name_spelled_with_escapes_is_the_name() -> None:
    disguised = b'{"id":"c","model":"upstream","choices":[],"mod\\u0065l":"evil"}'
    for pieces in ([event(disguised)], [event(chunk("a")), event(chunk("a")), event(disguised)]):
        out, _ = relayed(pieces)
        assert loads(out.split(b"\n\n")[-2].removeprefix(b"data: "))["model"] == "p/m"
        assert b"evil" not in out
    for spelled in (b'"err\\u006fr"', b'"\\u0065rror"', b'"erro\\u0072"', b'"\\u0065\\u0072\\u0072\\u006F\\u0072"'):
        failing = chunk("b")[:-1] + b"," + spelled + b':{"message":"theirs"}}'
        assert b"theirs" not in broken_after(event(chunk("a")) + event(failing))


def test_each_step_takes_few_events_and_all_steps_together_take_them_all() -> None:
    relay, steps = EventRelay("p/m"), 0
    relay.take(event(b'{"choices":[]}') * 3000 + DONE)
    out = b""
    while not relay.done:
        piece = relay.pass_on()
        assert piece.count(b"data: ") < 200
        out, steps = out + piece, steps + 1
    assert out.count(b'"model":"p/m"') == 3000
    assert steps > 15


def test_a_large_event_is_passed_on_alone() -> None:
    relay = EventRelay("p/m")
    large = event(chunk("x" * 2 * QUICK)[:-1] + b',"usage":{}}')
    relay.take(event(chunk("a")) + large + event(chunk("b")))
    counts = []
    while relay.has_more:
        heavy = relay.is_heavy
        piece = relay.pass_on()
        assert heavy == (len(piece) > QUICK)
        counts.append(piece.count(b"data: "))
    assert counts[0] == 1 and sum(counts) == 3


def test_an_event_of_very_many_lines_breaks_the_stream() -> None:
    broken_after(b'data: {"choices":[' + b"\ndata: " * 5000 + b"]}\n\n")
