"""An id of ours in an answer: in the place of the provider's, wherever that is, and nothing else changed."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inference.answers import model_name
from server.inference.answers.event_relay import EventRelay
from server.inference.answers.model_name import ModelNaming
from server.inference.provider import DONE
from tests.unit.inference.test_inference_model_name import NAME, answers

OURS = "chatcmpl-ours"


def identified(text: bytes, name: str = NAME) -> bytes:
    return b"".join(ModelNaming(name, OURS).apply(text))


@given(answers(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", "\t: ")]), st.booleans(), st.booleans())
def test_any_answer_gets_both_and_keeps_the_rest(
    answer: dict[str, Any], separators: tuple[str, str], ascii_only: bool, large: bool
) -> None:
    text = dumps(answer, separators=separators, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(model_name, "SMALL", 0)
        out = identified(text)
    assert loads(out) == {**answer, "model": NAME, "id": OURS}
    assert out.count(OURS.encode()) == 1


@given(answers(), answers())
def test_an_answer_of_the_form_of_another_is_changed_as_that_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    made = ModelNaming(NAME, OURS)
    form = made.form(dumps(one).encode())
    text = dumps(other).encode()
    if form is None:
        return
    begin, end, new_begin, new_end = form
    assert (new_begin + new_end).count(OURS.encode()) == 1
    middle = text[len(begin) : -len(end)]
    if text.startswith(begin) and text.endswith(end) and not (b'"model"' in middle or b'"id"' in middle):
        assert new_begin + middle + new_end == b"".join(made.apply(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}',
        '{"model": "m", "id" : "x", "choices": [{"delta": {"tool_calls": [{"id": "c"}]}}], "usage": {"id": 1}}',
        '{"choices":[{"delta":{}}],"created":1,"id":"x","model":"m","object":"chat.completion.chunk"}',
    ],
)
def test_the_form_that_servers_send_is_known(text: str) -> None:
    form = ModelNaming("p/m", OURS).form(text.encode())
    assert form is not None
    out = identified(text.encode(), "p/m")
    assert (out.startswith(form[2]), out.endswith(form[3])) == (True, True)
    assert loads(out) == {**loads(text), "id": OURS, "model": "p/m"}


@pytest.mark.parametrize(
    "text",
    [
        '{"object":"x","model":"m","choices":[]}',
        '{"id":null,"model":"m","choices":[]}',
        '{"id":7,"model":"m","choices":[]}',
        '{"id":"x","id":"y","model":"m","choices":[]}',
        '{"object":"id","model":"m","choices":[]}',
    ],
)
def test_what_has_no_id_once_has_no_form_and_gets_one(text: str) -> None:
    assert ModelNaming("p/m", OURS).form(text.encode()) is None
    assert loads(identified(text.encode(), "p/m"))["id"] == OURS


def test_a_model_that_is_called_like_a_member_changes_nothing() -> None:
    name = 'p/","id":"x'
    assert loads(identified(b'{"id":"a","model":"m","choices":[]}', name)) == {"id": OURS, "model": name, "choices": []}


def fed(relay: EventRelay, data: bytes) -> bytes:
    """What comes out for it, in all its steps."""
    relay.take(data)
    out = relay.pass_on()
    while relay.has_more and not (relay.done or relay.broken):
        out += relay.pass_on()
    return out


@given(st.lists(st.integers(1, 40), max_size=40))
def test_every_event_of_a_stream_gets_it_however_it_arrives(cuts: list[int]) -> None:
    heads = [{"id": "x", "model": "m"}, {"id": "x", "model": "m"}, {"id": "y", "model": "m"}, {"model": "m"}]
    chunks = [{**head, "choices": [{"delta": {"id": "c"}}]} for head in heads]
    raw = b"".join(b"data: %b\n\n" % dumps(chunk).encode() for chunk in chunks) + DONE
    relay, out, place = EventRelay("p/m", OURS), b"", 0
    for size in [*cuts, len(raw)]:
        out += fed(relay, raw[place : place + size])
        place += size
        if relay.done:
            break
    *events, done, rest = out.split(b"\n\n")
    assert (done + b"\n\n", rest) == (DONE, b"")
    found = [loads(event.removeprefix(b"data: ")) for event in events]
    assert found == [{"id": OURS, "model": "p/m", "choices": [{"delta": {"id": "c"}}]}] * 4
