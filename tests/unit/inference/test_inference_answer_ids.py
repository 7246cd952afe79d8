"""An id of ours in an answer: in the place of the provider's, wherever that is, and nothing else changed."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server.inference.answers.event_relay import EventRelay
from server.inference.answers.model_name import ModelNaming
from server.inference.provider import DONE
from tests.unit.inference.test_inference_model_name import NAME, answers

OURS = "chatcmpl-ours"


def identified(text: bytes, name: str = NAME) -> bytes:
    return b"".join(ModelNaming(name, OURS).apply(text))


@given(answers(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", "\t: ")]), st.booleans())
def test_any_answer_gets_both_and_keeps_the_rest(
    answer: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    text = dumps(answer, separators=separators, ensure_ascii=ascii_only).encode()
    out = identified(text)
    assert loads(out) == {**answer, "model": NAME, "id": OURS}
    assert out.count(OURS.encode()) == 1


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
    assert [(one["id"], one["model"]) for one in found] == [(OURS, "p/m")] * 4
    assert [one["choices"][0]["delta"] for one in found] == [{"id": "c"}] * 4
