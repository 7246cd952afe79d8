"""Calls of tools over both transports: results, failures, sizes and times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from server.json_input.body_parser import BodyCheck
from server.json_input.reader import Reader
from server.json_input.strict import Json
from server.mcp import session as sessions_module
from server.mcp import transport as transport_module
from server.mcp import wire as wire_module
from server.mcp.faults import HttpFailed, McpFailed, ProtocolFailed
from server.mcp.messages import MOST_TOLD
from server.mcp.older import OlderHttp
from server.mcp.wire import MOST_MESSAGE, Server, Wire
from server.net.outbound import LONGEST_URL, Reach
from tests.support.mcp_client import ALICE, client
from tests.support.mcp_server import McpStub, mcp_server, text, tool
from tests.support.patience import PATIENCE


@pytest.fixture
def stub() -> Iterator[McpStub]:
    with mcp_server() as running:
        yield running


async def called(stub: McpStub, name: str, headers: dict[str, str] | None = None, **arguments: str) -> str:
    async with client(stub) as sessions, sessions.using(ALICE, Server(stub.url, headers or {})) as session:
        outcome = await session.call(name, arguments)
        return f"failed: {outcome.text}" if outcome.is_error else outcome.text


def outcome(stub: McpStub, name: str, headers: dict[str, str] | None = None, **arguments: str) -> str:
    return asyncio.run(called(stub, name, headers, **arguments))


@pytest.mark.parametrize("way", ["json", "events", "older"])
def test_each_transport_lists_and_calls(stub: McpStub, way: str) -> None:
    stub.as_events, stub.older = way == "events", way == "older"

    async def course() -> tuple[list[str], str]:
        async with client(stub) as sessions, sessions.using(ALICE, Server(stub.url, {})) as session:
            listing = await session.tools()
            return [each["name"] for each in listing.tools], (await session.call("echo", {"text": "hello"})).text

    assert asyncio.run(course()) == (["echo", "look"], "hello")
    assert [message["method"] for message in stub.posted] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
        "tools/call",
    ]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (text("a", "b"), "a\nb"),
        ({"content": []}, "[the tool has returned nothing]"),
        ({"content": [{"type": "text", "text": "  "}]}, "[the tool has returned nothing]"),
        ({"content": [], "structuredContent": {"n": 1}}, '{"n": 1}'),
        (text("x", structuredContent={"n": 1}), "x"),
        (text("no such city", isError=True), "failed: no such city"),
        (
            {"content": [{"type": "image", "data": "QUJD", "mimeType": "image/png"}]},
            "[image image/png, 3 bytes, which can't be passed on as text]",
        ),
        (
            {"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "words"}}]},
            "words",
        ),
        ({"content": [{"type": "hologram"}]}, "[hologram, which can't be passed on]"),
        ({"content": ["words"]}, "[a part of no type, which can't be passed on]"),
        ({}, "[the tool has returned nothing]"),
    ],
)
def test_a_result_is_told_whole_or_says_what_is_left_out(stub: McpStub, result: dict[str, object], told: str) -> None:
    stub.results["echo"] = result
    assert outcome(stub, "echo") == told


def test_a_long_text_is_cut_and_says_so(stub: McpStub) -> None:
    stub.results["echo"] = text("x" * (MOST_TOLD + 1))
    found = outcome(stub, "echo")
    assert len(found) < MOST_TOLD + 200
    assert found.endswith(f"[cut: the result has {MOST_TOLD + 1} bytes, and these are the first {MOST_TOLD}]")


@pytest.mark.parametrize("as_events", [False, True])
def test_an_answer_beyond_the_bound_is_a_failure(stub: McpStub, as_events: bool) -> None:
    stub.as_events = as_events
    stub.results["echo"] = text("x" * MOST_MESSAGE)
    with pytest.raises(McpFailed, match="more than 4194304 bytes"):
        outcome(stub, "echo")


def test_large_answers_wait_for_their_room_until_they_are_read(stub: McpStub, monkeypatch: pytest.MonkeyPatch) -> None:
    room = replace(wire_module.INCOMING, capacity=2 * 1024 * 1024, each=2 * 1024 * 1024)
    monkeypatch.setattr(wire_module, "INCOMING", room)
    stub.results["echo"] = text("x" * 1024 * 1024)
    held = list[int]()

    async def course() -> list[str]:
        async with client(stub) as sessions, sessions.using(ALICE, Server(stub.url, {})) as session:
            read = sessions.wire.read

            async def noted(raw: bytes, look: BodyCheck) -> Json:
                if len(raw) > 1024 * 1024:
                    held.append(sessions.wire.incoming_bytes)
                return await read(raw, look)

            monkeypatch.setattr(sessions.wire, "read", noted)
            return [each.text[-30:] for each in await asyncio.gather(*(session.call("echo", {}) for _ in range(6)))]

    assert len({*asyncio.run(course())}) == 1
    assert len(held) == 6
    assert all(1024 * 1024 < size <= room.capacity for size in held)


@pytest.mark.parametrize("status", [404, 500, 202, 307])
@pytest.mark.parametrize("as_events", [False, True])
def test_a_status_ends_the_call(stub: McpStub, status: int, as_events: bool) -> None:
    stub.as_events, stub.results["echo"] = as_events, status
    with pytest.raises(McpFailed) as failed:
        outcome(stub, "echo")
    assert failed.value.told()["type"] == "http_error"
    assert len(stub.calls()) == 1


@pytest.mark.parametrize(
    "answer", [b"", b"{", b"[]", b'{"jsonrpc":"2.0","id":3}', b'{"id":9,"result":{}}', b'{"a":1,"a":2}']
)
def test_an_odd_answer_ends_the_call(stub: McpStub, answer: bytes) -> None:
    stub.results["echo"] = answer
    with pytest.raises(McpFailed):
        outcome(stub, "echo")


def test_a_stream_that_ends_without_the_answer_ends_the_call(stub: McpStub) -> None:
    stub.as_events, stub.results["echo"] = True, None
    with pytest.raises(McpFailed, match="before it was complete"):
        outcome(stub, "echo")


def test_an_error_of_the_protocol_keeps_its_code(stub: McpStub) -> None:
    stub.results["echo"] = {"error": {"code": -32602, "message": "unknown\ntool"}}
    with pytest.raises(ProtocolFailed) as failed:
        outcome(stub, "echo")
    assert failed.value.told() == {"type": "mcp_protocol_error", "code": -32602, "message": "unknown tool"}


@pytest.mark.parametrize("way", ["json", "older"])
def test_a_tool_that_never_answers_is_given_up_and_cancelled(
    stub: McpStub, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "CALL_SECONDS", 0.2)
    stub.older = way == "older"
    stub.results["echo"] = lambda _: asyncio.sleep(0 if stub.older else 0.6)
    with pytest.raises(McpFailed, match="did not answer within"):
        outcome(stub, "echo")
    [call], [cancelled] = stub.asked("tools/call"), stub.asked("notifications/cancelled")
    assert cancelled["params"]["requestId"] == call["id"]


def test_questions_of_the_server_are_answered_without_doing_anything(stub: McpStub) -> None:
    stub.as_events = True
    stub.before = [
        {"jsonrpc": "2.0", "id": "p", "method": "ping"},
        {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}},
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}},
    ]
    assert outcome(stub, "echo", text="a") == "a"
    answers = {message["id"]: message for message in stub.posted if "method" not in message}
    assert answers["p"]["result"] == {}
    assert answers[7]["error"]["code"] == -32601


@pytest.mark.parametrize("older", [False, True])
def test_a_server_that_only_asks_is_ended(stub: McpStub, older: bool) -> None:
    stub.as_events, stub.older, stub.results["echo"] = not older, older, None
    stub.before = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(100)]
    with pytest.raises(McpFailed, match="asked more than 16 questions"):
        outcome(stub, "echo")


def test_an_unknown_version_is_refused(stub: McpStub) -> None:
    stub.version = "1999-01-01"
    with pytest.raises(McpFailed, match="speaks no version"):
        outcome(stub, "echo")
    assert not stub.calls()


def test_the_version_goes_along_once_it_is_agreed(stub: McpStub) -> None:
    stub.version = "2025-06-18"
    outcome(stub, "echo")
    assert [sent.get("mcp-protocol-version") for sent in stub.headers[:3]] == [None, "2025-06-18", "2025-06-18"]


def test_a_refusal_names_the_authorization(stub: McpStub) -> None:
    stub.wants = "Bearer right"
    with pytest.raises(HttpFailed, match="asks for another `authorization`"):
        outcome(stub, "echo", {"Authorization": "Bearer wrong"})
    assert outcome(stub, "echo", {"Authorization": "Bearer right"}, text="in") == "in"


def test_schemas_are_passed_on_whole(stub: McpStub) -> None:
    schema = {"$defs": {"a": {"type": "string"}}, "oneOf": [{"$ref": "#/$defs/a"}], "additionalProperties": False}
    stub.pages = [[tool("odd", inputSchema=schema)]]

    async def course() -> object:
        async with client(stub) as sessions, sessions.using(ALICE, Server(stub.url, {})) as session:
            return (await session.tools()).tools[0]["input_schema"]

    assert asyncio.run(course()) == schema


@pytest.mark.parametrize("way", ["events", "older"])
def test_a_stream_without_an_answer_is_bounded(stub: McpStub, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MOST_FLOW", 100_000)
    stub.as_events, stub.older = way == "events", way == "older"
    notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 10_000}}
    stub.before, stub.results["echo"] = [notice] * 20, None
    with pytest.raises(McpFailed, match="bytes without an answer"):
        outcome(stub, "echo")


def test_each_call_that_fails_with_its_session_has_a_fault_of_its_own(
    stub: McpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "MOST_FLOW", 100_000)
    stub.older = True
    notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 10_000}}
    stub.before, stub.results["echo"] = [notice] * 20, None

    async def course() -> list[object]:
        async with client(stub) as sessions, sessions.using(ALICE, Server(stub.url, {})) as session:

            async def both() -> list[object]:
                calls = (session.call("echo", {"text": "hello"}) for _ in range(2))
                return await asyncio.gather(*calls, return_exceptions=True)

            return [*await both(), *await both()]

    faults = asyncio.run(course())
    assert all(isinstance(fault, McpFailed) for fault in faults)
    assert len({*map(str, faults)}) == 1
    assert len({*map(id, faults)}) == len(faults)


@pytest.mark.parametrize(("more", "is_taken"), [(0, True), (1, False)])
def test_the_address_that_an_older_server_names_is_bounded(stub: McpStub, more: int, is_taken: bool) -> None:
    stub.older = True
    stub.points_to = "/" + "../" * 600 + "messages?stream=0&x="
    stub.points_to += "x" * (LONGEST_URL - len(stub.points_to) + more)

    async def course() -> None:
        reader = Reader()
        wire = Wire(Reach().with_endpoints([stub.url]), reader)
        async with wire.running():
            older = OlderHttp(wire, Server(stub.url, {}), lambda: None)
            try:
                await older.open(PATIENCE)
            finally:
                await older.close()
                await reader.close()

    if is_taken:
        asyncio.run(course())
        return
    with pytest.raises(McpFailed, match=f"an address of more than {LONGEST_URL} characters"):
        asyncio.run(course())
