"""Calls of tools by models of Bedrock, and their results, in front of the stub."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.bedrock_server import Chatting
from tests.support.bedrock_stub import Event

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "ids",
    [
        ("functions.Bash:0", "functions.Bash:1"),
        ("a|b", "a_b"),
        ("a.b", "a_b"),
        ("x" * 300, "x" * 299),
        ("", "y"),
        ("z", "z"),
    ],
)
def test_ids_of_another_provider_stay_paired_and_apart(ids: tuple[str, str], running: Chatting) -> None:
    calls = [{"id": one, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for one in ids]
    results = [{"role": "tool", "tool_call_id": one, "content": f"result {place}"} for place, one in enumerate(ids)]
    turn = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    # The same ids come again in a later turn.
    answer = running.chat(*turn, *turn, {"role": "user", "content": "and?"}, tools=[TOOL])
    assert answer.status == 200, answer.body
    used, answered = list[str](), list[str]()
    for message in running.stub.body["messages"]:
        used += [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        answered += [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
    assert used == answered
    assert len({*used}) == 4


def test_results_of_parallel_calls_are_one_turn_in_the_order_of_the_calls(running: Chatting) -> None:
    calls = [{"id": one, "type": "function", "function": {"name": "weather", "arguments": '{"at":1}'}} for one in "ab"]
    answer = running.chat(
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "wait", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "b", "content": "second"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "first"}]},
        {"role": "user", "content": "and?"},
        tools=[TOOL],
    )
    assert answer.status == 200, answer.body
    assert running.stub.body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"text": "wait"},
                {"toolUse": {"toolUseId": "a", "name": "weather", "input": {"at": 1}}},
                {"toolUse": {"toolUseId": "b", "name": "weather", "input": {"at": 1}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "a", "content": [{"text": "first"}]}},
                {"toolResult": {"toolUseId": "b", "content": [{"text": "second"}]}},
                {"text": "and?"},
            ],
        },
    ]


CALLS: list[Event] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "let me see"}}),
    ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"at"'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": ":1}"}}}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t2", "name": "weather"}}}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}),
]


@pytest.mark.parametrize("more", [{"tools": [TOOL], "tool_choice": "none"}, {}])
def test_withheld_tools_are_told_for_the_history_and_not_called(more: dict[str, Any], running: Chatting) -> None:
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
    ]
    running.stub.events = CALLS
    use = {"toolUse": {"toolUseId": "t", "name": "weather", "input": {}}}
    running.stub.whole["output"] = {"message": {"role": "assistant", "content": [{"text": "no"}, use]}}
    running.stub.whole["stopReason"] = "tool_use"
    answer = running.chat(*history, **more)
    assert answer.status == 200, answer.body
    assert running.stub.body["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]
    }
    [choice] = answer.json["choices"]
    assert (choice["finish_reason"], choice["message"]) == ("stop", {"role": "assistant", "content": "no"})
    chunks = running.chunks(*history, **more)
    assert not any("tool_calls" in choice["delta"] for chunk in chunks for choice in chunk["choices"])
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("reason", "meant"), [("tool_use", "tool_calls"), ("end_turn", "tool_calls"), ("max_tokens", "length")]
)
def test_calls_of_tools_come_as_calls(reason: str, meant: str, running: Chatting) -> None:
    running.stub.events = [*CALLS[:-2], ("messageStop", {"stopReason": reason}), CALLS[-1]]
    chunks = running.chunks(tools=[TOOL])
    pieces = [
        piece for chunk in chunks for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", [])
    ]
    assert [(piece["index"], piece.get("id")) for piece in pieces] == [(0, "t1"), (0, None), (0, None), (1, "t2")]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"at":1}'
    assert chunks[-2]["choices"][0]["finish_reason"] == meant
    uses = [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"at": 1}}}, {"text": "let me see"}]
    running.stub.whole |= {"output": {"message": {"role": "assistant", "content": uses}}, "stopReason": reason}
    [choice] = running.chat(tools=[TOOL]).json["choices"]
    assert choice["finish_reason"] == meant
    assert choice["message"] == {
        "role": "assistant",
        "content": "let me see",
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"at":1}'}}],
    }


def test_a_call_without_an_id_gets_one_and_without_a_name_fails(running: Chatting) -> None:
    use: dict[str, Any] = {"name": "weather", "input": {}}
    for has_name in (True, False):
        start = {"toolUse": {"name": "weather"} if has_name else {"toolUseId": "t"}}
        running.stub.events = [CALLS[0], ("contentBlockStart", {"contentBlockIndex": 0, "start": start}), *CALLS[-2:]]
        whole_use = use if has_name else {"toolUseId": "t", "input": {}}
        running.stub.whole["output"] = {"message": {"role": "assistant", "content": [{"toolUse": whole_use}]}}
        answer = running.chat(tools=[TOOL])
        streamed = running.chat(tools=[TOOL], stream=True).body
        if has_name:
            assert answer.json["choices"][0]["message"]["tool_calls"][0]["id"].startswith("call_")
            assert b'"id":"call_' in streamed
        else:
            assert answer.status == 502
            assert b'"error"' in streamed
            assert b"[DONE]" not in streamed
