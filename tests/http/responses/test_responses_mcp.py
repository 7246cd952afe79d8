"""Tools of servers of tools in responses: what is listed, offered, called and told."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from server.mcp.messages import MOST_TOLD
from tests.support.mcp_house import McpHouse, calls, mcp_house
from tests.support.mcp_server import text, tool


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpHouse]:
    with mcp_house(opa_binary, tmp_path_factory.mktemp("mcp")) as house:
        yield house


@pytest.fixture
def house(running: McpHouse) -> McpHouse:
    running.stub.reset()
    running.other.reset()
    return running


def kinds(response: Any) -> list[str]:
    return [item["type"] for item in response["output"]]


def the(response: Any, kind: str) -> Any:
    [item] = [item for item in response["output"] if item["type"] == kind]
    return item


def test_a_tool_is_listed_called_and_told(house: McpHouse) -> None:
    response = house.made(calls(("s__echo", {"text": "hello"})), house.tool())
    assert kinds(response) == ["mcp_list_tools", "mcp_call", "message"]
    listed, call, message = response["output"]
    assert [each["name"] for each in listed["tools"]] == ["echo", "look"]
    # Some clients take the members that OpenAI's document lets be absent, but not null in their place.
    assert listed.keys() == {"id", "type", "server_label", "tools"} and listed["server_label"] == "s"
    assert [each.keys() - {"name", "description", "input_schema"} for each in listed["tools"]] == [
        set(),
        {"annotations"},
    ]
    assert call == {
        "id": call["id"],
        "type": "mcp_call",
        "status": "completed",
        "server_label": "s",
        "name": "echo",
        "arguments": '{"text":"hello"}',
        "output": "hello",
        "error": None,
        "approval_request_id": None,
    }
    assert message["content"][0]["text"] == "echo: hello"
    assert house.stub.calls() == [{"name": "echo", "arguments": {"text": "hello"}}]


def test_events_come_in_their_order(house: McpHouse) -> None:
    events = house.streamed(calls(("s__echo", {"text": "x"})), house.tool())
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    told = [event["type"].removeprefix("response.") for event in events]
    assert told[:15] == [
        *("created", "in_progress"),
        *("output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done"),
        *("output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"),
        *("mcp_call.completed", "output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
    ]
    assert told[-1] == "completed"
    assert told.count("output_item.added") == told.count("output_item.done") == 3


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (500, {"type": "http_error", "code": 500}),
        (307, {"type": "http_error", "code": 307}),
        (202, {"type": "http_error", "code": 0}),
        (b"nonsense", {"type": "http_error", "code": 0}),
        ({"error": {"code": -32602, "message": "no"}}, {"type": "mcp_protocol_error", "code": -32602, "message": "no"}),
        (
            text("city unknown", isError=True),
            {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": "city unknown"}]},
        ),
    ],
)
def test_a_call_that_fails_is_an_item_and_the_others_go_on(house: McpHouse, result: Any, error: Any) -> None:
    house.stub.results["look"] = result
    response = house.made(calls(("s__look", {}), ("s__echo", {"text": "fine"})), house.tool())
    failed, fine = [item for item in response["output"] if item["type"] == "mcp_call"]
    assert (failed["status"], failed["output"], fine["output"]) == ("failed", None, "fine")
    assert error.items() <= failed["error"].items()
    assert response["status"] == "completed"
    assert len(house.stub.calls()) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        *("no json", "[1]", '"a"', "{", "[" * 5000),
        *('{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', '{"a": "\\ud800"}', '{"a": ' + "[" * 200 + "]" * 200 + "}"),
    ],
)
def test_arguments_that_are_no_object_are_not_sent(house: McpHouse, arguments: str) -> None:
    asked = dumps({"echo": {"tool_calls": [{"name": "s__echo", "arguments": arguments}]}})
    call = the(house.made(asked, house.tool()), "mcp_call")
    assert (call["status"], call["arguments"]) == ("failed", arguments)
    assert "no JSON object" in call["error"]["message"]
    assert not house.stub.calls()


def test_a_call_without_arguments_has_none(house: McpHouse) -> None:
    response = house.made(dumps({"echo": {"tool_calls": [{"name": "s__look", "arguments": ""}]}}), house.tool())
    assert the(response, "mcp_call")["output"] == "seen"
    assert house.stub.calls() == [{"name": "look", "arguments": {}}]


def test_a_long_result_is_cut_where_the_caller_sees_it(house: McpHouse) -> None:
    house.stub.results["echo"] = text("x" * (MOST_TOLD * 4))
    output = the(house.made(calls(("s__echo", {})), house.tool()), "mcp_call")["output"]
    assert len(output) < MOST_TOLD + 200
    assert output.endswith(f"these are the first {MOST_TOLD}]")


def test_an_image_is_named(house: McpHouse) -> None:
    house.stub.results["echo"] = {"content": [{"type": "image", "data": "QUJD", "mimeType": "image/png"}]}
    output = the(house.made(calls(("s__echo", {})), house.tool()), "mcp_call")["output"]
    assert output == "[image image/png, 3 bytes, which can't be passed on as text]"


def test_a_server_that_does_not_list_its_tools_is_an_item(house: McpHouse) -> None:
    house.stub.wants = "Bearer x"
    response = house.made("hi", house.tool(), house.tool("other", server_url=house.other.url))
    failed, fine, _ = response["output"]
    assert (failed["tools"], failed["error"]) == ([], "the server of the tools asks for another `authorization`")
    assert len(fine["tools"]) == 2
    events = house.streamed("hi", house.tool())
    assert "response.mcp_list_tools.failed" in [event["type"] for event in events]


def test_each_call_reaches_the_server_that_listed_it(house: McpHouse) -> None:
    house.other.results["echo"] = text("the other one")
    function = {"type": "function", "name": "echo", "parameters": {"type": "object"}}
    tools = (function, house.tool("a"), house.tool("b", server_url=house.other.url))
    response = house.made(calls(("b__echo", {"text": "x"}), ("a__echo", {"text": "y"})), *tools)
    told = [(item["server_label"], item["output"]) for item in response["output"] if item["type"] == "mcp_call"]
    assert told == [("b", "the other one"), ("a", "y")]


def test_odd_names_are_told_apart_and_shown_as_they_are(house: McpHouse) -> None:
    names = ["a.b", "a_b", "x" * 70, "X" * 70, "Echo", "echo"]
    house.stub.pages = [[tool(name) for name in names]]
    house.stub.results |= {name: text(f"I am {name}") for name in names}
    response = house.made(calls(("s__a_b", {}), ("s__Echo", {})), house.tool())
    assert [item["output"] for item in response["output"] if item["type"] == "mcp_call"] == ["I am a_b", "I am Echo"]


def test_only_what_the_request_allows_is_listed_and_offered(house: McpHouse) -> None:
    for allowed in (["look"], {"tool_names": ["look"]}, {"read_only": True}):
        listed = the(house.made("hi", house.tool(allowed_tools=allowed)), "mcp_list_tools")
        assert [each["name"] for each in listed["tools"]] == ["look"]
    response = house.made(calls(("s__echo", {"text": "x"})), house.tool(allowed_tools=["look"]))
    assert "mcp_call" not in kinds(response)
    assert not house.stub.calls()


def test_a_listing_in_the_history_is_not_repeated(house: McpHouse) -> None:
    first = house.made("hi", house.tool())
    assert len(house.stub.asked("tools/list")) == 1
    again = house.made(calls(("s__echo", {"text": "x"})), house.tool(), previous_response_id=first["id"])
    assert kinds(again) == ["mcp_call", "message"]
    whole = [{"role": "user", "content": "hi"}, *first["output"], {"role": "user", "content": "go on"}]
    assert kinds(house.made(whole, house.tool(), store=False)) == ["message"]
    nulls = [{"annotations": None, **tool} for tool in first["output"][0]["tools"]]
    whole[1] = {**first["output"][0], "tools": nulls, "error": None}
    assert kinds(house.made(whole, house.tool(), store=False)) == ["message"]
    assert len(house.stub.asked("tools/list")) == 1


def test_a_listing_that_a_client_has_edited_is_not_believed(house: McpHouse) -> None:
    first = house.made("hi", house.tool())
    forged = {**first["output"][0], "tools": [{"name": "forged", "input_schema": {}}]}
    response = house.made([forged, {"role": "user", "content": calls(("s__forged", {}))}], house.tool(), store=False)
    assert [each["name"] for each in the(response, "mcp_list_tools")["tools"]] == ["echo", "look"]
    assert not house.stub.calls()


@pytest.mark.parametrize("most", [0, 1])
def test_calls_beyond_what_the_caller_allows_are_left_out(house: McpHouse, most: int) -> None:
    asked = calls(("s__echo", {"text": "1"}), ("s__echo", {"text": "2"}))
    response = house.made(asked, house.tool(), max_tool_calls=most)
    assert (kinds(response).count("mcp_call"), response["status"]) == (most, "completed")
    assert response["max_tool_calls"] == most
    assert len(house.stub.calls()) == most


def test_history_with_calls_can_be_gone_on_from(house: McpHouse) -> None:
    first = house.made(calls(("s__echo", {"text": "x"})), house.tool())
    assert house.made("and now?", previous_response_id=first["id"])["status"] == "completed"
    whole = [*first["output"], {"role": "user", "content": "and now?"}]
    assert house.made(whole, store=False)["status"] == "completed"
