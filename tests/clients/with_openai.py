"""OpenAI's own client for Python."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from json import dumps, loads
from typing import Any

import openai
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run
from pydantic import BaseModel

alice = openai.OpenAI(base_url=URL, api_key=ALICE, max_retries=0)
bob = openai.OpenAI(base_url=URL, api_key=BOB, max_retries=0)

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Report(BaseModel):
    city: str
    degrees: int


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def fails(kind: type[openai.APIStatusError], call: Callable[[], object]) -> openai.APIStatusError:
    try:
        call()
    except kind as failure:
        assert failure.request_id, failure
        return failure
    raise AssertionError(f"{kind.__name__} is not raised")


def chat() -> None:
    answer = alice.chat.completions.create(model=ECHO, messages=said("hello there"))
    assert answer.choices[0].message.content == "echo: hello there"
    assert answer._request_id
    raw = alice.chat.completions.with_raw_response.create(model=CHAT, messages=said("hi"), user="end-user", seed=1)
    assert raw.parse().choices[0].message.content == "you say: hi"


def stream() -> None:
    options: Any = {"include_usage": True}
    chunks = [*alice.chat.completions.create(model=CHAT, messages=said("one two"), stream=True, stream_options=options)]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "you say: one two"
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 12
    with alice.chat.completions.stream(model=CHAT, messages=said("the weather"), tools=[WEATHER]) as events:
        for _ in events:
            pass
        message = events.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.parsed_arguments == {"city": "Berlin"}


def tools() -> None:
    messages = said("how is the weather?")
    first = alice.chat.completions.create(model=CHAT, messages=messages, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    [call] = first.message.tool_calls or []
    result = {"role": "tool", "tool_call_id": call.id, "content": "sun"}
    messages = [*messages, first.message.to_dict(), result]
    last = alice.chat.completions.create(model=CHAT, messages=messages, tools=[WEATHER]).choices[0]
    assert (last.finish_reason, last.message.content) == ("stop", "the tool says: sun")


def structured() -> None:
    answer = alice.chat.completions.parse(model=CHAT, messages=said("report"), response_format=Report)
    assert answer.choices[0].message.parsed == Report(city="Berlin", degrees=21)


def embeddings() -> None:
    for form in (openai.omit, "float", "base64"):
        found = alice.embeddings.create(model=VECTORS, input=["four", "fiver"], dimensions=3, encoding_format=form)
        assert [len(each.embedding) for each in found.data] == [3, 3] or form == "base64"
        assert found.usage.total_tokens == 3
    assert alice.embeddings.create(model=VECTORS, input=[[1, 2], [3, 4, 5]]).data[1].embedding[0] == 3.0
    assert alice.embeddings.create(model=VECTORS, input=[1, 2]).data[0].embedding[0] == 2.0


def completions() -> None:
    assert alice.completions.create(model=CHAT, prompt="once").choices[0].text == "once and more"
    chunks = [*alice.completions.create(model=CHAT, prompt="once", stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks).strip() == "once and more"


def stored() -> None:
    made = alice.chat.completions.create(model=ECHO, messages=said("keep"), store=True, metadata={"from": "python"})
    assert alice.chat.completions.retrieve(made.id).choices[0].message.content == "echo: keep"
    assert [each.id for each in alice.chat.completions.list(metadata={"from": "python"})] == [made.id]
    assert [each.content for each in alice.chat.completions.messages.list(made.id)] == ["keep"]
    fails(openai.NotFoundError, lambda: bob.chat.completions.retrieve(made.id))
    assert alice.chat.completions.delete(made.id).deleted


def files() -> None:
    made = alice.files.create(file=("notes.txt", io.BytesIO(b"doors")), purpose="user_data")
    assert alice.files.content(made.id).read() == b"doors"
    assert [each.id for each in alice.files.list(purpose="user_data")] == [made.id]
    fails(openai.NotFoundError, lambda: bob.files.retrieve(made.id))
    assert alice.files.delete(made.id).deleted


def conversations() -> None:
    message: Any = {"type": "message", "role": "user", "content": "0"}
    made = alice.conversations.create(metadata={"topic": "demo"}, items=[message])
    items = alice.conversations.items
    added = items.create(made.id, items=[{**message, "content": "1"}])
    assert len(added.data) == 1
    assert [item.content[0].text for item in items.list(made.id, order="asc", limit=1)] == ["0", "1"]
    fails(openai.NotFoundError, lambda: bob.conversations.retrieve(made.id))
    assert alice.conversations.delete(made.id).deleted


def models() -> None:
    names = {model.id for model in alice.models.list()}
    assert len(names) == 4
    assert all(alice.models.retrieve(name).id == name for name in names)


def errors() -> None:
    missing = fails(openai.NotFoundError, lambda: alice.chat.completions.create(model="none", messages=said("x")))
    assert missing.code == "model_not_found"
    bad = fails(openai.BadRequestError, lambda: alice.chat.completions.create(model=ECHO, messages=[], n=-1))
    assert bad.param
    nobody = openai.OpenAI(base_url=URL, api_key="sk-wrong", max_retries=0)
    fails(openai.AuthenticationError, nobody.models.list)
    fails(openai.BadRequestError, lambda: alice.moderations.create(input="hi"))


def responses() -> None:
    first = alice.responses.create(model=CHAT, input="hi")
    assert first.output_text == "you say: hi"
    with alice.responses.stream(model=CHAT, input="again", previous_response_id=first.id) as running:
        kinds = [event.type for event in running]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        assert running.get_final_response().output_text.startswith("you say:")
    assert [item.type for item in alice.responses.input_items.list(first.id)] == ["message"]
    fails(openai.NotFoundError, lambda: bob.responses.retrieve(first.id))
    alice.responses.delete(first.id)
    fails(openai.NotFoundError, lambda: alice.responses.retrieve(first.id))


def sealed() -> None:
    text = dumps({"echo": {"reasoning": "let me see", "content": "so"}})
    include: Any = ["reasoning.encrypted_content"]
    made = alice.responses.create(model=ECHO, input=text, store=False, include=include)
    assert made.output[0].encrypted_content
    more = [*made.output, {"role": "user", "content": "more"}]
    assert alice.responses.create(model=ECHO, input=more, store=False).output_text == "echo: more"
    refused = fails(openai.BadRequestError, lambda: bob.responses.create(model=ECHO, input=more, store=False))
    assert refused.code == "invalid_encrypted_content"
    assert alice.responses.input_tokens.count(model=ECHO, input="one two").input_tokens == 2


async def asynchronous() -> None:
    async with openai.AsyncOpenAI(base_url=URL, api_key=ALICE, max_retries=0) as client:
        running = await client.chat.completions.create(model=CHAT, messages=said("hi"), stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in running]) == "you say: hi"


def vector_stores() -> None:
    body = {"embedding_model": "echo-vectors"}
    store = alice.vector_stores.create(name="notes", extra_body=body)
    made = alice.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("a.txt", b"a blue bicycle"))
    assert made.status == "completed", made.last_error
    [found] = alice.vector_stores.search(store.id, query="a blue bicycle").data
    assert (found.file_id, found.content[0].text) == (made.id, "a blue bicycle")
    batch = alice.vector_stores.file_batches.create_and_poll(store.id, file_ids=[made.id])
    assert (batch.status, batch.file_counts.completed) == ("completed", 1)
    fails(openai.NotFoundError, lambda: bob.vector_stores.search(store.id, query="a"))
    fails(openai.NotFoundError, lambda: bob.vector_stores.files.list(store.id))
    assert alice.vector_stores.delete(store.id).deleted


def batches() -> None:
    lines = [
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": ECHO, "messages": said(str(number)), "stream": number == 3},
        }
        for number in range(4)
    ]
    text = "".join(dumps(line) + "\n" for line in lines).encode()
    sent = alice.files.create(file=("lines.jsonl", io.BytesIO(text)), purpose="batch")
    more: Any = {"metadata": {"from": "python"}, "output_expires_after": {"anchor": "created_at", "seconds": 3600}}
    ends = {"completed", "failed", "expired", "cancelled"}
    made = alice.batches.create(
        input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h", extra_body=more
    )
    while made.status not in ends:
        time.sleep(0.05)
        made = alice.batches.retrieve(made.id)
    assert (made.status, made.metadata) == ("completed", {"from": "python"})
    counts = made.request_counts
    assert counts is not None and (counts.total, counts.completed, counts.failed) == (4, 3, 1)
    answers = [loads(line) for line in alice.files.content(made.output_file_id or "").text.splitlines()]
    said_by_line = {each["custom_id"]: each["response"]["body"]["choices"][0]["message"]["content"] for each in answers}
    assert said_by_line == {f"line-{number}": f"echo: {number}" for number in range(3)}
    [refused] = [loads(line) for line in alice.files.content(made.error_file_id or "").text.splitlines()]
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("line-3", 400)
    wrong = alice.files.create(file=("wrong.jsonl", io.BytesIO(text + b"{")), purpose="batch")
    failed = alice.batches.create(input_file_id=wrong.id, endpoint="/v1/chat/completions", completion_window="24h")
    while failed.status not in ends:
        time.sleep(0.05)
        failed = alice.batches.retrieve(failed.id)
    assert failed.status == "failed" and failed.errors is not None and failed.errors.data is not None
    assert [(error.code, error.line) for error in failed.errors.data] == [("invalid_json_line", 5)]
    assert [each.id for each in alice.batches.list(limit=1)][:2] == [failed.id, made.id]
    fails(openai.BadRequestError, lambda: alice.batches.cancel(made.id))
    fails(openai.NotFoundError, lambda: bob.batches.retrieve(made.id))
    fails(openai.NotFoundError, lambda: bob.files.content(made.output_file_id or ""))
    assert [*bob.batches.list()] == []


run(
    chat,
    stream,
    tools,
    structured,
    embeddings,
    completions,
    stored,
    files,
    conversations,
    models,
    responses,
    sealed,
    vector_stores,
    batches,
    errors,
    asynchronous,
)
