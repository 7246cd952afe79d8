"""Rounds of a response: a scripted model calls tools of this server, which a test has in their place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from json import loads
from time import process_time
from typing import Any

import pytest

from server.api.responses import answering
from server.api.responses.answering import LEAST_HELD, Endings, RespondingChat
from server.api.responses.server_tools import rounds as subject
from server.api.responses.server_tools.keep_alive import KEEP_ALIVE
from server.api.responses.server_tools.rounds import MOST_ROUNDS, Counted, Rounds
from server.api.responses.server_tools.tool import Beginning, FirstCall, ToolSet
from server.api.responses.state import MOST_OUTPUT, State
from server.http.errors import ApiError
from server.inference.answers.model_name import QUICK
from server.inference.provider import ChatModel, ChatRequest
from server.json_input.strict import Json
from tests.support.model_process import until
from tests.support.patience import PATIENCE
from tests.support.scripted_tools import REQUEST, Model, Tool, said


@dataclass
class Course:
    """What has come of a response: the response, its events, and the items that the model was asked with each time."""

    shown: Json
    events: list[Json]
    asked: list[list[Json]]
    settings: list[Json]
    signs: int = 0


def run(
    answers: list[Json],
    tool: Tool,
    *,
    most: int | None = None,
    first: Sequence[FirstCall] = (),
    reason: str = "stop",
    streamed: bool = True,
    again: ApiError | None = None,
    counted: Counted = subject.uncounted,
) -> Course:
    """The course of a response; whole and streamed it is the same."""
    model, endings, found = Model([*answers], reason), Endings(counted), Course({}, [], [], [])
    tools = ToolSet(["f"])
    tools.add("look", tool, "tools[0]")
    tools.first = [*first]

    async def next_chat(items: Sequence[bytes], settings: Json) -> tuple[ChatModel, ChatRequest]:
        found.asked.append([loads(item) for item in items])
        found.settings.append(settings)
        if again is not None:
            raise again
        return model, REQUEST

    async def keep(state: State, _events: Sequence[Json]) -> None:
        found.shown = state.response()

    def settings(**known: Any) -> Json:
        return known

    async def go() -> None:
        rounds = Rounds(tools, next_chat, settings, endings.calls, endings.room, most, "req_1")
        state = State({"id": "resp_1", "model": ""}, ("0" * 48, 0), {})
        chat = RespondingChat(model, state, keep, 0, lambda: "p/m", endings, "req_1", rounds)
        if not streamed:
            await chat.complete(REQUEST)
            return
        events = await chat.stream(REQUEST)
        raw = b"".join([piece async for piece in events]).decode()
        await events.aclose()
        assert (endings.room.used, endings.calls.under_way.used) == (0, 0)
        found.signs = raw.count(KEEP_ALIVE.decode())
        found.events = [
            loads(text.partition("data: ")[2]) for text in raw.replace(KEEP_ALIVE.decode(), "").split("\n\n")[:-2]
        ]

    asyncio.run(go())
    return found


def outputs(items: Sequence[Json]) -> list[str]:
    return [item["output"] for item in items if item["type"] == "function_call_output"]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_model_is_told_what_its_calls_came_to(streamed: bool) -> None:
    tool = Tool()
    answers = [said("hm", ("look", "1"), ("look", "2")), said(None, ("look", "3")), said("done")]
    found = run(answers, tool, streamed=streamed)
    assert tool.called == ["1", "2", "3"]
    assert [item["type"] for item in found.asked[-1]] == [
        *("message", "function_call", "function_call", "function_call_output", "function_call_output"),
        *("function_call", "function_call_output"),
    ]
    assert outputs(found.asked[-1]) == ["result of 1", "result of 2", "result of 3"]
    assert [item["type"] for item in found.shown["output"]] == ["message", *["mcp_call"] * 3, "message"]
    assert (found.shown["usage"]["total_tokens"], found.shown["status"]) == (9, "completed")
    assert found.shown["output"][-1]["content"][0]["annotations"][0]["file_id"] == "file-1"
    assert [event["sequence_number"] for event in found.events] == [*range(len(found.events))]


def test_calls_of_one_answer_run_beside_each_other_within_a_bound() -> None:
    async def slow(arguments: str) -> str:
        for _ in range(4 * subject.AT_ONCE):
            await asyncio.sleep(0)
        return arguments

    tool = Tool(slow)
    run([said(None, *[("look", str(number)) for number in range(30)]), said("done")], tool)
    assert (len(tool.called), tool.most) == (30, subject.AT_ONCE)


def test_one_call_of_a_caller_begins_in_a_turn_of_the_event_loop() -> None:
    async def waits(arguments: str) -> str:
        nonlocal turns
        began.append(turns)
        for _ in range(4 * subject.AT_ONCE):
            await asyncio.sleep(0)
        return arguments

    async def counting() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def first(arguments: str) -> Any:
        nonlocal counter
        counter = counter or asyncio.ensure_future(counting())
        return waits(arguments)

    turns, began, counter = 0, list[int](), None
    run([said(None, *[("look", str(number)) for number in range(subject.AT_ONCE)]), said("done")], Tool(first))
    assert len({*began}) == subject.AT_ONCE


@pytest.mark.parametrize(("size", "most"), [(QUICK, subject.AT_ONCE), (QUICK + 1, 1)])
def test_one_call_with_long_arguments_is_told_of_in_a_turn_of_the_event_loop(size: int, most: int) -> None:
    turns, begun, counting = 0, list[int](), list[asyncio.Task[None]]()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Noting(Tool):
        def beginning(self, arguments: str) -> Beginning | None:
            if not counting:
                counting.append(asyncio.ensure_future(count()))
            begun.append(turns)
            return super().beginning(arguments)

    run([said(None, *[("look", "x" * size)] * subject.AT_ONCE), said("done")], Noting())
    assert max(Counter(begun[1:]).values()) <= most
    assert len(begun) == subject.AT_ONCE


def test_a_call_of_a_function_of_the_caller_ends_the_response() -> None:
    tool = Tool()
    found = run([said(None, ("f", "{}"), ("look", "{}"))], tool)
    assert [item["type"] for item in found.shown["output"]] == ["function_call", "mcp_call"]
    assert (tool.called, found.asked) == (["{}"], [])


def test_a_tool_can_end_the_response() -> None:
    found = run([said(None, ("look", "{}"))], Tool(ends=True))
    assert (found.asked, found.shown["status"]) == ([], "completed")


def test_no_more_calls_are_made_than_the_caller_allows() -> None:
    tool = Tool()
    found = run([said(None, ("look", "1"), ("look", "2")), said(None, ("look", "3")), said("done")], tool, most=1)
    assert tool.called == ["1"]
    assert [each["may_call"] for each in found.settings] == [False, False]
    # A chat needs an answer to each call.
    assert outputs(found.asked[-1]) == ["result of 1", subject._TOO_MANY, subject._TOO_MANY]
    assert found.shown["status"] == "completed"


def test_a_model_that_calls_without_end_is_asked_a_bounded_number_of_times() -> None:
    tool = Tool()
    found = run([said(None, ("look", "{}")) for _ in range(MOST_ROUNDS + 5)], tool)
    assert (len(tool.called), len(found.asked)) == (MOST_ROUNDS - 1, MOST_ROUNDS - 1)
    assert found.shown["status"] == "completed"
    assert not found.settings[-1]["may_call"]


def test_a_call_that_is_cut_off_is_not_made() -> None:
    tool = Tool()
    found = run([said(None, ("look", '{"a'))], tool, reason="length")
    assert (tool.called, found.shown["status"]) == ([], "incomplete")


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        (lambda _: asyncio.sleep(60), "has not answered within"),
        (lambda _: (_ for _ in ()).throw(ApiError(404, "there is no `x`")), "there is no `x`"),
        (lambda _: 1 / 0, "the server failed to answer"),
    ],
)
def test_a_tool_that_fails_fails_its_call_alone(
    monkeypatch: pytest.MonkeyPatch, does: Callable[[str], Any], sentence: str
) -> None:
    monkeypatch.setattr(subject, "CALL_SECONDS", 0.02)
    tool = Tool(lambda arguments: does(arguments) if arguments == "1" else "fine")
    found = run([said(None, ("look", "1"), ("look", "2")), said("done")], tool)
    first, second, _ = found.shown["output"]
    assert (first["status"], second["status"], second["output"]) == ("failed", "completed", "fine")
    assert sentence in first["error"]
    assert outputs(found.asked[0]) == [first["error"], "fine"]


def test_a_long_result_is_cut_where_everybody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST_TOLD", 100)
    monkeypatch.setattr(subject, "MOST_TOLD_IN_ALL", 150)
    tool = Tool(lambda _: "ä" * 60)
    found = run([said(None, ("look", "1"), ("look", "2")), said("done")], tool)
    one, other = outputs(found.asked[0])
    assert (one, other) == ("ä" * 50 + subject._CUT, "ä" * 25 + subject._CUT)
    assert found.shown["output"][-1]["content"][0]["annotations"] == []


@pytest.mark.parametrize("streamed", [False, True])
def test_approved_calls_come_before_the_model_is_asked(streamed: bool) -> None:
    tool = Tool()
    found = run([said("done")], tool, first=[FirstCall("look", "7", tool)], streamed=streamed)
    assert (tool.called, outputs(found.asked[0])) == (["7"], ["result of 7"])
    assert found.settings == [{"is_first": True, "may_call": True}]
    assert [item["type"] for item in found.shown["output"]] == ["mcp_call", "message"]


def test_a_next_round_that_is_refused_fails_the_response() -> None:
    found = run([said(None, ("look", "1"))], Tool(), again=ApiError(429, "no tokens are left"))
    assert found.shown["error"] == {"code": "rate_limit_exceeded", "message": "no tokens are left"}
    assert found.events[-1]["type"] == "response.failed"
    with pytest.raises(ApiError):
        run([said(None, ("look", "1"))], Tool(), again=ApiError(429, "no tokens are left"), streamed=False)


def test_results_that_there_is_no_room_for_fail_their_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    share = replace(answering.UNDER_WAY, capacity=LEAST_HELD + 1000, each=LEAST_HELD + 1000)
    monkeypatch.setattr(answering, "UNDER_WAY", share)
    tool = Tool(lambda arguments: "x" * int(arguments))
    found = run([said(None, ("look", "300"), ("look", "300"), ("look", "100")), said("done")], tool)
    calls = found.shown["output"][:-1]
    assert [call["status"] for call in calls] == ["completed", "failed", "completed"]
    assert outputs(found.asked[0]) == ["x" * 300, subject._NO_ROOM, "x" * 100]


def test_a_response_that_is_full_asks_its_model_no_more() -> None:
    tool = Tool(lambda _: "x" * MOST_OUTPUT)
    found = run([said(None, ("look", "1"))], tool)
    assert (found.asked, found.shown["status"]) == ([], "incomplete")
    assert "output" not in found.shown["output"][0]


def test_the_answers_of_a_response_share_its_tokens() -> None:
    state = State({"id": "resp_1"}, ("0" * 48, 0), {}, usage={"output_tokens": 30})
    for most, left in ((100, 70), (20, 1)):
        assert subject._less({"max_completion_tokens": most, "a": 1}, state) == {"max_completion_tokens": left, "a": 1}
    assert subject._less({"a": 1}, state) == {"a": 1}
    assert subject._less({"max_completion_tokens": 9}, state._replace(usage=None)) == {"max_completion_tokens": 9}


def test_a_client_that_leaves_ends_the_calls() -> None:
    async def go() -> None:
        tool, endings, tools = Tool(lambda _: asyncio.sleep(60)), Endings(), ToolSet()
        closed = asyncio.Event()
        tools.opened.callback(closed.set)
        tools.add("look", tool, "tools[0]")

        async def never(items: Sequence[bytes], settings: Json) -> tuple[ChatModel, ChatRequest]:
            raise AssertionError

        async def keep(state: State, _events: Sequence[Json]) -> None:
            raise AssertionError

        rounds = Rounds(tools, never, dict, endings.calls, endings.room, None, "req_1")
        state = State({"id": "resp_1", "model": ""}, ("0" * 48, 0), {})
        model = Model([said(None, ("look", "1"))])
        chat = RespondingChat(model, state, keep, 0, lambda: "p/m", endings, "req_1", rounds)
        events = await chat.stream(REQUEST)
        pieces = aiter(events)
        while b"in_progress" not in (piece := await anext(pieces)) or b"mcp_call" not in piece:
            continue
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        async with asyncio.timeout(PATIENCE):
            await events.aclose()
        assert (tool.under_way, endings.calls.under_way.used, closed.is_set()) == (0, 0, True)

    asyncio.run(go())


def test_a_response_that_is_cancelled_twice_leaves_no_room_and_no_session_behind() -> None:
    async def stubborn(arguments: str) -> str:
        if arguments == "quick":
            return "x" * 100
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            await may_end.wait()
            raise
        return arguments

    async def never(items: Sequence[bytes], settings: Json) -> tuple[ChatModel, ChatRequest]:
        raise AssertionError

    async def keep(state: State, _events: Sequence[Json]) -> None:
        raise AssertionError

    async def go() -> None:
        tool, endings, tools, closed = Tool(stubborn), Endings(), ToolSet(), asyncio.Event()
        tools.opened.callback(closed.set)
        tools.add("look", tool, "tools[0]")
        rounds = Rounds(tools, never, dict, endings.calls, endings.room, None, "req_1")
        state = State({"id": "resp_1", "model": ""}, ("0" * 48, 0), {})
        model = Model([said(None, ("look", "quick"), ("look", "slow"))])
        chat = RespondingChat(model, state, keep, 0, lambda: "p/m", endings, "req_1", rounds)
        answering = asyncio.ensure_future(chat.complete(REQUEST))
        await until(lambda: endings.room.used > LEAST_HELD)
        for _ in range(2):
            answering.cancel()
            await asyncio.sleep(0.001)
        await asyncio.wait([answering])
        assert (endings.room.used, closed.is_set()) == (0, True)
        may_end.set()
        await until(lambda: not endings.calls.under_way.used)

    may_end = asyncio.Event()
    asyncio.run(go())


def test_names_of_tools_are_told_apart() -> None:
    tools = ToolSet(["f"])
    tools.add("look", Tool(), "tools[1]")
    for name in ("f", "look"):
        with pytest.raises(ApiError) as refusal:
            tools.add(name, Tool(), "tools[2]")
        assert refusal.value.param == "tools[2]"


@pytest.mark.alone
def test_a_call_costs_less_than_a_millisecond() -> None:
    """What the loop does for a call, without the policy's answers and the tool's own work."""

    def seconds(calls: int) -> float:
        began = process_time()
        run([said(None, *[("look", "{}")] * calls), said("done")], Tool())
        return process_time() - began

    seconds(1)
    assert min(seconds(65) - seconds(1) for _ in range(5)) / 64 < 0.001
