"""Results of tools of this server: no caller is shown one, and nothing keeps it, before shields have let it pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE
from tests.support.mcp_server import McpStub, mcp_server, text, tool
from tests.support.responses_server import RESPONSES, events_of
from tests.support.safety_server import CONFIG, Guarded, guarded
from tests.support.serving import Answer
from tests.support.socket_client import opened

VECTORS = "{model_id: vectors, provider_id: far, model_type: embedding, metadata: {embedding_dimension: 8}}"
TEXT = CONFIG.replace(
    "      safety:\n",
    """\
      tool_runtime:
      - provider_id: mcp
        provider_type: remote::model-context-protocol
        config: {allowed_hosts: ["HOST"], allow_http: ["127.0.0.1"], allow_private: ["127.0.0.1"]}
      safety:
""",
    1,
).replace("    models:\n", f"    models:\n    - {VECTORS}\n    - {{model_id: free, provider_id: far}}\n", 1)
TEXT = TEXT.replace(
    "{model_id: gpt, provider_id: far}", "{model_id: gpt, provider_id: far}\n    - MASKED\n    - JUDGED"
)
TEXT = TEXT.replace("MASKED", "{model_id: masked, provider_id: far}").replace(
    "JUDGED", "{model_id: judged, provider_id: far}"
)
POLICY = """
        - permit: {actions: [read], resource: "model::far/gpt"}
          shields: [words]
        - permit: {actions: [read], resource: "model::far/masked"}
          shields: [aws]
        - permit: {actions: [read], resource: "model::far/judged"}
          shields: [small]
        - permit: {actions: [create, read, update, delete]}
