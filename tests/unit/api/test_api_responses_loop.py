"""The course of a response: what each happening comes to, and what holds of every course."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.responses import state as state_of_responses
from server.api.responses.happenings import (
    Begun,
    Called,
    Ended,
    Failed,
    Happening,
    Left,
    Paused,
    Queued,
    Refused,
    Said,
    Source,
    Spent,
    Stopped,
    Thought,
    ToolBegun,
    ToolEnded,
)
from server.api.responses.loop import step
from server.api.responses.open_items import MOST_ITEMS
from server.api.responses.state import MOST_SIGNS, State

HEAD = {"id": "resp_0", "object": "response", "model": "m", "metadata": {}}
NAMES = {"patch": {"type": "custom", "name": "patch"}, "a__b": {"type": "function", "name": "b", "namespace": "a"}}
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def begun() -> State:
    return State(HEAD, ("0" * 48, 3), NAMES, served=frozenset({"look"}), shows_results=True)


def course(*happenings: Happening) -> tuple[State, list[dict[str, Any]]]:
    state, events = begun(), list[dict[str, Any]]()
    for happening in happenings:
        state, more = step(state, happening)
        events += more
    return state, events


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_is_told_in_the_canonical_order() -> None:
    state, events = course(Begun(), Said("a"), Said("b"), Spent({"total_tokens": 3}), Stopped("stop"), Ended(7))
    assert types(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    last = events[-1]["response"]
    assert (last["status"], last["completed_at"], last["usage"]) == ("completed", 7, {"total_tokens": 3})
    [item] = last["output"]
    assert item["id"] == f"msg_{'0' * 48}00003"
    assert item["content"] == [{"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}]
    assert state.is_over


def test_a_response_that_waits_is_told_to_be_created_once() -> None:
    state, events = course(Queued(), Begun(), Said("a"), Ended(7))
    assert types(events)[:4] == ["created", "queued", "in_progress", "output_item.added"]
    assert [event["response"]["status"] for event in events[:3]] == ["queued", "queued", "in_progress"]
    assert state.status == "completed"


def test_a_step_leaves_the_state_before_it_as_it_is() -> None:
    before, _ = step(begun(), Said("a"))
    told = dumps(before.response())
    first, _ = step(before, Said("b"))
    second, _ = step(before, Said("c"))
    assert dumps(before.response()) == told
    assert [state.response()["output"][0]["content"][0]["text"] for state in (first, second)] == ["ab", "ac"]


def test_thoughts_a_text_and_a_refusal_are_parts_of_items_of_their_own() -> None:
    _, events = course(Begun(), Thought("hm"), Said("well"), Refused("no"), Ended(1))
    reasoning, message = events[-1]["response"]["output"]
    assert (reasoning["type"], reasoning["summary"]) == ("reasoning", [])
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    refusals = [event for event in events if event["type"] == "response.refusal.delta"]
    assert [(event["content_index"], event["output_index"]) for event in refusals] == [(1, 1)]


def test_calls_follow_each_other_where_their_arguments_are_whole() -> None:
    _, events = course(
        Begun(), Called(0, "c0", "f", '{"a":'), Called(0, "", "", "1}"), Called(1, "c1", "g", ""), Ended(1)
    )
    assert types(events)[2:-1] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done", "output_item.added"),
        *("function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
    ]
    calls = events[-1]["response"]["output"]
    # Clients parse the arguments, also those of a call that has none.
    assert [(call["name"], call["arguments"], call["call_id"]) for call in calls] == [
        ("f", '{"a":1}', "c0"),
        ("g", "{}", "c1"),
    ]


def test_calls_whose_pieces_alternate_are_both_whole() -> None:
    _, events = course(
        Begun(), Called(0, "c0", "f", "{"), Called(1, "c1", "g", '{"b"'), Called(0, "", "", "}"),
        Called(1, "", "", ":2}"), Ended(1)
    )  # fmt: skip
    assert [call["arguments"] for call in events[-1]["response"]["output"]] == ["{}", '{"b":2}']


def test_custom_tools_and_namespaces_are_called_by_their_own_names() -> None:
    _, events = course(Begun(), Called(0, "c0", "patch", '{"input": "x\\ny"}'), Called(1, "c1", "a__b", "{}"), Ended(1))
    custom, inside = events[-1]["response"]["output"]
    assert (custom["type"], custom["name"], custom["input"]) == ("custom_tool_call", "patch", "x\ny")
    assert (inside["type"], inside["name"], inside["namespace"]) == ("function_call", "b", "a")
    said = [event for event in events if event["type"].startswith("response.custom_tool_call_input")]
    assert [event.get("delta", event.get("input")) for event in said] == ["x\ny", "x\ny"]


def test_a_text_for_a_custom_tool_may_hold_any_number_of_signs() -> None:
    text = ',[{"\\' * MOST_SIGNS + '"'
    _, events = course(Begun(), Called(0, "c0", "patch", dumps({"input": text})), Ended(1))
    assert events[-1]["response"]["output"][0]["input"] == text


@pytest.mark.parametrize("value", ["[]", "{}", "1", '""', '{"a":1}'])
def test_arguments_of_many_parts_are_not_parsed_for_a_custom_tool(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = list[str]()
    monkeypatch.setattr(state_of_responses, "loads", lambda text: parsed.append(text) or loads(text))
    arguments = f'{{"input":[{",".join([value] * MOST_SIGNS)}]}}'
    _, events = course(Begun(), Called(0, "c0", "patch", arguments), Ended(1))
    assert events[-1]["response"]["output"][0]["input"] == arguments
    assert arguments not in parsed


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_the_reason_of_the_end_is_told(reason: str, status: str, why: str | None) -> None:
    _, events = course(Begun(), Said("a"), Stopped(reason), Ended(1))
    last = events[-1]["response"]
    assert (events[-1]["type"], last["status"]) == (f"response.{status}", status)
    assert last["incomplete_details"] == (None if why is None else {"reason": why})
    assert last["output"][0]["status"] == status


def test_an_answer_without_anything_has_an_empty_message() -> None:
    [item] = course(Begun(), Ended(1))[1][-1]["response"]["output"]
    assert item["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


def test_a_failure_keeps_what_has_come() -> None:
    state, events = course(Begun(), Said("half"), Failed("server_error", "gone"), Said("more"), Ended(1))
    assert types(events)[-1] == "failed"
    last = events[-1]["response"]
    assert (last["error"], last["completed_at"]) == ({"code": "server_error", "message": "gone"}, None)
    assert last["output"][0]["content"][0]["text"] == "half"
    assert (last["output"][0]["status"], state.status) == ("incomplete", "failed")


def test_an_answer_that_is_too_large_ends_as_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(HEAD, ("0" * 48, 0), {}, left=100)
    for _ in range(5):
        state, _ = step(state, Said("x" * 20))
    assert state.is_full
    _, events = step(state, Ended(1))
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "x" * 40


def test_items_without_end_are_cut_off() -> None:
    happenings = [each for _ in range(MOST_ITEMS) for each in (Thought("a"), Said("b"))]
    state, _ = course(Begun(), *happenings, Ended(1))
    assert (len(state.output()), state.status) == (MOST_ITEMS, "incomplete")


def test_half_characters_become_whole_ones() -> None:
    _, events = course(Begun(), Said("\ud83d"), Said("\ude00"), Ended(1))
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "😀"


SEARCHING = ToolBegun(1, "file_search_call", {"queries": ["q"]}, (("file_search_call.searching", {}),))
SEARCHED = ToolEnded(
    1, "completed", {"results": []}, (("file_search_call.completed", {}),), (Source("file-1", "a.txt"),)
)


def test_a_call_of_a_tool_of_this_server_is_told_when_the_tool_begins() -> None:
    state, events = course(Begun(), Said("let me look"), Called(0, "c0", "look", '{"q":'), Called(0, "", "", "1}"))
    assert [(call.call_id, call.name, call.arguments.whole()) for call in state.calls] == [("c0", "look", '{"q":1}')]
    assert types(events)[-1] == "output_text.delta"
    _, events = course(
        Begun(), Said("let me look"), Called(0, "c0", "look", "{}"), Stopped("tool_calls"), Spent({"total_tokens": 2}),
        Paused(), SEARCHING, SEARCHED, Said("found"), Spent({"total_tokens": 1}), Spent({"total_tokens": 3}), Ended(1),
    )  # fmt: skip
    assert types(events)[5:12] == [
        *("output_text.done", "content_part.done", "output_item.done", "output_item.added"),
        *("file_search_call.searching", "file_search_call.completed", "output_item.done"),
    ]
    last = events[-1]["response"]
    before, search, after = last["output"]
    assert search == {
        "id": f"fs_{'0' * 48}00004",
        "type": "file_search_call",
        "status": "completed",
        "queries": ["q"],
        "results": [],
    }
    assert last["usage"] == {"total_tokens": 5}
    # What was said before the search does not come of it.
    assert before["content"][0]["annotations"] == []
    citation = {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 5}
    assert after["content"][0]["annotations"] == [citation]
    [told] = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert (told["annotation"], told["annotation_index"], told["output_index"]) == (citation, 0, 2)


def test_items_that_have_no_status_get_none() -> None:
    _, events = course(
        Begun(), ToolBegun(-1, "mcp_list_tools", {}), ToolEnded(-1, "completed", {"tools": []}), Ended(1)
    )
    assert events[-1]["response"]["output"][0] == {"id": f"mcpl_{'0' * 48}00003", "type": "mcp_list_tools", "tools": []}


def test_a_result_that_there_is_no_room_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    state, _ = step(begun()._replace(left=200), SEARCHING)
    state, _ = step(state, SEARCHED._replace(members={"results": ["x" * 300]}))
    _, events = step(state, Ended(1))
    [item] = events[-1]["response"]["output"]
    assert (item["status"], "results" in item, events[-1]["type"]) == ("incomplete", False, "response.incomplete")


SMALL = st.text(max_size=3)
HAPPENINGS = st.one_of(
    SMALL.map(Said),
    SMALL.map(Refused),
    SMALL.map(Thought),
    st.builds(
        Called,
        st.integers(0, 3),
        st.just("c"),
        st.sampled_from(["", "f", "patch", "a__b", "look"]),
        st.sampled_from(["", "{", "}", "{}"]),
    ),
    st.builds(Spent, st.just({"total_tokens": 1})),
    st.builds(Stopped, st.sampled_from(["stop", "length", "tool_calls"])),
    st.builds(
        ToolBegun,
        st.integers(-1, 2),
        st.sampled_from(["file_search_call", "mcp_list_tools"]),
        st.just({"a": 1}),
        st.just(()),
    ),
    st.builds(
        ToolEnded,
        st.integers(-1, 2),
        st.sampled_from(["completed", "failed"]),
        st.just({"b": 2}),
        st.just((("mcp_call.completed", {}),)),
        st.sampled_from([(), (Source("file-1", "a.txt"),)]),
    ),
    st.just(Paused()),
)


@pytest.mark.parametrize("end", [Left(), Failed("server_error", "x")])
def test_what_is_open_at_an_end_that_is_none_of_the_answer_is_interrupted(end: Happening) -> None:
    called = ToolBegun(2, "mcp_call", {"name": "n", "arguments": "{}", "error": None, "output": None})
    state, _ = course(Begun(), SEARCHING, called, end)
    search, call = state.response()["output"]
    assert (search["status"], call["status"]) == ("failed", "failed")
    assert call["error"]["content"] == [{"type": "text", "text": "interrupted"}]
    state, _ = course(Begun(), Said("half"), ToolBegun(3, "mcp_list_tools", {"tools": []}), end)
    message, listing = state.response()["output"]
    assert (message["status"], "status" in listing) == ("incomplete", False)


@given(st.lists(HAPPENINGS, max_size=25), st.sampled_from([Ended(5), Failed("server_error", "x"), Left()]))
def test_every_course_is_one_that_clients_can_follow(happenings: list[Happening], end: Happening) -> None:
    _, events = course(Begun(), *happenings, end, Said("late"), Ended(6))
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert types(events)[:2] == ["created", "in_progress"]
    assert [event["type"] in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
    opened: dict[int, Any] = {}
    closed: dict[int, Any] = {}
    for event in events[2:-1]:
        place = event["output_index"]
        if event["type"] == "response.output_item.added":
            assert place == len(opened)
            opened[place] = event["item"]["id"]
        else:
            assert place in opened and place not in closed
            assert event.get("item_id", opened[place]) == opened[place]
        if event["type"] == "response.output_item.done":
            assert event["item"]["id"] == opened[place]
            closed[place] = event["item"]
    last = events[-1]["response"]
    assert [item["id"] for item in last["output"]] == [*opened.values()]
    if end == Ended(5):
        assert last["output"] == [closed[place] for place in sorted(closed)]
        assert last["output"]
    assert all(ahead <= behind for ahead, behind in pairwise(opened))
    _check_texts(events)


def _check_texts(events: list[dict[str, Any]]) -> None:
    """The pieces of every text make up the text that is told at its end."""
    pieces: dict[tuple[Any, ...], str] = {}
    for event in events:
        kind, what = event["type"].rpartition(".")[0], event["type"].rpartition(".")[2]
        key = (kind, event.get("item_id"), event.get("content_index"))
        if what == "delta":
            pieces[key] = pieces.get(key, "") + event["delta"]
        elif what == "done" and key in pieces:
            whole = next(event[name] for name in ("text", "refusal", "arguments", "input") if name in event)
            assert pieces[key] == whole
