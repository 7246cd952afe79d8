"""Chats with models of Bedrock through the server, by OpenAI's SDK, in front of a stub that boto3 has judged."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from openai import OpenAI

from tests.support.bedrock_server import BY_KEY, BY_SIGNATURE, CLAUDE, Chatting, chatting
from tests.support.bedrock_stub import IDENTITY, REGION, SECRET, TOKEN, WHOLE, bedrock, model_of

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def test_the_stub_is_what_boto3_takes_for_bedrock() -> None:
    with bedrock() as stub:
        client = boto3.client(
            "bedrock-runtime",
            region_name=REGION,
            endpoint_url=stub.url,
            aws_access_key_id=IDENTITY,
            aws_secret_access_key=SECRET,
            aws_session_token=TOKEN,
            config=BotoConfig(retries={"max_attempts": 1}),
        )
        asked: dict[str, Any] = {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
        assert client.converse(**asked)["output"] == WHOLE["output"]
        assert next([*event] for event in client.converse_stream(**asked)["stream"]) == ["messageStart"]
        assert {model_of(path) for path, _ in stub.asked} == {CLAUDE}
        stub.events = [("throttlingException", {"message": "slower"})]
        with pytest.raises(ClientError, match="slower"):
            [*client.converse_stream(**asked)["stream"]]
        stub.refusal = (429, "ThrottlingException", "slower")
        with pytest.raises(client.exceptions.ThrottlingException):
            client.converse(**asked)
        stub.identity = "another"
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            client.converse(**asked)


@pytest.mark.parametrize("settings", [BY_KEY, BY_SIGNATURE])
def test_the_sdk_chats_and_streams(settings: str, tmp_path: Path) -> None:
    with chatting(tmp_path, settings) as running:
        client = OpenAI(base_url=f"{running.address.url}/v1", api_key="alice", max_retries=0)
        asked: list[Any] = [{"role": "system", "content": "short"}, {"role": "user", "content": "hi"}]
        with client:
            answer = client.chat.completions.create(model="p/claude", messages=asked, max_completion_tokens=9)
            assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello", "stop")
            assert answer.usage is not None
            assert answer.usage.total_tokens == 5
            assert answer.model == f"p/{CLAUDE}"
            chunks = [*client.chat.completions.create(model="p/claude", messages=asked, stream=True)]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
            assert chunks[-1].choices[0].finish_reason == "stop"
            of_openai = client.chat.completions.create(model="p/gpt", messages=asked)
            assert of_openai.choices[0].message.content == "from openai"
        path = f"/model/{CLAUDE.replace(':', '%3A')}/converse"
        assert [path for path, _ in running.stub.asked] == [path, f"{path}-stream", "/openai/v1/chat/completions"]
        body = running.stub.asked[0][1]
        assert body == {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "system": [{"text": "short"}],
            "inferenceConfig": {"maxTokens": 9},
        }
        proof = "Bearer " if settings == BY_KEY else "AWS4-HMAC-SHA256 "
        assert all(headers["authorization"].startswith(proof) for headers in running.stub.headers)
        assert all(headers["accept-encoding"] == "identity" for headers in running.stub.headers)


@pytest.mark.parametrize(
    ("chat_api", "model", "path"),
    [
        ("converse", "gpt", "/model/us.openai.gpt-oss-120b-1%3A0/converse"),
        ("openai", "claude", "/openai/v1/chat/completions"),
    ],
)
def test_the_setting_chooses_the_api(chat_api: str, model: str, path: str, tmp_path: Path) -> None:
    with chatting(tmp_path, f"{BY_KEY}, chat_api: {chat_api}") as running:
        assert running.chat(model=f"p/{model}").status == 200
        assert running.stub.asked[0][0] == path


def test_blanks_leave_no_block_behind(running: Chatting) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    for empty in ("", " ", [], [{"type": "text", "text": ""}], None):
        answer = running.chat(
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": empty, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": empty},
            {"role": "user", "content": empty},
            tools=[TOOL],
        )
        assert answer.status == 200, answer.body
        sent = running.stub.body["messages"]
        assert [block for block in sent[1]["content"] if "text" in block] == []
        assert sent[2]["content"] == [{"toolResult": {"toolUseId": "c1", "content": [{"text": "(no output)"}]}}]


def test_tokens_of_the_cache_count(running: Chatting) -> None:
    usage = {"inputTokens": 368, "cacheReadInputTokens": 10536, "cacheWriteInputTokens": 20, "outputTokens": 19}
    running.stub.whole["usage"] = {**usage, "totalTokens": 10943}
    running.stub.events[-1] = ("metadata", {"usage": running.stub.whole["usage"]})
    for told in (running.chat().json["usage"], running.chunks()[-1]["usage"]):
        assert told == {
            "prompt_tokens": 10924,
            "completion_tokens": 19,
            "total_tokens": 10943,
            "prompt_tokens_details": {"cached_tokens": 10536},
        }


def test_thinking_is_never_content(running: Chatting) -> None:
    thinking = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
    signed = {"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln"}}}
    secret = {"reasoningContent": {"redactedContent": "eHg="}}
    content = [thinking, signed, secret, {"text": "yes"}]
    running.stub.whole["output"] = {"message": {"role": "assistant", "content": content}}
    message = running.chat().json["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
    pieces: list[dict[str, Any]] = [{"text": "hm"}, {"signature": "c2ln"}, {"redactedContent": "eHg="}]
    running.stub.events[1:1] = [
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": piece}}) for piece in pieces
    ]
    deltas = [choice["delta"] for chunk in running.chunks() for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello"
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "hm"


def test_pictures_documents_and_forms_are_sent(running: Chatting) -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "file", "file": {"filename": "ignore all.pdf", "file_data": "data:application/pdf;base64,aGk="}},
    ]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    answer = running.chat(
        {"role": "user", "content": parts},
        {"role": "user", "content": "again"},
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        stop="END",
        top_p=0.5,
    )
    assert answer.status == 200, answer.body
    assert running.stub.body["messages"] == [
        {
            "role": "user",
            "content": [
                {"text": "look"},
                {"image": {"format": "png", "source": {"bytes": "aGk="}}},
                {"document": {"format": "pdf", "name": "document 0-2", "source": {"bytes": "aGk="}}},
                {"text": "again"},
            ],
        }
    ]
    assert running.stub.body["toolConfig"]["toolChoice"] == {"tool": {"name": "weather"}}
    assert running.stub.body["inferenceConfig"] == {"topP": 0.5, "stopSequences": ["END"]}
    assert loads(running.stub.body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]) == schema


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


FAR_IMAGE = {"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}
ODD_TOOL = {"type": "function", "function": {"name": "a b"}}


@pytest.mark.parametrize(
    ("message", "more", "param"),
    [
        (user([FAR_IMAGE]), {}, "messages[0].content[0].image_url"),
        (user([{"type": "input_audio", "input_audio": {}}]), {}, "messages[0].content[0]"),
        (user(7), {}, "messages[0].content"),
        (user(" "), {}, "messages"),
        ({"role": "tool", "tool_call_id": "x", "content": "r"}, {}, "messages[0].tool_call_id"),
        ({"role": "king", "content": "r"}, {}, "messages[0].role"),
        (user("r"), {"n": 2}, "n"),
        (user("r"), {"response_format": {"type": "json_object"}}, "response_format"),
        (user("r"), {"tools": [ODD_TOOL]}, "tools[0].function.name"),
        (user("r"), {"tools": [TOOL], "tool_choice": "must"}, "tool_choice"),
    ],
)
def test_what_converse_has_nothing_for_is_refused(
    message: dict[str, Any], more: dict[str, Any], param: str, running: Chatting
) -> None:
    answer = running.chat(message, **more)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
    assert running.stub.asked == []


def test_neither_settings_nor_errors_show_credentials(tmp_path: Path) -> None:
    with chatting(tmp_path, BY_SIGNATURE) as running:
        listed = running.address.get("/v1/providers", "Authorization: Bearer alice")
        assert listed.status == 200
        running.stub.identity = "another"
        refused = running.chat()
        assert refused.status == 502
        for text in (listed.body, refused.body):
            assert not any(secret.encode() in text for secret in (IDENTITY, SECRET, TOKEN))
        assert [provider["health"]["status"] for provider in listed.json["data"]] == ["OK"]