"""
BAD = "here is a falcon"
ASKED: list[dict[str, Any]] = [
    {"model": "gpt"},
    {"model": "free", "guardrails": ["words"]},
    {"model": "free", "moderation": {"model": "words", "policy": {"input": {"mode": "block"}}}},
]


@pytest.fixture(scope="module")
def tools() -> Iterator[McpStub]:
    with mcp_server() as stub:
        yield stub


@pytest.fixture(scope="module")
def running(opa_binary: Path, tools: McpStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("returned")
    with guarded(opa_binary, folder, TEXT.replace("HOST", tools.url.split("/")[2]), POLICY) as server:
        yield server


@pytest.fixture
def stub(server: Guarded, tools: McpStub) -> McpStub:
    """The server of tools, which returns what no shield lets pass; the model calls it."""
    tools.reset()
    tools.results["look"] = text(BAD)
    calls(server, ("s__look", {}))
    return tools


def calls(server: Guarded, *made: tuple[str, Any]) -> None:
    server.judge.calls = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": dumps(arguments)}}
        for place, (name, arguments) in enumerate(made)
    ]


def mcp(stub: McpStub, **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "s", "server_url": stub.url, "require_approval": "never", **more}


def create(server: Guarded, *tools: Any, **more: Any) -> Answer:
    return server.post(RESPONSES, {"model": "gpt", "input": "hi", "tools": [*tools], **more})


def made(answer: Answer) -> Any:
    """The response, at the end of its events where it is a stream."""
    assert answer.status == 200, answer.body
    return events_of(answer.body)[-1]["response"] if answer.body.startswith(b"event") else answer.json


def is_withheld(server: Guarded, answer: Answer, kind: str = "mcp_call") -> Any:
    """The item of what was stopped: no byte of it is told, and nothing is kept of it."""
    response = made(answer)
    assert response["incomplete_details"] == {"reason": "content_filter"}
    assert response["output"][-1]["content"][0]["refusal"] == "a shield has stopped this text"
    kept = server.house.address.get(f"{RESPONSES}/{response['id']}", ALICE)
    assert kept.json["output"] == response["output"]
    for told in (answer.body, kept.body, dumps(server.judge.chats).encode()):
        assert b"falcon" not in told.lower()
    return next(item for item in response["output"] if item["type"] == kind)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_is_stopped_is_nowhere(server: Guarded, stub: McpStub, asked: dict[str, Any], stream: bool) -> None:
    answer = create(server, mcp(stub), stream=stream, **asked)
    item = is_withheld(server, answer)
    assert (item["status"], item["output"], len(stub.calls())) == ("failed", None, 1)
    assert len(server.judge.chats) == 1
    assert made(answer).get("moderation", {"input": {"flagged": True}})["input"]["flagged"]


@pytest.mark.parametrize(
    "result",
    [
        text(BAD, isError=True),
        text("fine", BAD),
        {"error": {"code": -32000, "message": BAD}},
        {"content": [], "structuredContent": {"deep": [{"falcon": 1}]}},
        text('{"a": "\\u0066alcon"}'),
        text("x " * 60_000 + BAD),
    ],
    ids=range(6),
)
def test_no_form_of_a_result_dodges(server: Guarded, stub: McpStub, result: Any) -> None:
    stub.results["look"] = result
    answer = create(server, mcp(stub), stream=True)
    assert is_withheld(server, answer)["status"] == "failed"
    assert b"0066" not in answer.body


@pytest.mark.parametrize("stream", [False, True])
def test_a_result_that_no_model_reads_is_checked(server: Guarded, stub: McpStub, stream: bool) -> None:
    own = {"type": "function", "name": "own", "parameters": {"type": "object", "properties": {}}}
    calls(server, ("own", {}), ("s__look", {}))
    response = is_withheld(server, create(server, mcp(stub), own, stream=stream))
    assert (response["output"], len(server.judge.chats)) == (None, 1)


def test_the_others_of_an_answer_pass(server: Guarded, stub: McpStub) -> None:
    calls(server, ("s__echo", {"text": "fine"}), ("s__look", {}), ("s__echo", {"text": "good"}))
    answer = create(server, mcp(stub), stream=True)
    is_withheld(server, answer)
    outputs = [item["output"] for item in made(answer)["output"] if item["type"] == "mcp_call"]
    assert outputs == ["fine", None, "good"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_approved_call_is_checked(server: Guarded, stub: McpStub, stream: bool) -> None:
    waiting = made(create(server, mcp(stub, require_approval="always")))
    request = waiting["output"][-1]
    given = [{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}]
    more = {"input": given, "previous_response_id": waiting["id"], "stream": stream}
    answer = create(server, mcp(stub, require_approval="always"), **more)
    assert is_withheld(server, answer)["status"] == "failed"
    assert (len(stub.calls()), len(server.judge.chats)) == (1, 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_a_list_of_tools_is_checked(server: Guarded, stub: McpStub, asked: dict[str, Any], stream: bool) -> None:
    schema = {"type": "object", "properties": {"falcon": {"type": "string"}}}
    for bad in (tool("look", description=BAD), tool("look", inputSchema=schema), tool("falcon")):
        stub.pages = [[bad]]
        item = is_withheld(server, create(server, mcp(stub), stream=stream, **asked), "mcp_list_tools")
        assert (item["tools"], item["error"]) == ([], "a shield has stopped this text")
    stub.pages = [[tool("look")]]
    stub.version = BAD
    response = made(create(server, mcp(stub, server_label=f"t{stream}"), stream=stream, **asked))
    assert "falcon" not in dumps(response)


def store_with(server: Guarded, words: str) -> str:
    identity = str(server.post("/v1/vector_stores", {"embedding_model": "vectors"}).json["id"])
    chunk = {"content": words, "chunk_id": "c1", "metadata": {"document_id": "d", "kind": words}}
    until, answer = time.monotonic() + 30, None
    while answer is None or (answer.status == 503 and time.monotonic() < until):
        # The index starts with the server.
        answer = server.post("/v1/vector-io/insert", {"vector_store_id": identity, "chunks": [chunk]})
    assert answer.status == 200, answer.body
    server.judge.chats.clear()
    return identity


@pytest.mark.parametrize("include", [[], ["file_search_call.results"]])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_search_finds_is_checked(server: Guarded, stub: McpStub, stream: bool, include: list[str]) -> None:
    identity = store_with(server, BAD)
    calls(server, ("file_search", {"queries": ["what"]}))
    search = {"type": "file_search", "vector_store_ids": [identity]}
    answer = create(server, search, stream=stream, include=include)
    item = is_withheld(server, answer, "file_search_call")
    assert (item["status"], item["results"]) == ("failed", None)
    shown = create(server, search, stream=stream, include=["file_search_call.results"], model="free")
    assert b"falcon" in shown.body


def test_background_and_conversations_keep_nothing_of_it(server: Guarded, stub: McpStub) -> None:
    conversation = server.post("/v1/conversations", {}).json["id"]
    is_withheld(server, create(server, mcp(stub), conversation=conversation))
    items = server.house.address.get(f"/v1/conversations/{conversation}/items", ALICE)
    assert b"falcon" not in items.body
    server.judge.chats.clear()
    begun = create(server, mcp(stub), background=True).json
    until = time.monotonic() + 30
    while (now := server.house.address.get(f"{RESPONSES}/{begun['id']}", ALICE)).json["status"] in (
        "queued",
        "in_progress",
    ):
        assert time.monotonic() < until
        assert b"falcon" not in now.body
        time.sleep(0.02)
    is_withheld(server, now)
    again = server.house.address.get(f"{RESPONSES}/{begun['id']}?stream=true", ALICE)
    assert b"falcon" not in again.body


def test_a_websocket_is_told_nothing_of_it(server: Guarded, stub: McpStub) -> None:
    with opened(server.house.address, ALICE) as socket:
        events = socket.response("hi", model="gpt", tools=[mcp(stub)])
    assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
    assert "falcon" not in dumps(events)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_masked_is_masked_for_everybody(server: Guarded, stub: McpStub, stream: bool) -> None:
    stub.results["look"] = text("write to ann@example.org")
    response = made(create(server, mcp(stub), model="masked", stream=stream))
    [item] = [item for item in response["output"] if item["type"] == "mcp_call"]
    assert (response["status"], item["status"], item["output"]) == ("completed", "completed", "write to {EMAIL}")
    assert "ann@example.org" not in dumps(server.judge.chats)
    identity = store_with(server, "write to ann@example.org")
    calls(server, ("file_search", {"queries": ["what"]}))
    search = {"type": "file_search", "vector_store_ids": [identity]}
    answer = create(server, search, include=["file_search_call.results"], model="masked", stream=stream)
    assert b"{EMAIL}" in answer.body
    assert b"ann@example.org" not in answer.body
    assert made(answer)["status"] == "completed"
    [told] = [message for message in server.judge.chats[-1]["messages"] if message["role"] == "tool"]
    assert loads(told["content"])["results"][0]["text"] == "write to {EMAIL}"


@pytest.mark.parametrize("stream", [False, True])
def test_a_shield_that_fails_shows_nothing(server: Guarded, stub: McpStub, stream: bool) -> None:
    def look(_: Any) -> Any:
        server.judge.answer = "I can't say"
        return text(BAD)

    stub.results["look"] = look
    answer = create(server, mcp(stub), model="judged", stream=stream)
    if stream:
        assert events_of(answer.body)[-1]["response"]["status"] == "failed"
    assert stream or answer.status == 503
    assert stub.calls()
    assert b"falcon" not in answer.body


def test_without_a_shield_nothing_is_held_back(server: Guarded, stub: McpStub) -> None:
    for asked in ({"model": "free"}, {"model": "free", "moderation": {"model": "words"}}):
        response = made(create(server, mcp(stub), **asked))
        assert [item["output"] for item in response["output"] if item["type"] == "mcp_call"] == [BAD]
