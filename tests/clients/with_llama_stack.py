"""The client of Llama Stack."""

from __future__ import annotations

from typing import Any

from llama_stack_client import AsyncLlamaStackClient, LlamaStackClient, NotFoundError
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run

SERVER = URL.removesuffix("/v1")
alice = LlamaStackClient(base_url=SERVER, api_key=ALICE, max_retries=0)
bob = LlamaStackClient(base_url=SERVER, api_key=BOB, max_retries=0)

WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat() -> None:
    answer = alice.chat.completions.create(model=ECHO, messages=said("hello there"))
    assert answer.choices[0].message.content == "echo: hello there"


def stream() -> None:
    chunks = [*alice.chat.completions.create(model=CHAT, messages=said("one two"), stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "you say: one two"


def tools() -> None:
    answer = alice.chat.completions.create(model=CHAT, messages=said("the weather"), tools=[WEATHER])
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Berlin"}')


def embeddings() -> None:
    found = alice.embeddings.create(model=VECTORS, input=["four", "fiver"])
    assert [each.embedding[0] for each in found.data] == [4.0, 5.0]


def completions() -> None:
    assert alice.completions.create(model=CHAT, prompt="once").choices[0].text == "once and more"
    chunks = [*alice.completions.create(model=CHAT, prompt="once", stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks).strip() == "once and more"


def models() -> None:
    found = {model.identifier: model for model in alice.models.list()}
    assert len(found) == 4
    assert {model.model_type for model in found.values()} == {"llm", "embedding"}
    assert {model.provider_id for model in found.values()} == {"echo", "far"}
    assert all(alice.models.retrieve(name).id == name for name in found)


def files() -> None:
    made = alice.files.create(file=("notes.txt", b"doors"), purpose="assistants")
    assert alice.files.retrieve(made.id).bytes == 5
    assert alice.files.content(made.id) == "doors"
    assert [each.id for each in alice.files.list()] == [made.id]
    assert [*bob.files.list()] == []
    assert alice.files.delete(made.id).deleted


def conversations() -> None:
    message: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "0"}]}
    made = alice.conversations.create(metadata={"topic": "demo"}, items=[message])
    alice.conversations.items.create(made.id, items=[message])
    assert len([*alice.conversations.items.list(made.id)]) == 2
    assert alice.conversations.update(made.id, metadata={"topic": "other"}).metadata == {"topic": "other"}
    try:
        bob.conversations.retrieve(made.id)
    except NotFoundError:
        assert alice.conversations.delete(made.id).deleted
    else:
        raise AssertionError("another caller reads the conversation")


def stored() -> None:
    made = alice.chat.completions.create(model=ECHO, messages=said("keep"), extra_body={"store": True})
    assert alice.chat.completions.retrieve(made.id).choices[0].message.content == "echo: keep"
    assert made.id in [each.id for each in alice.chat.completions.list().data]
    try:
        bob.chat.completions.retrieve(made.id)
    except NotFoundError:
        assert bob.chat.completions.list().data == []
    else:
        raise AssertionError("another caller reads the chat")


def prompts() -> None:
    made = alice.prompts.create(prompt="say {{ what }}", variables=["what"])
    assert (made.version, made.variables) == (1, ["what"])
    newer = alice.prompts.update(made.prompt_id, prompt="sing {{ what }}", version=1, variables=["what"])
    assert newer.version == 2
    assert [prompt.prompt_id for prompt in alice.prompts.list()] == [made.prompt_id]
    assert len(alice.prompts.versions.list(made.prompt_id)) == 2
    assert alice.prompts.set_default_version(made.prompt_id, version=1).is_default
    assert [*bob.prompts.list()] == []
    alice.prompts.delete(made.prompt_id)


def about_the_server() -> None:
    assert alice.inspect.health().status == "OK"
    assert alice.inspect.version().version
    assert {provider.provider_id for provider in alice.providers.list()} == {"echo", "far"}
    assert alice.providers.retrieve("echo").provider_type == "inline::echo"
    assert "/v1/chat/completions" in {route.route for route in alice.routes.list()}


async def asynchronous() -> None:
    async with AsyncLlamaStackClient(base_url=SERVER, api_key=ALICE, max_retries=0) as client:
        running = await client.chat.completions.create(model=CHAT, messages=said("hi"), stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in running if chunk.choices]
        assert "".join(pieces) == "you say: hi"


run(
    chat,
    stream,
    tools,
    embeddings,
    completions,
    models,
    files,
    conversations,
    stored,
    prompts,
    about_the_server,
    asynchronous,
)
