"""Servers of tools in the other ways that a response can go: conversations, the background, counting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE
from tests.support.databases import rows
from tests.support.mcp_house import McpHouse, calls, mcp_house
from tests.support.mcp_server import text
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES, events_of


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpHouse]:
    with mcp_house(opa_binary, tmp_path_factory.mktemp("ways")) as house:
        yield house


@pytest.fixture
def house(running: McpHouse) -> McpHouse:
    running.stub.reset()
    running.other.reset()
    return running


ASKED = calls(("s__echo", {"text": "x"}))


def finished(house: McpHouse, identity: str) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        response = house.house.address.ask("GET", f"{RESPONSES}/{identity}", ALICE).json
        if response["status"] not in ("queued", "in_progress"):
            return response
        time.sleep(0.02)
    raise AssertionError("the response does not end")


def test_a_conversation_carries_a_listing_and_an_approval(house: McpHouse) -> None:
    made = house.house.address.post("/v1/conversations", {}, ALICE)
    conversation = made.json["id"]
    first = house.made(ASKED, house.tool(require_approval="always"), conversation=conversation)
    request = first["output"][-1]
    assert request["type"] == "mcp_approval_request"
    answer = [{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}]
    done = house.made(answer, house.tool(require_approval="always"), conversation=conversation)
    assert [item["type"] for item in done["output"]] == ["mcp_call", "message"]
    assert house.create(answer, house.tool(), conversation=conversation).status == 400
    assert len(house.stub.calls()) == 1


def test_tools_are_called_in_the_background(house: McpHouse) -> None:
    begun = house.made(ASKED, house.tool(), background=True)
    done = finished(house, begun["id"])
    assert [item["type"] for item in done["output"]] == ["mcp_list_tools", "mcp_call", "message"]
    assert house.stub.calls() == [{"name": "echo", "arguments": {"text": "x"}}]
    # Its input and its output, and nothing of what was kept until then.
    left = f"SELECT count(*) FROM answers_parts WHERE parent = '{done['id']}'"  # noqa: S608 - a test
    assert rows(house.database, left)[0][0] == 2


def test_what_tools_have_done_is_shown_and_stays_when_a_response_is_cancelled(house: McpHouse) -> None:
    async def slow(given: dict[str, Any]) -> Any:
        await asyncio.sleep(30 if given["text"] == "slow" else 0)
        return text("done")

    house.stub.results["echo"] = slow
    again = loads(calls(("s__echo", {"text": "slow"})))["echo"]
    identity = house.made(calls(("s__echo", {"text": "x"}), then=again), house.tool(), background=True)["id"]
    until = time.monotonic() + PATIENCE
    while len(house.stub.calls()) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    shown = house.house.address.ask("GET", f"{RESPONSES}/{identity}", ALICE).json
    assert (shown["status"], [item.get("status") for item in shown["output"]]) == (
        "in_progress",
        [None, "completed", "in_progress"],
    )
    cancelled = house.house.address.ask("POST", f"{RESPONSES}/{identity}/cancel", ALICE).json
    assert (cancelled["status"], cancelled["output"][:2]) == ("cancelled", shown["output"][:2])
    listed, first, second = cancelled["output"]
    assert (listed["type"], [tool["name"] for tool in listed["tools"]]) == ("mcp_list_tools", ["echo", "look"])
    assert (first["status"], first["output"], first["error"]) == ("completed", "done", None)
    assert (second["status"], second["output"], second["arguments"]) == ("failed", None, '{"text":"slow"}')
    assert second["error"] == {
        "type": "mcp_tool_execution_error",
        "content": [{"type": "text", "text": "interrupted"}],
    }
    assert house.house.address.ask("GET", f"{RESPONSES}/{identity}", ALICE).json == cancelled
    # The next response is told what was done.
    later = house.made("and?", previous_response_id=identity)
    assert later["status"] == "completed"


def test_what_tools_have_done_stays_when_the_model_fails_then(house: McpHouse) -> None:
    asked = calls(("s__echo", {"text": "x"}), then={"error": {"status": 500}})
    failed = finished(house, house.made(asked, house.tool(), background=True)["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    # The first answer was charged.
    assert failed["usage"]["input_tokens"] > 0
    assert [(item["type"], item.get("output")) for item in failed["output"]] == [
        ("mcp_list_tools", None),
        ("mcp_call", "x"),
    ]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"authorization": "canary"}, "tools[0].headers"),
        ({"headers": {"X-Key": "canary"}}, "tools[0].headers"),
        ({"server_url": "?key=canary"}, "tools[0].server_url"),
    ],
)
def test_no_secret_is_kept_for_the_background(house: McpHouse, more: dict[str, Any], param: str) -> None:
    if "server_url" in more:
        more = {"server_url": f"{house.stub.url}{more['server_url']}"}
    told = house.create(ASKED, house.tool(**more), background=True)
    assert (told.status, told.error["param"]) == (400, param)


def test_tokens_of_tools_are_counted_and_nothing_is_called(house: McpHouse) -> None:
    body = {"model": "small", "input": ASKED, "tools": [house.tool()]}
    counted = house.house.address.ask("POST", f"{RESPONSES}/input_tokens", ALICE, body=body)
    assert counted.json["input_tokens"] > 0
    assert len(house.stub.asked("tools/list")) == 1
    assert not house.stub.calls()


def test_approvals_count_as_calls(house: McpHouse) -> None:
    first = house.made(ASKED, house.tool(require_approval="always"))
    answer = [{"type": "mcp_approval_response", "approval_request_id": first["output"][-1]["id"], "approve": True}]
    more = {"previous_response_id": first["id"], "max_tool_calls": 1}
    done = house.made([*answer, {"role": "user", "content": ASKED}], house.tool(), **more)
    assert [item["type"] for item in done["output"]].count("mcp_call") == 1


OWN = {"type": "function", "name": "own", "parameters": {"type": "object", "properties": {}}}


def only(*tools: dict[str, Any], mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [*tools]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("approval", ["never", "always"])
@pytest.mark.parametrize(
    "choice",
    [
        "none",
        only({"type": "mcp", "server_label": "s", "name": "look"}),
        only({"type": "function", "name": "own"}),
        only({"type": "mcp", "server_label": "other"}, mode="required"),
        {"type": "mcp", "server_label": "s", "name": "look"},
        {"type": "function", "name": "own"},
    ],
    ids=str,
)
def test_a_tool_that_is_not_chosen_is_not_called(house: McpHouse, choice: Any, approval: str, stream: bool) -> None:
    house.stub.posted.clear()
    tool = house.tool(require_approval=approval)
    made = house.create(calls(("s__echo", {"text": "x"})), tool, OWN, tool_choice=choice, stream=stream)
    assert made.status == 200, made.body
    response = events_of(made.body)[-1]["response"] if stream else made.json
    [call] = [item for item in response["output"] if item["type"].startswith("mcp_") and item.get("name") == "echo"]
    assert (call["type"], call["status"], house.stub.calls()) == ("mcp_call", "failed", [])
    assert "`tool_choice`" in call["error"]["message"]
    assert response["status"] == "completed"


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "required",
        only({"type": "mcp", "server_label": "s"}),
        {"type": "mcp", "server_label": "s", "name": "echo"},
        {"type": "mcp", "server_label": "s"},
    ],
    ids=str,
)
def test_a_tool_that_is_chosen_is_called(house: McpHouse, choice: Any) -> None:
    house.stub.posted.clear()
    house.made(calls(("s__echo", {"text": "x"})), house.tool(), OWN, tool_choice=choice)
    assert len(house.stub.calls()) == 1
