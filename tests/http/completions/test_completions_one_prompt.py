"""A provider that completes one prompt in a request is asked for each, and the answers come as one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.identity_services import Asked, Service, service
from tests.support.real_policy import read
from tests.support.relay_server import configuration, serving_config
from tests.support.serving import Address, Answer
from tests.support.stream_client import events

PATH = "/v1/completions"
STREAM = {"content-type": "text/event-stream"}
PLAIN = {"content-type": "application/json"}


def reply(asked: Asked) -> tuple[int, Any, dict[str, str]]:
    """Answer as a provider that knows one text, or one list of token ids; the text `bad` is refused."""
    body = json.loads(asked.body)
    prompt = body["prompt"]
    if type(prompt) is list and type(prompt[0]) is not int:
        return 400, {"error": {"message": "cannot unmarshal array"}}, PLAIN
    if prompt == "bad":
        return 400, {"error": {"message": "no", "param": "prompt"}}, PLAIN
    copies = body.get("n", 1)
    head = {"id": f"cmpl-{prompt}", "object": "text_completion", "created": 1, "model": "m"}
    choices = [{"index": n, "text": f"{prompt}-{n}", "finish_reason": "stop"} for n in range(copies)]
    usage = {"prompt_tokens": 2, "completion_tokens": copies, "total_tokens": 2 + copies}
    if not body.get("stream"):
        return 200, {**head, "choices": choices, "usage": usage}, PLAIN
    chunks = [{**head, "choices": [each]} for each in choices]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage})
    sent = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks)
    return 200, sent + b"data: [DONE]\n\n", STREAM


@contextmanager
def ollama(folder: Path) -> Iterator[tuple[Address, Service]]:
    with service(reply) as far:
        text = configuration(folder, f'{{provider_id: p, provider_type: remote::ollama, config: {{url: "{far.url}"}}}}')
        with serving_config(read(text)) as (address, _):
            yield address, far


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Address, Service]]:
    with ollama(tmp_path_factory.mktemp("one")) as made:
        yield made


def complete(address: Address, prompt: Any, **more: Any) -> Answer:
    return address.post(PATH, {"model": "p/m", "prompt": prompt, **more}, "Authorization: Bearer alice")


def test_each_prompt_is_asked_for(running: tuple[Address, Service]) -> None:
    address, far = running
    far.asked.clear()
    answer = complete(address, ["a", "b"], n=2, seed=7).json
    assert [(each["index"], each["text"]) for each in answer["choices"]] == [
        (0, "a-0"),
        (1, "a-1"),
        (2, "b-0"),
        (3, "b-1"),
    ]
    assert (answer["id"], answer["model"]) == ("cmpl-a", "p/far-m")
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}
    assert [json.loads(each.body) for each in far.asked] == [
        {"model": "far-m", "prompt": prompt, "n": 2, "seed": 7} for prompt in ("a", "b")
    ]
    assert [each["text"] for each in complete(address, [[1], [2, 3]]).json["choices"]] == ["[1]-0", "[2, 3]-0"]


@pytest.mark.parametrize("prompt", ["a", ["a"], [1, 2]])
def test_one_prompt_is_one_request(running: tuple[Address, Service], prompt: Any) -> None:
    address, far = running
    far.asked.clear()
    assert complete(address, prompt).status == 200
    assert len(far.asked) == 1


def test_streams_come_one_behind_the_other(running: tuple[Address, Service]) -> None:
    address, _ = running
    answer = complete(address, ["a", "b"], n=2, stream=True, stream_options={"include_usage": True})
    *found, last = events(answer.body)
    assert last is None
    assert [(each["index"], each["text"]) for chunk in found for each in chunk["choices"]] == [
        (0, "a-0"),
        (1, "a-1"),
        (2, "b-0"),
        (3, "b-1"),
    ]
    assert {(each["id"], each["model"], each["object"]) for each in found} == {("cmpl-a", "p/far-m", "text_completion")}
    assert found[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}
    *found, last = events(complete(address, ["a", "b"], stream=True).body)
    assert last is None
    assert [len(each["choices"]) for each in found] == [1, 1]


def test_a_refusal_ends_the_whole(running: tuple[Address, Service]) -> None:
    address, _ = running
    for prompts in (["bad", "a"], ["a", "bad"]):
        answer = complete(address, prompts)
        assert (answer.status, answer.error["param"]) == (400, "prompt")
    assert complete(address, ["bad", "a"], stream=True).status == 400
    *found, last = events(complete(address, ["a", "bad"], stream=True).body)
    assert [each["choices"][0]["text"] for each in found] == ["a-0"]
    assert last is not None
    assert "error" in last
