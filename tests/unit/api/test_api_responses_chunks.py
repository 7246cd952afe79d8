"""Pieces of chats that come together: as one piece of each text they tell the same."""

from __future__ import annotations

from json import dumps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.responses.chunks import read_events, read_joined
from server.api.responses.happenings import Ended, Happening, Said
from server.api.responses.loop import step
from server.api.responses.state import State

HEAD = {"id": "resp_0", "object": "response", "model": "m", "metadata": {}}
DELTAS = st.one_of(
    st.text(max_size=3).map(lambda text: {"content": text}),
    st.text(max_size=3).map(lambda text: {"reasoning_content": text}),
    st.text(max_size=3).map(lambda text: {"refusal": text}),
    st.builds(
        lambda place, name, arguments: {
            "tool_calls": [{"index": place, "id": "c", "function": {"name": name, "arguments": arguments}}]
        },
        st.integers(0, 2),
        st.sampled_from(["", "f"]),
        st.sampled_from(["", "{", "}", "{}"]),
    ),
)


def chunk(delta: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


def course(happenings: list[Happening]) -> tuple[Any, int]:
    state, told = State(HEAD, ("0" * 48, 0), {}), 0
    for happening in [*happenings, Ended(1)]:
        state, events = step(state, happening)
        told += len(events)
    return state.response(), told


@given(st.lists(DELTAS, max_size=20))
def test_joined_pieces_tell_what_all_of_them_tell(deltas: list[dict[str, Any]]) -> None:
    piece = b"".join(map(chunk, deltas))
    apart, many = course(read_events(piece))
    together, few = course(read_joined(piece))
    assert apart["output"] == together["output"]
    assert few <= many


def test_what_comes_together_is_one_piece() -> None:
    piece = b"".join(chunk({"content": letter}) for letter in "abc")
    assert read_joined(piece) == [Said("abc")]


@pytest.mark.parametrize("odd", [5, "x", [5], [None], {"token": "b"}, [[]]])
def test_probabilities_in_another_form_are_left_out(odd: Any) -> None:
    known = {"token": "a", "logprob": -1.0, "bytes": [97]}
    told = {"content": [5, {**known, "top_logprobs": odd}, {**known, "bytes": "a", "top_logprobs": [known]}]}
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": told}
    [said] = read_events(b"data: %b\n\n" % dumps({"choices": [choice]}).encode())
    assert isinstance(said, Said)
    assert said.logprobs == ({**known, "top_logprobs": []}, {**known, "bytes": [], "top_logprobs": [known]})


@pytest.mark.parametrize("odd", [{}, {"input": 1}, {"output": {"type": "moderation_results", "results": []}}])
def test_results_that_a_provider_tells_unasked_are_ignored(odd: Any) -> None:
    happenings = read_events(b"data: %b\n\n" % dumps({"choices": [], "moderation": odd}).encode())
    assert "moderation" not in course(happenings)[0]
