"""The client of OGX."""

from __future__ import annotations

from typing import Any

from ogx_client import AsyncOgxClient, OgxClient
from ogx_client.exceptions import NotFoundException
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run

SERVER = URL.removesuffix("/v1")
alice = OgxClient(base_url=SERVER, api_key=ALICE)
bob = OgxClient(base_url=SERVER, api_key=BOB)

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
    assert len(found.data) == 2


def completions() -> None:
    assert alice.completions.create(model=CHAT, prompt="once").choices[0].text == "once and more"


def models() -> None:
    names = {model.id for model in alice.models.list().data}
    assert len(names) == 4
    assert all(alice.models.retrieve(name).id == name for name in names)


def files() -> None:
    made = alice.files.create(file=("notes.txt", b"doors"), purpose="assistants")
    assert alice.files.retrieve(made.id).bytes == 5
    assert [each.id for each in alice.files.list().data] == [made.id]
    assert bob.files.list().data == []
    assert alice.files.delete(made.id).deleted


def conversations() -> None:
    message: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "0"}]}
    made = alice.conversations.create(metadata={"topic": "demo"}, items=[message])
    assert len(alice.conversations.items.list(made.id).data) == 1
    try:
        bob.conversations.retrieve(made.id)
    except NotFoundException:
        assert alice.conversations.delete(made.id).deleted
    else:
        raise AssertionError("another caller reads the conversation")


def stored() -> None:
    made = alice.chat.completions.create(model=ECHO, messages=said("keep"), store=True)
    assert alice.chat.completions.retrieve(made.id).choices[0].message.content == "echo: keep"
    assert made.id in [each.id for each in alice.chat.completions.list().data]
    try:
        bob.chat.completions.retrieve(made.id)
    except NotFoundException:
        assert bob.chat.completions.list().data == []
    else:
        raise AssertionError("another caller reads the chat")


def prompts() -> None:
    made = alice.prompts.create(prompt="say {{ what }}", variables=["what"])
    assert (made.version, made.variables) == (1, ["what"])
    assert [prompt.prompt_id for prompt in alice.prompts.list()] == [made.prompt_id]
    assert bob.prompts.list() == []
    alice.prompts.delete(made.prompt_id)


def about_the_server() -> None:
    assert alice.inspect.health().status == "OK"
    assert alice.inspect.version().version
    assert {provider.provider_id for provider in alice.providers.list()} == {"echo", "far"}
    assert "/v1/chat/completions" in {route.route for route in alice.routes.list()}


async def asynchronous() -> None:
    async with AsyncOgxClient(base_url=SERVER, api_key=ALICE) as client:
        answer = await client.chat.completions.create(model=CHAT, messages=said("hi"))
        assert answer.choices[0].message.content == "you say: hi"


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
