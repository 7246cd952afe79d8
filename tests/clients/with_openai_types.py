"""OpenAI's types on what this server answers about responses: validated, where its client only builds them.

Every call of the client about responses is made in the four ways that its own tests make it: plain, raw, streamed, and
without a wait.
"""

from __future__ import annotations

from json import dumps
from typing import Any

import httpx
import openai
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from parts import ALICE, BOB, CHAT, ECHO, URL, run
from pydantic import TypeAdapter

WHOLE, ITEM, EVENT = TypeAdapter(Response), TypeAdapter(ResponseItem), TypeAdapter[Any](ResponseStreamEvent)

alice = openai.OpenAI(base_url=URL, api_key=ALICE, max_retries=0)
plain = httpx.Client(headers={"Authorization": f"Bearer {ALICE}"}, timeout=60)

WEATHER = {"type": "function", "name": "weather", "strict": True, "parameters": {"type": "object", "properties": {}}}
FORM = {"type": "json_schema", "name": "form", "schema": {"type": "object"}, "strict": False}
CALLS = [{"name": "weather", "arguments": {}}, {"name": "patch", "arguments": {"input": "x"}}]
SAID = dumps({"echo": {"reasoning": "let me see", "content": "a b", "refusal": "no", "tool_calls": CALLS}})
LONG = [
    {"role": "user", "content": "x" * 9_000},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "b"},
]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"tools": [WEATHER, {"type": "custom", "name": "patch"}, {"type": "web_search"}], "tool_choice": "auto"},
    {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "top_logprobs": 2, "store": False},
    {"input": LONG, "context_management": [{"type": "compaction", "compact_threshold": 1_000}]},
    {"text": {"format": FORM, "verbosity": "low"}, "reasoning": {"effort": "low", "summary": "auto"}},
    {"input": dumps({"echo": {"content": "a b", "finish_reason": "length"}}), "max_output_tokens": 16},
    {"instructions": "be brief", "metadata": {"a": "b"}, "user": "me", "truncation": "auto", "temperature": 0.5},
    {"prompt_cache_key": "k", "safety_identifier": "s", "max_tool_calls": 3, "parallel_tool_calls": False},
]


def sent(**body: Any) -> httpx.Response:
    answer = plain.post(f"{URL}/responses", json={"model": ECHO, "input": SAID, **body})
    assert answer.status_code == 200, answer.text
    return answer


def objects() -> None:
    for option in OPTIONS:
        made = sent(**option).json()
        WHOLE.validate_python(made)
        if made["store"]:
            WHOLE.validate_python(plain.get(f"{URL}/responses/{made['id']}").json())
            for item in plain.get(f"{URL}/responses/{made['id']}/input_items").json()["data"]:
                ITEM.validate_python(item)


def events() -> None:
    broken = {"input": dumps({"echo": {"content": "a b c", "error": {"after": 2}}})}
    for option in (*OPTIONS, broken):
        lines = [line for line in sent(**option, stream=True).text.split("\n") if line.startswith("data: {")]
        for line in lines:
            EVENT.validate_json(line[6:])


def calls() -> None:
    made = alice.responses.create(model=CHAT, input="hi")
    more: Any = {"extra_query": {"include[]": "message.input_image.image_url"}}
    for call, given in (
        (alice.responses.with_raw_response.retrieve, {**more}),
        (alice.responses.input_items.with_raw_response.list, {"limit": 1, "order": "asc"}),
        (alice.responses.with_raw_response.delete, {}),
    ):
        raw = call(made.id, **given)
        assert raw.http_request.headers["authorization"] == f"Bearer {ALICE}" and raw.parse() is not False
    with alice.responses.with_streaming_response.create(model=CHAT, input="hi") as running:
        assert WHOLE.validate_python(running.parse().to_dict()).status == "completed"
    for call in (alice.responses.retrieve, alice.responses.delete):
        try:
            call(made.id)
        except openai.NotFoundError as gone:
            assert gone.body is not None
        else:
            raise AssertionError(call)


async def without_a_wait() -> None:
    async with openai.AsyncOpenAI(base_url=URL, api_key=BOB, max_retries=0) as bob:
        made = await bob.responses.create(model=CHAT, input="hi")
        assert (await bob.responses.retrieve(made.id)).output_text == made.output_text
        assert [item.type async for item in bob.responses.input_items.list(made.id)] == ["message"]
        running = await bob.responses.create(model=CHAT, input="hi", stream=True)
        assert [event.type async for event in running][-1] == "response.completed"
        await bob.responses.delete(made.id)


run(objects, events, calls, without_a_wait)
