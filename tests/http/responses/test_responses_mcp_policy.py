"""Servers of tools under policy: which are reached, what goes to them, and what of it is seen again."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, STRANGER, bearer
from tests.support.mcp_house import McpHouse, calls, mcp_house
from tests.support.mcp_server import text, tool
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES, responding
from tests.support.serving import request_of

SECRET = "canary-7d31c2"


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpHouse]:
    with mcp_house(opa_binary, tmp_path_factory.mktemp("policy")) as house:
        yield house


@pytest.fixture
def house(running: McpHouse) -> McpHouse:
    running.stub.reset()
    running.other.reset()
    return running


def test_a_server_that_the_policy_refuses_is_not_reached(house: McpHouse) -> None:
    for tools in ([house.tool()], [house.tool(), house.tool("b", server_url=house.other.url)]):
        assert house.create("hi", *tools, caller=STRANGER, store=False).status == 403
    assert not house.stub.headers and not house.other.headers


def test_a_tool_that_the_policy_refuses_is_neither_shown_nor_called(house: McpHouse) -> None:
    house.stub.pages = [[tool("echo"), tool("forbidden")]]
    house.stub.results["forbidden"] = text("done")
    response = house.made(calls(("s__forbidden", {}), ("s__echo", {"text": "x"})), house.tool())
    listed, failed, fine, message = response["output"]
    assert [each["name"] for each in listed["tools"]] == ["echo"]
    assert (failed["name"], failed["status"]) == ("forbidden", "failed")
    assert "no access to this tool" in failed["error"]["message"]
    assert (fine["output"], message["type"]) == ("x", "message")
    assert [call["name"] for call in house.stub.calls()] == ["echo"]


def test_a_refused_tool_is_refused_with_an_approval_too(house: McpHouse) -> None:
    house.stub.pages = [[tool("forbidden")]]
    response = house.made(calls(("s__forbidden", {})), house.tool(require_approval="always"))
    assert [item["type"] for item in response["output"]] == ["mcp_list_tools", "mcp_call", "message"]
    assert response["output"][1]["status"] == "failed"


@pytest.mark.parametrize(
    "url",
    [
        *("http://169.254.169.254/latest", "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://0/"),
        *("http://localhost.:8181/", "http://127.0.0.1:8181/v1/data", "file:///etc/passwd", "https://example.com/mcp"),
        *(
            "https://user:pw@tools.example.com/",
            "https://tools.example.com\\@evil/",
            "ftp://tools.example.com/",
            "x",
            "",
        ),
        *("http://metadata.google.internal/", "https://tools.example.com:5432/", "https://tools.example.com/#x"),
    ],
)
def test_an_address_that_is_not_reached_is_a_400(house: McpHouse, url: str) -> None:
    told = house.create("hi", house.tool(server_url=url))
    assert (told.status, told.error["param"]) == (400, "tools[0].server_url")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"server_label": "a b"}, "tools[0].server_label"),
        ({"server_label": "1"}, "tools[0].server_label"),
        ({"server_label": "a" * 65}, "tools[0].server_label"),
        ({"connector_id": "connector_gmail"}, "tools[0].server_url"),
        ({"server_url": None}, "tools[0].server_url"),
        ({"server_url": None, "connector_id": "connector_gmail"}, "tools[0].connector_id"),
        ({"tunnel_id": "tunnel_1"}, "tools[0].tunnel_id"),
        ({"allowed_callers": ["programmatic"]}, "tools[0].allowed_callers"),
        ({"allowed_tools": "echo"}, "tools[0].allowed_tools"),
        ({"allowed_tools": {}}, "tools[0].allowed_tools"),
        ({"allowed_tools": [1]}, "tools[0].allowed_tools"),
        ({"headers": {"Host": "evil"}}, "tools[0].headers"),
        ({"headers": {"mcp-session-id": "session-0"}}, "tools[0].headers"),
        ({"headers": {"a b": "c"}}, "tools[0].headers"),
        ({"headers": {"A": "x\r\nB: y"}}, "tools[0].headers"),
        ({"headers": {"A": "x", "a": "y"}}, "tools[0].headers"),
        ({"headers": {"Authorization": "Bearer x"}, "authorization": "y"}, "tools[0].headers"),
        ({"headers": {f"a{number}": "x" for number in range(40)}}, "tools[0].headers"),
        ({"headers": {"A": "x" * 20_000}}, "tools[0].headers"),
        ({"authorization": "two words"}, "tools[0].authorization"),
        ({"authorization": 1}, "tools[0].authorization"),
    ],
)
def test_what_can_not_be_meant_is_a_400(house: McpHouse, more: dict[str, Any], param: str) -> None:
    told = house.create("hi", house.tool(**more))
    assert (told.status, told.error["param"]) == (400, param)
    assert not house.stub.headers


def test_a_group_of_a_caller_is_no_way_past_the_rules_about_its_host(house: McpHouse) -> None:
    ask, intern = house.house.address.ask, bearer("intern")
    for caller, name, refused in ((intern, "mine", True), (ALICE, "hers", False)):
        group = {"toolgroup_id": name, "provider_id": "mcp", "mcp_endpoint": {"uri": house.stub.url}}
        assert ask("POST", "/v1/toolgroups", caller, body=group).status == 200
        by_name = house.tool(server_url=None, connector_id=name)
        before = len(house.stub.headers)
        assert house.create("hi", house.tool(), caller=caller, store=False).status == (403 if refused else 200)
        assert house.create("hi", by_name, caller=caller, store=False).status == (403 if refused else 200)
        listed = ask("GET", f"/v1/tools?toolgroup_id={name}", caller).json["data"]
        assert ([tool["name"] for tool in listed] == []) is refused
        assert (len(house.stub.headers) == before) is refused
    house.stub.pages = [[tool("forbidden"), tool("echo")]]
    listed = house.made("hi", house.tool(server_url=None, connector_id="hers"))["output"][0]
    assert [each["name"] for each in listed["tools"]] == ["echo"]


def test_a_label_is_that_of_one_server(house: McpHouse) -> None:
    told = house.create("hi", house.tool(), house.tool(server_url=house.other.url))
    assert (told.status, told.error["param"]) == (400, "tools[0].server_label")


def test_many_servers_are_refused(house: McpHouse) -> None:
    told = house.create("hi", *(house.tool(f"s{number}") for number in range(17)))
    assert (told.status, told.error["param"]) == (400, "tools")


def test_a_name_that_a_function_has_is_not_taken_by_a_tool(house: McpHouse) -> None:
    function = {"type": "function", "name": "s__echo", "parameters": {"type": "object"}}
    told = house.create("hi", function, house.tool())
    assert (told.status, told.error["param"]) == (400, "tools[1]")


def test_only_what_the_tool_says_goes_to_its_server(house: McpHouse) -> None:
    tools = [
        house.tool("a", authorization=SECRET, headers={"X-Team": "red"}),
        house.tool("b", server_url=house.other.url, headers={"Authorization": "Basic b"}),
    ]
    body = {"model": "small", "input": calls(("a__echo", {})), "tools": tools}
    more = ["Cookie: session=1", "X-Forwarded-For: 10.0.0.1", "OpenAI-Organization: o", "X-Custom: 1", ALICE]
    assert house.house.address.ask("POST", RESPONSES, *more, body=body).status == 200
    for stub, token in ((house.stub, f"Bearer {SECRET}"), (house.other, "Basic b")):
        assert stub.headers
        for sent in stub.headers:
            assert sent["authorization"] == token
            assert not sent.keys() & {"cookie", "x-forwarded-for", "openai-organization", "x-custom"}
    assert all(sent["x-team"] == "red" for sent in house.stub.headers)
    assert not any("x-team" in sent for sent in house.other.headers)


def test_secrets_are_not_seen_again(house: McpHouse, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    given = {"authorization": f"a-{SECRET}", "headers": {"X-Key": f"b-{SECRET}"}}
    secret = house.tool(**given, server_url=f"{house.stub.url}?key=c-{SECRET}")
    said = f"no such token: a-{SECRET}, key b-{SECRET}"
    for result in (text(said), text(said, isError=True), 500, {"error": {"code": 1, "message": said}}):
        house.stub.results["echo"] = result
        answer = house.create(calls(("s__echo", {})), secret)
        assert answer.status == 200
        assert SECRET.encode() not in answer.body
        [shown] = answer.json["tools"]
        assert shown["server_url"] == house.stub.url.removesuffix("/mcp")
        assert not shown.keys() & {"authorization", "headers"}
        got = house.house.address.ask("GET", f"{RESPONSES}/{answer.json['id']}", ALICE)
        assert SECRET.encode() not in got.body
    house.stub.pages = [[tool("echo", description=said)]]
    listed = house.create("hi", secret, tool_choice={**secret, "name": "echo"})
    assert SECRET.encode() not in listed.body
    assert listed.json["output"][0]["tools"][0]["description"] == "no such token: ********, key ********"
    house.stub.wants = "Bearer other"
    assert SECRET.encode() not in house.create("hi", secret).body
    assert any(sent.get("x-key") == f"b-{SECRET}" for sent in house.stub.headers)
    for file in Path(house.database).parent.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in caplog.text


def test_each_call_is_decided_once_more_and_logged_with_its_response(house: McpHouse) -> None:
    word = "canary-of-calls"  # the database keeps arguments, and another test looks into it for its own
    asked = house.create(calls(("s__echo", {"text": word})), house.tool(authorization=word))
    host = house.stub.url.split("/")[2]
    lines = house.house.log(asked.headers["x-request-id"])
    found = [(line["resource"], line["response_id"]) for line in lines if line.get("resource", "").startswith("tool")]
    # What is offered is one line for all tools of the server.
    asked_about = (f"tool_group::{host}", f"tool_group::{host}", f"tool::{host}/echo")
    assert found == [(resource, asked.json["id"]) for resource in asked_about]
    assert f"tool::{host}/look" in str(lines)
    assert word not in str(lines)


def test_a_caller_that_leaves_cancels_its_call_and_no_other(house: McpHouse) -> None:
    async def slow(given: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0.5 if given.get("text") == "a" else 30)
        return text("done")

    house.stub.results["echo"] = slow
    body = {"model": "small", "input": calls(("s__echo", {"text": "b"})), "tools": [house.tool()]}
    address = house.house.address
    with ThreadPoolExecutor(1) as pool:
        alice = pool.submit(house.made, calls(("s__echo", {"text": "a"})), house.tool())
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(request_of("POST", RESPONSES, BOB, body=body))
            until = time.monotonic() + PATIENCE
            while len(house.stub.calls()) < 2 and time.monotonic() < until:
                time.sleep(0.01)
        assert alice.result()["output"][1]["output"] == "done"
    while not house.stub.asked("notifications/cancelled") and time.monotonic() < until:
        time.sleep(0.01)
    [left] = [each["id"] for each in house.stub.asked("tools/call") if each["params"]["arguments"]["text"] == "b"]
    assert [each["params"]["requestId"] for each in house.stub.asked("notifications/cancelled")] == [left]


def test_no_two_principals_are_in_one_session(house: McpHouse) -> None:
    for caller in (ALICE, BOB, ALICE, BOB):
        house.made(calls(("s__echo", {})), house.tool(authorization="shared"), caller=caller)
    called = [message for message in house.stub.headers if "mcp-session-id" in message]
    assert len({sent["mcp-session-id"] for sent in called}) == 2


def test_without_a_provider_of_tools_there_are_none(opa_binary: Path, tmp_path: Path, house: McpHouse) -> None:
    with responding(opa_binary, tmp_path) as other:
        told = other.create("hi", tools=[house.tool()])
    assert (told.status, told.error["param"]) == (400, "tools[0]")
    assert not house.stub.headers
