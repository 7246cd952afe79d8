"""Each type of provider, by an exchange that its vendor documents: what it is sent, and what becomes of its answers."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.inference.known_members import CHANGED, CUT, STAMPED
from server.inference.providers.dialects import DIALECTS
from tests.support.relay_server import ANSWER, DONE, MESSAGES, event, relaying, streamed, whole

FOLDER = Path(__file__).resolve().parents[2] / "exchanges"
EXCHANGES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def refusal(status: int, body: str, header: str | None = None) -> bytes:
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return whole(body.encode(), (head + (f"{header}\r\n" if header else "")).encode())


def test_every_dialect_has_an_exchange_and_names_members_that_are_watched() -> None:
    assert {one["provider_type"] for one in EXCHANGES.values()} == DIALECTS.keys()
    for dialect in DIALECTS.values():
        assert dialect.refused | dialect.renamed.keys() | {*dialect.renamed.values()} <= CHANGED | CUT | STAMPED


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_dialect_is_spoken(name: str, tmp_path: Path) -> None:
    one: dict[str, Any] = EXCHANGES[name]
    assert (DIALECTS[one["provider_type"]].base_url or None) == one["base_url"]
    config = ", ".join(filter(None, ["base_url: URL", one["config"]]))
    with relaying(tmp_path, f"provider_type: {one['provider_type']}, config: {{{config}}}") as running:
        assert running.chat(**one["ask"]).json["choices"] == ANSWER["choices"]
        assert running.head.startswith(f"POST {one['path']} HTTP/1.1\r\n")
        assert one["header"] is None or f"\r\n{one['header']}\r\n" in running.head + "\r\n"
        sent = running.body
        assert (sent.pop("model"), sent.pop("messages")) == ("far-m", MESSAGES)
        assert sent.keys() == {*one["sent"]}
        assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 20
        assert sent.get("random_seed", sent.get("seed")) == 7

        running.answers(streamed(*map(event, map(str.encode, one["stream"])), DONE))
        answer = running.chat(stream=True)
        assert answer.status == 200
        chunks = [loads(text[6:]) for text in answer.body.split(b"\n\n")[:-2]]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == "yes"
        assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
        assert {(chunk["model"], chunk["object"]) for chunk in chunks} == {("p/far-m", "chat.completion.chunk")}
        assert len({chunk["id"] for chunk in chunks}) == 1

        for status in (400, 422):
            running.answers(refusal(status, one["overflow"]))
            answer = running.chat()
            assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
            assert "maximum context length" in answer.error["message"]

        running.answers(refusal(429, one["busy"]["body"], one["busy"]["header"]))
        answer, wait = running.chat(), one["busy"]["wait"]
        assert answer.status == 429
        assert answer.headers.get("retry-after") == (None if wait is None else str(-int(-wait // 1)))
        assert answer.headers.get("retry-after-ms") == (f"{wait * 1000:.0f}" if wait and wait % 1 else None)


@pytest.mark.parametrize(
    ("kind", "url", "path"),
    [
        ("remote::openai", "URL", "/chat/completions"),
        ("remote::openai", "URL/", "/chat/completions"),
        ("remote::openai", "URL/v1", "/v1/chat/completions"),
        ("remote::openai", "URL/api/openai/", "/api/openai/chat/completions"),
        ("remote::vllm", "URL", "/v1/chat/completions"),
        ("remote::vllm", "URL/v1/", "/v1/chat/completions"),
        ("remote::ollama", "URL", "/v1/chat/completions"),
        ("remote::groq", "URL/x", "/x/chat/completions"),
    ],
)
def test_a_base_url_is_taken_as_it_is_written(kind: str, url: str, path: str, tmp_path: Path) -> None:
    with relaying(tmp_path, f"provider_type: {kind}, config: {{base_url: {url}}}") as running:
        assert running.chat().status == 200
        assert running.head.startswith(f"POST {path} HTTP/1.1\r\n")


def test_of_two_spellings_the_providers_own_counts(tmp_path: Path) -> None:
    with relaying(tmp_path, "provider_type: remote::mistral, config: {base_url: URL}") as running:
        assert running.chat(max_tokens=5, max_completion_tokens=9).status == 200
        assert running.body == {"model": "far-m", "messages": MESSAGES, "max_tokens": 5}


def test_a_provider_of_chats_alone_is_told_for_no_other_route(tmp_path: Path) -> None:
    with relaying(tmp_path, "provider_type: remote::anthropic, config: {base_url: URL, api_key: sk-1}") as running:
        shown = running.address.get("/v1/inspect/routes", "Authorization: Bearer alice").json["data"]
    types = {entry["route"]: entry["provider_types"] for entry in shown if entry["method"] == "POST"}
    assert types["/v1/chat/completions"] == ["remote::anthropic"]
    assert types["/v1/completions"] == types["/v1/embeddings"] == []
